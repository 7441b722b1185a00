package actuator

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

// flapping is a BMC that runs on, whatever it is asked for, and whose every second reading of the power says that it is off.
type flapping struct {
	*redfishfake.BMC
	readings int
}

func (b *flapping) State(ctx context.Context) (redfish.State, error) {
	s, err := b.BMC.State(ctx)
	b.readings++
	s.Power = redfish.PowerOn
	if b.readings%2 == 0 {
		s.Power = redfish.PowerOff
	}
	return s, err
}

func (b *flapping) Reset(context.Context, redfish.ResetType) error { return nil }

// One reading of a BMC that says now this, now that, proves nothing (I6).
func TestAFlappingPowerProvesNoRelease(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		b := &flapping{BMC: redfishfake.New(redfishfake.Options{})}
		brief := held()
		brief.Facts.Claim = provision.ClaimReleasing
		r := newRig(ctx, b.BMC, brief)
		r.taps = map[string]redfish.BMC{r.address: b}
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for began := time.Now(); time.Since(began) < 2*time.Minute; {
			if d := r.reconcile(t); d.Action == provision.ClearClaim {
				t.Fatalf("released after %v and %d readings", time.Since(began), b.readings)
			}
			select {
			case <-r.wake:
			case <-tick.C:
			}
		}
		if b.readings < 10 {
			t.Errorf("only %d readings", b.readings)
		}
	})
}

// What was read before a release was asked for proves nothing: a change of the ended tenancy may have been under way (I6).
func TestAReleaseIsProvenByANewReading(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		bmc := redfishfake.New(redfishfake.Options{})
		b := held()
		b.Facts.Content = provision.ContentWaiting
		r := newRig(ctx, bmc, b)
		r.until(t, time.Minute, state(provision.Provisioning))
		seen, _ := r.hands.Observed(hostName)
		if facts := Complete(r.facts(), seen); facts.Power != provision.PowerStateOff || facts.Media != provision.MediaNone || facts.Armed {
			t.Fatalf("the host is not clean to begin with: %+v", facts)
		}
		r.change(func(b *Brief) { b.Facts.Claim = provision.ClaimReleasing })
		if d := provision.Decide(Complete(r.facts(), seen)); d.Action != provision.Observe {
			t.Fatalf("%s by %s on an old reading", d.Action, d.Rule)
		}
		r.until(t, time.Minute, func(d provision.Decision) bool { return d.Action == provision.ClearClaim })
		synctest.Wait()
		// The next tenancy starts unproven.
		again, _ := r.hands.Observed(hostName)
		next := held()
		next.ClaimID, next.Facts.Claim = "fedcba9876543210", provision.ClaimReleasing
		if Complete(next, again).Proven {
			t.Fatal("one claim's proof counts for another")
		}
	})
}
