package actuator

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

// A server in its self-test refuses changes for a while: the request is repeated when the BMC said, and made once.
func TestPOSTInProgress(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		until := time.Now().Add(3 * time.Minute)
		b := &tap{BMC: twoSlots(redfishfake.Options{Power: redfish.PowerOff}), refuse: func(string) error {
			if time.Now().Before(until) {
				return &redfish.Error{Kind: redfish.KindBusy, Op: "change", Status: 400, Message: "the server is in power-on self-test", After: 30 * time.Second}
			}
			return nil
		}}
		r := newTapped(ctx, b, held())
		said := false
		r.until(t, 10*time.Minute, func(d provision.Decision) bool {
			seen, _ := r.hands.Observed(hostName)
			said = said || seen.Failure != nil && strings.Contains(seen.Failure.Message, "self-test")
			return d.State == provision.Booting && d.Action == provision.None
		})
		if got := b.Changes(); !slices.Equal(got, theBoot) || !said {
			t.Errorf("changes %v, said %v", got, said)
		}
		if n := len(b.asked()); n > len(theBoot)+7 {
			t.Errorf("%d requests, with 30s between them and 3m of self-test", n)
		}
	})
}

// A medium that the BMC lost before the boot is inserted again; one that was lost while the system runs is left alone (I5),
// until power is lost.
func TestALostMedium(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		fake := redfishfake.New(redfishfake.Options{Slots: []redfish.Slot{full("1", "")}})
		lost := false
		b := &tap{BMC: fake, lose: func(what string) error {
			if what == "Arm" && !lost {
				lost = true
				fake.SetSlot(full("1", ""))
				return &redfish.Error{Kind: redfish.KindBusy, Op: "change", Message: "restarting", After: time.Minute}
			}
			return nil
		}}
		brief := held()
		brief.Family = bootmedia.FamilyNone
		r := newTapped(ctx, b, brief)
		r.until(t, 10*time.Minute, state(provision.Booting))
		if got := b.asked(); !slices.Equal(got, []string{"Insert 1", "Arm", "Insert 1", "On"}) || fake.Booted() == "disk" {
			t.Errorf("asked %v, booted from %q", got, fake.Booted())
		}
		r.change(func(b *Brief) { b.Facts.Bound = true })
		fake.SetSlot(full("1", ""))
		<-time.After(time.Hour)
		r.until(t, time.Minute, state(provision.Provisioned))
		if seen, _ := r.hands.Observed(hostName); Complete(r.facts(), seen).Media != provision.MediaNone || len(b.asked()) != 4 {
			t.Errorf("media %s, asked %v", Complete(r.facts(), seen).Media, b.asked())
		}
		fake.CutPower()
		r.until(t, 10*time.Minute, func(provision.Decision) bool { return fake.Booted() != "" })
		if got := b.asked()[4:]; !slices.Equal(got, []string{"Insert 1", "Arm", "On"}) || fake.Booted() == "disk" {
			t.Errorf("asked %v, booted from %q", got, fake.Booted())
		}
	})
}

// A medium whose Inserted the BMC keeps saying long after it is gone is ejected, and not taken for ours.
func TestStaleInserted(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		stale := redfish.Slot{ID: "1", Types: []string{"CD"}, CanInsert: true, Inserted: true}
		fake := redfishfake.New(redfishfake.Options{Slots: []redfish.Slot{stale}})
		b := &tap{BMC: fake}
		brief := held()
		brief.Family = bootmedia.FamilyNone
		r := newTapped(ctx, b, brief)
		r.until(t, 10*time.Minute, state(provision.Booting))
		if got := b.asked(); !slices.Equal(got, []string{"Eject 1", "Insert 1", "Arm", "On"}) {
			t.Errorf("asked %v", got)
		}
	})
}

// An override that the firmware ignores: the server runs from its disk and gives no sign of life; when the boot's time is
// over it is powered off and booted again, armed anew, and its medium put in anew: that one could not be read looks the same.
func TestAnIgnoredOverride(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		fake := redfishfake.New(redfishfake.Options{Slots: []redfish.Slot{full("1", "")}})
		b := &tap{BMC: fake}
		ignored := 0
		b.refuse = func(what string) error {
			if what == string(redfish.ResetOn) && ignored == 0 {
				ignored++
				fake.SetBoot(redfish.BootOverride{Enabled: redfish.OverrideDisabled, Target: "None", Mode: "UEFI"})
			}
			return nil
		}
		brief := held()
		brief.Family = bootmedia.FamilyNone
		r := newTapped(ctx, b, brief)
		r.until(t, 10*time.Minute, state(provision.Booting))
		if fake.Booted() != "disk" {
			t.Fatalf("booted from %q", fake.Booted())
		}
		r.change(func(b *Brief) { b.Facts.BootOverdue = true })
		r.until(t, 10*time.Minute, func(provision.Decision) bool { return fake.Booted() == "" })
		r.change(func(b *Brief) { b.Facts.BootOverdue = false })
		r.until(t, 10*time.Minute, func(provision.Decision) bool { return fake.Booted() != "" })
		if got := b.asked(); !slices.Equal(got, []string{"Insert 1", "Arm", "On", "ForceOff", "Eject 1", "Insert 1", "Arm", "On"}) || fake.Booted() == "disk" {
			t.Errorf("asked %v, booted from %q", got, fake.Booted())
		}
	})
}
