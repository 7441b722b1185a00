package controllers

import (
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/cluster-api/util/conditions"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// machineReady lets the machine look at its host and says whether it is ready.
func (r *lifeRig) machineReady() bool {
	r.t.Helper()
	r.lookAtMachine(3)
	m := &v1beta1.Beskar7Machine{}
	r.get(m, "m")
	return conditions.IsTrue(m, v1beta1.ReadyCondition)
}

// A restart of the manager takes no booted system from its machine: not before its BMC is read again, nor while it is not.
func TestARestartTakesNoBootedSystemFromItsMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLifeRig(t, redfish.PowerOff, claimedHost())
		before := r.booted(1)
		if !r.machineReady() {
			t.Fatal("not ready after its boot")
		}
		r.fail(3, redfish.KindBusy, "503")
		r.restart()
		for range 12 {
			r.look(1)
			if now := r.getHost(); now.Status.State != v1beta1.StateBooting || !r.machineReady() {
				t.Fatalf("state %s, the machine is ready: %v", now.Status.State, r.machineReady())
			}
			synctest.Wait()
		}
		if now := r.getHost(); !now.Status.Booted.At.Equal(&before.Status.Booted.At) || now.Status.HealthScore != nil {
			t.Errorf("boots %+v, health %v", now.Status.Booted, now.Status.HealthScore)
		}
	})
}

// What was known to be off stays the fault of its machine while the next process has not read its BMC.
func TestARestartGivesNoMachineASystemThatIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRow(t, 3)
		r.dies(1)
		r.restart()
		r.look(1)
		says(t, r.getHost(), v1beta1.ReasonSwitchedOff, "switched itself off", "BMC is read")
		r.machineSays(v1beta1.ReasonSwitchedOff)
	})
}

// A boot that its process ordered and did not live to see is counted by the next one: its time runs from when it is seen, it is not
// cut for the one before, and the health of the host pays for one failure.
func TestABootThatNobodySawIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRow(t, 5)
		first := r.dies(1)
		if score := ptr.Deref(first.Status.HealthScore, fullHealth); score != fullHealth/2 {
			t.Fatalf("health %d after one boot", score)
		}
		r.restart()
		r.sleep(defaultBootTimeout) // the manager is away for as long as a boot may take
		if err := r.bmc.Reset(t.Context(), redfish.ResetOn); err != nil {
			t.Fatal(err)
		}
		done := len(r.bmc.Changes())
		now := r.settle()
		b := now.Status.Booted
		if b.Count != 2 || b.OffAt != nil || !b.First.Equal(&first.Status.Booted.First) || b.At.Before(ptr.To(metav1.NewTime(epoch.Add(defaultBootTimeout)))) {
			t.Errorf("boots %+v", b)
		}
		r.pass(10 * time.Second)
		if now = r.settle(); len(r.changesSince(done)) > 0 || now.Status.State != v1beta1.StateBooting || ptr.Deref(now.Status.HealthScore, 0) != fullHealth/2 {
			t.Errorf("state %s, health %d, its BMC was asked for %v", now.Status.State, ptr.Deref(now.Status.HealthScore, 0), r.changesSince(done))
		}
		if r.dies(2); ptr.Deref(r.getHost().Status.HealthScore, 0) != fullHealth/4 {
			t.Errorf("health %d after two boots", ptr.Deref(r.getHost().Status.HealthScore, 0))
		}
	})
}

// Only what is off now has failed: not what was off once, as during a pause, and is not read yet or runs.
func TestHealthPaysForWhatIsOffNow(t *testing.T) {
	for name, c := range map[string]struct {
		observed bool
		power    provision.Power
		want     int32
	}{
		"not read":  {false, provision.PowerStateUnknown, fullHealth},
		"on":        {true, provision.PowerStateOn, fullHealth},
		"off":       {true, provision.PowerStateOff, fullHealth / 2},
		"off, once": {false, provision.PowerStateOff, fullHealth},
	} {
		h := claimedHost()
		h.Status.Booted = &v1beta1.BootRecord{ClaimID: claimID, At: metav1.NewTime(epoch), Count: 1, OffAt: ptr.To(metav1.NewTime(epoch.Add(time.Minute)))}
		g := &gathered{facts: provision.Facts{Claim: provision.ClaimHeld, Observed: c.observed, Power: c.power}}
		reportHealth(h, g, provision.Decision{State: provision.Booting, Action: provision.Observe}, metav1.NewTime(epoch.Add(time.Hour)))
		if got := ptr.Deref(h.Status.HealthScore, fullHealth); got != c.want {
			t.Errorf("%s: health %d", name, got)
		}
	}
}
