package settings

import (
	"context"
	"time"
)

// Period is the time between two rounds of something. It may become another one while it is waited for: what is left is then
// counted anew, from when the wait began.
type Period struct {
	Of func() time.Duration
	// Changed returns a channel that is closed when the period may have changed; nil: it never does.
	Changed func() <-chan struct{}
}

// Wait returns true when the period has passed, false when the context ended.
func (p Period) Wait(ctx context.Context) bool {
	began := time.Now()
	for {
		var changed <-chan struct{}
		if p.Changed != nil {
			changed = p.Changed() // before the period is asked, so that no change falls between
		}
		timer := time.NewTimer(p.Of() - time.Since(began))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
			return true
		case <-changed:
			timer.Stop()
		}
	}
}
