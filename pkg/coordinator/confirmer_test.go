package coordinator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

// answer puts a claim for the machine m on a host, as an arbiter does.
func answer(h *v1beta1.PhysicalHost, id string, transitions int32) *v1beta1.PhysicalHost {
	boot := request(newMachine("m")).Boot
	h.Spec.Claim = &v1beta1.Claim{ID: id, Machine: "m", Cluster: "c", LeaseHolder: "pod-2", LeaseTransitions: transitions}
	h.Spec.Boot = &boot
	return h
}

func (w *world) confirmer() *Confirmer {
	return NewConfirmer(w.options(w.api), func() bool { return true })
}

func TestAClaimIsConfirmedWithOneWrite(t *testing.T) {
	w := newWorld(t, answer(newHost("a"), claimID, 1), newHost("b"), newMachine("m"))
	var writes []string
	p := &port{next: func(what string) fault {
		if strings.HasPrefix(what, "patch") {
			writes = append(writes, what)
		}
		return fine
	}}
	confirmer := NewConfirmer(w.options(p.client(w.api)), func() bool { return true })
	result := mustClaim(t, confirmer, request(w.machine("m")), Claimed)
	if !w.host("a").ClaimedBy(w.machine("m")) || result.Host.Name != "a" || result.ClaimID != claimID || len(writes) != 1 {
		t.Fatalf("hostRef %+v, result %+v, writes %v", w.machine("m").Spec.HostRef, result, writes)
	}
	mustClaim(t, confirmer, request(w.machine("m")), Confirmed)
}

// Of the claims of two arbiters that did not know of each other, the younger Lease's is confirmed; the other stays inert.
func TestOneOfTwoClaimsIsConfirmed(t *testing.T) {
	w := newWorld(t, answer(newHost("a"), claimID, 1), answer(newHost("b"), "00000000000000bb", 2), newMachine("m"))
	mustClaim(t, w.confirmer(), request(w.machine("m")), Claimed)
	if m := w.machine("m"); !w.host("b").ClaimedBy(m) || w.host("a").ClaimedBy(m) {
		t.Fatalf("hostRef %+v", m.Spec.HostRef)
	}
	if standing := Judge(Holding{Host: w.host("a"), Machine: w.machine("m"), Now: epoch, ClaimedSince: epoch}); standing != StandingUnconfirmed {
		t.Fatalf("the other is %s", standing)
	}
}

// A claim that does not give the machine what it asks for was made for a former one of its name, or for an earlier wish.
func TestClaimsThatAreNotConfirmed(t *testing.T) {
	for name, spoil := range map[string]func(*v1beta1.PhysicalHost){
		"another machine's":   func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Machine = "x" },
		"another cluster's":   func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Cluster = "x" },
		"other boot data":     func(h *v1beta1.PhysicalHost) { h.Spec.Boot.BootstrapSecret = "former" },
		"without boot":        func(h *v1beta1.PhysicalHost) { h.Spec.Boot = nil },
		"being released":      func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Release = &v1beta1.Release{Reason: "MachineDeleted"} },
		"bound":               func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Bound = true },
		"with granted media":  func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Media = &v1beta1.MediaGrant{} },
		"in another domain":   func(h *v1beta1.PhysicalHost) { h.Spec.FailureDomain = "x" },
		"on a host in repair": func(h *v1beta1.PhysicalHost) { h.Spec.Maintenance = true },
	} {
		host := answer(newHost("a"), claimID, 1)
		host.Spec.FailureDomain = "rack-1"
		spoil(host)
		w := newWorld(t, host, newHost("b"), newMachine("m"))
		req := request(w.machine("m"))
		req.FailureDomain = "rack-1"
		result, err := w.confirmer().Claim(t.Context(), req)
		if err != nil || result.Outcome == Claimed || w.machine("m").Spec.HostRef != nil {
			t.Errorf("%s: %s, %v, hostRef %+v", name, result.Outcome, err, w.machine("m").Spec.HostRef)
		}
	}
}

// What a machine waits for is told: an arbiter, a host, its turn.
func TestWhatAMachineWaitsForWithAnArbiter(t *testing.T) {
	w := newWorld(t, newHost("a"), newMachine("m"))
	alive := false
	options := w.options(w.api)
	options.Informed = true
	confirmer := NewConfirmer(options, func() bool { return alive })
	if result := mustClaim(t, confirmer, request(w.machine("m")), NoArbiter); result.RetryAfter != noArbiterPause {
		t.Fatalf("again after %s", result.RetryAfter)
	}
	alive = true
	confirmer.HostChanged(nil, w.host("a"))
	mustClaim(t, confirmer, request(w.machine("m")), Queued)
	before := w.host("a")
	edit(w, w.host("a"), func(h *v1beta1.PhysicalHost) { h.Spec.Maintenance = true })
	mustClaim(t, confirmer, request(w.machine("m")), Queued) // what it heard of nobody, it does not look for
	if woken := confirmer.HostChanged(before, w.host("a")); len(woken) > 0 {
		t.Fatalf("woke %v: the arbiter chooses, not the machine", woken)
	}
	if result := mustClaim(t, confirmer, request(w.machine("m")), NoHost); result.Diagnosis.Message() != "0/1 hosts available: 1 in maintenance" {
		t.Fatal(result.Diagnosis.Message())
	}
}

