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
