package controllers

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/cluster-api/util/conditions"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/pkg/provision"
)

// What is told of a host is of its present claim and its last boot.
func TestStreamFaultsAreOfTheLastBoot(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(epoch)
	host := claimedHost()
	host.Status.Booted = &v1beta1.BootRecord{ClaimID: claimID, At: metav1.NewTime(epoch), Count: 1}
	r := newRig(t, host, newCluster())
	r.host.Streams = &media.Failures{Clock: clock}
	fault := func() string {
		g, err := r.host.gather(t.Context(), r.api, host)
		if err != nil {
			t.Fatal(err)
		}
		return g.streamFault
	}
	if got := fault(); got != "" {
		t.Errorf("before any failure: %q", got)
	}
	r.host.Streams.Failed(key(host), errors.New("changed"))
	if got := fault(); got != "changed" {
		t.Errorf("after a failure: %q", got)
	}
	host.Status.Booted.At = metav1.NewTime(epoch.Add(media.StreamSlack + time.Second))
	if got := fault(); got != "" {
		t.Errorf("after the next boot: %q", got)
	}
	clock.SetTime(epoch.Add(media.StreamSlack + 2*time.Second))
	r.host.Streams.Failed(key(host), errors.New("changed")) // no news, and true again
	if got := fault(); got != "changed" {
		t.Errorf("after the next boot failed too: %q", got)
	}
	r.host.forget(key(host))
	if got := fault(); got != "" {
		t.Errorf("after the host was forgotten: %q", got)
	}
}

// A server that is off again because its image could not be read says so.
func TestAnUnreadableImageIsNamed(t *testing.T) {
	for state, power := range map[provision.State]provision.Power{provision.Provisioning: provision.PowerStateOff, provision.Booting: provision.PowerStateOn} {
		h := claimedHost()
		h.Status.Booted = &v1beta1.BootRecord{ClaimID: claimID, Count: 1}
		g := &gathered{streamFault: "stream image http://images/x.iso: the image has changed since it was pinned",
			facts: provision.Facts{Observed: true, Claim: provision.ClaimHeld, Power: power, Media: provision.MediaOurs}}
		hostConditions(h, g, provision.Decision{State: state})
		if m := conditions.GetMessage(h, v1beta1.ReadyCondition); !strings.Contains(m, "has changed since it was pinned") || conditions.IsTrue(h, v1beta1.ReadyCondition) {
			t.Errorf("%s: Ready says %q", state, m)
		}
	}
}
