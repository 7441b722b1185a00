package bmcqueue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestGroupCap: a group at its cap waits by itself, also inside a namespace that has others.
func TestGroupCap(t *testing.T) {
	settings := ample()
	settings.MaxConcurrentOps, settings.GroupCaps = 6, map[string]int{"dell": 2}
	in(t, Options{Settings: settings}, func(s *site) {
		t0 := time.Now()
		for n := range 20 {
			o := s.op(n, "dell", 10*time.Second, changed)
			o.Group, o.Class = "dell", ClassRelease
			s.queue.Submit(o)
		}
		for n := 20; n < 24; n++ {
			o := s.op(n, "hpe", 10*time.Second, changed)
			o.Group = "hpe"
			s.queue.Submit(o)
		}
		pass(time.Second)
		wantTimes(t, "dell", s.starts("dell", t0), 0, 0)
		wantTimes(t, "hpe, of a lower class and younger", s.starts("hpe", t0), 0, 0, 0, 0)
		settings.GroupCaps["dell"] = 5 // the gate has a copy
		pass(10 * time.Second)
		if n := len(s.starts("dell", t0)); n != 4 {
			t.Errorf("%d dell started, want 4", n)
		}
		s.queue.Apply(settings)
		pass(time.Second)
		if n := len(s.starts("dell", t0)); n != 7 {
			t.Errorf("%d dell started with the cap raised to 5, want 7", n)
		}
		settings.GroupCaps = map[string]int{"dell": 1}
		s.queue.Apply(settings)
		pass(10 * time.Second)
		if n := len(s.starts("dell", t0)); n != 8 {
			t.Errorf("%d dell started with the cap lowered to 1, want 8", n)
		}
		settings.GroupCaps = nil
		s.queue.Apply(settings)
		pass(time.Minute)
		if n := len(s.starts("dell", t0)); n != 20 || s.most != 6 {
			t.Errorf("%d dell started in the end, at most %d in flight", n, s.most)
		}
	})
}

// TestPollsAreOfNoGroup: a group at its cap is still watched; its polls neither count nor wait.
func TestPollsAreOfNoGroup(t *testing.T) {
	settings := ample()
	settings.MaxConcurrentOps, settings.GroupCaps = 8, map[string]int{"dell": 1}
	in(t, Options{Settings: settings}, func(s *site) {
		t0 := time.Now()
		every := func() time.Duration { return time.Hour }
		for n := range 2 {
			host := fmt.Sprintf("ns/h%d", n)
			s.queue.Register(Poll{Endpoint: bmc(n), Host: host, Interval: every, Run: s.busyFor(bmc(n), host, "poll", 10*time.Second, Result{})})
		}
		pass(time.Second)
		for n := 2; n < 4; n++ {
			o := s.op(n, "op", 20*time.Second, Result{})
			o.Group = "dell"
			s.queue.Submit(o)
		}
		host := "ns/h9"
		s.queue.Register(Poll{Endpoint: bmc(9), Host: host, Interval: every, Run: s.busyFor(bmc(9), host, "poll", 0, Result{})})
		pass(time.Minute)
		wantTimes(t, "operations of the group", s.starts("op", t0), time.Second, 21*time.Second)
		wantTimes(t, "polls, two at a time", s.starts("poll", t0), 0, 0, 10*time.Second)
		for _, n := range []int{0, 1, 9} {
			s.queue.Unregister(fmt.Sprintf("ns/h%d", n))
		}
	})
}

// groups is an Observer that keeps the group of what ran, by kind.
type groups struct {
	endings
	mu       sync.Mutex
	ran      map[string]string
	panicked []string
}

func (g *groups) Ended(string, Class, Ending, Failure) {}
func (g *groups) Tried(kind, group string, _ Class, _ Failure, _, _ time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ran[kind] = group
}

func (g *groups) Panicked(host, kind string, _ []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.panicked = append(g.panicked, host+" "+kind)
}

func TestTheObserverLearnsOfPanics(t *testing.T) {
	g, once := &groups{ran: map[string]string{}}, ample()
	once.RetryAttempts = 1
	in(t, Options{Settings: once, Observer: g}, func(s *site) {
		o := s.op(1, "op", 0, Result{})
		o.Run = func(context.Context) Result { panic("a bug") }
		s.queue.Submit(o)
		pass(time.Minute)
		g.mu.Lock()
		defer g.mu.Unlock()
		if want := []string{"ns/h1 op"}; !slices.Equal(g.panicked, want) {
			t.Errorf("told of %v, want %v", g.panicked, want)
		}
	})
}

func TestTheObserverLearnsTheGroup(t *testing.T) {
	g := &groups{ran: map[string]string{}}
	in(t, Options{Settings: ample(), Observer: g}, func(s *site) {
		o := s.op(0, "op", time.Second, Result{})
		o.Group = "dell"
		s.queue.Submit(o)
		s.queue.Register(Poll{Endpoint: bmc(9), Host: "ns/h9", Interval: func() time.Duration { return time.Hour },
			Run: s.busyFor(bmc(9), "ns/h9", "poll", 0, Result{})})
		pass(time.Minute)
		s.queue.Unregister("ns/h9")
		g.mu.Lock()
		defer g.mu.Unlock()
		if want := map[string]string{"op": "dell", "Poll": ""}; !maps.Equal(g.ran, want) {
			t.Errorf("told %v, want %v", g.ran, want)
		}
	})
}

