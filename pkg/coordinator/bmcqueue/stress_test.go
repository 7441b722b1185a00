package bmcqueue

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// TestConcurrentCallers calls everything from many goroutines at once; the site counts overlaps, -race the rest.
func TestConcurrentCallers(t *testing.T) {
	s := ample()
	s.Cooldown, s.MaxConcurrentOps, s.MaxQueueSize = time.Second, 6, 30
	in(t, Options{Settings: s, HandOver: Unclean, QuietTime: time.Second}, func(s *site) {
		var callers sync.WaitGroup
		for c := range 8 {
			callers.Go(func() {
				rnd := rand.New(rand.NewPCG(1, uint64(c)))
				for i := range 400 {
					s.call(rnd, i)
					<-time.After(time.Duration(rnd.IntN(300)) * time.Millisecond)
				}
			})
		}
		callers.Wait()
		for n := range 20 {
			s.queue.Reset(bmc(n % 10))
			s.queue.Unregister(fmt.Sprintf("ns/h%d", n))
		}
		pass(3 * time.Hour)
		if st := s.queue.Stats(); st.Running+st.Polling+st.Hosts+st.Lanes+s.queue.Length() != 0 {
			t.Errorf("left behind: %+v\n%s", st, s.queue.Dump())
		}
		if s.most > 6 || len(s.started) < 300 {
			t.Errorf("%d in flight at most, %d started", s.most, len(s.started))
		}
	})
}

func (s *site) call(rnd *rand.Rand, i int) {
	n := rnd.IntN(20)
	host, endpoint := fmt.Sprintf("ns/h%d", n), bmc(n%10)
	res := Result{Changed: true, Failure: Failure(max(rnd.IntN(40)-35, 0))}
	took := time.Duration(rnd.IntN(2000)) * time.Millisecond
	switch i % 12 {
	case 0:
		s.queue.Register(Poll{Endpoint: endpoint, Host: host, Interval: func() time.Duration { return time.Minute },
			Run: s.busyFor(endpoint, host, "poll", took, Result{})})
	case 1:
		s.queue.Withdraw(host)
	case 2:
		s.queue.Reset(endpoint)
	case 3:
		s.queue.Unregister(host)
	case 4:
		s.queue.PollNow(host)
		_ = s.queue.Dump()
	case 5:
		s.queue.Apply(s.queue.options.Settings)
	default:
		kind := fmt.Sprint("k", rnd.IntN(3))
		s.queue.Submit(Op{Endpoint: endpoint, Host: host, Namespace: "ns", Kind: kind, Class: Class(rnd.IntN(3)),
			Run: s.busyFor(endpoint, host, kind, took, res)})
		_ = s.queue.Status(host)
	}
}
