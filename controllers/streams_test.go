package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/cluster-api/util/conditions"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/provision"
)

// A failing stream is asked for many times a second: it is news once a minute, and each time that it fails otherwise.
func TestStreamsTellNewsOnce(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(epoch)
	recorder, wake, driving := events.NewFakeRecorder(100), NewWaker(), false
	r := newRig(t, claimedHost())
	report := (&Streams{Clock: clock}).Report(r.api, recorder, wake.Wake, func() bool { return driving })
	told := func() (all []string) {
		for {
			select {
			case e := <-recorder.Events:
				all = append(all, e)
			default:
				return all
			}
		}
	}
	fail := func(err error) { report(namespace+"/h", "http://images/x.iso", err) }
	changed := fmt.Errorf("stream image http://images/x.iso: %w: it was longer", bootmedia.ErrChanged)
	fail(changed)
	fail(changed)
	if e := told(); len(e) != 1 || !strings.Contains(e[0], "ImageChanged") || !strings.Contains(e[0], "it was longer") || len(wake.pending) != 0 {
		t.Errorf("events %q, woken %v, on a replica that does not drive", e, wake.pending)
	}
	driving = true
	fail(errors.New("the server was silent"))
	if e := told(); len(e) != 1 || !strings.Contains(e[0], "MediaNotServed") || len(wake.pending) != 1 {
		t.Errorf("events %q, woken %v, for another failure", e, wake.pending)
	}
	fail(context.Canceled)
	report(namespace+"/gone", "http://images/x.iso", changed)
	if e := told(); len(e) != 0 {
		t.Errorf("events %q of a reader that went away and of a host that is gone", e)
	}
	clock.SetTime(epoch.Add(streamAgain))
	fail(errors.New("the server was silent"))
	if e := told(); len(e) != 1 {
		t.Errorf("events %q after a minute", e)
	}
}

// What is told of a host is of its present claim and its last boot.
func TestStreamFaultsAreOfTheLastBoot(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(epoch)
	host := claimedHost()
	host.Status.Booted = &v1beta1.BootRecord{ClaimID: claimID, At: metav1.NewTime(epoch), Count: 1}
	r := newRig(t, host, newCluster())
	r.host.Streams = &Streams{Clock: clock}
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
	host.Status.Booted.At = metav1.NewTime(epoch.Add(streamSlack + time.Second))
	if got := fault(); got != "" {
		t.Errorf("after the next boot: %q", got)
	}
	clock.SetTime(epoch.Add(streamSlack + 2*time.Second))
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
