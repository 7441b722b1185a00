package bmcqueue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var changed = Result{Changed: true}

func TestSlowBMCHoldsUpNobody(t *testing.T) {
	s := ample()
	s.MaxConcurrentOps, s.Cooldown = 10, 30*time.Second
	in(t, Options{Settings: s}, func(s *site) {
		t0 := time.Now()
		s.queue.Submit(s.op(0, "slow", 50*time.Second, changed))
		for round := range 2 {
			for n := 1; n < 100; n++ {
				s.queue.Submit(s.op(n, fmt.Sprint("quick", round), time.Second, changed))
			}
			pass(45 * time.Second)
		}
		// 99 operations of 1 s on the 9 other slots: eleven seconds, with no part of the slow one's 50.
		got := s.starts("quick0", t0)
		if len(got) != 99 || slices.Max(got) != 10*time.Second {
			t.Errorf("quick ones started by %v (%d)", slices.Max(got), len(got))
		}
		if second := s.starts("quick1", t0); len(second) != 99 {
			t.Errorf("second round: %d", len(second))
		}
		if s.most != 10 {
			t.Errorf("%d in flight at most, want 10", s.most)
		}
	})
}

func TestCooldown(t *testing.T) {
	s := ample()
	s.Cooldown = 10 * time.Second
	in(t, Options{Settings: s}, func(s *site) {
		t0 := time.Now()
		a, b := s.op(1, "a", time.Second, changed), s.op(2, "b", time.Second, changed)
		b.Endpoint = a.Endpoint // two hosts behind one chassis manager
		b.Run = s.busyFor(a.Endpoint, b.Host, "b", time.Second, changed)
		s.queue.Submit(a)
		s.queue.Submit(b)
		read := s.op(3, "read", time.Second, Result{})
		read.Endpoint, read.ReadOnly = a.Endpoint, true
		read.Run = s.busyFor(a.Endpoint, read.Host, "read", time.Second, Result{})
		s.queue.Submit(read)
		pass(time.Minute)
		wantTimes(t, "a", s.starts("a", t0), 0)
		wantTimes(t, "read", s.starts("read", t0), time.Second)
		wantTimes(t, "b", s.starts("b", t0), 11*time.Second)
		longer := s.op(1, "c", time.Second, changed)
		longer.Cooldown = time.Minute
		s.queue.Submit(longer)
		pass(2 * time.Second)
		s.queue.Submit(s.op(1, "d", time.Second, Result{}))
		pass(2 * time.Minute)
		wantTimes(t, "d", s.starts("d", t0), 121*time.Second)
		s.queue.Submit(s.op(1, "e", time.Second, Result{}))
		pass(time.Second)
		wantTimes(t, "e: d changed nothing", s.starts("e", t0), 182*time.Second)
	})
}

// A BMC that wants more rest than the cooldown after a change gets it: its own operation does not look before, and no other host
// of the lane changes anything. That costs nobody else a slot, and reads go on. Less rest than the cooldown changes nothing.
func TestRest(t *testing.T) {
	s := ample()
	s.MaxConcurrentOps, s.Cooldown = 1, 10*time.Second
	in(t, Options{Settings: s}, func(s *site) {
		t0 := time.Now()
		first := true
		insert := s.op(1, "insert", time.Second, Result{})
		act, look := s.busyFor(insert.Endpoint, insert.Host, "insert", time.Second, Result{Changed: true, Rest: time.Minute, Wait: time.Second}), insert.Run
		insert.Run = func(ctx context.Context) Result {
			if first {
				first = false
				return act(ctx)
			}
			return look(ctx)
		}
		s.queue.Submit(insert)
		neighbour := s.op(2, "neighbour", time.Second, Result{Changed: true, Rest: time.Second})
		neighbour.Endpoint = insert.Endpoint
		neighbour.Run = s.busyFor(insert.Endpoint, neighbour.Host, "neighbour", time.Second, Result{Changed: true, Rest: time.Second})
		s.queue.Submit(neighbour)
		after := s.op(5, "after", time.Second, changed)
		after.Endpoint = insert.Endpoint
		s.queue.Submit(after)
		read := s.op(3, "read", time.Second, Result{})
		read.Endpoint, read.ReadOnly = insert.Endpoint, true
		s.queue.Submit(read)
		s.queue.Submit(s.op(4, "elsewhere", time.Second, changed))
		pass(2 * time.Second)
		if n := s.queue.Stats().Running; n != 1 {
			t.Errorf("%d in flight, of the BMC that rests none", n)
		}
		pass(3 * time.Minute)
		wantTimes(t, "insert, then its look", s.starts("insert", t0), 0, 61*time.Second)
		wantTimes(t, "neighbour", s.starts("neighbour", t0), 62*time.Second)
		wantTimes(t, "read", s.starts("read", t0), time.Second)
		wantTimes(t, "elsewhere", s.starts("elsewhere", t0), 2*time.Second)
		wantTimes(t, "after the neighbour", s.starts("after", t0), 73*time.Second)
	})
}

