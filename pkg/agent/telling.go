package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// errAborted is the cause of a context that the manager ended.
var errAborted = errors.New("the manager said to stop")

// telling tells the manager how far a plan is, while the plan is carried out.
type telling struct {
	run   *run
	abort context.CancelCauseFunc
	wake  chan struct{}

	mu sync.Mutex
	// now is the state; began and last are for the rate: how much was done when the last call went out.
	now  protocol.Progress
	last struct {
		at    time.Time
		bytes int64
	}
	next time.Duration
}

func newTelling(r *run, plan *protocol.Plan, abort context.CancelCauseFunc) *telling {
	t := &telling{run: r, abort: abort, wake: make(chan struct{}, 1), next: 5 * time.Second}
	t.now = protocol.Progress{Plan: plan.ID, Generation: plan.Generation, Step: protocol.StepPlan}
	t.last.at = time.Now()
	return t
}

// step begins a step, and has it told at once.
func (t *telling) step(s protocol.Step, disk, format string, args ...any) {
	t.mu.Lock()
	t.now.Step, t.now.Disk, t.now.Message = s, disk, protocol.CleanMessage(fmt.Sprintf(format, args...))
	t.now.Bytes, t.now.Total, t.now.Rate = 0, 0, 0
	t.last.at, t.last.bytes = time.Now(), 0
	t.mu.Unlock()
	t.run.say("%s %s: %s", s, disk, t.now.Message)
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// bytes are done, of a total that may be 0.
func (t *telling) bytes(done, total int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Bytes, t.now.Total = done, total
}

func (t *telling) change(do func(*protocol.Progress)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	do(&t.now)
}

// snapshot is what is told now. The rate is that since the last time.
func (t *telling) snapshot() *protocol.Call {
	t.mu.Lock()
	defer t.mu.Unlock()
	if passed := time.Since(t.last.at); passed > time.Second {
		t.now.Rate = int64(float64(t.now.Bytes-t.last.bytes) / passed.Seconds())
		t.now.Rate = max(t.now.Rate, 0)
		t.last.at, t.last.bytes = time.Now(), t.now.Bytes
	}
	now := t.now
	return &protocol.Call{Run: t.run.id, Progress: &now}
}

// loop tells until the context ends. A manager that does not answer is no reason to stop: what it asked for stands, and a half
// written disk helps nobody.
func (t *telling) loop(ctx context.Context) {
	for {
		answer, err := t.run.client.call(ctx, t.snapshot())
		next := t.run.o.Retry
		refused, gone := errors.AsType[*refusedError](err)
		switch {
		case ctx.Err() != nil:
			return
		case gone:
			t.abort(fmt.Errorf("%w: %w", errAborted, refused))
			return
		case err != nil:
			t.run.say("%v", err)
		case answer.Verdict == protocol.VerdictAbort:
			t.abort(errAborted)
			return
		default:
			next = time.Duration(answer.NextSeconds) * time.Second
		}
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-t.wake:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// lastWord tells how it ended until the manager has heard it.
func (t *telling) lastWord(ctx context.Context) error {
	until := time.Now().Add(t.run.o.LastWord)
	for {
		answer, err := t.run.client.call(ctx, t.snapshot())
		if refused, ok := errors.AsType[*refusedError](err); ok {
			return refused
		}
		next := t.run.o.Retry
		if err == nil {
			if answer.Verdict == protocol.VerdictDone || answer.Verdict == protocol.VerdictAbort {
				return nil
			}
			next = time.Duration(answer.NextSeconds) * time.Second
		} else {
			t.run.say("%v", err)
		}
		if time.Now().Add(next).After(until) {
			return errors.New("the manager did not hear how it ended")
		}
		if err := pause(ctx, next); err != nil {
			return err
		}
	}
}