// A hostRef whose claim is gone is cleared, or the machine would wait for ever; not if a server ran for it.
func TestAHostRefWithoutItsClaim(t *testing.T) {
	for _, provisioned := range []bool{false, true} {
		machine := newMachine("m")
		machine.Spec.HostRef = &v1beta1.HostRef{Name: "a", ClaimID: claimID}
		want := Queued
		if provisioned {
			machine.Spec.ProviderID, want = v1beta1.ProviderID(namespace, "a", claimID), IntentLost
		}
		w := newWorld(t, newHost("a"), machine)
		mustClaim(t, w.confirmer(), request(w.machine("m")), want)
		if cleared := w.machine("m").Spec.HostRef == nil; cleared == provisioned || w.host("a").Spec.Claim != nil {
			t.Fatalf("provisioned %v: hostRef %+v, claim %+v", provisioned, w.machine("m").Spec.HostRef, w.host("a").Spec.Claim)
		}
	}
}

// The confirmation reads nothing live, so the machine as the cache shows it must be one that may have a host: not one whose
// server ran on another host, and not one that is being deleted.
func TestWhoMayNotHaveAHostConfirmsNone(t *testing.T) {
	for name, spoil := range map[string]func(*world, *v1beta1.Beskar7Machine){
		"provisioned": func(w *world, m *v1beta1.Beskar7Machine) {
			edit(w, m, func(m *v1beta1.Beskar7Machine) { m.Spec.ProviderID = v1beta1.ProviderID(namespace, "b", claimID) })
		},
		"being deleted": func(w *world, m *v1beta1.Beskar7Machine) {
			if err := w.api.Delete(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		},
	} {
		w := newWorld(t, answer(newHost("a"), claimID, 1), newMachine("m"))
		spoil(w, w.machine("m"))
		mustClaim(t, w.confirmer(), request(w.machine("m")), IntentLost)
		if ref := w.machine("m").Spec.HostRef; ref != nil {
			t.Errorf("%s: it confirmed %+v", name, ref)
		}
	}
}

// The confirmation goes to the machine that was read: one that got a hostRef meanwhile keeps it.
func TestAConfirmationDoesNotReplaceAnother(t *testing.T) {
	w := newWorld(t, answer(newHost("a"), claimID, 1), answer(newHost("b"), "00000000000000bb", 1), newMachine("m"))
	p := meanwhile("patch Beskar7Machine", func() {
		edit(w, w.machine("m"), func(m *v1beta1.Beskar7Machine) {
			m.Spec.HostRef = &v1beta1.HostRef{Name: "b", ClaimID: "00000000000000bb"}
		})
	})
	confirmer := NewConfirmer(w.options(p.client(w.api)), func() bool { return true })
	if result := mustClaim(t, confirmer, request(w.machine("m")), Confirmed); result.Host.Name != "b" || w.machine("m").Spec.HostRef.Name != "b" {
		t.Fatalf("host %s, hostRef %+v", result.Host.Name, w.machine("m").Spec.HostRef)
	}
}

// counted counts how often the hosts were ranked for nothing.
type counted struct {
	silent
	noHost *int
}

func (c counted) ClaimAttempted(_, outcome, _ string) { *c.noHost += number(outcome == "no_host") }

// In optimistic mode a freed host wakes one machine of many, the first in the order of claims that it fits; the others cost
// nothing; and if that one takes another host, the next is woken.
func TestAFreedHostWakesOneMachine(t *testing.T) {
	objects := fleet(2, 30, func(i int, m *v1beta1.Beskar7Machine) { m.Spec.Priority = int32(i) })
	w := newWorld(t, objects...)
	for _, name := range []string{"h000", "h001"} {
		edit(w, w.host(name), busy)
	}
	edit(w, w.host("h001"), func(h *v1beta1.PhysicalHost) { h.Spec.Priority = 10 })
	var woken []types.NamespacedName
	ranked := 0
	options := w.options(w.api)
	options.Observer = counted{noHost: &ranked}
	options.Settings = func() Settings { return Settings{Algorithm: hostselection.Priority, RetryLimit: 3} }
	options.Informed, options.Wake = true, func(m types.NamespacedName) { woken = append(woken, m) }
	claimer := NewOptimistic(options)
	for _, name := range []string{"h000", "h001"} {
		claimer.HostChanged(nil, w.host(name))
	}
	claim := func(i int, want Outcome) ClaimResult {
		return mustClaim(t, claimer, request(w.machine(fmt.Sprintf("m%03d", i))), want)
	}
	for i := range 30 {
		claim(i, NoHost)
		claim(i, NoHost)
	}
	if ranked != 30 {
		t.Fatalf("30 machines that wait looked for a host %d times", ranked)
	}
	released := func(name string, want string) {
		t.Helper()
		before := w.host(name)
		edit(w, w.host(name), free)
		if got := claimer.HostChanged(before, w.host(name)); len(got) != 1 || got[0].Name != want {
			t.Fatalf("%s woke %v, want %s", name, got, want)
		}
	}
	released("h000", "m029")
	released("h001", "m028")
	if got := claim(29, Claimed).Host.Name; got != "h001" || len(woken) != 1 || woken[0].Name != "m027" {
		t.Fatalf("m029 took %s instead of the better host; woken for the other: %v", got, woken)
	}
	free := w.host("h001")
	free.Spec.Claim, free.ResourceVersion = nil, "1"
	claimer.HostChanged(free, w.host("h001")) // it is taken now, and wakes nobody any more
	if got := claim(28, Claimed).Host.Name; got != "h000" || len(woken) != 1 {
		t.Fatalf("m028 took %s; woken: %v", got, woken)
	}
	claimer.Forget(types.NamespacedName{Namespace: namespace, Name: "m027"})
}

// What is told of a wait is told again only if a reason comes or goes, not for every number.
func TestTheSentenceStaysWhileItsReasonsDo(t *testing.T) {
	w := newWorld(t, fleet(3, 1, nil)...)
	edit(w, w.host("h000"), busy)
	edit(w, w.host("h001"), busy)
	edit(w, w.host("h002"), func(h *v1beta1.PhysicalHost) { h.Spec.Maintenance = true })
	options := w.options(w.api)
	options.Informed = true
	claimer := NewOptimistic(options)
	for _, name := range []string{"h000", "h001", "h002"} {
		claimer.HostChanged(nil, w.host(name))
	}
	says := func() string { return mustClaim(t, claimer, request(w.machine("m000")), NoHost).Diagnosis.Message() }
	first := says()
	change := func(name string, to func(*v1beta1.PhysicalHost)) {
		before := w.host(name)
		edit(w, w.host(name), to)
		claimer.HostChanged(before, w.host(name))
	}
	change("h001", func(h *v1beta1.PhysicalHost) { h.Spec.Claim, h.Spec.Maintenance = nil, true })
	if now := says(); now != first {
		t.Fatalf("%q became %q", first, now)
	}
	change("h001", func(h *v1beta1.PhysicalHost) {
		h.Spec.Quarantine = &v1beta1.Quarantine{Reason: "X"}
		h.Spec.Maintenance = false
	})
	if now := says(); now == first || !strings.Contains(now, "quarantined") {
		t.Fatalf("a new reason is not told: %q", now)
	}
	w.clock.SetTime(w.clock.Now().Add(time.Hour))
	if now := says(); !strings.Contains(now, "quarantined") {
		t.Fatal(now)
	}
}

// A machine whose claims fail one after the other, in optimistic mode, keeps the host that woke it from nobody: each failure wakes
// one more.
func TestAFailingClaimPassesTheHostOn(t *testing.T) {
	w := newWorld(t, fleet(1, 3, func(i int, m *v1beta1.Beskar7Machine) { m.Spec.Priority = int32(i) })...)
	edit(w, w.host("h000"), busy)
	refused := &port{next: func(what string) fault {
		if strings.Contains(what, "m002") {
			return failBefore
		}
		return fine
	}}
	var woken []string
	options := w.options(refused.client(w.api))
	options.Informed, options.Wake = true, func(m types.NamespacedName) { woken = append(woken, m.Name) }
	claimer := NewOptimistic(options)
	claimer.HostChanged(nil, w.host("h000"))
	for i := range 3 {
		mustClaim(t, claimer, request(w.machine(fmt.Sprintf("m%03d", i))), NoHost)
	}
	before := w.host("h000")
	edit(w, w.host("h000"), free)
	if got := claimer.HostChanged(before, w.host("h000")); len(got) != 1 || got[0].Name != "m002" {
		t.Fatalf("the host woke %v", got)
	}
	for i, want := range []string{"[m001]", "[m001 m000]", "[m001 m000]"} {
		if _, err := claimer.Claim(t.Context(), request(w.machine("m002"))); err == nil {
			t.Fatal("its claims were to fail")
		}
		if got := fmt.Sprint(woken); got != want {
			t.Fatalf("after %d failures it woke %s, want %s", i+1, got, want)
		}
	}
	mustClaim(t, claimer, request(w.machine("m001")), Claimed)
}
