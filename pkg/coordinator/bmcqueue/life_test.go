package bmcqueue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestOrder(t *testing.T) {
	s := ample()
	s.MaxConcurrentOps = 1
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Settings: s})
		for n, c := range []Class{ClassRest, ClassProvision, ClassRelease, ClassRest, ClassRelease} {
			o := s.op(n, fmt.Sprint("k", n), time.Second, changed)
			o.Class = c
			s.queue.Submit(o)
			pass(time.Second)
		}
		s.run()
		pass(time.Minute)
		s.close()
		if got := s.kinds(); !slices.Equal(got, []string{"k2", "k4", "k1", "k0", "k3"}) {
			t.Errorf("order %v", got)
		}
	})
}

// TestNothingStarves floods one slot with releases, each submitted again as soon as it ended.
func TestNothingStarves(t *testing.T) {
	s := ample()
	s.MaxConcurrentOps = 1
	in(t, Options{Settings: s}, func(s *site) {
		t0 := time.Now()
		var again func(n int)
		again = func(n int) {
			o := s.op(n, "flood", time.Second, changed)
			inner := o.Run
			o.Class, o.ID = ClassRelease, fmt.Sprint(time.Now())
			o.Run = func(ctx context.Context) Result {
				defer again(n)
				return inner(ctx)
			}
			if time.Since(t0) < 20*time.Minute {
				s.queue.Submit(o)
			}
		}
		for n := range 5 {
			again(n)
		}
		rest := s.op(9, "rest", time.Second, changed)
		s.queue.Submit(rest)
		pass(30 * time.Minute)
		got := s.starts("rest", t0)
		if len(got) != 1 || got[0] < 2*AgePeriod-time.Minute || got[0] > 2*AgePeriod+time.Minute {
			t.Errorf("the lowest class started at %v", got)
		}
	})
}

func TestNamespacesTakeTurns(t *testing.T) {
	s := ample()
	s.MaxConcurrentOps = 1
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Settings: s})
		for n := range 100 {
			o := s.op(n, "many", time.Second, changed)
			o.Namespace = "big"
			s.queue.Submit(o)
		}
		pass(time.Second)
		for n := range 3 {
			o := s.op(200+n, "few", time.Second, changed)
			o.Namespace = "small"
			s.queue.Submit(o)
		}
		s.run()
		t0 := time.Now()
		pass(200 * time.Second)
		s.close()
		if got := s.starts("few", t0); len(got) != 3 || got[2] > 6*time.Second {
			t.Errorf("few started at %v", got)
		}
	})
}

func TestUnreachableUseATenthOfTheSlots(t *testing.T) {
	in(t, Options{Settings: ample()}, func(s *site) { // 20 slots
		t0 := time.Now()
		gone := Result{Failure: Unreachable, Message: "timeout"}
		for n := range 50 {
			s.queue.Submit(s.op(n, "dead", 30*time.Second, gone))
		}
		pass(100 * time.Second) // each lane has failed once: 50 in 20 slots
		for n := 100; n < 200; n++ {
			s.queue.Submit(s.op(n, "good", time.Second, changed))
		}
		before := time.Now()
		pass(time.Minute)
		if got := s.starts("good", before); len(got) != 100 || slices.Max(got) > 6*time.Second {
			t.Errorf("good ones started by %v (%d)", slices.Max(got), len(got))
		}
		if st := s.queue.Stats(); st.Running > 2 {
			t.Errorf("%d unreachable ones in flight", st.Running)
		}
		if got := s.starts("dead", t0); len(got) < 52 {
			t.Errorf("dead ones are not tried again: %d", len(got))
		}
		for n := range 50 {
			s.queue.Withdraw(fmt.Sprintf("ns/h%d", n))
		}
	})
}

func TestPolls(t *testing.T) {
	s := ample()
	s.MaxConcurrentOps = 8
	in(t, Options{Settings: s}, func(s *site) {
		t0 := time.Now()
		for n := range 40 {
			host := fmt.Sprintf("ns/h%d", n)
			s.queue.Register(Poll{Endpoint: bmc(n), Host: host, Interval: func() time.Duration { return 10 * time.Second },
				Run: s.busyFor(bmc(n), host, "poll", time.Second, Result{})})
		}
		pass(19500 * time.Millisecond)
		if s.most != 2 || len(s.starts("poll", t0)) != 40 {
			t.Errorf("%d polls at once, want a quarter of 8; %d made", s.most, len(s.starts("poll", t0)))
		}
		s.queue.PollNow("ns/h39")
		pass(time.Second)
		if last := s.started[len(s.started)-2:]; last[0].host != "ns/h39" && last[1].host != "ns/h39" {
			t.Errorf("PollNow: %v", last)
		}
		before := time.Now()
		for n := range 40 {
			s.queue.Submit(s.op(n, "op", time.Second, changed))
		}
		pass(6500 * time.Millisecond) // 6 slots at first, then 8; at most one second lost to polls in flight
		if got := s.starts("op", before); len(got) != 40 {
			t.Errorf("%d operations started beside the polls", len(got))
		}
		for n := range 40 {
			s.queue.Unregister(fmt.Sprintf("ns/h%d", n))
		}
		pass(10 * time.Second)
		if n := len(s.started); n == 0 || time.Since(s.started[n-1].began) < 9*time.Second {
			t.Errorf("polled after Unregister")
		}
		if st := s.queue.Stats(); st.Hosts+st.Lanes != 0 {
			t.Errorf("left behind: %+v", st)
		}
	})
}

