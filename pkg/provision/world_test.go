package provision

import (
	"math/rand/v2"
	"testing"
)

// carryOut is an ideal BMC and API server: what an action is for happens.
//
//nolint:gocyclo // one case for each action
func carryOut(f Facts, a Action) Facts {
	switch a {
	case ClearClaim, GiveUpClaim:
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
		f.Bound = true
	case MintGrant:
		f.Granted, f.Content = true, ContentReady
		if f.Media == MediaOurs || f.Media == MediaPartial {
			f.Media = MediaOther
		}
	case RevokeGrant:
		f.Granted = false
		if f.Media == MediaOurs {
			f.Media = MediaOther
		}
	case Observe:
		f.Observed, f.Proven = true, f.Claim == ClaimReleasing
		f.Power = map[Power]Power{PowerStateUnknown: PowerStateOff, PowerStatePoweringOn: PowerStateOn, PowerStatePoweringOff: PowerStateOff}[f.Power] + orSame(f.Power)
		if f.Media == MediaUnknown {
			f.Media = MediaOther
		}
	case Inspect:
		f.Inventoried = true
	case ShutDown, ForceOff:
		f.Power, f.NodeSeen, f.BootOverdue, f.Report = PowerStateOff, false, false, ReportNone
	case Eject:
		f.Media = MediaNone
	case Insert:
		f.Media = map[Media]Media{MediaNone: MediaPartial, MediaPartial: MediaOurs}[f.Media]
	case Arm:
		f.Armed, f.ArmedOurs = true, true
	case Disarm:
		f.Armed, f.ArmedOurs = false, false
	case PowerOn:
		f.Power, f.Booted, f.Armed, f.ArmedOurs, f.BootOverdue = PowerStateOn, true, false, false, false
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

// atRest says that nothing is left to do but wait for others.
func atRest(f Facts, a Action) bool {
	return a == RemoveFinalizer || a == None && (f.Paused || f.Quarantined || f.Claim != ClaimHeld || f.Bound || f.Power != PowerStateOn)
}

// TestConverges starts in every corner, with a BMC that loses some of what it is told, and servers that come up or die.
//
//nolint:gocyclo // one loop that is easier to read in one piece
func TestConverges(t *testing.T) {
	for _, loss := range []int{0, 30, 70} {
		r := rand.New(rand.NewPCG(uint64(loss), 7))
		worst, runs := 0, 0
		for range 100_000 {
			start := randomFacts(r)
			f, steps := start, 0
			for ; ; steps++ {
				d := Decide(f)
				if why := forbidden(f, d.Action); why != "" {
					t.Fatalf("%s by %s: %s", d.Action, d.Rule, why)
				}
				if atRest(f, d.Action) {
					break
				}
				if steps > 500 {
					t.Fatalf("no rest from %+v: stuck at %+v with %+v", start, f, d)
				}
				switch {
				case d.Action == None: // running, unbound: it comes up, or its time is over
					f.NodeSeen = r.IntN(3) == 0
					f.BootOverdue = !f.NodeSeen && r.IntN(5) == 0
				case r.IntN(100) >= loss || !d.Action.Hardware():
					f = carryOut(f, d.Action)
				}
			}
			if start.Claim == ClaimReleasing && !start.Paused && !start.GiveUp && f.Claim == ClaimNone &&
				(f.Power != PowerStateOff || f.Media != MediaNone || f.Armed) {
				t.Fatalf("a release ended dirty: %+v", f)
			}
			if start.Claim == ClaimReleasing && !start.Paused && f.Claim != ClaimNone {
				t.Fatalf("a release did not end: %+v", f)
			}
			worst, runs = max(worst, steps), runs+1
		}
		t.Logf("loss %d%%: %d runs, at most %d steps", loss, runs, worst)
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
				f.NodeSeen = false
			}
		}
	}
	return bad
}