func TestCapFollowsSettings(t *testing.T) {
	s := ample()
	s.WorkerCount = 3
	in(t, Options{Settings: s}, func(s *site) {
		for n := range 40 {
			s.queue.Submit(s.op(n, "x", time.Second, changed))
		}
		pass(4500 * time.Millisecond)
		if s.most != 3 || len(s.kinds()) != 15 {
			t.Errorf("%d in flight at most, %d started", s.most, len(s.kinds()))
		}
		wider := ample()
		wider.MaxConcurrentOps = 8
		s.queue.Apply(wider)
		pass(time.Minute)
		if s.most != 8 || len(s.kinds()) != 40 {
			t.Errorf("after Apply: %d in flight at most, %d started, each must start once", s.most, len(s.kinds()))
		}
	})
}

func TestDisplacement(t *testing.T) {
	s := ample()
	s.MaxQueueSize = 3
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Settings: s})
		submit := func(n int, c Class) Ticket {
			o := s.op(n, fmt.Sprint("k", n), time.Second, changed)
			o.Class = c
			pass(time.Second)
			return s.queue.Submit(o)
		}
		for n, c := range []Class{ClassProvision, ClassRest, ClassRest} {
			if got := submit(n, c); got.Reason != ReasonQueued {
				t.Fatalf("%d: %+v", n, got)
			}
		}
		if got := submit(3, ClassRest); got.Accepted || got.Reason != ReasonFull || got.RetryAfter == 0 {
			t.Errorf("equal class: %+v", got)
		}
		if got := submit(4, ClassRelease); !got.Accepted {
			t.Errorf("release: %+v", got)
		}
		if st := s.queue.Status("ns/h2"); st.State != StateIdle || st.Outcome.Ending != EndedDisplaced || s.wakes("ns/h2") != 1 {
			t.Errorf("the newest of the lowest class: %+v, woken %d times", st, s.wakes("ns/h2"))
		}
		if st := s.queue.Status("ns/h1"); st.State != StateWaiting || st.Position != 3 {
			t.Errorf("the older one stays: %+v", st)
		}
		s.run()
		pass(time.Minute)
		s.close()
		if len(s.kinds()) != 3 || s.queue.Length() != 0 {
			t.Errorf("started %v", s.kinds())
		}
	})
}

