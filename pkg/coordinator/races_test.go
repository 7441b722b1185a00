package coordinator

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

// meanwhile is a port that runs something once, just before the first request that begins with what.
func meanwhile(what string, do func()) *port {
	once := false
	return &port{next: func(request string) fault {
		if !once && strings.HasPrefix(request, what) {
			once = true
			do()
		}
		return fine
	}}
}

// A process that was paused before its write finds that another one gave the machine a different intent: it must not claim,
// although the host still fits.
func TestAnIntentThatWasReplacedMeanwhileClaimsNothing(t *testing.T) {
	w := newWorld(t, newHost("a"), newMachine("m"))
	other := &v1beta1.HostRef{Name: "b", ClaimID: "00000000000000bb"}
	p := meanwhile("patch PhysicalHost", func() {
		edit(w, w.machine("m"), func(m *v1beta1.Beskar7Machine) { m.Spec.HostRef = other })
		edit(w, w.host("a"), func(h *v1beta1.PhysicalHost) { h.Annotations = map[string]string{"changed": "status"} })
	})
	mustClaim(t, NewOptimistic(w.options(p.client(w.api))), request(w.machine("m")), Contended)
	if claim := w.host("a").Spec.Claim; claim != nil || *w.machine("m").Spec.HostRef != *other {
		t.Fatalf("claim %+v, hostRef %+v", claim, w.machine("m").Spec.HostRef)
	}
}

// The claim that is marked must be the one that was looked at.
func TestAClaimThatWasReplacedMeanwhileIsNotMarked(t *testing.T) {
	w := newWorld(t, newHost("a"), newMachine("m"))
	mustClaim(t, w.claimer(), request(w.machine("m")), Claimed)
	p := meanwhile("patch PhysicalHost", func() {
		edit(w, w.host("a"), func(h *v1beta1.PhysicalHost) {
			h.Spec.Claim = &v1beta1.Claim{ID: "00000000000000bb", Machine: "next", Cluster: "c"}
		})
	})
	done, err := MarkRelease(t.Context(), w.access(p.client(w.api)), w.machine("m"), "MachineDeleted")
	if err != nil || !done {
		t.Fatalf("done %v, error %v", done, err)
	}
	if claim := w.host("a").Spec.Claim; claim.Machine != "next" || claim.Release != nil {
		t.Fatalf("claim %+v", claim)
	}
}

func TestAssumedHosts(t *testing.T) {
	host := types.NamespacedName{Namespace: namespace, Name: "a"}
	a := assumedHosts{hosts: map[types.NamespacedName]assumption{}}
	of := func(machine types.UID, owner ...string) *ClaimRequest {
		m := newMachine(string(machine))
		m.UID = machine
		return &ClaimRequest{Machine: m, Cluster: "c", Owner: strings.Join(owner, "")}
	}
	avoided := func(machine types.UID, at time.Time, h *v1beta1.PhysicalHost) (bool, time.Time) {
		names, _, until := a.avoid(hostselection.NewPool(namespace, h), of(machine), at)
		return names["a"], until
	}
	first, again := a.take(host, of("m1"), epoch), a.take(host, of("m1"), epoch)
	if !first || !again || a.take(host, of("m2"), epoch) {
		t.Fatal("a host is assumed for one machine, which may assume it again")
	}
	a.drop(host, "m2")
	if a.take(host, of("m2"), epoch.Add(assumeTime-1)) {
		t.Fatal("another machine dropped it")
	}
	if yes, until := avoided("m2", epoch, newHost("a")); !yes || !until.Equal(epoch.Add(assumeTime)) {
		t.Fatalf("others avoid it: %v until %v", yes, until)
	}
	if yes, _ := avoided("m1", epoch, newHost("a")); yes {
		t.Fatal("its own machine avoids it")
	}
	claimed := newHost("a")
	claimed.Spec.Claim = &v1beta1.Claim{Machine: "m1"}
	avoided("m2", epoch, claimed)
	if yes, _ := avoided("m2", epoch, newHost("a")); yes {
		t.Fatal("still avoided after the cache showed its claim: a released host would be lost for a while")
	}
	a.take(host, of("m1"), epoch)
	if !a.take(host, of("m2"), epoch.Add(assumeTime)) {
		t.Fatal("an assumption does not end")
	}
	a.drop(host, "m2")
	if !a.take(host, of("m3"), epoch) {
		t.Fatal("its own machine cannot drop it")
	}
	a.drop(host, "m3")
	a.take(host, of("m1", "MachineDeployment/md"), epoch)
	pool := hostselection.NewPool(namespace, newHost("a"))
	if _, peers, _ := a.avoid(pool, of("m2", "MachineDeployment/other"), epoch); len(peers) > 0 {
		t.Fatalf("%v assumed for a peer of a machine of another owner", peers)
	}
	if _, peers, _ := a.avoid(pool, of("m2", "MachineDeployment/md"), epoch); !peers["a"] {
		t.Fatal("what is assumed for a peer is not counted as a peer's")
	}
}