func TestQuietTime(t *testing.T) {
	in(t, Options{Settings: ample(), HandOver: Unclean, QuietTime: 40 * time.Second}, func(s *site) {
		t0 := time.Now()
		s.queue.Submit(s.op(1, "x", time.Second, changed))
		s.queue.Register(Poll{Endpoint: bmc(1), Host: "ns/h1", Interval: func() time.Duration { return time.Hour },
			Run: s.busyFor(bmc(1), "ns/h1", "poll", time.Second, Result{})})
		pass(time.Minute)
		wantTimes(t, "x", s.starts("x", t0), 40*time.Second)
		wantTimes(t, "poll", s.starts("poll", t0), 41*time.Second) // an operation goes first
	})
}

func TestFence(t *testing.T) {
	in(t, Options{Settings: ample(), QuietTime: 20 * time.Second}, func(s *site) {
		pass(20 * time.Second)
		t0 := time.Now()
		var check error
		o := s.op(1, "x", 0, changed)
		o.Run = func(ctx context.Context) Result {
			res := s.busyFor(bmc(1), "ns/h1", "x", 10*time.Second, changed)(ctx)
			check = CheckFence(ctx)
			return res
		}
		s.queue.Submit(o)
		pass(time.Second)
		s.fence.lost.Store(true)
		pass(fenceEvery)
		if !errors.Is(check, ErrFenced) || s.queue.Stats().Running != 0 {
			t.Errorf("check %v, %d still running", check, s.queue.Stats().Running)
		}
		if st := s.queue.Status("ns/h1"); st.Attempts != 0 || st.State != StateWaiting {
			t.Errorf("its end is not the BMC's fault: %+v", st)
		}
		s.queue.Submit(s.op(2, "y", 0, changed))
		pass(time.Minute)
		if got := len(s.kinds()); got != 1 {
			t.Errorf("%d started without the lease", got-1)
		}
		s.fence.lost.Store(false)
		back := time.Since(t0)
		pass(time.Minute)
		got := s.starts("x", t0)
		if len(got) != 2 || got[1] < back+20*time.Second || got[1] > back+21*time.Second {
			t.Errorf("x at %v, back at %v: a quiet time lies between", got, back)
		}
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Settings: ample(), DrainTimeout: 10 * time.Second})
		s.run()
		s.queue.Submit(s.op(1, "short", 5*time.Second, changed))
		s.queue.Submit(s.op(2, "long", 50*time.Second, changed))
		s.queue.Submit(s.op(3, "later", 0, Result{Failure: Busy, RetryAfter: time.Minute}))
		pass(time.Second)
		t0 := time.Now()
		s.stop()
		synctest.Wait()
		if got := s.queue.Submit(s.op(4, "late", 0, changed)); got.Reason != ReasonStopped {
			t.Errorf("submit while draining: %+v", got)
		}
		if err := <-s.done; err != nil || time.Since(t0) != 10*time.Second {
			t.Errorf("run ended with %v after %v", err, time.Since(t0))
		}
		if o := s.queue.Status("ns/h1").Outcome; o.Ending != EndedSucceeded {
			t.Errorf("short: %+v", o)
		}
		if st := s.queue.Status("ns/h2"); st.State != StateWaiting || st.Attempts != 0 {
			t.Errorf("long: %+v", st)
		}
		if err := s.queue.Run(t.Context()); err == nil {
			t.Error("ran twice")
		}
	})
}

func TestStubbornOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Settings: ample(), DrainTimeout: time.Second})
		s.run()
		release := make(chan struct{})
		s.queue.Submit(Op{Endpoint: bmc(1), Host: "ns/h1", Kind: "x", Timeout: time.Second, Run: func(context.Context) Result {
			<-release
			return Result{}
		}})
		s.queue.Submit(func() Op { o := s.op(2, "y", 0, changed); o.Endpoint = bmc(1); return o }())
		pass(time.Hour)
		if len(s.kinds()) != 0 {
			t.Error("an operation past its timeout still holds its endpoint")
		}
		s.stop()
		if err := <-s.done; err == nil {
			t.Error("run must tell that an operation did not end")
		}
		close(release)
		synctest.Wait()
	})
}

// TestAddressChange: one server under two addresses must not see two operations.
func TestAddressChange(t *testing.T) {
	in(t, Options{Settings: ample()}, func(s *site) {
		t0 := time.Now()
		s.queue.Submit(s.op(1, "old", 10*time.Second, changed))
		synctest.Wait()
		moved := s.op(2, "new", time.Second, changed)
		moved.Host = "ns/h1"
		s.queue.Submit(moved)
		pass(time.Minute)
		wantTimes(t, "new", s.starts("new", t0), 10*time.Second)
	})
}
