package controllers

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

// spare is a host that a machine can claim.
func spare() *v1beta1.PhysicalHost {
	h := newHost()
	h.ObjectMeta = named("spare")
	h.Spec.RedfishConnection.Address = "https://192.0.2.2"
	h.Status.State, h.Status.Hardware, h.Status.BMC = v1beta1.StateAvailable, &v1beta1.Hardware{SerialNumber: "SPARE1"}, &v1beta1.BMCReport{SystemID: "1"}
	conditions.Set(h, metav1.Condition{Type: v1beta1.AvailableCondition, Status: metav1.ConditionTrue, Reason: v1beta1.ReasonAvailable})
	return h
}

// D12: a claimed host that its owner powered on, before anything of ours was in it, is given up in one write, running and
// untouched; its machine looks for another one.
func TestAHostThatItsOwnerPoweredOnIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLifeRig(t, redfish.PowerOn, claimedHost(), spare())
		recorder := events.NewFakeRecorder(100)
		r.host.Events = recorder
		writes := 0
		r.host.Client = interceptor.NewClient(r.api, interceptor.Funcs{
			Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
				before := r.getHost()
				err := c.Patch(ctx, o, p, opts...)
				if after := r.getHost(); (before.Spec.Claim == nil) != (after.Spec.Claim == nil) || (before.Spec.Boot == nil) != (after.Spec.Boot == nil) {
					if writes++; after.Spec.Claim != nil || after.Spec.Boot != nil {
						t.Errorf("between two writes: claim %+v, boot %+v", after.Spec.Claim, after.Spec.Boot)
					}
				}
				return err
			}})
		r.until("given up", func(h *v1beta1.PhysicalHost) bool { return h.Spec.Claim == nil })
		now := r.settle()
		if now.Spec.Boot != nil || writes != 1 || now.Spec.LastTenant != nil || now.Spec.Quarantine != nil {
			t.Errorf("after %d writes: %+v", writes, now.Spec)
		}
		if got := r.bmc.Changes(); len(got) > 0 {
			t.Fatalf("its BMC was asked for %v", got)
		}
		if now.Status.State != v1beta1.StatePoweredOn || conditions.IsTrue(now, v1beta1.AvailableCondition) {
			t.Errorf("state %s", now.Status.State)
		}
		told := false
		for len(recorder.Events) > 0 {
			told = strings.Contains(<-recorder.Events, "the claim is given up, and the machine looks for another host") || told
		}
		if !told {
			t.Error("no event says it")
		}
		m := &v1beta1.Beskar7Machine{}
		r.lookAtMachine(6)
		if r.get(m, "m"); m.Spec.HostRef == nil || m.Spec.HostRef.Name != "spare" || m.Spec.HostRef.ClaimID == claimID {
			t.Fatalf("the machine names %+v", m.Spec.HostRef)
		}
		other := &v1beta1.PhysicalHost{}
		if r.get(other, "spare"); !other.ClaimedBy(m) {
			t.Errorf("the other host's claim: %+v", other.Spec.Claim)
		}
	})
}

// Without another host the machine waits for one, and names the lost one no more.
func TestAMachineWhoseHostWasGivenUpWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLifeRig(t, redfish.PowerOn, claimedHost())
		r.until("given up", func(h *v1beta1.PhysicalHost) bool { return h.Spec.Claim == nil })
		r.settle()
		r.machineSays(v1beta1.ReasonNoHostAvailable, "0/1 hosts available")
		m := &v1beta1.Beskar7Machine{}
		if r.get(m, "m"); m.Spec.HostRef != nil {
			t.Errorf("it names %+v", m.Spec.HostRef)
		}
	})
}

// One reading of On is not believed: the host is booted as it was to be.
func TestOneReadingGivesNoHostUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLifeRig(t, redfish.PowerOn, claimedHost())
		read := 0
		r.bmc.SetFault(func(_ context.Context, op redfishfake.Op) error {
			if op == redfishfake.OpState {
				if read++; read == 2 {
					r.bmc.CutPower() // the first reading was a slip
				}
			}
			return nil
		})
		now := r.booted(1)
		if now.Spec.Claim == nil || now.Spec.Claim.ID != claimID || !slices.Equal(r.bmc.Changes(), wholeBoot) {
			t.Errorf("claim %+v, changes %v", now.Spec.Claim, r.bmc.Changes())
		}
	})
}

// A claim that was granted media is not given up, whether this process sees the grant or the API server alone: what runs may be
// what we booted. It is left as it is, and the host says so.
func TestAGrantedHostIsNotGivenUp(t *testing.T) {
	for _, seen := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			granted, record := grantedHost(t)
			h := granted.DeepCopy()
			if !seen {
				h.Spec.Claim.Media = nil
			}
			r := newLifeRig(t, redfish.PowerOn, h, record)
			if !seen {
				r.host.Reader = interceptor.NewClient(r.api, interceptor.Funcs{
					Get: func(ctx context.Context, c client.WithWatch, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
						err := c.Get(ctx, k, o, opts...)
						if live, ok := o.(*v1beta1.PhysicalHost); ok && err == nil && live.Spec.Claim != nil {
							live.Spec.Claim.Media = granted.Spec.Claim.Media.DeepCopy()
						}
						return err
					}})
			}
			now := r.rest(10 * time.Minute)
			if now.Spec.Claim == nil || now.Spec.Boot == nil || len(r.bmc.Changes()) > 0 {
				t.Fatalf("grant seen %v: claim %+v, changes %v", seen, now.Spec.Claim, r.bmc.Changes())
			}
			if seen {
				says(t, now, v1beta1.ReasonRunningUnknown, "left as it is", replaceIt)
			}
		})
	}
}
