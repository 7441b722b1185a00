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
// until power is lost, and its owner says that its image bears another boot.
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
		r.change(func(b *Brief) { b.Facts.Bound, b.Facts.DataOpen = true, false })
		fake.SetSlot(full("1", ""))
		<-time.After(time.Hour)
		r.until(t, time.Minute, state(provision.Provisioned))
		if seen, _ := r.hands.Observed(hostName); Complete(r.facts(), seen).Media != provision.MediaNone || len(b.asked()) != 4 {
			t.Errorf("media %s, asked %v", Complete(r.facts(), seen).Media, b.asked())
		}
		fake.CutPower()
		r.until(t, 10*time.Minute, state(provision.Lost))
		if len(b.asked()) != 4 {
			t.Errorf("a Live system that lost its power: asked %v", b.asked())
		}
		granted := r.facts().Hash
		r.change(func(b *Brief) { b.Facts.AlwaysOn = true })
		r.until(t, 10*time.Minute, func(provision.Decision) bool { return fake.Booted() != "" })
		if got := b.asked()[4:]; !slices.Equal(got, []string{"Insert 1", "Arm", "On"}) || fake.Booted() == "disk" || r.facts().Hash == granted {
			t.Errorf("asked %v, booted from %q, with the grant of the first boot: %v", got, fake.Booted(), r.facts().Hash == granted)
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

// resting is a fake that counts what is read and changed of it before a time.
type resting struct {
	*tap
	until time.Time
	early []string
}

func (b *resting) note(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Now().Before(b.until) {
		b.early = append(b.early, what)
	}
}

func (b *resting) Slots(ctx context.Context) ([]redfish.Slot, error) {
	b.note("Slots")
	return b.tap.Slots(ctx)
}

func (b *resting) Insert(ctx context.Context, slot, url string) error {
	b.note("Insert")
	defer b.rest(20 * time.Second)
	return b.tap.Insert(ctx, slot, url)
}

func (b *resting) SetBootOnce(ctx context.Context, d redfish.BootDevice) error {
	b.note("Arm")
	return b.tap.SetBootOnce(ctx, d)
}

func (b *resting) Reset(ctx context.Context, t redfish.ResetType) error {
	b.note(string(t))
	defer b.rest(time.Minute)
	return b.tap.Reset(ctx, t)
}

func (b *resting) Eject(ctx context.Context, slot string) error {
	b.note("Eject")
	defer b.rest(15 * time.Second)
	return b.tap.Eject(ctx, slot)
}

func (b *resting) rest(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until = time.Now().Add(d)
}

// A BMC that wants rest after a change is left alone for that long, whatever became of the request: not its media are read, and
// nothing is changed. It is given the time on top of what an effect may take, and the steps are the same as without.
func TestRestAfterAChange(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		fake := redfishfake.New(redfishfake.Options{Slots: []redfish.Slot{full("1", "")}})
		lost := false
		b := &resting{tap: &tap{BMC: fake, lose: func(what string) error {
			if what == "Insert 1" && !lost {
				lost = true
				return answer(redfish.KindUnreachable, 0) // it was carried out
			}
			return nil
		}}}
		brief := held()
		brief.Family = bootmedia.FamilyNone
		r := newRig(ctx, fake, brief)
		r.taps = map[string]redfish.BMC{r.address: b}
		r.rest = Rest{AfterInsert: 20 * time.Second, AfterPower: time.Minute, AfterEject: 15 * time.Second}
		r.until(t, 10*time.Minute, state(provision.Booting))
		r.change(func(b *Brief) { b.Facts.Claim, b.Facts.Bound = provision.ClaimReleasing, false })
		r.until(t, 10*time.Minute, released(r))
		if got := b.asked(); !slices.Equal(got, []string{"Insert 1", "Arm", "On", "ForceOff", "Eject 1"}) {
			t.Errorf("asked %v", got)
		}
		if len(b.early) > 0 {
			t.Errorf("in the time of rest: %v", b.early)
		}
	})
}

// A refusal changed nothing: the next slot is tried without waiting for what is not there.
func TestARefusalNeedsNoRest(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		b := &tap{BMC: twoSlots(redfishfake.Options{Slots: []redfish.Slot{full("1", ""), full("2", "")}}), refuse: func(what string) error {
			if what == "Insert 1" {
				return answer(redfish.KindUnsupported, 405)
			}
			return nil
		}}
		brief := held()
		brief.Family = bootmedia.FamilyNone
		r := newTapped(ctx, b, brief)
		r.rest = Rest{AfterInsert: time.Hour}
		r.until(t, 10*time.Minute, func(provision.Decision) bool { return len(b.asked()) == 2 })
		if got := b.asked(); !slices.Equal(got, []string{"Insert 1", "Insert 2"}) {
			t.Errorf("asked %v", got)
		}
	})
}
