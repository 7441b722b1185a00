package bootmedia

import (
	"context"
	"slices"
	"sync"
	"time"
)

// defaultHostStreams is what one host may have of the streams: a BMC reads its
// medium over one or two connections, and some open a few more ahead.
const defaultHostStreams = 8

// waitersPerStream bounds the requests of one host that wait for its streams.
const waitersPerStream = 8

// streams shares the requests to image servers out between hosts: none has more
// than its part, and a free one goes to the host that has the fewest.
type streams struct {
	perHost int

	mu      sync.Mutex
	free    int
	held    map[string]int
	waiting []*streamWaiter // in the order in which they came
}

type streamWaiter struct {
	host string
	got  chan struct{} // closed once the stream is theirs
}

func newStreams(most, perHost int) *streams {
	return &streams{free: most, perHost: perHost, held: map[string]int{}}
}

// take gives a stream to a request for a host's medium, after waiting for one for
// a while; nil if there is none. What it gives is to be called when it is over.
func (s *streams) take(ctx context.Context, host string, wait time.Duration) (release func()) {
	release = func() { s.release(host) }
	s.mu.Lock()
	if s.free > 0 && s.held[host] < s.perHost {
		s.free--
		s.held[host]++
		s.mu.Unlock()
		return release
	}
	own := 0
	for _, w := range s.waiting {
		if w.host == host {
			own++
		}
	}
	if own >= waitersPerStream*s.perHost { // whoever asks that often can come back
		s.mu.Unlock()
		return nil
	}
	w := &streamWaiter{host: host, got: make(chan struct{})}
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-w.got:
		return release
	case <-timer.C:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, w); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		return nil
	}
	return release // it came in the same moment
}

func (s *streams) release(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free++
	if s.held[host]--; s.held[host] == 0 {
		delete(s.held, host)
	}
	next := -1
	for i, w := range s.waiting {
		if s.held[w.host] < s.perHost && (next < 0 || s.held[w.host] < s.held[s.waiting[next].host]) {
			next = i
		}
	}
	if next < 0 {
		return
	}
	w := s.waiting[next]
	s.waiting = slices.Delete(s.waiting, next, next+1)
	s.free--
	s.held[w.host]++
	close(w.got)
}
