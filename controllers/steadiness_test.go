package controllers

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

// A BMC that restarts says "off" of a running server for some seconds. The two readings that are to agree follow each other at once.
func TestTwoReadingsInOneMomentAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRunningRig(t, redfishfake.New(redfishfake.Options{Power: redfish.PowerOn}), boundHost(), newMachine(), newOwner(), newCluster(), newSecret("bmc"))
		h := r.settle()
		if err := r.bmc.Reset(t.Context(), redfish.ResetForceOff); err != nil {
			t.Fatal(err)
		}
		var read time.Time
		for range 1000 {
			r.pass(time.Second)
			synctest.Wait()
			if o, _ := r.host.Actuator.Observed(key(h)); o.State.Power == redfish.PowerOff {
				read = time.Now()
				break
			}
		}
		h = r.settle()
		if h.Status.State == v1beta1.StateLost && time.Since(read) < 5*time.Second {
			t.Errorf("lost %s after the first reading of off", time.Since(read))
		}
	})
}

// The same lie, and an AlwaysOn host: its medium is taken out from under the system that runs from it.
func TestALieOfASecondTakesNoMedium(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := boundHost()
		h.Spec.PowerPolicy = v1beta1.PowerPolicyAlwaysOn
		url := "https://media.example/m/" + "x" + "/boot.iso"
		r := newRunningRig(t, redfishfake.New(redfishfake.Options{Power: redfish.PowerOn}), h, newMachine(), ownerMachine(), newCluster(), bootstrapSecret(), newSecret("bmc"))
		slots, err := r.bmc.Slots(t.Context())
		if err != nil || len(slots) == 0 {
			t.Fatal("no slots", err)
		}
		if err := r.bmc.Insert(t.Context(), slots[0].ID, url); err != nil {
			t.Fatal(err)
		}
		r.host.MediaURL, r.host.Media = "https://media.example", &readyMedia{}
		r.settle()
		before := len(r.bmc.Changes())
		if err := r.bmc.Reset(t.Context(), redfish.ResetForceOff); err != nil {
			t.Fatal(err)
		}
		var read time.Time
		for range 1000 {
			r.pass(time.Second)
			synctest.Wait()
			if o, _ := r.host.Actuator.Observed(key(h)); o.State.Power == redfish.PowerOff {
				read = time.Now()
				break
			}
		}
		h = r.settle()
		t.Logf("state %s, changes %v, %s after the first reading of off; %v %v", h.Status.State, r.bmc.Changes()[before:], time.Since(read), h.Status.Operation, h.Status.Power)
		for _, op := range r.bmc.Changes()[before:] {
			if op == redfishfake.OpEject {
				t.Errorf("ejected %s after the first reading of off", time.Since(read))
			}
		}
	})
}

type readyMedia struct{}

func (*readyMedia) Prepare(context.Context, string, string) (bootmedia.Prepared, error) {
	return bootmedia.Prepared{Ready: true, Pin: bootmedia.Pin{Length: 1 << 20}}, nil
}
func (*readyMedia) Again(string) {}