// watch is an Observer that counts what waited for a cooldown.
type watch struct {
	endings
	mu    sync.Mutex
	waits int
}

func (w *watch) Ended(string, Class, Ending, Failure) {}
func (w *watch) CooldownWaited() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waits++
}

func TestWaitsForCooldownAreToldOnce(t *testing.T) {
	settings := ample()
	settings.Cooldown = 10 * time.Second
	w := &watch{}
	in(t, Options{Settings: settings, Observer: w}, func(s *site) {
		s.queue.Submit(s.op(1, "a", time.Second, changed))
		pass(2 * time.Second)
		s.queue.Submit(s.op(1, "b", time.Second, changed))
		for range 3 {
			s.queue.Apply(settings) // looks at every lane again
		}
		read := s.op(2, "read", time.Second, Result{})
		read.Endpoint, read.ReadOnly = bmc(1), true
		s.queue.Submit(read)
		s.queue.Submit(s.op(3, "elsewhere", time.Second, changed))
		pass(time.Minute)
		if w.waits != 1 {
			t.Errorf("%d waits for a cooldown told, want 1", w.waits)
		}
	})
}

// TestRelations goes through the table: what becomes of a new wish, and that the loser learns it.
func TestRelations(t *testing.T) {
	for _, running := range []bool{false, true} {
		for _, wish := range []struct {
			kin      kinship
			old, new Op
		}{
			{equal, Op{Kind: "k", ID: "1"}, Op{Kind: "k", ID: "1"}},
			{readAfterRead, Op{Kind: "r", ReadOnly: true}, Op{Kind: "k", ReadOnly: true}},
			{readAfterChange, Op{Kind: "c"}, Op{Kind: "k", ReadOnly: true}},
			{changeAfterAny, Op{Kind: "c", ID: "1"}, Op{Kind: "c", ID: "2"}},
			{changeAfterAny, Op{Kind: "r", ReadOnly: true}, Op{Kind: "c"}},
		} {
			t.Run(fmt.Sprint("running=", running, " ", wish.old.Kind, "-", wish.new.Kind, wish.kin), func(t *testing.T) {
				want := relations[wish.kin].waiting
				if running {
					want = relations[wish.kin].running
				}
				relate(t, running, wish.old, wish.new, want)
			})
		}
	}
}

func relate(t *testing.T, running bool, old, wish Op, want precedence) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Settings: ample()})
		fill := func(o Op) Op {
			x := s.op(1, o.Kind, time.Second, Result{})
			x.ID, x.ReadOnly = o.ID, o.ReadOnly
			return x
		}
		s.queue.Submit(fill(old))
		if running {
			s.run()
			synctest.Wait()
		}
		ticket := s.queue.Submit(fill(wish))
		synctest.Wait()
		last, woken := s.queue.Status("ns/h1").Outcome, s.wakes("ns/h1")
		if !running {
			s.run()
		}
		pass(time.Minute)
		s.close()
		starts := len(s.kinds())
		got := map[precedence]bool{
			queue:     ticket.Reason == ReasonQueued && ticket.Accepted && starts == 2,
			merge:     ticket.Reason == ReasonMerged && ticket.Accepted && starts == 1,
			supersede: ticket.Reason == ReasonSuperseded && ticket.Accepted && starts == 1 && last.Ending == EndedSuperseded && last.Kind == old.Kind && woken == 1,
			drop:      ticket.Reason == ReasonOutranked && !ticket.Accepted && starts == 1 && last.Ending == EndedRefused && last.Kind == wish.Kind,
		}
		if !got[want] {
			t.Errorf("want precedence %d: ticket %+v, then outcome %+v, woken %d times, %d started", want, ticket, last, woken, starts)
		}
	})
}

func TestHandOver(t *testing.T) {
	for how, want := range map[HandOver][2]time.Duration{
		NobodyBefore: {0, 0},
		Clean:        {10 * time.Second, 25 * time.Second}, // only the cooldown, the operation's own if it has one
		Unclean:      {20 * time.Second, 25 * time.Second},
	} {
		settings := ample()
		settings.Cooldown = 10 * time.Second
		synctest.Test(t, func(t *testing.T) {
			s := open(t, Options{Settings: settings})
			s.queue.TakeOver(how, 20*time.Second)
			s.run()
			synctest.Wait()
			t0 := time.Now()
			if settled := s.queue.Settled(); settled != (how != Unclean) {
				t.Errorf("%d: settled is %t", how, settled)
			}
			s.queue.Submit(s.op(1, "a", time.Second, changed))
			own := s.op(2, "own", time.Second, changed)
			own.Cooldown = 25 * time.Second
			s.queue.Submit(own)
			read := s.op(3, "read", time.Second, Result{})
			read.ReadOnly = true
			s.queue.Submit(read)
			synctest.Wait()
			if how != Unclean && s.queue.Settled() {
				t.Errorf("%d: settled with a read in flight", how)
			}
			pass(time.Minute)
			wantTimes(t, "a", s.starts("a", t0), want[0])
			wantTimes(t, "own", s.starts("own", t0), want[1])
			reads := time.Duration(0)
			if how == Unclean {
				reads = 20 * time.Second
			}
			wantTimes(t, "read", s.starts("read", t0), reads)
			if !s.queue.Settled() {
				t.Errorf("%d: not settled in the end", how)
			}
			s.close()
		})
	}
}
