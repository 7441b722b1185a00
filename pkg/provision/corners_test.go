package provision

import (
	"math/rand/v2"
	"testing"
)

// everyCorner calls f for every combination of the facts that the rules of a claim's standing look at.
func everyCorner(f func(Facts)) int {
	n := 0
	for _, claim := range []Claim{ClaimNone, ClaimUnconfirmed, ClaimExpired, ClaimHeld, ClaimReleasing, ClaimOrphaned, ClaimOrphanExpired, ClaimOrphanBound} {
		for bits := range 1 << 9 {
			for _, power := range []Power{PowerStateUnknown, PowerStateOff, PowerStateOn, PowerStatePoweringOn, PowerStatePoweringOff} {
				for _, media := range []Media{MediaUnknown, MediaNone, MediaPartial, MediaOurs, MediaOther} {
					for _, content := range []Content{ContentWaiting, ContentNoToken, ContentReady} {
						facts := corner(claim, bits, power, media, content)
						f(facts)
						n++
					}
				}
			}
		}
	}
	return n
}

// corner spreads the bits over the facts that matter for the standing; the others stay false.
func corner(claim Claim, bits int, power Power, media Media, content Content) Facts {
	f := Facts{Claim: claim, Observed: bits&1 != 0, Power: power, Media: media, Content: content, Quarantined: bits&2 != 0, Armed: bits&4 != 0, GiveUp: bits&8 != 0, Report: ReportNone}
	f.ArmedOurs = f.Armed && bits&16 != 0
	b := func(n int) bool { return bits&(1<<n) != 0 }
	switch claim {
	case ClaimNone:
		f.Consent, f.Inventoried, f.Duplicate, f.Maintenance, f.Deleting = b(4), b(5), b(6), b(7), b(8)
	case ClaimHeld:
		f.Bound, f.Install, f.KeepOn, f.Booted = b(5), b(6), b(7), b(8)
		f.BootOverdue, f.NodeSeen, f.Granted = b(3), b(1) && b(8), b(7)
	case ClaimReleasing:
		f.Bound, f.NodeSeen, f.ShutdownOverdue, f.ReleaseOverdue = b(5), b(6), b(7), b(8)
	case ClaimUnconfirmed, ClaimExpired, ClaimOrphaned, ClaimOrphanExpired, ClaimOrphanBound:
		f.Bound, f.Install, f.Booted = b(5), b(6), b(7)
	}
	return f
}

func TestEveryTableEndsInARuleThatAlwaysApplies(t *testing.T) {
	for name, rules := range tables() {
		last := rules[len(rules)-1]
		for range 1000 {
			if !last.when(randomFacts(rand.New(rand.NewPCG(1, 2)))) {
				t.Errorf("the last rule of %s does not always apply", name)
			}
		}
	}
}

func tables() map[string][]rule {
	return map[string][]rule{"paused": pausedRules, "inert": inertRules, "unclaimed": unclaimedRules, "bound": boundRules, "provisioning": provisioningRules, "releasing": releasingRules}
}

// forbidden says why an action is wrong for the facts, or "". It repeats the invariants, not the rules.
//
//nolint:gocyclo,staticcheck // a list of invariants, one a line, written as DESIGN says them
func forbidden(f Facts, a Action) string {
	agreed := f.Claim == ClaimHeld || f.Claim == ClaimReleasing
	clean := f.Observed && f.Power == PowerStateOff && f.Media == MediaNone && !f.Armed
	switch {
	case f.Paused && a != None:
		return "paused hosts are left alone"
	case a.Changes() && !agreed && !(f.Claim == ClaimNone && f.Consent):
		return "I4: nobody's host, or an unconfirmed or orphaned claim, is never touched"
	case a.Changes() && f.Claim == ClaimNone && (f.Quarantined || f.Deleting || f.Maintenance || f.Duplicate):
		return "what is out of the pool is left alone, consent or not"
	case a.Changes() && f.Claim == ClaimNone && (a == PowerOn || a == Insert || a == Arm):
		return "nothing is booted on nobody's host"
	case a.Changes() && f.Claim == ClaimHeld && f.Quarantined:
		return "nothing is started on a quarantined host"
	case f.Claim == ClaimHeld && f.Bound && a.Changes() && f.Power != PowerStateOff:
		return "I5: a bound, running system is never touched"
	case f.Claim == ClaimHeld && f.Bound && (a == ForceOff || a == ShutDown):
		return "I5: a bound system is never powered off"
	case f.Claim == ClaimHeld && f.Bound && f.Install && (a == Insert || a == Arm):
		return "an installed system is never installed again"
	case f.Claim == ClaimHeld && f.Bound && !f.KeepOn && a.Changes():
		return "its owner wants it left as it is"
	case f.Claim == ClaimHeld && f.NodeSeen && f.Power == PowerStateOn && a.Changes():
		return "a running node is never touched, bound or not"
	case f.Claim == ClaimReleasing && (a == PowerOn || a == Insert || a == Arm):
		return "a release boots nothing"
	case a == ClearClaim && f.Claim == ClaimReleasing && !(clean && f.Proven):
		return "I6: a claim is cleared only when the host was observed off, empty and disarmed, after its release was asked for"
	case a == ReleaseOrphan && (f.Claim != ClaimOrphanExpired || f.Quarantined):
		return "D7: only an orphan that had its time is released"
	case a == ClearClaim && f.Claim != ClaimReleasing && f.Claim != ClaimExpired:
		return "only a release or an expired intent ends a claim"
	case (a == Insert || a == Eject || a == Arm || a == PowerOn) && f.Power != PowerStateOff:
		return "D11: media and boot change only while the server is off"
	case a == PowerOn && f.Claim == ClaimHeld && !f.Bound && !(f.Media == MediaOurs && f.ArmedOurs):
		return "D11: an unbound host is powered on only armed, with our media in"
	case a == Arm && f.Media != MediaOurs:
		return "D11: the override is set only while our media are in"
	case a == Insert && f.Content != ContentReady:
		return "media go in only when they can be served"
	case a == MarkBound && !(f.Power == PowerStateOn && (f.NodeSeen || f.Report == ReportSucceeded)):
		return "D9a: bound is what was seen alive; a failed report never binds"
	case a.Changes() && !f.Observed:
		return "nothing is done unseen"
	}
	return ""
}

