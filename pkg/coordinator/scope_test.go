package coordinator

import (
	"testing"
	"testing/synctest"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// ofMine is Options.Owned of a manager whose hosts have a label.
func ofMine(host client.Object) bool { return host.GetLabels()["manager"] == "mine" }

func labelled(host *v1beta1.PhysicalHost, manager string) *v1beta1.PhysicalHost {
	host.Labels = map[string]string{"manager": manager}
	return host
}

// Hosts of another manager are no candidates, whichever way a claimer learns of them.
func TestHostsOfAnotherManagerAreNotClaimed(t *testing.T) {
	for _, informed := range []bool{false, true} {
		w := newWorld(t, labelled(newHost("a"), "others"), newHost("b"), newMachine("m"))
		options := w.options(w.api)
		options.Owned, options.Informed = ofMine, informed
		claimer := NewOptimistic(options)
		claimer.HostChanged(nil, w.host("a"))
		claimer.HostChanged(nil, w.host("b"))
		mustClaim(t, claimer, request(w.machine("m")), NoHost)
		before := w.host("b")
		edit(w, w.host("b"), func(h *v1beta1.PhysicalHost) { labelled(h, "mine") })
		woken := claimer.HostChanged(before, w.host("b"))
		if informed && len(woken) != 1 {
			t.Errorf("a host that became this manager's woke %v", woken)
		}
		if result := mustClaim(t, claimer, request(w.machine("m")), Claimed); result.Host.Name != "b" {
			t.Errorf("informed %v: claimed %s", informed, result.Host.Name)
		}
	}
}

// A host that another manager took over is none, however late that is seen.
func TestAHostThatWasHandedOverIsNotClaimed(t *testing.T) {
	handOver := func(w *world) { edit(w, w.host("a"), func(h *v1beta1.PhysicalHost) { labelled(h, "others") }) }
	w := newWorld(t, labelled(newHost("a"), "mine"), newMachine("m"))
	options := w.options(w.api)
	options.Owned, options.Informed = ofMine, true
	claimer := NewOptimistic(options)
	before := w.host("a")
	claimer.HostChanged(nil, before)
	handOver(w)
	claimer.HostChanged(before, w.host("a"))
	mustClaim(t, claimer, request(w.machine("m")), NoHost)

	w = newWorld(t, labelled(newHost("a"), "mine"), newMachine("m"))
	p := meanwhile("patch PhysicalHost", func() { handOver(w) })
	options = w.options(p.client(w.api))
	options.Owned = ofMine
	mustClaim(t, NewOptimistic(options), request(w.machine("m")), Contended)
	if claim := w.host("a").Spec.Claim; claim != nil {
		t.Errorf("it was claimed: %+v", claim)
	}
}

func TestTheArbiterClaimsNoHostOfAnotherManager(t *testing.T) {
	c := newCourt(t, labelled(newHost("a"), "others"), labelled(newHost("b"), "mine"), newMachine("m"), newMachine("n"), newMachine("o"))
	c.owned = ofMine
	c.sit(func() {
		synctest.Wait()
		c.tell("a", func(h *v1beta1.PhysicalHost) { h.Annotations = map[string]string{"changed": "something"} })
		if claims := c.claims(); len(claims) != 1 || claims["b"] == "" {
			t.Errorf("claims %v", claims)
		}
		c.tell("a", func(h *v1beta1.PhysicalHost) { labelled(h, "mine") })
		if claims := c.claims(); len(claims) != 2 {
			t.Errorf("once both are this manager's: claims %v", claims)
		}
	})
}

// What an old event shows of a host may be so no longer.
func TestAnOldEventTakesNoHostAway(t *testing.T) {
	w := newWorld(t, labelled(newHost("a"), "mine"), newMachine("m"))
	options := w.options(w.api)
	options.Owned = ofMine
	arbiter := NewArbiter(ArbiterOptions{Options: options})
	stale := labelled(newHost("a"), "others")
	arbiter.term = &term{Arbiter: arbiter, view: newView(""), queue: newQueue()}
	arbiter.term.view.set(w.host("a"))
	stale.ResourceVersion = "1"
	arbiter.HostChanged(stale)
	if len(arbiter.term.view.hosts) != 1 {
		t.Error("the host is gone")
	}
	handed := labelled(w.host("a"), "others")
	handed.ResourceVersion = "999999"
	arbiter.HostChanged(handed)
	if len(arbiter.term.view.hosts) != 0 {
		t.Error("a host that was handed over is still there")
	}
}