func TestMergeSupersedeWithdraw(t *testing.T) {
	in(t, Options{Settings: ample()}, func(s *site) {
		s.queue.Submit(s.op(1, "first", 10*time.Second, changed))
		synctest.Wait()
		if got := s.queue.Submit(s.op(1, "first", time.Second, changed)); got.Reason != ReasonMerged {
			t.Errorf("equal to the running one: %+v", got)
		}
		s.queue.Submit(s.op(1, "second", time.Second, changed))
		if got := s.queue.Submit(s.op(1, "second", time.Second, changed)); got.Reason != ReasonMerged {
			t.Errorf("equal to the waiting one: %+v", got)
		}
		other := s.op(1, "second", time.Second, changed)
		other.ID = "another image"
		if got := s.queue.Submit(other); got.Reason != ReasonSuperseded || !got.Accepted {
			t.Errorf("a different one: %+v", got)
		}
		if o := s.queue.Status("ns/h1").Outcome; o.Ending != EndedSuperseded || o.Kind != "second" || s.wakes("ns/h1") != 1 {
			t.Errorf("the loser: %+v, woken %d times", o, s.wakes("ns/h1"))
		}
		read := s.op(1, "inventory", time.Second, Result{})
		read.ReadOnly = true
		if got := s.queue.Submit(read); got.Reason != ReasonOutranked || got.Accepted {
			t.Errorf("read-only after a changing one: %+v", got)
		}
		s.queue.Withdraw("ns/h1")
		pass(time.Minute)
		if got := s.kinds(); !slices.Equal(got, []string{"first"}) {
			t.Errorf("started %v: what was withdrawn must not", got)
		}
		if got := s.queue.Submit(Op{Host: "ns/h1"}); got.Reason != ReasonInvalid {
			t.Errorf("without endpoint: %+v", got)
		}
	})
}