func TestNoCornerBreaksAnInvariant(t *testing.T) {
	check := func(f Facts) {
		d := Decide(f)
		if d.Rule == "none" {
			t.Fatalf("no rule for %+v", f)
		}
		if why := forbidden(f, d.Action); why != "" {
			t.Fatalf("%s by rule %s: %s\n%+v", d.Action, d.Rule, why, f)
		}
		offered := f.Claim == ClaimNone && f.Observed && f.Inventoried && f.Power == PowerStateOff && f.Media == MediaNone && !f.Armed &&
			!f.Duplicate && !f.Quarantined && !f.Maintenance && !f.Deleting && !f.Paused
		if (d.State == Available) != offered {
			t.Fatalf("I6: Available is %v by rule %s for %+v", d.State == Available, d.Rule, f)
		}
	}
	n := everyCorner(check)
	r := rand.New(rand.NewPCG(3, 4))
	for range 1_000_000 {
		check(randomFacts(r))
	}
	t.Logf("%d corners and 1,000,000 random facts", n)
}

func TestEveryRuleAndActionIsReachable(t *testing.T) {
	rules, actions := map[string]bool{}, map[Action]bool{}
	r := rand.New(rand.NewPCG(5, 6))
	for range 2_000_000 {
		d := Decide(randomFacts(r))
		rules[d.Rule], actions[d.Action] = true, true
	}
	for name, table := range tables() {
		for _, rule := range table {
			if !rules[rule.name] {
				t.Errorf("rule %s of %s never fires", rule.name, name)
			}
		}
	}
	for _, a := range Actions() {
		if !actions[a] {
			t.Errorf("no rule gives %s", a)
		}
	}
}

func randomFacts(r *rand.Rand) Facts {
	b := func() bool { return r.IntN(2) == 0 }
	rare := func() bool { return r.IntN(8) == 0 }
	f := Facts{
		Claim: []Claim{ClaimNone, ClaimUnconfirmed, ClaimExpired, ClaimHeld, ClaimHeld, ClaimReleasing, ClaimReleasing, ClaimOrphaned, ClaimOrphanExpired, ClaimOrphanBound}[r.IntN(10)],
		Bound: b(), Install: b(), Paused: rare(), Quarantined: rare(), Maintenance: rare(), Consent: b(), KeepOn: b(), Deleting: rare(), GiveUp: rare(), Granted: b(),
		Observed: !rare(), Inventoried: !rare(), Duplicate: rare(),
		Power: []Power{PowerStateUnknown, PowerStateOff, PowerStateOff, PowerStateOn, PowerStateOn, PowerStatePoweringOn, PowerStatePoweringOff}[r.IntN(7)],
		Media: []Media{MediaUnknown, MediaNone, MediaPartial, MediaOurs, MediaOther}[r.IntN(5)],
		Armed: b(), Content: []Content{ContentWaiting, ContentNoToken, ContentReady}[r.IntN(3)],
		Booted: b(), NodeSeen: b(), Report: []Report{ReportNone, ReportSucceeded, ReportFailed}[r.IntN(3)],
		BootOverdue: b(), ReleaseOverdue: b(), ShutdownOverdue: b(), Proven: b(),
	}
	f.ArmedOurs = f.Armed && b()
	return f
}
