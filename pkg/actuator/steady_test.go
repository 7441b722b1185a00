package actuator

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

// A Node can be seen sooner than the power that its server needs: the claim is bound while the newest readings of a BMC that takes
// its time are of before the power-on. These are no loss of power, and the host is never called lost for them.
func TestAPowerOnOnItsWayIsNoLossOfPower(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOff, Steps: 8})
		r := newRig(ctx, bmc, held())
		r.until(t, 10*time.Minute, func(provision.Decision) bool { return slices.Contains(bmc.Changes(), redfishfake.OpReset) })
		r.change(func(b *Brief) { b.Facts.NodeSeen = true })
		r.until(t, 10*time.Minute, func(d provision.Decision) bool {
			if d.State == provision.Lost {
				seen, _ := r.hands.Observed(hostName)
				t.Fatalf("lost (%s) while it is being powered on: %+v", d.Rule, seen.State)
			}
			seen, _ := r.hands.Observed(hostName)
			return d.State == provision.Provisioned && seen.State.Power == redfish.PowerOn
		})
	})
}

// tardy is a BMC that says off for a while after it took a power-on, and no word of that it is on its way.
type tardy struct {
	*redfishfake.BMC
	by time.Duration
	on time.Time
}

func (b *tardy) Reset(ctx context.Context, t redfish.ResetType) error {
	if t == redfish.ResetOn {
		b.on = time.Now()
	}
	return b.BMC.Reset(ctx, t)
}

func (b *tardy) State(ctx context.Context) (redfish.State, error) {
	s, err := b.BMC.State(ctx)
	if s.Power == redfish.PowerOn && time.Since(b.on) < b.by {
		s.Power = redfish.PowerOff
	}
	return s, err
}

// bindAtPowerOn is a rig of such a BMC, whose host is bound as soon as it was told to power on.
func bindAtPowerOn(ctx context.Context, t *testing.T, b *tardy) *rig {
	r := newRig(ctx, b.BMC, held())
	r.taps = map[string]redfish.BMC{r.address: b}
	r.until(t, 10*time.Minute, func(provision.Decision) bool { return slices.Contains(b.Changes(), redfishfake.OpReset) })
	r.change(func(b *Brief) { b.Facts.NodeSeen = true })
	return r
}

// As many readings of off as one likes are no loss of power while a power-on has its time.
func TestOffIsNotBelievedWhileAPowerOnHasItsTime(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		b := &tardy{BMC: twoSlots(redfishfake.Options{Power: redfish.PowerOff}), by: 20 * time.Second}
		r := bindAtPowerOn(ctx, t, b)
		r.until(t, 10*time.Minute, func(d provision.Decision) bool {
			if d.State == provision.Lost {
				t.Fatalf("lost (%s) %s after its power-on", d.Rule, time.Since(b.on))
			}
			seen, _ := r.hands.Observed(hostName)
			return d.State == provision.Provisioned && seen.State.Power == redfish.PowerOn
		})
		if took := time.Since(b.on); took < b.by {
			t.Errorf("it was seen on after %s: the BMC says so after %s", took, b.by)
		}
	})
}

// A power-on that came to nothing had its time, too: then off is believed.
func TestOffIsBelievedOnceAPowerOnHadItsTime(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		b := &tardy{BMC: twoSlots(redfishfake.Options{Power: redfish.PowerOff}), by: time.Hour}
		r := bindAtPowerOn(ctx, t, b)
		r.until(t, 10*time.Minute, state(provision.Lost))
		if took := time.Since(b.on); took < 30*time.Second {
			t.Errorf("off was believed %s after the power-on, which has 30s", took)
		}
	})
}

// A BMC that restarts can say for seconds that its server is off: readings of one moment are one reading.
func TestReadingsOfOneMomentAreOneReading(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		r := newRig(ctx, twoSlots(redfishfake.Options{Power: redfish.PowerOff}), held())
		r.reconcile(t)
		r.hands.mu.Lock()
		server := r.hands.hosts[hostName]
		r.hands.mu.Unlock()
		read := func() bool {
			t.Helper()
			at, err := r.hands.open(server)
			if err != nil {
				t.Fatal(err)
			}
			o, err := r.hands.observeState(ctx, at)
			if err != nil {
				t.Fatal(err)
			}
			return o.Steady
		}
		for range 5 {
			if read() {
				t.Fatal("readings of one moment are taken for a steady state")
			}
		}
		<-time.After(steadyAfter)
		if !read() {
			t.Error("what was read for so long is not steady")
		}
	})
}