func TestTriesAndBackOffOutliveTheOperation(t *testing.T) {
	in(t, Options{Settings: ample()}, func(s *site) {
		t0 := time.Now()
		dead := Result{Failure: Unreachable, Err: errors.New("no route")}
		s.queue.Submit(s.op(1, "x", 0, dead))
		pass(10 * time.Second) // jitter 0 halves: 1 s, 2 s
		wantTimes(t, "x", s.starts("x", t0), 0, time.Second, 3*time.Second)
		st := s.queue.Status("ns/h1")
		if st.Outcome.Ending != EndedFailed || st.Outcome.Attempts != 3 || st.Outcome.Message != "no route" {
			t.Errorf("outcome %+v", st.Outcome)
		}
		s.queue.Submit(s.op(1, "y", 0, dead))
		pass(100 * time.Second) // 4 s after the third failure has passed already; then 8, 16
		wantTimes(t, "y", s.starts("y", t0), 10*time.Second, 18*time.Second, 34*time.Second)
		s.queue.Submit(s.op(1, "z", 0, dead))
		pass(time.Second)
		if st := s.queue.Status("ns/h1"); st.State != StateBackOff || time.Until(st.NextAttempt) != 29*time.Second {
			t.Errorf("capped by MaxRetryDelay: %+v", st)
		}
		s.queue.Reset(bmc(1))
		pass(500 * time.Millisecond)
		if n := len(s.starts("z", t0)); n != 2 {
			t.Errorf("%d tries after Reset, want 2", n)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	in(t, Options{Settings: ample()}, func(s *site) {
		t0 := time.Now()
		s.queue.Submit(s.op(1, "asked", 0, Result{Failure: Busy, RetryAfter: 45 * time.Second}))
		s.queue.Submit(s.op(2, "ages", 0, Result{Failure: Busy, RetryAfter: 24 * time.Hour}))
		s.queue.Submit(s.op(3, "hurry", 0, Result{Failure: Busy, RetryAfter: time.Millisecond}))
		pass(20 * time.Minute)
		wantTimes(t, "asked", s.starts("asked", t0), 0, 45*time.Second, 90*time.Second)
		wantTimes(t, "ages", s.starts("ages", t0), 0, 5*time.Minute, 10*time.Minute)
		wantTimes(t, "hurry", s.starts("hurry", t0), 0, time.Second, 2*time.Second)
	})
}

func TestParkedLogin(t *testing.T) {
	in(t, Options{Settings: ample()}, func(s *site) {
		t0 := time.Now()
		every := func() time.Duration { return time.Minute }
		s.queue.Register(Poll{Endpoint: bmc(1), Host: "ns/h1", Namespace: "ns", Interval: every,
			Run: s.busyFor(bmc(1), "ns/h1", "poll", 0, Result{Failure: LoginFailed, Message: "401"})})
		pass(30 * time.Minute)
		wantTimes(t, "poll", s.starts("poll", t0), 0)
		if got := s.queue.Submit(s.op(1, "x", 0, Result{Failure: LoginFailed, Message: "401"})); got.Reason != ReasonParked {
			t.Errorf("submit: %+v", got)
		}
		if st := s.queue.Status("ns/h1"); st.State != StateParked || st.LastError != "401" || st.NextAttempt.Sub(t0) != time.Hour {
			t.Errorf("status: %+v", st)
		}
		pass(2 * time.Hour) // one probe an hour, by the operation
		wantTimes(t, "x", s.starts("x", t0), time.Hour, 2*time.Hour)
		s.queue.Submit(s.op(1, "x", 0, changed))
		s.queue.Reset(bmc(1))
		pass(time.Second)
		if st := s.queue.Status("ns/h1"); st.Outcome.Ending != EndedSucceeded {
			t.Errorf("after Reset: %+v", st)
		}
		s.queue.Park(bmc(2), "", time.Now().Add(10*time.Minute))
		before := time.Now()
		s.queue.Submit(s.op(2, "recorded", 0, changed))
		pass(time.Hour)
		wantTimes(t, "recorded", s.starts("recorded", before), 10*time.Minute)
	})
}

func TestResetOvertakesOldFailure(t *testing.T) {
	in(t, Options{Settings: ample()}, func(s *site) {
		t0 := time.Now()
		s.queue.Submit(s.op(1, "x", 5*time.Second, Result{Failure: LoginFailed, Message: "401"}))
		synctest.Wait()
		s.queue.Reset(bmc(1)) // the Secret changes while the old one is being refused
		s.queue.Submit(s.op(1, "x", time.Second, changed))
		pass(time.Minute)
		wantTimes(t, "x", s.starts("x", t0), 0, 5*time.Second)
		if st := s.queue.Status("ns/h1"); st.Outcome.Ending != EndedSucceeded || st.Outcome.Attempts != 0 {
			t.Errorf("status: %+v", st)
		}
	})
}

func TestWaitForEffect(t *testing.T) {
	s := ample()
	s.Cooldown, s.MaxConcurrentOps = 3*time.Second, 1
	in(t, Options{Settings: s}, func(s *site) {
		t0 := time.Now()
		o := s.op(1, "off", 0, changed)
		runs := 0
		o.Run = func(ctx context.Context) Result {
			s.busyFor(bmc(1), "ns/h1", "off", time.Second, changed)(ctx)
			if runs++; runs < 3 {
				return Result{Changed: runs == 1, Wait: 20 * time.Second}
			}
			return Result{}
		}
		s.queue.Submit(o)
		neighbour := s.op(2, "neighbour", 0, changed) // same chassis
		neighbour.Endpoint = bmc(1)
		s.queue.Submit(neighbour)
		s.queue.Submit(s.op(3, "elsewhere", time.Second, changed))
		pass(2 * time.Second)
		if st := s.queue.Status("ns/h1"); st.State != StateSettling || st.NextAttempt.Sub(t0) != 21*time.Second {
			t.Errorf("status: %+v", st)
		}
		pass(time.Minute)
		wantTimes(t, "off", s.starts("off", t0), 0, 21*time.Second, 42*time.Second)
		wantTimes(t, "elsewhere: the slot is free meanwhile", s.starts("elsewhere", t0), time.Second)
		wantTimes(t, "neighbour", s.starts("neighbour", t0), 43*time.Second)
	})
}

func TestPanicIsContained(t *testing.T) {
	s := ample()
	s.Cooldown = time.Minute
	in(t, Options{Settings: s}, func(s *site) {
		o := s.op(1, "x", 0, changed)
		o.Run = func(context.Context) Result { panic("password=hunter2") }
		s.queue.Submit(o)
		pass(time.Second)
		st := s.queue.Status("ns/h1")
		if st.Failure != Other || st.Attempts != 1 || strings.Contains(st.LastError+s.queue.Dump(), "hunter2") {
			t.Errorf("status: %+v", st)
		}
		if left := time.Until(st.NextAttempt); left != 59*time.Second {
			t.Errorf("next attempt in %v: it may have sent a request", left)
		}
		s.queue.Withdraw("ns/h1")
	})
}
