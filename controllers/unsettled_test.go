package controllers

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/coordinator"
)

const grace = coordinator.DefaultGrace

// notReleased fails if anything was done about the orphan h.
func (r *rig) notReleased(when string) {
	r.t.Helper()
	host := r.wantState(v1beta1.StateOrphaned)
	if host.Spec.Claim == nil || host.Spec.Claim.Release != nil || host.Spec.Quarantine != nil {
		r.t.Fatalf("%s: claim %+v, quarantine %+v", when, host.Spec.Claim, host.Spec.Quarantine)
	}
	r.idle()
}

// restarted is the next process, which knows what is stored and nothing else.
func (r *rig) restarted(objects ...client.Object) *rig {
	r.t.Helper()
	next := newRig(r.t, append(objects, r.getHost())...)
	next.clock.SetTime(r.clock.Now())
	return next
}

// After an outage of all managers nobody has looked for the machine during the grace time.
func TestTimeWithoutAManagerIsNoGrace(t *testing.T) {
	for name, bound := range map[string]bool{"unbound": false, "bound": true} {
		t.Run(name, func(t *testing.T) {
			h := claimedHost()
			h.Spec.Claim.Bound = bound
			first := newRig(t, h, newCluster(), newSecret("bmc"))
			first.look(3)
			first.notReleased("at first")
			first.sleep(3 * grace)
			second := first.restarted(newCluster(), newSecret("bmc"))
			second.look(3)
			second.notReleased("at the first look after an outage")
			second.sleep(grace)
			second.look(3)
			if host := second.getHost(); !bound && host.Spec.Claim.Release == nil || bound && host.Spec.Quarantine == nil {
				t.Fatalf("after its grace: claim %+v, quarantine %+v", host.Spec.Claim, host.Spec.Quarantine)
			}
		})
	}
}

// A claim that waited long for its confirmation leaves its machine's absence a grace of its own.
func TestAnotherDoubtHasItsOwnGrace(t *testing.T) {
	m := newMachine()
	m.Spec.HostRef, m.Finalizers = nil, nil
	r := newRig(t, claimedHost(), m, newCluster(), newSecret("bmc"))
	r.look(3)
	r.wantState(v1beta1.StateClaimed)
	r.sleep(grace - time.Second)
	if err := r.api.Delete(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	r.look(2)
	r.sleep(2 * time.Second)
	r.look(2)
	r.notReleased("two seconds after the machine went")
	edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { h.Spec.Claim.ID = "fedcba9876543210" })
	r.sleep(grace - time.Second)
	r.look(2)
	r.notReleased("another claim")
}

// A restore brings the Cluster before the machine: only from then on is the machine missed.
func TestTheGraceOfAnOrphanBeginsWithItsCluster(t *testing.T) {
	r := newRig(t, claimedHost(), newSecret("bmc"))
	r.look(2)
	r.sleep(10 * grace)
	r.look(2)
	if err := r.api.Create(t.Context(), newCluster()); err != nil {
		t.Fatal(err)
	}
	r.look(2)
	r.notReleased("the Cluster is there for a moment")
	r.sleep(grace)
	r.look(2)
	if host := r.getHost(); host.Spec.Claim.Release == nil {
		t.Fatal("not released after its grace")
	}
}

// While anything is paused, no grace runs.
func TestAPauseIsNoGrace(t *testing.T) {
	r := newRig(t, claimedHost(), newCluster(), newSecret("bmc"))
	r.look(3)
	edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { h.Spec.Paused = true })
	r.look(1)
	r.sleep(2 * grace)
	edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { h.Spec.Paused = false })
	r.look(2)
	r.notReleased("unpaused a moment ago")
}
