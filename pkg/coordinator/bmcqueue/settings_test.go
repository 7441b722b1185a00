package bmcqueue

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// settingChange is a change of the settings, five seconds after ops operations (on one endpoint if negative) were submitted.
type settingChange struct {
	start, change func(*Settings)
	result        Result
	took          time.Duration
	ops           int
	want          []time.Duration // starts
	ending        Ending
}

func settingChanges() map[string]settingChange {
	busy := Result{Failure: Busy}
	return map[string]settingChange{
		"maxConcurrentOps raised":  {start: cap1, change: func(s *Settings) { s.MaxConcurrentOps = 3 }, ops: 6, took: 4 * time.Second, want: secs(0, 4, 5, 5, 8, 9)},
		"maxConcurrentOps lowered": {start: func(s *Settings) { s.MaxConcurrentOps = 3 }, change: cap1, ops: 6, took: 4 * time.Second, want: secs(0, 0, 0, 4, 4, 4)},
		"workerCount raised":       {start: func(s *Settings) { s.WorkerCount = 1 }, change: func(s *Settings) { s.WorkerCount = 2 }, ops: 4, took: 4 * time.Second, want: secs(0, 4, 5, 8)},
		"maxQueueSize shrunk":      {start: cap1, change: func(s *Settings) { s.MaxConcurrentOps, s.MaxQueueSize = 1, 1 }, ops: 4, took: 2 * time.Second, want: secs(0, 2, 4, 6)},
		// The one under way keeps its ten seconds; the next try has two.
		"operationTimeout lowered": {start: func(s *Settings) { s.OperationTimeout, s.RetryAttempts = 10*time.Second, 2 }, change: func(s *Settings) { s.OperationTimeout, s.RetryAttempts = 2*time.Second, 2 },
			ops: 1, took: time.Hour, want: secs(0, 11), ending: EndedFailed},
		"bmcCooldownPeriod lowered": {start: func(s *Settings) { s.Cooldown = time.Minute }, change: func(s *Settings) { s.Cooldown = 10 * time.Second }, ops: -2, took: time.Second, want: secs(0, 11)},
		"bmcCooldownPeriod raised":  {start: func(s *Settings) { s.Cooldown = 8 * time.Second }, change: func(s *Settings) { s.Cooldown = 20 * time.Second }, ops: -2, took: time.Second, want: secs(0, 21)},
		// Delays are 1, 2, 4, 8 s with the jitter of these tests: tries at 0, 1, 3 and 7 s.
		"retryAttempts lowered": {start: func(s *Settings) { s.RetryAttempts = 9 }, change: func(s *Settings) { s.RetryAttempts = 4 }, result: busy, ops: 1, want: secs(0, 1, 3, 7), ending: EndedFailed},
		"retryAttempts raised":  {start: func(s *Settings) { s.RetryAttempts = 4 }, change: func(s *Settings) { s.RetryAttempts = 5 }, result: busy, ops: 1, want: secs(0, 1, 3, 7, 15), ending: EndedFailed},
		"exponentialBackoff off": {start: func(s *Settings) { s.RetryAttempts = 6 }, change: func(s *Settings) { s.RetryAttempts, s.ExponentialBackoff = 6, false },
			result: busy, ops: 1, want: secs(0, 1, 3, 7, 8, 9), ending: EndedFailed},
		"maxRetryDelay lowered": {start: func(s *Settings) { s.RetryAttempts = 6 }, change: func(s *Settings) { s.RetryAttempts, s.MaxRetryDelay = 6, 4*time.Second },
			result: busy, ops: 1, want: secs(0, 1, 3, 7, 9, 11), ending: EndedFailed},
	}
}

// TestEverySettingChangesLive changes each of the guide's eight settings under load: it counts from then on, and every operation
// is carried out once.
func TestEverySettingChangesLive(t *testing.T) {
	for name, c := range settingChanges() {
		t.Run(name, func(t *testing.T) {
			before, after := ample(), ample()
			c.start(&before)
			c.change(&after)
			in(t, Options{Settings: before}, func(s *site) {
				t0 := time.Now()
				n := max(c.ops, -c.ops)
				for i := range n {
					o := s.op(i, "x", c.took, c.result)
					o.Run = s.busyFor(bmc(i), o.Host, "x", c.took, Result{Changed: c.result.Failure == None, Failure: c.result.Failure})
					if c.ops < 0 {
						o.Endpoint = bmc(0) // one chassis manager
					}
					s.queue.Submit(o)
				}
				pass(5 * time.Second)
				s.queue.Apply(after)
				pass(10 * time.Minute)
				wantTimes(t, "x", s.starts("x", t0), c.want...)
				ending := c.ending
				if ending == EndedNone {
					ending = EndedSucceeded
				}
				var got []Ending
				for i := range n {
					got = append(got, s.queue.Status(fmt.Sprintf("ns/h%d", i)).Outcome.Ending)
				}
				if !slices.Equal(got, slices.Repeat([]Ending{ending}, n)) {
					t.Errorf("endings %v, want %s", got, ending)
				}
			})
		})
	}
}

func cap1(s *Settings) { s.MaxConcurrentOps = 1 }

func secs(n ...int) (d []time.Duration) {
	for _, x := range n {
		d = append(d, time.Duration(x)*time.Second)
	}
	return d
}
