package provision

import (
	"cmp"
	"math/rand/v2"
	"testing"
)

// axis is one fact, or two that belong together, with the values that it takes.
type axis struct {
	values int
	set    func(*Facts, int)
}

func yesNo(field func(*Facts) *bool) axis {
	return axis{2, func(f *Facts, n int) { *field(f) = n == 1 }}
}

var (
	powers   = []Power{PowerStateUnknown, PowerStateOff, PowerStateOn, PowerStatePoweringOn, PowerStatePoweringOff}
	medias   = []Media{MediaUnknown, MediaNone, MediaPartial, MediaOurs, MediaOther}
	contents = []Content{ContentWaiting, ContentNoToken, ContentReady}
	reports  = []Report{ReportNone, ReportSucceeded, ReportFailed}
	inert    = []Claim{ClaimUnconfirmed, ClaimExpired, ClaimOrphaned, ClaimOrphanExpired, ClaimOrphanBound}

	// observed is what a BMC says. An override is none, a stranger's, ours for the next boot, or ours for all.
	observed = []axis{
		yesNo(func(f *Facts) *bool { return &f.Observed }),
		{len(powers), func(f *Facts, n int) { f.Power = powers[n] }},
		{len(medias), func(f *Facts, n int) { f.Media = medias[n] }},
		{4, func(f *Facts, n int) { f.Armed, f.ArmedOurs, f.Lasting = n > 0, n >= 2, n == 3 }},
	}
	// policy is Observe, KeepOn or AlwaysOn.
	policy = axis{3, func(f *Facts, n int) { f.KeepOn, f.AlwaysOn = n > 0, n == 2 }}
	steady = yesNo(func(f *Facts) *bool { return &f.Steady })
	held   = axis{3, func(f *Facts, n int) { f.Maintenance, f.Deleting = n == 1, n == 2 }}
	boots  = axis{3, func(f *Facts, n int) { f.BootResting, f.BootsSpent = n == 1, n == 2 }}
	node   = axis{4, func(f *Facts, n int) { f.NodeSeen, f.NodeNamed, f.NodeUnknown = n == 1, n == 2, n == 3 }}
)

// whose is the server that answers: the host's own, another one, or also another host's.
var whose = axis{3, func(f *Facts, n int) { f.OtherServer, f.Duplicate = n == 1, n == 2 }}

// unasked: the BMC can be asked; or it cannot, and what was done for the claim is nothing, or something.
var unasked = axis{5, func(f *Facts, n int) {
	if f.NoSecret = n > 0; f.NoSecret {
		f.Granted, f.Booted = n == 2 || n == 4, n >= 3
	}
}}

// neverBegun: nobody can ask the BMC of a claim that ends, for which nothing was ever done.
func neverBegun(f Facts) bool { return f.NoSecret && !f.Granted && !f.Booted && !f.Bound }

// axes are the facts that the rules of a standing look at, each on its own; TestOtherFactsDoNotMatter says that these are all.
// Whether it is bound is one more for a held claim: it chooses the table.
func axes(claim Claim, bound bool) []axis {
	all := append([]axis{yesNo(func(f *Facts) *bool { return &f.Quarantined })}, observed...)
	switch claim {
	case ClaimNone:
		return append(all, yesNo(func(f *Facts) *bool { return &f.Deleting }), yesNo(func(f *Facts) *bool { return &f.Inventoried }),
			whose, yesNo(func(f *Facts) *bool { return &f.Maintenance }),
			yesNo(func(f *Facts) *bool { return &f.Consent }))
	case ClaimHeld:
		all = append(all, whose, yesNo(func(f *Facts) *bool { return &f.Install }), policy, held, boots, steady, yesNo(func(f *Facts) *bool { return &f.Granted }),
			axis{len(contents), func(f *Facts, n int) { f.Content = contents[n] }})
		if bound {
			return append(all, yesNo(func(f *Facts) *bool { return &f.DataOpen }))
		}
		return append(all, yesNo(func(f *Facts) *bool { return &f.Booted }), yesNo(func(f *Facts) *bool { return &f.BootOverdue }), node,
			axis{len(reports), func(f *Facts, n int) { f.Report = reports[n] }})
	case ClaimReleasing:
		return append(all, whose, yesNo(func(f *Facts) *bool { return &f.GiveUp }), yesNo(func(f *Facts) *bool { return &f.Bound }),
			yesNo(func(f *Facts) *bool { return &f.NodeSeen }), yesNo(func(f *Facts) *bool { return &f.NodeNamed }), yesNo(func(f *Facts) *bool { return &f.ShutdownOverdue }),
			yesNo(func(f *Facts) *bool { return &f.ReleaseOverdue }), yesNo(func(f *Facts) *bool { return &f.Proven }), unasked)
	case ClaimUnconfirmed, ClaimExpired, ClaimOrphaned, ClaimOrphanExpired, ClaimOrphanBound:
		return append(all, yesNo(func(f *Facts) *bool { return &f.GiveUp }), yesNo(func(f *Facts) *bool { return &f.Bound }))
	}
	return nil
}

