package controllers

import (
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"sigs.k8s.io/cluster-api/util/conditions"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

// newRow is a host whose server switches itself off soon after each boot, of which there may be most in a row.
func newRow(t *testing.T, most int) *lifeRig {
	t.Helper()
	r := newLifeRig(t, redfish.PowerOff, claimedHost())
	r.host.MaxBoots = func() int { return most }
	return r
}

// dies lets the n-th boot of the row come, and the server switch itself off.
func (r *lifeRig) dies(n int32) *v1beta1.PhysicalHost {
	r.t.Helper()
	r.booted(n)
	r.pass(10 * time.Second)
	r.settle()
	r.bmc.CutPower()
	r.host.Actuator.RetryNow(namespace + "/h") // a poll, as comes within half a minute
	return r.until("off", func(h *v1beta1.PhysicalHost) bool {
		return h.Status.Power == "Off" && h.Status.Booted.OffAt != nil
	})
}

// boots counts the power-ons that the BMC was asked for.
func (r *lifeRig) boots() int {
	n := 0
	for _, op := range r.bmc.Changes() {
		if op == redfishfake.OpReset {
			n++
		}
	}
	return n
}

// spent is a row that came to its end.
func (r *lifeRig) spent(most int) *v1beta1.PhysicalHost {
	r.t.Helper()
	for n := range most {
		r.dies(int32(n + 1)) //nolint:gosec // a few
	}
	return r.ended(most)
}

// ended wants a row of n boots to be the end of it.
func (r *lifeRig) ended(n int) *v1beta1.PhysicalHost {
	r.t.Helper()
	before := r.boots()
	h := r.rest(2 * longestPause)
	if h.Status.State != v1beta1.StateBootFailed || r.boots() != before || h.Status.Attempts != int32(n) || h.Status.NextAttempt != nil { //nolint:gosec // a few
		r.t.Fatalf("state %s after %d boots, %d since; attempts %d, the next at %v", h.Status.State, r.boots(), r.boots()-before, h.Status.Attempts, h.Status.NextAttempt)
	}
	says(r.t, h, v1beta1.ReasonBootFailed, "switched itself off", "after "+strconv.Itoa(n)+" boots", "provisioning.maxBoots", v1beta1.RetryNowAnnotation, replaceIt)
	r.machineSays(v1beta1.ReasonBootFailed, replaceIt)
	return h
}

// D8: a server that switches itself off is booted ever less often, which shows, and not for ever.
func TestBootsWithoutASignOfLifeBackOffAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 4
		r := newRow(t, most)
		var pauses []time.Duration
		for n := int32(1); n < most; n++ {
			h := r.dies(n)
			b := h.Status.Booted
			if h.Status.Attempts != n || h.Status.NextAttempt == nil || h.Status.Operation == nil || h.Status.Operation.Phase != phaseBackingOff {
				t.Fatalf("after boot %d: attempts %d, the next at %v, operation %+v", n, h.Status.Attempts, h.Status.NextAttempt, h.Status.Operation)
			}
			says(t, h, v1beta1.ReasonSwitchedOff, "switched itself off", "after its last boot", "status.nextAttempt")
			r.machineSays(v1beta1.ReasonSwitchedOff)
			next := r.booted(n + 1).Status.Booted
			if next.At.Before(h.Status.NextAttempt) || next.At.Sub(h.Status.NextAttempt.Time) > time.Minute {
				t.Errorf("boot %d came at %s, shown was %s", n+1, next.At, h.Status.NextAttempt)
			}
			if !next.First.Equal(&b.First) {
				t.Errorf("the row began at %s, and then at %s", b.First, next.First)
			}
			pauses = append(pauses, h.Status.NextAttempt.Sub(b.At.Time))
		}
		if want := []time.Duration{firstPause, 2 * firstPause, 4 * firstPause}; !slices.Equal(pauses, want) {
			t.Errorf("pauses %v, want %v", pauses, want)
		}
		r.dies(most)
		r.ended(most)
		if r.boots() != most {
			t.Errorf("%d boots", r.boots())
		}
	})
}

// The row is counted in status: the next process goes on where the one before was.
func TestARowOfBootsOutlivesItsProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRow(t, 3)
		r.dies(1)
		r.restart()
		r.dies(2)
		r.restart()
		h := r.settle()
		if h.Status.Booted.Count != 2 {
			t.Fatalf("after a restart: %+v", h.Status.Booted)
		}
		r.dies(3)
		r.ended(3)
		r.restart()
		r.ended(3)
		if r.boots() != 3 {
			t.Errorf("%d boots", r.boots())
		}
	})
}

// A person who changes something, or asks for it, gets a whole row of boots again; one that was answered asks for nothing more.
func TestARowOfBootsBeginsAnew(t *testing.T) {
	for name, change := range map[string]func(*v1beta1.PhysicalHost){
		"retry-now": func(h *v1beta1.PhysicalHost) { h.Annotations = map[string]string{v1beta1.RetryNowAnnotation: "1"} },
		"spec":      func(h *v1beta1.PhysicalHost) { h.Spec.FailureDomain = "rack-1" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRow(t, 2)
				r.spent(2)
				edit(r.rig, &v1beta1.PhysicalHost{}, "h", change)
				r.spent(2)
				if r.boots() != 4 {
					t.Errorf("%d boots", r.boots())
				}
			})
		})
	}
}

// What is written into spec by us, or a label, is no word of the owner.
func TestALabelIsNoReasonToBootAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRow(t, 2)
		r.spent(2)
		edit(r.rig, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { h.Labels = map[string]string{"rack": "1"} })
		r.ended(2)
	})
}

// A sign of life ends the row: a bound system that lost its power later begins with a new count.
func TestASignOfLifeEndsTheRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := claimedHost()
		h.Spec.PowerPolicy = v1beta1.PowerPolicyAlwaysOn
		r := newLifeRig(t, redfish.PowerOff, h)
		r.host.MaxBoots = func() int { return 2 }
		r.dies(1)
		r.booted(2)
		now := r.bind()
		if now.Status.Booted.Count != 0 || !conditions.IsTrue(now, v1beta1.ReadyCondition) {
			t.Fatalf("bound: %+v", now.Status.Booted)
		}
		r.bmc.CutPower()
		now = r.booted(1)
		if now.Status.State != v1beta1.StateProvisioned || !now.Spec.Claim.Bound {
			t.Errorf("state %s", now.Status.State)
		}
	})
}
