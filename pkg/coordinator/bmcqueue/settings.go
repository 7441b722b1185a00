package bmcqueue

import (
	"maps"
	"time"
)

// normalised raises every value below its minimum to it.
func (s Settings) normalised() Settings {
	s.MaxConcurrentOps = max(s.MaxConcurrentOps, 1)
	s.WorkerCount = max(s.WorkerCount, 1)
	s.MaxQueueSize = max(s.MaxQueueSize, 1)
	s.RetryAttempts = max(s.RetryAttempts, 1)
	s.Cooldown = max(s.Cooldown, 0)
	if s.OperationTimeout <= 0 {
		s.OperationTimeout = DefaultOperationTimeout
	}
	if s.MaxRetryDelay <= 0 {
		s.MaxRetryDelay = DefaultMaxRetryDelay
	}
	s.GroupCaps = maps.Clone(s.GroupCaps) // the caller may go on writing to its own
	return s
}

// slots is the cap of everything in flight.
func (s Settings) slots() int { return min(s.MaxConcurrentOps, s.WorkerCount) }

// pollSlots is how many of the slots polls may use: a quarter, and one at least, or a small gate would see nothing.
func (s Settings) pollSlots() int { return max(s.slots()/4, 1) }

// suspectSlots is how many of the slots unreachable endpoints may use: a tenth, and one at least.
func (s Settings) suspectSlots() int { return max(s.slots()/10, 1) }

// groupFull reports whether a group with n operations in flight must not start another.
func (s Settings) groupFull(group string, n int) bool {
	limit := s.GroupCaps[group]
	return group != "" && limit > 0 && n >= limit
}

// delay is the back-off after the n-th failure in a row. What the BMC asked for is never shortened by jitter; our own
// delay is spread over its upper half, so that endpoints that failed together do not come back together.
func (g *gate) delay(n int, asked time.Duration) time.Duration {
	if asked > 0 {
		d := min(max(asked, MinRetryAfter), MaxRetryAfter)
		return min(d+time.Duration(g.jitter()*float64(d)/10), MaxRetryAfter)
	}
	d := min(BaseDelay, g.settings.MaxRetryDelay)
	if g.settings.ExponentialBackoff {
		for i := 1; i < n && d < g.settings.MaxRetryDelay; i++ {
			d *= 2
		}
		d = min(d, g.settings.MaxRetryDelay)
	}
	return d/2 + time.Duration(g.jitter()*float64(d)/2)
}
