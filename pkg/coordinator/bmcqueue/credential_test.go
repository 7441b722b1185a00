package bmcqueue

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// login is an operation of host n with a credential.
func (s *site) login(n int, key string, d time.Duration, res Result) Op {
	o := s.op(n, "login", d, res)
	o.Credential = key
	return o
}

var unauthorized = Result{Failure: LoginFailed, Message: "401"}

func TestCanaryGoesFirst(t *testing.T) {
	in(t, Options{Settings: ample()}, func(s *site) {
		t0 := time.Now()
		for n := range 6 {
			s.queue.Submit(s.login(n, "s1/1", time.Second, changed))
		}
		s.queue.Submit(s.op(7, "other", time.Second, changed)) // shares nothing
		pass(10 * time.Second)
		got := s.starts("login", t0)
		wantTimes(t, "login", got, 0, time.Second, time.Second, time.Second, time.Second, time.Second)
		wantTimes(t, "other", s.starts("other", t0), 0)
		for n := range 6 { // proven: nobody waits any more
			o := s.login(n, "s1/1", time.Second, changed)
			o.Kind, o.Run = "again", s.busyFor(bmc(n), o.Host, "again", time.Second, changed)
			s.queue.Submit(o)
		}
		pass(time.Second)
		if got := s.starts("again", t0.Add(10*time.Second)); len(got) != 6 || got[5] != 0 {
			t.Errorf("with a proven credential: %v", got)
		}
	})
}

// TestRefusedCanariesParkTheOthers: two BMCs that refuse a credential speak for all.
func TestRefusedCanariesParkTheOthers(t *testing.T) {
	in(t, Options{Settings: ample()}, func(s *site) {
		t0 := time.Now()
		for n := range 4 {
			s.queue.Submit(s.login(n, "s1/1", time.Second, unauthorized))
		}
		every := func() time.Duration { return time.Minute }
		s.queue.Register(Poll{Endpoint: bmc(9), Host: "ns/h9", Credential: "s1/1", Interval: every, Run: s.busyFor(bmc(9), "ns/h9", "poll", 0, Result{})})
		pass(59 * time.Minute)
		wantTimes(t, "login", s.starts("login", t0), 0, time.Second)
		wantTimes(t, "poll", s.starts("poll", t0))
		for _, host := range []string{"ns/h2", "ns/h9"} {
			st := s.queue.Status(host)
			if st.State != StateParked || st.Failure != LoginFailed || !strings.Contains(st.LastError, bmc(0)+" and "+bmc(1)) || time.Until(st.NextAttempt) != time.Minute+2*time.Second || s.wakes(host) == 0 {
				t.Errorf("%s: %+v, woken %d times", host, st, s.wakes(host))
			}
		}
		if got := s.queue.Submit(s.login(5, "s1/1", 0, changed)); got.Reason != ReasonParked {
			t.Errorf("submit: %+v", got)
		}
		if d := s.queue.Dump(); !strings.Contains(d, "a credential of 6 hosts was refused at "+bmc(1)) || strings.Contains(d, "s1/1") {
			t.Error(d)
		}
		pass(2 * time.Minute) // an hour after the refusal another endpoint probes
		if st := s.queue.Status("ns/h0"); len(s.starts("login", t0)) != 3 || s.queue.Status("ns/h1").State != StateParked || !strings.Contains(s.queue.Status("ns/h3").LastError, bmc(2)) {
			t.Errorf("after the probe: %v, %+v", s.starts("login", t0), st)
		}
		for n := range 6 {
			s.queue.Withdraw(fmt.Sprintf("ns/h%d", n))
		}
		s.queue.Unregister("ns/h9")
	})
}

// TestACredentialIsOfItsTime: a host whose credential is replaced while it logs in proves neither the old one nor the new one. An
// operation that names none uses the host's.
func TestACredentialIsOfItsTime(t *testing.T) {
	in(t, Options{Settings: ample()}, func(s *site) {
		every := func() time.Duration { return time.Hour }
		register := func(n int, key string) {
			host := fmt.Sprintf("ns/h%d", n)
			s.queue.Register(Poll{Endpoint: bmc(n), Host: host, Credential: key, Interval: every, Run: s.busyFor(bmc(n), host, "poll"+key, 4*time.Second, Result{})})
		}
		t0 := time.Now()
		register(0, "old")
		pass(time.Second)
		register(1, "old")
		register(3, "old")
		register(0, "new") // in its log-in
		pass(2 * time.Second)
		register(2, "new")
		s.queue.Submit(s.op(2, "op", time.Second, changed))
		pass(time.Minute)
		wantTimes(t, "the old one, which nobody has proven", s.starts("pollold", t0), 0, 4*time.Second, 8*time.Second)
		wantTimes(t, "the new one", append(s.starts("op", t0), s.starts("pollnew", t0)...), 3*time.Second, 4*time.Second, 4*time.Second)
		for n := range 4 {
			s.queue.Unregister(fmt.Sprintf("ns/h%d", n))
		}
	})
}

