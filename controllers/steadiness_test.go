package controllers

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

// falselyOff has the BMC say "off" of a running server, and ends with the first reading of it.
func (r *runningRig) falselyOff(t *testing.T) (read time.Time) {
	t.Helper()
	name := key(r.getHost())
	if err := r.bmc.Reset(t.Context(), redfish.ResetForceOff); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		r.pass(time.Second)
		synctest.Wait()
		if o, _ := r.host.Actuator.Observed(name); o.State.Power == redfish.PowerOff {
			return time.Now()
		}
	}
	t.Fatal("off was never read")
	return read
}

// A BMC that restarts says "off" of a running server for some seconds. The two readings that are to agree follow each other at once.
func TestTwoReadingsInOneMomentAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bmc := redfishfake.New(redfishfake.Options{Power: redfish.PowerOn})
		r := newRunningRig(t, bmc, boundHost(), newMachine(), newOwner(), newCluster(), newSecret("bmc"))
		r.settle()
		read := r.falselyOff(t)
		if h := r.settle(); h.Status.State == v1beta1.StateLost && time.Since(read) < 5*time.Second {
			t.Errorf("lost %s after the first reading of off", time.Since(read))
		}
		r.pass(time.Hour)
		if h := r.settle(); h.Status.State != v1beta1.StateLost {
			t.Errorf("%s after an hour of off", h.Status.State)
		}
	})
}

// The same lie, and an AlwaysOn host: its medium is taken out from under the system that runs from it.
func TestALieOfASecondTakesNoMedium(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := boundHost()
		h.Spec.PowerPolicy = v1beta1.PowerPolicyAlwaysOn
		bmc := redfishfake.New(redfishfake.Options{Power: redfish.PowerOn})
		r := newRunningRig(t, bmc, h, newMachine(), ownerMachine(), newCluster(), bootstrapSecret(), newSecret("bmc"))
		slots, err := r.bmc.Slots(t.Context())
		if err != nil || len(slots) == 0 {
			t.Fatal("no slots", err)
		}
		if err := r.bmc.Insert(t.Context(), slots[0].ID, "https://media.example/m/x/boot.iso"); err != nil {
			t.Fatal(err)
		}
		r.host.MediaURL, r.host.Media = "https://media.example", &readyMedia{}
		r.settle()
		before := len(r.bmc.Changes())
		read := r.falselyOff(t)
		r.settle()
		if slices.Contains(r.bmc.Changes()[before:], redfishfake.OpEject) {
			t.Errorf("ejected %s after the first reading of off", time.Since(read))
		}
	})
}

type readyMedia struct{}

func (*readyMedia) Prepare(context.Context, string, string) (bootmedia.Prepared, error) {
	return bootmedia.Prepared{Ready: true, Pin: bootmedia.Pin{Length: 1 << 20}}, nil
}
func (*readyMedia) Again(string) {}
