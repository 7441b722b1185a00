package bmcqueue

import "time"

// TakeOver replaces Options.HandOver and QuietTime. It is for what is known only when the lease was taken, just before Run:
// whether the driver before let it go cleanly.
func (q *Queue) TakeOver(how HandOver, quiet time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.options.HandOver, q.options.QuietTime = how, quiet
}

// Settled reports whether all is past that a successor could collide with: nothing is in flight here, and no quiet time is under
// way, in which a request of an earlier driver might be. Only then the lease is let go cleanly.
func (q *Queue) Settled() (settled bool) {
	q.read(func(g *gate, now time.Time) { settled = len(g.runs) == 0 && !g.silentUntil.After(now) })
	return settled
}

// takeOver begins the time in which the driver before, if there was one, may still be felt at the BMCs.
func (g *gate) takeOver(how HandOver, quiet time.Duration, now time.Time) {
	switch how {
	case NobodyBefore:
		return
	case Clean:
	case Unclean:
		g.silentUntil = later(g.silentUntil, now.Add(quiet))
	}
	g.tookOver = now
	g.placeAll(now)
}
