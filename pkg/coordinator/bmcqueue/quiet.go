package bmcqueue

import "time"

// SetQuietTime replaces Options.QuietTime. It is for the one thing that is known only when the lease was taken, just before
// Run: whether the driver before let it go cleanly.
func (q *Queue) SetQuietTime(d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.options.QuietTime = d
}
