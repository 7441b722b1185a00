package controllers

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sigs.k8s.io/cluster-api/util/conditions"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

// D14: a bound Live host that is found off has lost its system. It is left off, and its machine says what to do: the bootstrap
// data were good for one boot.
func TestALiveSystemThatLostItsPowerIsLeftOff(t *testing.T) {
	for _, policy := range []v1beta1.PowerPolicy{"", v1beta1.PowerPolicyKeepOn, v1beta1.PowerPolicyObserve} {
		synctest.Test(t, func(t *testing.T) {
			h := claimedHost()
			h.Spec.PowerPolicy = policy
			r := newLifeRig(t, redfish.PowerOff, h)
			r.booted(1)
			hash := r.bind().Spec.Claim.Media.TokenHash
			r.bmc.CutPower()
			now := r.rest(2 * time.Hour)
			if got := r.bmc.Changes(); !slices.Equal(got, wholeBoot) {
				t.Fatalf("policy %q: its BMC was asked for %v", policy, got)
			}
			if now.Status.State != v1beta1.StateLost || now.Spec.Claim.Media.TokenHash != hash || r.served(hash) {
				t.Errorf("policy %q: state %s, claim %+v, data served %v", policy, now.Status.State, now.Spec.Claim, r.served(hash))
			}
			says(t, now, v1beta1.ReasonSystemLost, "lost its system", replaceIt, "spec.powerPolicy AlwaysOn")
			r.machineSays(v1beta1.ReasonSystemLost, "PhysicalHost h: lost its system", replaceIt)
		})
	}
}

// One reading of Off takes no system from its machine, whatever its owner wants done with a server that is off.
func TestOneReadingLosesNoSystem(t *testing.T) {
	for name, change := range map[string]func(*v1beta1.PhysicalHost){
		"live": func(*v1beta1.PhysicalHost) {},
		"in maintenance": func(h *v1beta1.PhysicalHost) {
			h.Spec.Boot.BootMode, h.Spec.Maintenance = v1beta1.BootModeInstall, true
		},
		"installed, left off": func(h *v1beta1.PhysicalHost) {
			h.Spec.Boot.BootMode, h.Spec.PowerPolicy = v1beta1.BootModeInstall, v1beta1.PowerPolicyObserve
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := boundHost()
				change(h)
				r := newLifeRig(t, redfish.PowerOn, h)
				r.settle()
				r.lookAtMachine(3)
				reads := 0
				r.bmc.SetFault(func(_ context.Context, op redfishfake.Op) error {
					if op == redfishfake.OpState {
						reads++
						r.bmc.SetPowerState(map[bool]redfish.PowerState{true: redfish.PowerOff, false: redfish.PowerOn}[reads == 1])
					}
					return nil
				})
				r.pass(2 * pollBound)
				for range 10 {
					r.look(1)
					r.lookAtMachine(1)
					m := &v1beta1.Beskar7Machine{}
					if r.get(m, "m"); !conditions.IsTrue(m, v1beta1.ReadyCondition) || r.getHost().Status.State != v1beta1.StateProvisioned {
						t.Fatalf("host %s, machine %+v", r.getHost().Status.State, conditions.Get(m, v1beta1.ReadyCondition))
					}
					synctest.Wait()
				}
				if reads < 2 || len(r.bmc.Changes()) > 0 {
					t.Errorf("read %d times, changed %v", reads, r.bmc.Changes())
				}
			})
		})
	}
}

