package actuator

import (
	"context"
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