func standings() []Claim { return append([]Claim{ClaimNone, ClaimHeld, ClaimReleasing}, inert...) }

// neutral facts have the values that facts outside the axes keep.
func neutral(claim Claim) Facts {
	return Facts{Claim: claim, Steady: claim == ClaimHeld, Power: PowerStateUnknown, Media: MediaUnknown, Content: ContentWaiting, Report: ReportNone}
}

// everyCorner calls f for every combination of the facts that the rules of a claim's standing look at, and for paused hosts of
// every standing.
func everyCorner(f func(Facts)) (n int) { return someCorners(1, standings(), f) }

// fewCorners are enough to come to rest from.
func fewCorners(f func(Facts)) (n int) { return someCorners(47, standings(), f) }

// someCorners calls f for the corners of some standings, but for one of so many only of those of a held claim, or one
// that ends. A number that divides none of the axes leaves no value of any out.
func someCorners(of int, claims []Claim, f func(Facts)) (n int) {
	seen, turn := 0, 0
	var spread func(Facts, []axis)
	spread = func(facts Facts, rest []axis) {
		if len(rest) == 0 {
			few := facts.Claim == ClaimHeld || facts.Claim == ClaimReleasing
			if seen++; !few || seen%of == 0 {
				f(facts)
				n++
			}
			return
		}
		if facts.Claim == ClaimHeld && (facts.Quarantined || facts.OtherServer || facts.Duplicate || !facts.Steady) {
			turn++ // an early rule decides, whatever else is true: one value of each, in turn
			rest[0].set(&facts, turn%rest[0].values)
			spread(facts, rest[1:])
			return
		}
		for i := range rest[0].values {
			rest[0].set(&facts, i)
			spread(facts, rest[1:])
		}
	}
	for _, claim := range claims {
		spread(neutral(claim), axes(claim, false))
		if claim == ClaimHeld {
			bound := neutral(claim)
			bound.Bound = true
			spread(bound, axes(claim, true))
		}
		paused := neutral(claim)
		paused.Paused = true
		spread(paused, observed)
	}
	return n
}

// TestOtherFactsDoNotMatter justifies everyCorner: what it leaves out of a standing changes no decision.
func TestOtherFactsDoNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 100_000 {
		f, other := randomFacts(r), randomFacts(r)
		other.Claim, other.Paused, other.Bound = f.Claim, f.Paused, f.Bound
		if !f.Paused {
			for _, a := range axes(f.Claim, f.Bound) {
				for i := range a.values {
					probe := other
					a.set(&probe, i)
					same := f
					a.set(&same, i)
					if same == f {
						other = probe
						break
					}
				}
			}
		}
		if got, want := Decide(other), Decide(f); got != want {
			t.Fatalf("%+v is %+v, but\n%+v is %+v", f, want, other, got)
		}
	}
}

