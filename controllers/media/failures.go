package media

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/bootmedia"
)

// TellAgain is how often the same failure of one host's stream is passed on: a drive that reads asks many times a second.
const TellAgain = time.Minute

// StreamSlack is how long before power On is observed the firmware may already read.
const StreamSlack = 30 * time.Second

// Failures keeps what last went wrong when this process served a host's image without having a copy of it. Its zero value knows of
// nothing. The host controller tells it in conditions; a replica that does not drive BMCs tells it in an event only.
type Failures struct {
	Clock clock.PassiveClock

	mu   sync.Mutex
	last map[string]streamFault
}

// streamFault is a failure, when it was last met, and when it was last news.
type streamFault struct {
	text     string
	at, told time.Time
}

// Failed notes a failure to serve a host ("namespace/name") its image, and says whether it is news.
func (s *Failures) Failed(host string, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = map[string]streamFault{}
	}
	now, fault := s.Clock.Now(), s.last[host]
	news := fault.text != err.Error() || now.Sub(fault.told) >= TellAgain
	fault.text, fault.at = err.Error(), now
	if news {
		fault.told = now
	}
	s.last[host] = fault
	return news
}

// Report is a bootmedia.Options.StreamFailed: each news is an event of the host, and wakes its controller if that runs here. A
// reader that went away is no failure.
func (s *Failures) Report(hosts client.Reader, recorder events.EventRecorder, wake func(host string), driving func() bool) func(host, imageURL string, err error) {
	return func(host, _ string, err error) { // the error names the image
		if errors.Is(err, context.Canceled) || !s.Failed(host, err) {
			return
		}
		namespace, name, _ := strings.Cut(host, "/")
		about := &v1beta1.PhysicalHost{}
		if err := hosts.Get(context.Background(), client.ObjectKey{Namespace: namespace, Name: name}, about); err != nil {
			s.Drop(host) // it is gone
			return
		}
		reason := v1beta1.ReasonMediaNotServed
		if errors.Is(err, bootmedia.ErrChanged) {
			reason = v1beta1.ReasonImageChanged
		}
		recorder.Eventf(about, nil, corev1.EventTypeWarning, reason, "ServeMedia", "%s", err)
		if driving() {
			wake(host)
		}
	}
}

// Since is what went wrong after t, or "".
func (s *Failures) Since(host string, t time.Time) string {
	if s == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if fault, ok := s.last[host]; ok && !fault.at.Before(t) {
		return fault.text
	}
	return ""
}

// Drop forgets a host, as when its claim ends.
func (s *Failures) Drop(host string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.last, host)
}
