package bmcqueue

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
)

// deadRack registers n hosts whose BMCs give no sign of life: three dials of ten seconds.
func (s *site) deadRack(n int, credential string) {
	for i := range n {
		host := fmt.Sprintf("ns/h%d", i)
		s.queue.Register(Poll{Endpoint: bmc(i), Host: host, Credential: credential, Interval: func() time.Duration { return 10 * time.Minute },
			Run: s.busyFor(bmc(i), host, "dead", 32*time.Second, Result{Failure: Unreachable, Message: "no answer"})})
	}
}

// TestADeadRackDelaysNobodyByMinutes: after a restart the BMCs of a rack without power come first by chance. The one that answers
// waits for their silence to be noticed, whether they share its credential or nothing but the slots.
func TestADeadRackDelaysNobodyByMinutes(t *testing.T) {
	for name, c := range map[string]struct {
		dead, slots int
		credential  string
	}{
		"one Secret":            {20, 20, "s/1"},
		"one Secret, few slots": {10, 4, "s/1"},
		"nothing in common":     {40, 20, ""},
	} {
		t.Run(name, func(t *testing.T) {
			settings := ample()
			settings.MaxConcurrentOps = c.slots
			in(t, Options{Settings: settings}, func(s *site) {
				t0 := time.Now()
				s.deadRack(c.dead, c.credential)
				s.queue.Register(Poll{Endpoint: "https://live", Host: "ns/live", Credential: c.credential, Interval: func() time.Duration { return time.Hour },
					Run: s.busyFor("https://live", "ns/live", "live", time.Second, Result{})})
				pass(5 * time.Second)
				if st := s.queue.Status("ns/h0"); c.dead > 5*c.slots/4 && c.credential == "" && (st.Failure != Unreachable || !strings.Contains(st.LastError, "no sign of life")) {
					t.Errorf("one that had to give way: %+v", st)
				}
				pass(30 * time.Minute)
				if got := s.starts("live", t0); len(got) == 0 || got[0] > time.Minute {
					t.Errorf("the BMC that answers was first tried after %v", got)
				}
				s.queue.Unregister("ns/live")
				for i := range c.dead {
					s.queue.Unregister(fmt.Sprintf("ns/h%d", i))
				}
			})
		})
	}
}

// TestWhoAnswersIsWaitedFor: a slow BMC is not cut short however many wait, nor is a silent one that nobody waits for, or that was
// given way to before.
func TestWhoAnswersIsWaitedFor(t *testing.T) {
	settings := ample()
	settings.MaxConcurrentOps = 4 // one slot for polls
	in(t, Options{Settings: settings}, func(s *site) {
		ends := map[string]time.Duration{}
		watch := func(n int, kind string, silent time.Duration) {
			host := fmt.Sprintf("ns/h%d", n)
			s.queue.Register(Poll{Endpoint: bmc(n), Host: host, Interval: func() time.Duration { return time.Hour }, Run: func(ctx context.Context) Result {
				began := time.Now()
				defer func() { ends[kind] = time.Since(began) }()
				res := s.busyFor(bmc(n), host, kind, silent, Result{Failure: Unreachable})(ctx)
				if ctx.Err() != nil {
					return res
				}
				Answered(ctx)
				return s.busyFor(bmc(n), host, kind, 20*time.Second, Result{})(ctx)
			}})
		}
		watch(0, "slow", 2*time.Second)
		pass(time.Second)
		watch(1, "silent", 10*time.Second)
		pass(time.Second)
		watch(2, "alone", 10*time.Second)
		pass(55 * time.Second)
		watch(3, "late", 0) // waits while the silent one has its second try
		pass(10 * time.Minute)
		if got, want := ends, map[string]time.Duration{"slow": 22 * time.Second, "silent": 30 * time.Second, "alone": 30 * time.Second, "late": 20 * time.Second}; !maps.Equal(got, want) {
			t.Errorf("the last runs took %v, want %v", got, want)
		}
		if got := s.starts("silent", time.Now()); len(got) != 3 { // one that gave way, and one that was silent for a while
			t.Errorf("the silent one was tried at %v", got)
		}
		for n := range 4 {
			s.queue.Unregister(fmt.Sprintf("ns/h%d", n))
		}
	})
}

// load keeps n hosts busy with operations of a class for a time: whenever one ends, its host wants the next.
func (s *site) load(n int, class Class, until time.Time) {
	var again func(n, round int) Op
	again = func(n, round int) Op {
		o := s.op(n, "work", 20*time.Second, changed)
		o.ID, o.Class = fmt.Sprint(round), class
		run := o.Run
		o.Run = func(ctx context.Context) Result {
			res := run(ctx)
			if time.Now().Before(until) {
				go s.queue.Submit(again(n, round+1))
			}
			return res
		}
		return o
	}
	for i := range n {
		s.queue.Submit(again(i, 0))
	}
}

// TestPollsHaveAShare: there are always more operations ready than slots. Polls go on all the same: after PollPatience, and before
// releases after AgePeriod, one in pollShare starts is theirs.
func TestPollsHaveAShare(t *testing.T) {
	for name, c := range map[string]struct {
		class            Class
		slots, work      int
		atLeast, atMost  int
		fewestOperations int
	}{
		"provisioning":             {ClassProvision, 4, 12, 40, 60, 1300},
		"releases":                 {ClassRelease, 4, 12, 15, 24, 1350},
		"provisioning on one slot": {ClassProvision, 1, 12, 40, 60, 340},
	} {
		t.Run(name, func(t *testing.T) {
			settings := ample()
			settings.MaxConcurrentOps = c.slots
			in(t, Options{Settings: settings}, func(s *site) {
				s.queue.Register(Poll{Endpoint: "https://bound", Host: "ns/bound", Interval: func() time.Duration { return time.Minute },
					Run: s.busyFor("https://bound", "ns/bound", "poll", time.Second, Result{})})
				pass(time.Second)
				t0 := time.Now()
				s.load(c.work, c.class, t0.Add(2*time.Hour))
				pass(2*time.Hour - time.Minute)
				polls, work := len(s.starts("poll", t0))-1, len(s.starts("work", t0))
				if polls < c.atLeast || polls > c.atMost || work < c.fewestOperations {
					t.Errorf("%d polls and %d operations in two hours", polls, work)
				}
				pass(10 * time.Minute)
				s.queue.Unregister("ns/bound")
			})
		})
	}
}

