package provision

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// carryOut is an ideal BMC and API server: what an action is for happens.
//
//nolint:gocyclo // one case for each action
func carryOut(f Facts, a Action) Facts {
	switch a {
	case ClearClaim, YieldClaim, GiveUpClaim:
		quarantined := f.Quarantined || a == GiveUpClaim
		f.Claim, f.Bound, f.Granted, f.Booted, f.NodeSeen, f.GiveUp, f.Proven = ClaimNone, false, false, false, false, false, false
		f.Quarantined = quarantined
		if f.Media == MediaOurs || f.Media == MediaPartial {
			f.Media = MediaOther
		}
	case QuarantineOrphan:
		f.Quarantined = true
	case ReleaseOrphan:
		f.Claim = ClaimReleasing
	case MarkBound:
		f.Bound, f.DataOpen = true, false
	case MintGrant:
		f.Granted, f.Content, f.DataOpen = true, ContentReady, true
		if f.Media == MediaOurs || f.Media == MediaPartial {
			f.Media = MediaOther
		}
	case RevokeGrant:
		f.Granted = false
		if f.Media == MediaOurs {
			f.Media = MediaOther
		}
	case Observe:
		f.Observed, f.Proven, f.Steady = true, f.Claim == ClaimReleasing, true
		f.Power = map[Power]Power{PowerStateUnknown: PowerStateOff, PowerStatePoweringOn: PowerStateOn, PowerStatePoweringOff: PowerStateOff}[f.Power] + orSame(f.Power)
		if f.Media == MediaUnknown {
			f.Media = MediaOther
		}
	case Inspect:
		f.Inventoried = true
	case ShutDown, ForceOff:
		f.Power, f.BootOverdue = PowerStateOff, false
	case Eject:
		f.Media = MediaNone
	case Insert:
		f.Media = map[Media]Media{MediaNone: MediaPartial, MediaPartial: MediaOurs}[f.Media]
	case Arm:
		f.Armed, f.ArmedOurs = true, true
	case Disarm:
		f.Armed, f.ArmedOurs = false, false
	case PowerOn:
		f.Power, f.Booted, f.Armed, f.ArmedOurs, f.BootOverdue, f.BootResting = PowerStateOn, true, false, false, false, true
	case None, RemoveFinalizer:
	}
	return f
}

// orSame keeps the settled power states; the map above gives "" for them.
func orSame(p Power) Power {
	if p == PowerStateOn || p == PowerStateOff {
		return p
	}
	return ""
}

// waits are the rules that time alone ends.
var waits = map[string]bool{"wait-for-boot": true, "boot-rest": true, "bound-rest": true, "boot-unknown": true}

// atRest says that nothing is left to do but wait for others.
func atRest(d Decision) bool {
	return d.Action == RemoveFinalizer || d.Action == None && !waits[d.Rule]
}

// awaitsPerson says that nothing is done for a claimed host until somebody mends its address, or ends the other claim.
func awaitsPerson(f Facts, a Action) bool {
	return a == None && (f.OtherServer || f.Duplicate) && !f.Paused && (f.Claim == ClaimHeld || f.Claim == ClaimReleasing)
}

// press is somebody at the power button, or a breaker. A server that is switched on while armed uses the override up. What its
// system said, and its Node, are there also when it is off.
func press(f Facts) Facts {
	switch f.Power {
	case PowerStateOn, PowerStatePoweringOn:
		f.Power = PowerStateOff
	case PowerStateOff, PowerStatePoweringOff:
		f.Power = PowerStateOn
		if f.ArmedOurs {
			f.Armed, f.ArmedOurs = false, false
		}
	case PowerStateUnknown:
	}
	return f
}

// world is a BMC that loses some of what it is told, with a server that comes up or does not, beside people who press buttons.
type world struct {
	r *rand.Rand
	// loss is how many of a hundred operations and presses have no effect.
	loss int
	// presses that people will still make.
	presses int
}

// settle runs the decisions until rest, or says where they do not end.
func (w *world) settle(t *testing.T, start Facts) (f Facts, steps int) {
	t.Helper()
	for f = start; ; steps++ {
		d := Decide(f)
		if why := forbidden(f, d.Action); why != "" {
			t.Fatalf("%s by %s: %s\n%+v", d.Action, d.Rule, why, f)
		}
		if awaitsPerson(f, d.Action) {
			f.OtherServer, f.Duplicate = false, false
			continue
		}
		if atRest(d) {
			return f, steps
		}
		if steps > 500 {
			t.Fatalf("no rest from %+v: stuck at %+v with %+v", start, f, d)
		}
		switch {
		case w.presses > 0 && w.r.IntN(4) == 0:
			if w.presses--; w.r.IntN(100) >= w.loss {
				f = press(f)
			}
		case d.Action == None:
			f = w.pass(f)
		case d.Action == PowerOn && w.r.IntN(6) == 0:
			f = carryOut(f, PowerOn)
			f.BootsSpent, f.BootResting = true, false
		case !d.Action.Hardware() || w.r.IntN(100) >= w.loss:
			f = carryOut(f, d.Action)
		}
	}
}

// pass lets time go by: a pause ends, the cluster answers, what runs comes up, or not, or switches itself off.
func (w *world) pass(f Facts) Facts {
	if f.Power != PowerStateOn {
		f.BootResting, f.NodeUnknown = false, false
		return f
	}
	switch w.r.IntN(12) {
	case 0, 1, 2, 3:
		node.set(&f, 1)
	case 4:
		node.set(&f, 2)
	case 5:
		f.Report = ReportFailed
	case 6, 7:
		f.BootOverdue = true
	case 8:
		f.Power = PowerStateOff
	}
	return f
}