func TestEveryTableEndsInARuleThatAlwaysApplies(t *testing.T) {
	names := map[string]bool{}
	for name, rules := range tables() {
		last := rules[len(rules)-1]
		r := rand.New(rand.NewPCG(1, 2))
		for range 1000 {
			if !last.when(randomFacts(r)) {
				t.Fatalf("the last rule of %s does not always apply", name)
			}
		}
		for _, rule := range rules {
			if names[rule.name] {
				t.Errorf("two rules are called %s", rule.name)
			}
			names[rule.name] = true
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
	switch {
	case f.Paused && a != None:
		return "paused hosts are left alone"
	case f.OtherServer && (a.Changes() || a == Inspect || a == MarkBound || a == ClearClaim && f.Claim == ClaimReleasing):
		return "I11: nothing is done to, or proven by, another server than the recorded one"
	case f.Duplicate && (a.Changes() || a == ClearClaim && f.Claim == ClaimReleasing):
		return "D12: a server is worked on through one PhysicalHost alone"
	case a.Changes() && !agreed && !(f.Claim == ClaimNone && f.Consent):
		return "I4: nobody's host, or an unconfirmed or orphaned claim, is never touched"
	case a.Changes() && f.Claim == ClaimNone && (f.Quarantined || f.Deleting || f.Maintenance):
		return "what is out of the pool is left alone, consent or not"
	case a.Changes() && f.Claim == ClaimNone && (a == PowerOn || a == Insert || a == Arm):
		return "nothing is booted on nobody's host"
	case a.Changes() && f.Quarantined && f.Claim != ClaimReleasing:
		return "a quarantined host is left alone until a person acts; deleting its machine is such an act"
	case a == Disarm && mayDisarm(f):
	case f.Claim == ClaimHeld && f.Bound && a.Changes() && f.Power != PowerStateOff:
		return "I5: a bound, running system is never touched"
	case f.Claim == ClaimHeld && f.Bound && (a == ForceOff || a == ShutDown):
		return "I5: a bound system is never powered off"
	case f.Claim == ClaimHeld && f.Bound && f.Install && (a == Insert || a == Arm):
		return "an installed system is never installed again"
	case f.Claim == ClaimHeld && f.Bound && !f.KeepOn && a.Changes():
		return "its owner wants it left as it is"
	case f.Claim == ClaimHeld && f.Bound && !f.Install && !f.AlwaysOn && a.Changes():
		return "D14: a Live system that lost its power is not booted again without its owner's word"
	case f.Claim == ClaimHeld && f.Bound && !f.Install && !f.DataOpen && a != Eject && a.Changes():
		return "D14, D15: a bound Live system boots again only with a grant that was made for it"
	case f.Claim == ClaimHeld && (f.Maintenance || f.Deleting) && a.Changes():
		return "nothing is started or cut in maintenance, nor on what is being deleted"
	case f.Claim == ClaimHeld && f.Power == PowerStateOn && (f.NodeSeen || f.NodeNamed || f.Report != ReportNone) && a.Changes():
		return "a running system that showed a sign of life is never touched, bound or not"
	case f.Claim == ClaimHeld && !f.Bound && a.Changes() && mayHaveUsedItsData(f) && !(f.AlwaysOn && !f.Install):
		return "D14: what may have used its bootstrap data is not booted again"
	case f.Claim == ClaimHeld && a.Changes() && (f.BootsSpent || f.BootResting && f.Power == PowerStateOff):
		return "D8: boots back off, and end"
	case f.Claim == ClaimHeld && !f.Bound && !f.Granted && !f.Booted && f.Power == PowerStateOn && a.Changes():
		return "D12: what its owner powered on is not ours to stop"
	case f.Claim == ClaimReleasing && (a == PowerOn || a == Insert || a == Arm):
		return "a release boots nothing"
	case (a == Insert || a == Eject || a == Arm || a == PowerOn) && f.Power != PowerStateOff:
		return "D11: media and boot change only while the server is off"
	case a == PowerOn && f.Claim == ClaimHeld && !f.Bound && !(f.Media == MediaOurs && f.ArmedOurs):
		return "D11: an unbound host is powered on only armed, with our media in"
	case a == Arm && f.Media != MediaOurs:
		return "D11: the override is set only while our media are in"
	case a == Insert && f.Content != ContentReady:
		return "media go in only when they can be served"
	case a == ForceOff && f.Claim == ClaimHeld && (f.Booted || f.Media == MediaOurs && !f.Armed) && !f.BootOverdue:
		return "a boot of ours has its time"
	case a == ForceOff && f.Claim == ClaimReleasing && (f.Bound || f.NodeSeen || f.NodeNamed) && !f.ShutdownOverdue:
		return "a running system is asked before its power is cut"
	case a.Changes() && !f.Observed:
		return "nothing is done unseen"
	}
	return cmp.Or(forbiddenGuess(f, a), forbiddenWrite(f, a))
}

// forbiddenGuess is forbidden for what was seen once, or may be somebody else's doing.
func forbiddenGuess(f Facts, a Action) string {
	switch {
	case f.Claim == ClaimHeld && !f.Steady && f.Power == PowerStateOff && ran(f) && (a.Changes() && a != Disarm || a == MintGrant):
		return "D14: one reading of off is not believed of what ran"
	case a == ForceOff && f.Claim == ClaimHeld && !f.Booted && f.Media != MediaOurs && f.Media != MediaPartial:
		return "D12: what runs, and is not certainly of our own doing, is left to a person"
	}
	return ""
}

// mayDisarm: an installed host is disarmed once bound, as is an override that would hold for ever (D9a).
func mayDisarm(f Facts) bool {
	lasting := f.ArmedOurs && f.Lasting && f.Power == PowerStateOn && !f.DataOpen
	return f.Claim == ClaimHeld && f.Bound && !f.Quarantined && (f.Install || lasting)
}

// ran: a system of this claim was seen, or the server was on after a boot of ours.
func ran(f Facts) bool { return f.Bound || f.Booted || f.NodeNamed || f.Report == ReportFailed }

func mayHaveUsedItsData(f Facts) bool {
	return f.NodeSeen || f.NodeNamed || f.Report != ReportNone || f.Booted && f.NodeUnknown && f.Power == PowerStateOff
}

// forbiddenWrite is forbidden for what is written to the API server.
func forbiddenWrite(f Facts, a Action) string { //nolint:gocyclo // a list of sentences
	clean := f.Observed && f.Power == PowerStateOff && f.Media == MediaNone && !f.Armed
	switch {
	case a == ClearClaim && f.Claim == ClaimReleasing && (!clean || !f.Proven) && !neverBegun(f):
		return "I6: a claim is cleared only when the host was observed off, empty and disarmed, after its release was asked for"
	case a == ReleaseOrphan && (f.Claim != ClaimOrphanExpired || f.Quarantined):
		return "D7: only an orphan that had its time is released"
	case a == ClearClaim && f.Claim != ClaimReleasing && f.Claim != ClaimExpired:
		return "only a release or an expired intent ends a claim"
	case a == QuarantineOrphan && f.Claim != ClaimOrphanBound:
		return "D7: only a bound orphan is quarantined"
	case a == YieldClaim && !f.Steady:
		return "a claim is not given up for one reading"
	case a == YieldClaim && (f.Claim != ClaimHeld || f.Bound || f.Granted || f.Booted || f.Power != PowerStateOn):
		return "D12: only a claim of which nothing ever reached the server is given up because it runs"
	case a == GiveUpClaim && !f.GiveUp:
		return "D7: a claim is given up only by a person"
	case a == MintGrant && (f.Claim != ClaimHeld || f.Content == ContentWaiting || f.Bound && f.Install || f.Power != PowerStateOff):
		return "a capability is drawn only for what may be booted now"
	case a == MintGrant && f.Content == ContentReady && (!f.Bound || f.DataOpen):
		return "a capability that serves is not drawn again"
	case a == MintGrant && f.Bound && (!f.AlwaysOn || f.Media == MediaOurs || f.Media == MediaOther):
		return "D14: the data of a bound claim are opened again only on its owner's word, with the old medium out"
	case a == RevokeGrant && (f.Claim != ClaimHeld || !f.Bound || !f.Install):
		return "D9a: a capability ends when the installed system is bound; a Live one keeps it until its release"
	case a == RemoveFinalizer && (f.Claim != ClaimNone || !f.Deleting):
		return "D7: a claimed host is not let go"
	case a == MarkBound && !f.NodeSeen && f.Report != ReportSucceeded:
		return "D9a: bound is what was seen alive; a failed report, or a Node that is perhaps another's, never binds"
	}
	return ""
}

// tableOf says which table is for the facts, as the document says it.
func tableOf(f Facts) string {
	switch {
	case f.Paused:
		return "paused"
	case f.Claim == ClaimNone:
		return "unclaimed"
	case f.Claim == ClaimReleasing:
		return "releasing"
	case f.Claim == ClaimHeld && f.Bound:
		return "bound"
	case f.Claim == ClaimHeld:
		return "provisioning"
	}
	return "inert"
}

// firstOf is the one rule that decides for the facts, or "".
func firstOf(f Facts) string {
	for _, r := range tables()[tableOf(f)] {
		if r.when(f) {
			return r.name
		}
	}
	return ""
}

func TestNoCornerBreaksAnInvariant(t *testing.T) {
	rules, actions := map[string]bool{}, map[Action]bool{}
	check := func(f Facts) {
		d := Decide(f)
		rules[d.Rule], actions[d.Action] = true, true
		if fired := firstOf(f); d.Rule != fired {
			t.Fatalf("rule %s decided, not %q, for %+v", d.Rule, fired, f)
		}
		if why := forbidden(f, d.Action); why != "" {
			t.Fatalf("%s by rule %s: %s\n%+v", d.Action, d.Rule, why, f)
		}
		if d.State == Lost && !f.Steady {
			t.Fatalf("D14: rule %s calls it lost for one reading: %+v", d.Rule, f)
		}
		offered := f.Claim == ClaimNone && f.Observed && f.Inventoried && f.Power == PowerStateOff && f.Media == MediaNone && !f.Armed &&
			!f.OtherServer && !f.Duplicate && !f.Quarantined && !f.Maintenance && !f.Deleting && !f.Paused
		if (d.State == Available) != offered {
			t.Fatalf("I6: Available is %v by rule %s for %+v", d.State == Available, d.Rule, f)
		}
	}
	n := everyCorner(check)
	r := rand.New(rand.NewPCG(3, 4))
	for range 300_000 {
		check(randomFacts(r))
	}
	everythingHappens(t, rules, actions)
	t.Logf("%d corners and 300,000 random facts", n)
}

// everythingHappens says that no rule and no action is dead.
func everythingHappens(t *testing.T, rules map[string]bool, actions map[Action]bool) {
	t.Helper()
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
		Bound: b(), Install: b(), Paused: rare(), Quarantined: rare(), Consent: b(), GiveUp: rare(), Granted: b(), DataOpen: b(),
		Observed: !rare(), Inventoried: !rare(), OtherServer: rare(), Duplicate: rare(),
		Power: []Power{PowerStateUnknown, PowerStateOff, PowerStateOff, PowerStateOn, PowerStateOn, PowerStatePoweringOn, PowerStatePoweringOff}[r.IntN(7)],
		Media: []Media{MediaUnknown, MediaNone, MediaPartial, MediaOurs, MediaOther}[r.IntN(5)],
		Armed: b(), Content: []Content{ContentWaiting, ContentNoToken, ContentReady}[r.IntN(3)],
		Booted: b(), Report: []Report{ReportNone, ReportSucceeded, ReportFailed}[r.IntN(3)],
		BootOverdue: b(), ReleaseOverdue: b(), ShutdownOverdue: b(), Proven: b(), NoSecret: rare(),
	}
	f.ArmedOurs = f.Armed && b()
	f.Lasting = f.ArmedOurs && b()
	policy.set(&f, r.IntN(3))
	f.Steady = b()
	node.set(&f, max(0, r.IntN(6)-2))
	boots.set(&f, max(0, r.IntN(6)-3))
	held.set(&f, max(0, r.IntN(12)-9))
	f.Duplicate = f.Duplicate && !f.OtherServer
	return f
}

// Some BMCs know no override but a lasting one: the system is left alone while it boots, for its firmware reads the override when
// it pleases, and the order of before is restored once it is bound.
func TestALastingOverrideIsSetBackOnceBound(t *testing.T) {
	f := Facts{Claim: ClaimHeld, Observed: true, Inventoried: true, Granted: true, Booted: true, Steady: true, KeepOn: true, Power: PowerStateOn, Media: MediaOurs,
		Armed: true, ArmedOurs: true, Lasting: true, DataOpen: true, Content: ContentReady, Report: ReportNone}
	for _, c := range []struct {
		name   string
		change func(*Facts)
		want   Action
	}{
		{"booting", func(*Facts) {}, None},
		{"seen", func(f *Facts) { f.NodeSeen = true }, MarkBound},
		{"bound", func(f *Facts) { f.Bound, f.DataOpen = true, false }, Disarm},
		{"bound, and booted once more on its owner's word", func(f *Facts) { f.Bound, f.AlwaysOn = true, true }, None},
		{"bound and quarantined", func(f *Facts) { f.Bound, f.DataOpen, f.Quarantined = true, false, true }, None},
	} {
		facts := f
		c.change(&facts)
		if got := Decide(facts); got.Action != c.want {
			t.Errorf("%s: %s (%s), want %s", c.name, got.Action, got.Rule, c.want)
		}
	}
}

// After a lost status (move), the cluster is not connected yet: a system that runs may live.
func TestWhatMayLiveIsNotCut(t *testing.T) {
	for name, f := range map[string]Facts{
		"somebody set the next boot to something else": {Media: MediaOurs, Armed: true},
		"one of two media is gone":                     {Media: MediaPartial},
	} {
		f.Claim, f.Observed, f.Steady, f.Power, f.Granted, f.NodeUnknown, f.Content, f.DataOpen = ClaimHeld, true, true, PowerStateOn, true, true, ContentNoToken, true
		if d := Decide(f); d.Action == ForceOff {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// A system that was booted, and is not known to be off, is not taken from its machine because its BMC is not read, or says once that
// it is off; nothing but reading is done.
func TestWhatWasBootedIsBootingUntilItIsKnownToBeOff(t *testing.T) {
	n := everyCorner(func(f Facts) {
		unsure := !f.Observed || f.Power != PowerStateOn && !f.Steady
		if f.Claim != ClaimHeld || f.Bound || !f.Booted || !unsure || f.Quarantined || f.OtherServer || f.Duplicate || f.Paused {
			return
		}
		if d := Decide(f); d.State != Booting || d.Action.Changes() {
			t.Fatalf("%+v: %+v", d, f)
		}
	})
	if n == 0 {
		t.Fatal("no corners")
	}
}
