package bmcqueue

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// site is a working model of a few BMCs and the owners of their hosts: operations take time, overlaps are counted.
type site struct {
	t     *testing.T
	queue *Queue
	fence lease
	stop  context.CancelFunc
	done  chan error // what Run returned

	mu       sync.Mutex
	inFlight map[string]int
	flying   int
	most     int // in flight in all, ever
	overlaps int // on one endpoint
	started  []start
	woken    map[string]int
}

type start struct {
	endpoint, host, kind string
	began                time.Time
}

// lease is a Fence that the test turns.
type lease struct{ lost atomic.Bool }

func (l *lease) Valid() bool { return !l.lost.Load() }

func ample() Settings {
	return Settings{MaxConcurrentOps: 20, WorkerCount: 20, MaxQueueSize: 1000, OperationTimeout: time.Minute,
		RetryAttempts: 3, ExponentialBackoff: true, MaxRetryDelay: time.Minute}
}

// open makes a site in a synctest bubble, with Run going, and closes it at the end of the test.
func open(t *testing.T, o Options) *site {
	s := &site{t: t, inFlight: map[string]int{}, woken: map[string]int{}, done: make(chan error, 1)}
	o.Fence = &s.fence
	o.Jitter = func() float64 { return 0 }
	o.Done = func(host string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.woken[host]++
	}
	s.queue = New(o)
	return s
}

func (s *site) run() {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go func() { s.done <- s.queue.Run(ctx) }()
}

func (s *site) close() {
	s.stop()
	if err := <-s.done; err != nil {
		s.t.Errorf("run: %v", err)
	}
	if s.overlaps > 0 {
		s.t.Errorf("%d operations overlapped on an endpoint", s.overlaps)
	}
}

// in runs the test in virtual time on a site that is open and closed for it.
func in(t *testing.T, o Options, test func(*site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, o)
		s.run()
		test(s)
		s.close()
	})
}

// busyFor is the body of an operation that takes d, or until its context ends, and then says res. A BMC that is reached takes the
// connection at once; one that is not is silent.
func (s *site) busyFor(endpoint, host, kind string, d time.Duration, res Result) func(context.Context) Result {
	return func(ctx context.Context) Result {
		s.enter(endpoint, host, kind)
		defer s.leave(endpoint)
		if res.Failure != Unreachable {
			Answered(ctx)
		}
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return res
		case <-ctx.Done():
			return Result{Failure: Unreachable, Err: context.Cause(ctx)}
		}
	}
}

func (s *site) enter(endpoint, host, kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight[endpoint]++
	s.flying++
	s.most = max(s.most, s.flying)
	if s.inFlight[endpoint] > 1 {
		s.overlaps++
	}
	s.started = append(s.started, start{endpoint: endpoint, host: host, kind: kind, began: time.Now()})
}

func (s *site) leave(endpoint string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight[endpoint]--
	s.flying--
}

// op is an operation of host n on its own BMC.
func (s *site) op(n int, kind string, d time.Duration, res Result) Op {
	host := fmt.Sprintf("ns/h%d", n)
	return Op{Endpoint: bmc(n), Host: host, Namespace: "ns", Kind: kind, Run: s.busyFor(bmc(n), host, kind, d, res)}
}

func bmc(n int) string { return fmt.Sprintf("https://bmc-%d", n) }

// starts are the times, since t0, at which operations of kind started.
func (s *site) starts(kind string, t0 time.Time) (at []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.started {
		if x.kind == kind {
			at = append(at, x.began.Sub(t0))
		}
	}
	return at
}

func (s *site) wakes(host string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.woken[host]
}

func (s *site) kinds() (kinds []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.started {
		kinds = append(kinds, x.kind)
	}
	return kinds
}

// pass lets virtual time go by, and everything settle.
func pass(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

func wantTimes(t *testing.T, what string, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s started at %v, want %v", what, got, want)
	}
}