// TestWhoHoldsACredentialIsTold: a host that waits for another's log-in says whose, and its owner looks again once that is over,
// also when nothing else about the host has changed.
func TestWhoHoldsACredentialIsTold(t *testing.T) {
	in(t, Options{Settings: ample()}, func(s *site) {
		res := unauthorized
		every := func() time.Duration { return 30 * time.Minute }
		for n := range 3 {
			host := fmt.Sprintf("ns/h%d", n)
			s.queue.Register(Poll{Endpoint: bmc(n), Host: host, Credential: "s1/1", Interval: every, Run: func(ctx context.Context) Result {
				return s.busyFor(bmc(n), host, host, 5*time.Second, res)(ctx)
			}})
			pass(time.Second)
		}
		if st := s.queue.Status("ns/h1"); st.HeldBy != bmc(0) || st.State != StateIdle {
			t.Errorf("while the first tries: %+v", st)
		}
		if st := s.queue.Status("ns/h0"); st.HeldBy != "" {
			t.Errorf("the first itself: %+v", st)
		}
		pass(time.Minute)
		if st := s.queue.Status("ns/h2"); st.HeldBy != bmc(1) || st.State != StateParked {
			t.Errorf("once it was refused twice: %+v", st)
		}
		if st := s.queue.Status("ns/h0"); st.HeldBy != "" || st.State != StateParked {
			t.Errorf("the refused one itself: %+v", st)
		}
		res = Result{}
		before := s.wakes("ns/h2")
		pass(2 * time.Hour)
		if st := s.queue.Status("ns/h2"); st.HeldBy != "" || st.State != StateIdle || s.wakes("ns/h2") == before {
			t.Errorf("once it works: %+v, woken %d times, %d before", st, s.wakes("ns/h2"), before)
		}
		before = s.wakes("ns/h2")
		pass(2 * time.Hour)
		if s.wakes("ns/h2") != before {
			t.Error("told again what it knows")
		}
		for n := range 3 {
			s.queue.Unregister(fmt.Sprintf("ns/h%d", n))
		}
	})
}

// TestChangedCredentialStartsAnew: the hosts of a replaced Secret learn it one after the other, and the new one has a canary, too.
func TestChangedCredentialStartsAnew(t *testing.T) {
	in(t, Options{Settings: ample()}, func(s *site) {
		res := unauthorized
		every := func() time.Duration { return time.Hour }
		register := func(n int, key string) {
			host := fmt.Sprintf("ns/h%d", n)
			s.queue.Register(Poll{Endpoint: bmc(n), Host: host, Credential: key, Interval: every, Run: func(ctx context.Context) Result {
				return s.busyFor(bmc(n), host, key, time.Second, res)(ctx)
			}})
		}
		t0 := time.Now()
		for n := range 3 {
			register(n, "old")
		}
		pass(10 * time.Second)
		wantTimes(t, "old", s.starts("old", t0), 0, time.Second)
		res = Result{}
		for n := range 3 {
			register(n, "new")
			pass(500 * time.Millisecond)
		}
		pass(10 * time.Second)
		wantTimes(t, "old", s.starts("old", t0), 0, time.Second)
		wantTimes(t, "new", s.starts("new", t0), 10*time.Second, 11*time.Second, 11*time.Second)
		if st := s.queue.Status("ns/h0"); st.State != StateIdle {
			t.Errorf("the endpoint that refused the old one: %+v", st)
		}
		for n := range 3 {
			s.queue.Unregister(fmt.Sprintf("ns/h%d", n))
		}
		s.queue.read(func(g *gate, _ time.Time) {
			if len(g.credentials) != 0 {
				t.Errorf("%d credentials left behind", len(g.credentials))
			}
		})
	})
}

// TestDeadCanaryHoldsNobodyForLong: unreachable proves nothing, the next one tries; one that is silent holds nobody for long, and
// one that answers and then hangs counts for CanaryTime.
func TestDeadCanaryHoldsNobodyForLong(t *testing.T) {
	in(t, Options{Settings: ample()}, func(s *site) {
		t0 := time.Now()
		s.queue.Submit(s.login(0, "k", 5*time.Second, Result{Failure: Unreachable}))
		s.queue.Submit(s.login(1, "k", 50*time.Second, Result{Failure: Other}))
		s.queue.Submit(s.login(2, "k", time.Second, changed))
		s.queue.Submit(s.login(3, "k", time.Second, changed))
		pass(36 * time.Second)
		wantTimes(t, "login", s.starts("login", t0), 0, SilentTime, SilentTime+CanaryTime, SilentTime+CanaryTime+time.Second, SilentTime+CanaryTime+time.Second)
		for n := range 4 {
			s.queue.Withdraw(fmt.Sprintf("ns/h%d", n))
		}
	})
}

