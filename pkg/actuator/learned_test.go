package actuator

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

// What was learned of a BMC comes back from status with the next look at the host: that is no other target, and cuts no back-off
// short.
func TestWhatWasLearnedIsNoChange(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		r := newRig(ctx, twoSlots(redfishfake.Options{}), Brief{})
		tracking := Tracking{Host: hostName, Namespace: "ns", Target: r.target(), Credential: "uid/1", Interval: func() time.Duration { return time.Hour }}
		if err := r.hands.Track(tracking); err != nil {
			t.Fatal(err)
		}
		version := func() int { r.hands.mu.Lock(); defer r.hands.mu.Unlock(); return r.hands.hosts[hostName].version }
		tracking.Target.Learned = redfish.Learned{Vendor: "generic", Insert: "none"}
		if err := r.hands.Track(tracking); err != nil || version() != 0 {
			t.Errorf("%v, version %d", err, version())
		}
		tracking.Credential = "uid/2"
		if err := r.hands.Track(tracking); err != nil || version() != 1 {
			t.Errorf("a changed Secret: %v, version %d", err, version())
		}
	})
}

// An image that the BMC still fetches is neither in nor foreign: it is looked at again.
func TestAMountOnItsWayIsNotJudged(t *testing.T) {
	token, err := bootmedia.NewToken()
	if err != nil {
		t.Fatal(err)
	}
	slot := full("1", bootmedia.BootURL("https://m", token))
	slot.Inserted, slot.Mounting = false, true
	brief := Brief{ClaimID: claimID, Hash: token.Hash(), Family: bootmedia.FamilyNone}
	if got := media(brief, Observation{Slots: []redfish.Slot{slot}}); got != provision.MediaUnknown {
		t.Errorf("judged as %s", got)
	}
	run := &run{order: Order{Action: provision.Insert}}
	if run.seen(Observation{Slots: []redfish.Slot{slot}}, "1") {
		t.Error("it counts as inserted")
	}
	slot.Inserted, slot.Mounting = true, false
	if got := media(brief, Observation{Slots: []redfish.Slot{slot}}); got != provision.MediaOurs || !run.seen(Observation{Slots: []redfish.Slot{slot}}, "1") {
		t.Errorf("mounted, it is judged as %s", got)
	}
}

func TestWhyAMountFailedIsTold(t *testing.T) {
	slot := full("1", "")
	slot.Problem = "the image could not be fetched"
	if got := mountProblem(Observation{Slots: []redfish.Slot{slot}}, "1"); got != slot.Problem {
		t.Errorf("%q", got)
	}
}

// A slot that refused is not tried first again by every new process: what is learned of it is kept and given back. Another
// firmware, or a person who wants it tried again, ends that.
func TestARefusedSlotIsRememberedOverARestart(t *testing.T) {
	slots := func() []redfish.Slot { return []redfish.Slot{full("1", ""), full("2", "")} }
	brief := held()
	brief.Family = bootmedia.FamilyNone
	no := func(what string) error {
		if what == "Insert 1" {
			return answer(redfish.KindUnsupported, 405)
		}
		return nil
	}
	// start boots a host from nothing in a process of its own, which knows what was kept; it tells what was asked and learned.
	start := func(t *testing.T, kept redfish.Learned, says redfish.Learned, retry bool) (asked []string, learned redfish.Learned) {
		bubble(t, func(ctx context.Context) {
			b := &tap{BMC: redfishfake.New(redfishfake.Options{Slots: slots()}), refuse: no}
			b.SetLearned(says)
			r := newTapped(ctx, b, brief)
			r.learned = kept
			if retry {
				r.reconcile(t)
				r.hands.RetryNow(hostName)
			}
			r.until(t, 10*time.Minute, state(provision.Booting))
			seen, _ := r.hands.Observed(hostName)
			asked, learned = b.asked(), seen.Learned
		})
		return asked, learned
	}
	firmware := redfish.Learned{Firmware: "1"}
	both, second := []string{"Insert 1", "Insert 2", "Arm", "On"}, []string{"Insert 2", "Arm", "On"}
	asked, kept := start(t, redfish.Learned{}, firmware, false)
	if !slices.Equal(asked, both) || kept.Refused != "1" {
		t.Fatalf("asked %v, learned %+v", asked, kept)
	}
	if asked, again := start(t, kept, firmware, false); !slices.Equal(asked, second) || again != kept {
		t.Errorf("after a restart: asked %v, learned %+v", asked, again)
	}
	if asked, _ := start(t, kept, redfish.Learned{Firmware: "2"}, false); !slices.Equal(asked, both) {
		t.Errorf("after an update: asked %v", asked)
	}
	if asked, _ := start(t, kept, firmware, true); !slices.Equal(asked, both) {
		t.Errorf("after a person asked for it: asked %v", asked)
	}
}
