package actuator

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

// A BMC with one slot gets image and data in one medium, and is emptied of it in the end.
func TestOneSlotBootsFromAComposedMedium(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		bmc := twoSlots(redfishfake.Options{Slots: []redfish.Slot{full("1", "")}})
		r := newRig(ctx, bmc, held())
		r.until(t, 10*time.Minute, state(provision.Booting))
		if slot := slotsOf(t, bmc)[0]; !strings.HasSuffix(slot.Image, "/composed.iso") {
			t.Errorf("the slot holds %q", slot.Image)
		}
		r.change(func(b *Brief) { b.Facts.NodeSeen = true })
		r.until(t, time.Minute, state(provision.Provisioned))
		r.change(func(b *Brief) { b.Facts.Claim = provision.ClaimReleasing })
		bmc.SetOSUp(true)
		r.until(t, 10*time.Minute, released(r))
		if slot := slotsOf(t, bmc)[0]; !slot.Empty() {
			t.Errorf("given back with %q", slot.Image)
		}
	})
}

// A BMC whose second slot turns out to take nothing gets both in one; the boot medium without data is taken out first.
func TestASecondSlotThatRefusesLeavesOneMedium(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		fake := redfishfake.New(redfishfake.Options{Slots: []redfish.Slot{full("1", ""), full("2", "")}})
		b := &tap{BMC: fake, refuse: func(what string) error {
			if what == "Insert 2" {
				return answer(redfish.KindUnsupported, 405)
			}
			return nil
		}}
		r := newTapped(ctx, b, held())
		r.until(t, 20*time.Minute, state(provision.Booting))
		if got := b.asked(); !slices.Equal(got, []string{"Insert 2", "Insert 1", "Arm", "On"}) {
			t.Errorf("asked %v", got)
		}
		if slot := slotsOf(t, fake)[0]; !strings.HasSuffix(slot.Image, "/composed.iso") {
			t.Errorf("the slot holds %q", slot.Image)
		}
	})
}
