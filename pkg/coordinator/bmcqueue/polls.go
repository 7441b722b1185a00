package bmcqueue

import (
	"errors"
	"time"
)

// errHushed is the cancellation cause of a poll whose BMC was silent while others waited.
var errHushed = errors.New("no sign of life, and other polls wait")

// impatient is the lane whose poll goes before o, the best operation: polls have a share of the starts that no load of operations
// takes from them, or bound hosts would not be looked at while a fleet is provisioned. nil if none does, or if o is nil.
func (g *gate) impatient(o *op, now time.Time) *lane {
	if o == nil || g.sincePoll < pollShare-1 || g.counts.polls >= g.settings.pollSlots() {
		return nil
	}
	l := g.bestPoll([]int{healthy}, now)
	if l == nil {
		return nil
	}
	patience := PollPatience
	if o.Class == ClassRelease {
		patience = AgePeriod
	}
	if now.Sub(l.due.due) < patience {
		return nil
	}
	return l
}

// crowded reports whether polls could start if those in flight were fewer.
func (g *gate) crowded() bool {
	return g.polls[healthy].len() > 0 && (g.counts.polls >= g.settings.pollSlots() || len(g.runs) >= g.settings.slots())
}

// silent reports whether r is a poll, of an endpoint that was not known to be unreachable, without a sign of life.
func (r *run) silent() bool {
	return r.poll != nil && !r.suspect && !r.answered && !r.cancelled && !r.hushed
}

// hush cuts short the polls whose BMCs were silent for long while others wait, and returns what cancels them: a rack without power
// must not fill the slots of polls for minutes.
func (g *gate) hush(now time.Time) (cancels []func(error)) {
	if !g.crowded() {
		return nil
	}
	for r := range g.runs {
		if r.silent() && !now.Before(r.started.Add(HushAfter)) {
			r.hushed = true
			cancels = append(cancels, r.cancel)
		}
	}
	return cancels
}
