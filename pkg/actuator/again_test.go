package actuator

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

// An override that was taken and is not armed, be it never or no more when it is looked at, is asked for again; the server is not
// started without it.
func TestAnOverrideThatDoesNotHoldIsArmedAgain(t *testing.T) {
	off := redfish.BootOverride{Enabled: redfish.OverrideDisabled, Target: "None", Mode: "UEFI"}
	for name, c := range map[string]struct {
		after time.Duration // until it is gone
		want  []string
	}{
		"never armed":           {0, []string{"Insert 1", "Arm", "Arm", "On"}},
		"gone before the start": {2 * time.Second, []string{"Insert 1", "Arm", "Arm", "On"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(ctx context.Context) {
				fake := redfishfake.New(redfishfake.Options{Slots: []redfish.Slot{full("1", "")}})
				forgot := false
				b := &tap{BMC: fake, lose: func(what string) error {
					switch {
					case what != "Arm" || forgot:
					case c.after == 0:
						forgot = true
						fake.SetBoot(off)
					default:
						forgot = true
						time.AfterFunc(c.after, func() { fake.SetBoot(off) })
					}
					return nil
				}}
				brief := held()
				brief.Family = bootmedia.FamilyNone
				r := newTapped(ctx, b, brief)
				r.until(t, 10*time.Minute, state(provision.Booting))
				if got := b.asked(); !slices.Equal(got, c.want) || fake.Booted() == "disk" {
					t.Errorf("asked %v, want %v, booted from %q", got, c.want, fake.Booted())
				}
			})
		})
	}
}

// A BMC that says when it takes an insert is asked then, not before, and not another slot: busy is no refusal. One that was busy
// with just that insert is not asked again.
func TestABusyInsertWaitsAsLongAsTheBMCSays(t *testing.T) {
	for name, taken := range map[string]bool{"refused": false, "carried out all the same": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(ctx context.Context) {
				busy := &redfish.Error{Kind: redfish.KindBusy, Op: "change", Status: 503, Message: "busy", After: 40 * time.Second}
				var at []time.Time
				fake := redfishfake.New(redfishfake.Options{Slots: []redfish.Slot{full("1", ""), full("2", "")}})
				first := func(what string) error {
					if !strings.HasPrefix(what, "Insert") {
						return nil
					}
					if at = append(at, time.Now()); len(at) == 1 {
						return busy
					}
					return nil
				}
				b, want := &tap{BMC: fake, refuse: first}, []string{"Insert 1", "Insert 1", "Arm", "On"}
				if taken {
					b, want = &tap{BMC: fake, lose: first}, []string{"Insert 1", "Arm", "On"}
				}
				brief := held()
				brief.Family = bootmedia.FamilyNone
				r := newTapped(ctx, b, brief)
				began := time.Now()
				r.until(t, 10*time.Minute, state(provision.Booting))
				if got := b.asked(); !slices.Equal(got, want) {
					t.Errorf("asked %v, want %v", got, want)
				}
				if waited := at[len(at)-1].Sub(at[0]); !taken && (waited < 40*time.Second || waited > 50*time.Second) {
					t.Errorf("asked again after %s", waited)
				}
				if took := time.Since(began); took < 40*time.Second {
					t.Errorf("done in %s: the BMC wanted to be left alone for longer", took)
				}
				if seen, _ := r.hands.Observed(hostName); len(seen.Refused) > 0 {
					t.Errorf("refused: %v", seen.Refused)
				}
			})
		})
	}
}

// What failed with what somebody has changed since is tried at once: the pause was for what was there before.
func TestChangedInputsAreTriedAtOnce(t *testing.T) {
	for changed, limits := range map[bool][2]time.Duration{true: {0, 10 * time.Second}, false: {5 * time.Minute, time.Hour}} {
		bubble(t, func(ctx context.Context) {
			busy := &redfish.Error{Kind: redfish.KindBusy, Op: "change", Status: 503, Message: "busy", After: 5 * time.Minute}
			var at []time.Time
			b := &tap{BMC: redfishfake.New(redfishfake.Options{Slots: []redfish.Slot{full("1", "")}}), refuse: func(what string) error {
				if !strings.HasPrefix(what, "Insert") {
					return nil
				}
				if at = append(at, time.Now()); len(at) == 1 {
					return busy
				}
				return nil
			}}
			brief := held()
			brief.Family = bootmedia.FamilyNone
			r := newTapped(ctx, b, brief)
			r.inputs = "https://wrong"
			r.until(t, time.Hour, func(provision.Decision) bool {
				return len(at) == 1 && r.gate.Status(hostName).State == bmcqueue.StateBackOff
			})
			if changed {
				r.inputs = "https://right"
			}
			r.until(t, time.Hour, func(provision.Decision) bool { return len(at) == 2 })
			if waited := at[1].Sub(at[0]); waited < limits[0] || waited > limits[1] {
				t.Errorf("changed %v: tried again after %s", changed, waited)
			}
		})
	}
}
