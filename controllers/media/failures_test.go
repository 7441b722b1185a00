package media

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/beskar7/beskar7/pkg/bootmedia"
)

// A failing stream is asked for many times a second: it is news once a minute, and each time that it fails otherwise.
func TestStreamsTellNewsOnce(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(epoch)
	recorder, woken, driving := events.NewFakeRecorder(100), []string(nil), false
	wake := func(host string) { woken = append(woken, host) }
	report := (&Failures{Clock: clock}).Report(inMemory(claimed("h")), recorder, wake, func() bool { return driving })
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
	if e := told(); len(e) != 1 || !strings.Contains(e[0], "ImageChanged") || !strings.Contains(e[0], "it was longer") || len(woken) != 0 {
		t.Errorf("events %q, woken %v, on a replica that does not drive", e, woken)
	}
	driving = true
	fail(errors.New("the server was silent"))
	if e := told(); len(e) != 1 || !strings.Contains(e[0], "MediaNotServed") || len(woken) != 1 {
		t.Errorf("events %q, woken %v, for another failure", e, woken)
	}
	fail(context.Canceled)
	report(namespace+"/gone", "http://images/x.iso", changed)
	if e := told(); len(e) != 0 {
		t.Errorf("events %q of a reader that went away and of a host that is gone", e)
	}
	clock.SetTime(epoch.Add(TellAgain))
	fail(errors.New("the server was silent"))
	if e := told(); len(e) != 1 {
		t.Errorf("events %q after a minute", e)
	}
}