// TestConverges starts in many corners, with a BMC that loses nothing, some or most of what it is told.
func TestConverges(t *testing.T) {
	for _, loss := range []int{0, 30, 70} {
		t.Run(fmt.Sprintf("%d%% lost", loss), func(t *testing.T) {
			t.Parallel()
			w := &world{r: rand.New(rand.NewPCG(uint64(loss), 7)), loss: loss}
			worst := 0
			runs := fewCorners(func(start Facts) {
				w.presses = w.r.IntN(4)
				f, steps := w.settle(t, start)
				if why := wrongEnd(start, f); why != "" {
					t.Fatalf("%s\nfrom %+v\nto   %+v", why, start, f)
				}
				worst = max(worst, steps)
			})
			t.Logf("%d runs, at most %d steps", runs, worst)
		})
	}
}

// wrongEnd says what is wrong with where a host came to rest, or "".
func wrongEnd(start, f Facts) string { //nolint:gocyclo // a list of sentences
	switch {
	case start.Paused && f != start:
		return "a paused host was changed"
	case start.Paused:
	case start.Claim == ClaimReleasing && (f.Claim != ClaimNone || f.Bound):
		return "a release did not end"
	case start.Claim == ClaimReleasing && start.GiveUp && !f.Quarantined:
		return "a claim that was given up unverified went back into the pool"
	case f.Claim == ClaimHeld && f.Power == PowerStateOff && mayBoot(f) && (!f.Bound || !f.Install || f.KeepOn):
		return "a host that may be booted stays off"
	case start.Claim == ClaimOrphanBound && (f.Claim != ClaimNone || !start.GiveUp) && !f.Quarantined:
		return "D7: a bound orphan is not quarantined"
	case start.Claim == ClaimOrphanExpired && !start.Quarantined && f.Claim != ClaimNone:
		return "D7: an unbound orphan stays claimed for ever"
	case start.Claim == ClaimExpired && f.Claim != ClaimNone:
		return "an expired claim stays"
	}
	return ""
}

// mayBoot: nothing but our own work is between a host that is off and its next boot.
func mayBoot(f Facts) bool {
	used := f.Bound || f.NodeNamed || f.Report != ReportNone
	bears := f.AlwaysOn && !f.Install || f.Bound && f.Install
	return !f.Quarantined && !f.Maintenance && !f.Deleting && !f.BootsSpent && f.Content != ContentWaiting && (!used || bears)
}

// TestReleaseEndsClean is every release again, but nobody presses a button once the host was proven: it ends off, empty, disarmed
// and nobody's.
func TestReleaseEndsClean(t *testing.T) {
	for _, loss := range []int{0, 30, 70} {
		w := &world{r: rand.New(rand.NewPCG(uint64(loss), 11)), loss: loss}
		someCorners(7, []Claim{ClaimReleasing}, func(start Facts) {
			if start.Paused || start.GiveUp || neverBegun(start) {
				return
			}
			f, steps := start, 0
			for ; f.Claim == ClaimReleasing; steps++ {
				before := f
				if d := Decide(f); awaitsPerson(f, d.Action) {
					f.OtherServer, f.Duplicate = false, false
				} else if !d.Action.Hardware() || w.r.IntN(100) >= loss {
					f = carryOut(f, d.Action)
				}
				if f.Claim != ClaimNone && w.r.IntN(8) == 0 && steps < 40 {
					f = press(f)
				}
				if f.Claim == ClaimNone && (before.Power != PowerStateOff || before.Media != MediaNone || before.Armed || !before.Proven || f.Bound) {
					t.Fatalf("released as %+v\nfrom %+v", f, start)
				}
				if steps > 500 {
					t.Fatalf("no end from %+v: %+v", start, f)
				}
			}
		})
	}
}

// TestDecidedAgainAtExecution is why operations decide again: a decision that waits in a queue while claims come and go,
// nodes appear and people press power buttons is carried out only if it is still the answer.
func TestDecidedAgainAtExecution(t *testing.T) {
	for seed := range uint64(5) {
		stale, fresh := unsafeActions(seed, false), unsafeActions(seed, true)
		if fresh != 0 {
			t.Errorf("seed %d: %d unsafe actions although each was decided again", seed, fresh)
		}
		if stale == 0 {
			t.Errorf("seed %d: no stale decision was unsafe: the test proves nothing", seed)
		}
	}
}

func unsafeActions(seed uint64, again bool) (bad int) {
	r := rand.New(rand.NewPCG(seed, 8))
	f := Facts{Claim: ClaimNone, Observed: true, Inventoried: true, Power: PowerStateOff, Media: MediaNone, Content: ContentReady, KeepOn: true, Report: ReportNone}
	pending := None
	for range 100_000 {
		switch r.IntN(7) {
		case 0:
			if f.Claim == ClaimNone && !f.Quarantined {
				f.Claim = ClaimHeld
			} else if f.Claim == ClaimHeld && r.IntN(6) == 0 {
				f.Claim = ClaimReleasing
			}
		case 1, 2:
			if d := Decide(f); d.Action.Changes() {
				pending = d.Action
			} else {
				f = carryOut(f, d.Action)
			}
		case 3, 4:
			if pending == None || again && Decide(f).Action != pending {
				pending = None
				continue
			}
			if forbidden(f, pending) != "" {
				bad++
			}
			f, pending = carryOut(f, pending), None
		case 5:
			if f.Power == PowerStateOn && f.Booted && r.IntN(3) == 0 {
				f.NodeSeen = true
			}
		case 6:
			if r.IntN(20) == 0 { // a person, or a breaker
				f.Power = map[Power]Power{PowerStateOn: PowerStateOff, PowerStateOff: PowerStateOn}[f.Power]
			}
		}
	}
	return bad
}