// TestOneRefusalRaisesADoubt: what was proven is doubted after a refusal elsewhere, and proven again by one canary.
func TestOneRefusalRaisesADoubt(t *testing.T) {
	in(t, Options{Settings: ample()}, func(s *site) {
		s.queue.Submit(s.login(0, "k", time.Second, changed))
		pass(time.Minute)
		s.queue.Submit(s.login(1, "k", time.Second, unauthorized))
		s.queue.Submit(s.login(2, "k", 10*time.Second, changed)) // is on its way when the doubt arises: proves nothing
		pass(2 * time.Second)
		t0 := time.Now()
		for n := 3; n < 6; n++ {
			s.queue.Submit(s.login(n, "k", 20*time.Second, changed))
		}
		pass(time.Minute)
		wantTimes(t, "login", s.starts("login", t0)[3:], 0, 20*time.Second, 20*time.Second)
		if st := s.queue.Status("ns/h1"); st.State != StateParked || strings.Contains(st.LastError, "not tried") {
			t.Errorf("the odd one: %+v", st)
		}
		s.queue.Withdraw("ns/h1")
	})
}

func TestRetryAndResetOfARefusedCredential(t *testing.T) {
	in(t, Options{Settings: ample()}, func(s *site) {
		for n := range 5 {
			s.queue.Submit(s.login(n, "k", time.Second, unauthorized))
		}
		tries := func(what string, want int) {
			t.Helper()
			pass(10 * time.Second)
			if got := len(s.kinds()); got != want {
				t.Errorf("%s: %d tries in all, want %d", what, got, want)
			}
		}
		tries("at first", 2)
		s.queue.Reset(bmc(3)) // its TLS settings changed: the refusals elsewhere stand
		tries("Reset elsewhere", 2)
		s.queue.Reset(bmc(0)) // something changed where it was refused
		tries("Reset of the canary", 3)
		s.queue.Retry(bmc(3)) // a person asks
		tries("Retry", 4)
		for n := range 5 {
			s.queue.Withdraw(fmt.Sprintf("ns/h%d", n))
		}
	})
}

// TestRefuserIsGone: perhaps the credential was wrong only at the host that was taken away.
func TestRefuserIsGone(t *testing.T) {
	in(t, Options{Settings: ample()}, func(s *site) {
		t0 := time.Now()
		s.queue.Submit(s.login(0, "k", time.Second, unauthorized))
		s.queue.Submit(s.login(1, "k", time.Second, unauthorized))
		s.queue.Submit(s.login(2, "k", time.Second, changed))
		pass(10 * time.Second)
		s.queue.Unregister("ns/h0")
		synctest.Wait()
		pass(2 * time.Minute)
		wantTimes(t, "login", s.starts("login", t0), 0, time.Second, 10*time.Second+reconsiderAfter)
		s.queue.Withdraw("ns/h1")
	})
}

// TestSharedEndpointOfTwoCredentials: a host that may not log in does not keep its neighbour behind one BMC from being polled.
func TestSharedEndpointOfTwoCredentials(t *testing.T) {
	in(t, Options{Settings: ample()}, func(s *site) {
		for n := range 2 {
			s.queue.Submit(s.login(8+n, "bad", time.Second, unauthorized))
		}
		pass(4 * time.Second)
		t0 := time.Now()
		for host, key := range map[string]string{"ns/a": "bad", "ns/b": "good"} {
			s.queue.Register(Poll{Endpoint: bmc(1), Host: host, Credential: key, Interval: func() time.Duration { return 20 * time.Minute },
				Run: s.busyFor(bmc(1), host, key, time.Second, Result{})})
		}
		s.queue.PollNow("ns/a")
		pass(30 * time.Minute)
		if got := s.starts("good", t0); len(got) != 2 || len(s.starts("bad", t0)) != 0 {
			t.Errorf("the neighbour was polled at %v, the other at %v", got, s.starts("bad", t0))
		}
		s.queue.Unregister("ns/a")
		s.queue.Unregister("ns/b")
		s.queue.Withdraw("ns/h8")
		s.queue.Withdraw("ns/h9")
	})
}

// TestNewestCredentialHoldsAReadyPoll: the poll waits for a slot only when an operation says that its host logs in otherwise now.
func TestNewestCredentialHoldsAReadyPoll(t *testing.T) {
	settings := ample()
	settings.MaxConcurrentOps = 1
	in(t, Options{Settings: settings}, func(s *site) {
		s.queue.Submit(s.login(0, "bad", time.Second, unauthorized))
		s.queue.Submit(s.login(9, "bad", time.Second, unauthorized))
		pass(3 * time.Second)
		s.queue.Submit(s.op(5, "long", 10*time.Second, changed))
		synctest.Wait()
		s.queue.Register(Poll{Endpoint: bmc(1), Host: "ns/h1", Credential: "good", Interval: func() time.Duration { return time.Hour },
			Run: s.busyFor(bmc(1), "ns/h1", "poll", time.Second, Result{})})
		moved := s.login(1, "bad", time.Second, changed)
		moved.Endpoint = bmc(2)
		s.queue.Submit(moved)
		pass(time.Minute)
		if got := s.kinds(); len(got) != 3 {
			t.Errorf("started %v", got)
		}
		for _, n := range []int{0, 1, 9} {
			s.queue.Unregister(fmt.Sprintf("ns/h%d", n))
		}
	})
}
