package coordinator

import (
	"fmt"
	"testing"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// Every request of a claim fails once, before or after it was applied, or is applied much later; whoever comes next, the same
// process or a new one, reaches the same end: one host, named by both sides, and no trace on any other host but an inert claim.
func TestClaimResumesAfterAFaultAtAnyRequest(t *testing.T) {
	for _, restart := range []bool{false, true} {
		for _, kind := range []fault{failBefore, failAfter, delay} {
			for nth := 1; ; nth++ {
				if !claimWithFault(t, kind, nth, restart) {
					if nth < 5 {
						t.Fatalf("a claim made only %d requests", nth-1)
					}
					break
				}
			}
		}
	}
}

// claimWithFault says whether there was an nth request.
func claimWithFault(t *testing.T, kind fault, nth int, restart bool) bool {
	t.Helper()
	w := newWorld(t, newHost("a"), newHost("b"), newHost("c"), newMachine("m"))
	requests, story := 0, ""
	var delayed func() error
	p := &port{
		next: func(what string) fault {
			if requests++; requests == nth {
				story = fmt.Sprintf("fault %d (restart %v) at request %d: %s", kind, restart, nth, what)
				return kind
			}
			return fine
		},
		later: func(_ string, write func() error) { delayed = write },
	}
	claimer := NewOptimistic(w.options(p.client(w.api)))
	_, failed := claimer.Claim(t.Context(), request(w.machine("m")))
	if requests < nth {
		return false
	}
	if failed == nil {
		t.Fatalf("%s: no error", story)
	}
	if restart {
		claimer = w.claimer()
	}
	var result ClaimResult
	for range 3 {
		result, _ = claimer.Claim(t.Context(), request(w.machine("m")))
	}
	if delayed != nil {
		_ = delayed() // conflicts, or writes what is there already
	}
	machine := w.machine("m")
	if result.Outcome != Confirmed || machine.Spec.HostRef == nil || !w.host(machine.Spec.HostRef.Name).ClaimedBy(machine) {
		t.Fatalf("%s: outcome %s, hostRef %+v", story, result.Outcome, machine.Spec.HostRef)
	}
	for _, name := range []string{"a", "b", "c"} {
		if host := w.host(name); name != machine.Spec.HostRef.Name && host.Spec.Claim != nil {
			t.Fatalf("%s: host %s has claim %+v too", story, name, host.Spec.Claim)
		}
	}
	return true
}

// The same for giving a host back: no fault may lose the mark or say done too early.
func TestMarkReleaseSurvivesAFaultAtAnyRequest(t *testing.T) {
	for _, kind := range []fault{failBefore, failAfter, delay} {
		for nth := 1; ; nth++ {
			w := newWorld(t, newHost("a"), newMachine("m"))
			mustClaim(t, w.claimer(), request(w.machine("m")), Claimed)
			requests := 0
			p := &port{next: func(string) fault {
				if requests++; requests == nth {
					return kind
				}
				return fine
			}}
			access := w.access(p.client(w.api))
			done := false
			for range 10 {
				if host := w.host("a"); host.Spec.Claim != nil && host.Spec.Claim.Release != nil {
					edit(w, host, func(h *v1beta1.PhysicalHost) { h.Spec.Claim, h.Spec.Boot = nil, nil }) // proven off
				}
				var err error
				if done, err = MarkRelease(t.Context(), access, w.machine("m"), "MachineDeleted"); err == nil && done {
					break
				}
			}
			if w.host("a").Spec.Claim != nil || w.machine("m").Spec.HostRef != nil || !done {
				t.Fatalf("fault %d at request %d: done %v, claim %+v, hostRef %+v", kind, nth, done, w.host("a").Spec.Claim, w.machine("m").Spec.HostRef)
			}
			if requests < nth {
				break
			}
		}
	}
}