// TestPollsLeaveOperationsTheirs: many polls that have waited long take one start in pollShare, not every slot there is.
func TestPollsLeaveOperationsTheirs(t *testing.T) {
	settings := ample()
	settings.MaxConcurrentOps = 4
	in(t, Options{Settings: settings}, func(s *site) {
		t0 := time.Now()
		s.load(12, ClassProvision, t0.Add(time.Hour))
		for n := 100; n < 200; n++ {
			host := fmt.Sprintf("ns/h%d", n)
			s.queue.Register(Poll{Endpoint: bmc(n), Host: host, Interval: func() time.Duration { return time.Minute },
				Run: s.busyFor(bmc(n), host, "poll", time.Second, Result{})})
		}
		pass(time.Hour - time.Minute)
		polls, work := len(s.starts("poll", t0)), len(s.starts("work", t0))
		if polls < work/4 || polls > work/2 {
			t.Errorf("%d polls and %d operations", polls, work)
		}
		for n := 100; n < 200; n++ {
			s.queue.Unregister(fmt.Sprintf("ns/h%d", n))
		}
		pass(10 * time.Minute)
	})
}

// TestOneOddBMCParksItselfOnly: it answers 401 for a reason of its own, and is tried first after a restart.
func TestOneOddBMCParksItselfOnly(t *testing.T) {
	in(t, Options{Settings: ample()}, func(s *site) {
		t0 := time.Now()
		s.queue.Submit(s.login(0, "s/1", time.Second, unauthorized))
		for n := 1; n < 10; n++ {
			s.queue.Submit(s.login(n, "s/1", time.Second, changed))
		}
		pass(59 * time.Minute)
		got := s.starts("login", t0)
		if len(got) != 10 || got[1] != time.Second || got[9] != 2*time.Second {
			t.Errorf("tried at %v", got)
		}
		if st := s.queue.Status("ns/h0"); st.State != StateParked || st.LastError != "401" {
			t.Errorf("the odd one: %+v", st)
		}
		s.queue.Withdraw("ns/h0")
	})
}

// TestAnothersWrongSecretParksItselfOnly: two hosts share a BMC (blades, or somebody else's namespace), each with a Secret of its own.
func TestAnothersWrongSecretParksItselfOnly(t *testing.T) {
	in(t, Options{Settings: ample()}, func(s *site) {
		t0 := time.Now()
		theirs := s.login(0, "bad/1", time.Second, unauthorized)
		theirs.Host, theirs.Run = "other/h", s.busyFor(bmc(0), "other/h", "theirs", time.Second, unauthorized)
		s.queue.Submit(theirs)
		pass(2 * time.Second)
		mine := s.login(0, "good/1", time.Second, changed)
		mine.Class = ClassRelease
		if got := s.queue.Submit(mine); got.Reason != ReasonQueued {
			t.Errorf("submit: %+v", got)
		}
		pass(10 * time.Minute)
		wantTimes(t, "the release of the host whose credential works", s.starts("login", t0), 2*time.Second)
		if st := s.queue.Status("other/h"); st.State != StateParked || st.Failure != LoginFailed || st.LastError != "401" || st.HeldBy != "" {
			t.Errorf("the other: %+v", st)
		}
		if st := s.queue.Stats(); st.Parked != 1 {
			t.Errorf("%+v", st)
		}
		// What the first is told says nothing of the second, nor does its success.
		s.queue.Submit(mine)
		pass(40 * time.Minute)
		wantTimes(t, "the other's log-in", s.starts("theirs", t0), 0)
		s.queue.Park(bmc(0), "good/1", time.Now().Add(10*time.Minute)) // recorded before a restart, of one credential
		s.queue.Submit(mine)
		pass(5 * time.Minute)
		if got := s.starts("login", t0); len(got) != 2 {
			t.Errorf("a recorded refusal is not honoured: %v", got)
		}
		pass(2 * time.Hour)
		s.queue.Withdraw("other/h")
	})
}

// TestRecordedRefusalsCountTogether: a process that restarts again and again asks no more BMCs than one that goes on.
func TestRecordedRefusalsCountTogether(t *testing.T) {
	in(t, Options{Settings: ample()}, func(s *site) {
		t0 := time.Now()
		s.queue.Park(bmc(0), "k", t0.Add(30*time.Minute))
		s.queue.Park(bmc(1), "k", t0.Add(40*time.Minute))
		for n := range 4 {
			s.queue.Submit(s.login(n, "k", time.Second, unauthorized))
		}
		pass(50 * time.Minute)
		wantTimes(t, "login", s.starts("login", t0), 40*time.Minute)
		if st := s.queue.Status("ns/h3"); st.State != StateParked || !strings.Contains(st.LastError, bmc(2)) {
			t.Errorf("%+v", st)
		}
		for n := range 4 {
			s.queue.Withdraw(fmt.Sprintf("ns/h%d", n))
		}
	})
}
