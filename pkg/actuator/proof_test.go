package actuator

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

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