// The owner's word that an image bears another boot: the old medium goes out, a new one with the data comes in, and the data are
// served for that one boot alone, to nobody before or after.
func TestALiveSystemBootsAgainOnItsOwnersWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := claimedHost()
		h.Spec.PowerPolicy = v1beta1.PowerPolicyAlwaysOn
		r := newLifeRig(t, redfish.PowerOff, h)
		first := r.booted(1).Spec.Claim.Media.TokenHash
		if !r.served(first) {
			t.Error("the first boot is not served its data")
		}
		bound := r.bind()
		if r.served(first) || bound.Spec.Claim.Media.DataUntil != nil {
			t.Errorf("bound, and its data are served: %v, %v", r.served(first), bound.Spec.Claim.Media.DataUntil)
		}
		if later := r.rest(10 * time.Minute); later.Spec.Claim.Media.TokenHash != first {
			t.Error("a system that runs got another grant")
		}
		r.bmc.CutPower()
		now := r.until("booted again", func(h *v1beta1.PhysicalHost) bool {
			return h.Spec.Claim.Media.TokenHash != first && r.power() == redfish.PowerOn && h.Status.Power == "On"
		})
		again := append(slices.Clone(wholeBoot), redfishfake.OpEject, redfishfake.OpEject)
		if got := r.bmc.Changes(); !slices.Equal(got, append(again, wholeBoot...)) {
			t.Errorf("its BMC was asked for %v", got)
		}
		grant := now.Spec.Claim.Media
		if grant.DataUntil == nil || grant.DataUntil.Sub(r.clock.Now()) > bootsOfAnother*defaultBootTimeout || !now.Spec.Claim.Bound {
			t.Fatalf("claim %+v, grant %+v", now.Spec.Claim, grant)
		}
		if !r.served(grant.TokenHash) || r.served(first) {
			t.Errorf("the data are served to this boot: %v, by the old URL: %v", r.served(grant.TokenHash), r.served(first))
		}
		if !conditions.IsTrue(now, v1beta1.ReadyCondition) {
			t.Errorf("it runs again, and says %q", conditions.GetMessage(now, v1beta1.ReadyCondition))
		}
		now = r.rest(bootsOfAnother * defaultBootTimeout)
		if r.served(grant.TokenHash) || now.Spec.Claim.Media.TokenHash != grant.TokenHash {
			t.Error("the data are served after the time of that boot")
		}
		if got := r.bmc.Changes(); !slices.Equal(got, append(again, wholeBoot...)) {
			t.Errorf("what runs was touched: %v", got)
		}
	})
}

// A grant for another boot whose time passes before the server can be powered on is replaced: the boot that comes has its data.
func TestAnotherBootThatIsLateHasItsData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := claimedHost()
		h.Spec.PowerPolicy = v1beta1.PowerPolicyAlwaysOn
		r := newLifeRig(t, redfish.PowerOff, h)
		first := r.booted(1).Spec.Claim.Media.TokenHash
		r.bind()
		refuses := atomic.Bool{}
		refuses.Store(true)
		r.bmc.SetFault(func(_ context.Context, op redfishfake.Op) error {
			if op == redfishfake.OpReset && refuses.Load() {
				return &redfish.Error{Kind: redfish.KindBusy, Op: string(op), Message: "updating the firmware"}
			}
			return nil
		})
		r.bmc.CutPower()
		late := r.until("granted again", func(h *v1beta1.PhysicalHost) bool { return h.Spec.Claim.Media.TokenHash != first }).Spec.Claim.Media
		r.rest(2 * defaultBootTimeout)
		refuses.Store(false)
		r.until("booted again", func(*v1beta1.PhysicalHost) bool { return r.power() == redfish.PowerOn })
		now := r.getHost().Spec.Claim.Media
		if now.TokenHash == late.TokenHash || !r.served(now.TokenHash) || r.served(late.TokenHash) || r.served(first) {
			t.Errorf("the data are served by the present URL: %v, by the late one: %v, by the first: %v", r.served(now.TokenHash), r.served(late.TokenHash), r.served(first))
		}
	})
}

// Whatever keeps a granted server from its power-on for how long: once it runs, its data are open for as long as a boot may take.
func TestNoDataEndInMidBoot(t *testing.T) {
	for _, late := range []time.Duration{0, defaultBootTimeout / 2, defaultBootTimeout - time.Minute, defaultBootTimeout + time.Minute, 2*defaultBootTimeout - time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			h := claimedHost()
			h.Spec.PowerPolicy = v1beta1.PowerPolicyAlwaysOn
			r := newLifeRig(t, redfish.PowerOff, h)
			first := r.booted(1).Spec.Claim.Media.TokenHash
			r.bind()
			refuses := atomic.Bool{}
			refuses.Store(true)
			r.bmc.SetFault(func(_ context.Context, op redfishfake.Op) error {
				if op == redfishfake.OpReset && refuses.Load() {
					return &redfish.Error{Kind: redfish.KindBusy, Op: string(op), Message: "updating the firmware"}
				}
				return nil
			})
			r.bmc.CutPower()
			r.until("granted again", func(h *v1beta1.PhysicalHost) bool { return h.Spec.Claim.Media.TokenHash != first })
			r.rest(late)
			refuses.Store(false)
			now := r.until("booted again", func(*v1beta1.PhysicalHost) bool { return r.power() == redfish.PowerOn }).Spec.Claim.Media
			if left := now.DataUntil.Sub(r.clock.Now()); left < defaultBootTimeout-time.Minute || !r.served(now.TokenHash) {
				t.Errorf("%s late: its data are open for another %s, served %v", late, left, r.served(now.TokenHash))
			}
		})
	}
}
