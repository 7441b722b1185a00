package bmcqueue

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

const (
	// fenceEvery is how often the fence is asked while something runs or waits for it: a cancelled request has to be
	// off the wire well before the lease can be another's.
	fenceEvery = 250 * time.Millisecond
	// lastGrace is how long Run waits, after it cancelled what runs, before it gives up on operations that ignore it.
	lastGrace = 5 * time.Second
)

// fenceKey carries the Queue in the context of a run, runKey the run itself.
type (
	fenceKey struct{}
	runKey   struct{}
)

// Answered tells the gate that the BMC of the run with this context gave a sign of life, such as by taking a connection: what it is
// asked may take its time. Any other context is passed over.
func Answered(ctx context.Context) {
	q, _ := ctx.Value(fenceKey{}).(*Queue)
	r, _ := ctx.Value(runKey{}).(*run)
	if q != nil && r != nil {
		q.do(func(g *gate, now time.Time) { g.heard(r, now) })
	}
}

// CheckFence returns ErrFenced, or why ctx ended, if no changing request must be sent now. An operation asks immediately before
// each one, with the context it was given; any other context passes.
func CheckFence(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx) // also when the fence is back: this run was given up
	}
	if q, ok := ctx.Value(fenceKey{}).(*Queue); ok && !q.fenceValid() {
		return ErrFenced
	}
	return nil
}

func (q *Queue) fenceValid() bool { return q.options.Fence == nil || q.options.Fence.Valid() }

// Run starts operations and polls until ctx ends. Then it starts nothing more, waits DrainTimeout for what is in
// flight, cancels the rest, and returns nil; an error only if an operation ignored that too. Waiting operations are
// lost with the process: their owners derive them again.
func (q *Queue) Run(ctx context.Context) error {
	q.mu.Lock()
	if q.running {
		q.mu.Unlock()
		return errTwice
	}
	q.running = true
	q.gate.takeOver(q.options.HandOver, q.options.QuietTime, time.Now())
	q.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	work := context.WithoutCancel(ctx) // runs outlive ctx by the drain time
	for ctx.Err() == nil {
		timer.Reset(q.schedule(work))
		select {
		case <-ctx.Done():
		case <-q.kick:
		case <-timer.C:
		}
	}
	return q.drain()
}

// schedule starts all that may start, and returns when to look again.
func (q *Queue) schedule(work context.Context) time.Duration {
	wait, hushed := q.start(work, q.askFence())
	for _, cancel := range hushed {
		cancel(errHushed)
	}
	return wait
}

// start starts all that may start, and returns when to look again and what cancels the polls that have to give way.
func (q *Queue) start(work context.Context, valid bool) (wait time.Duration, hushed []func(error)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	g, now := q.gate, time.Now()
	for valid && !q.draining {
		r := g.next(now)
		if r == nil {
			break
		}
		ctx, cancel := context.WithCancelCause(context.WithValue(context.WithValue(work, fenceKey{}, q), runKey{}, r))
		r.cancel = cancel
		go q.execute(ctx, r)
	}
	hushed = g.hush(now)
	wait = min(max(g.wakeAt(now).Sub(now), 0), time.Hour)
	if !valid || q.options.Fence != nil && len(g.runs) > 0 {
		wait = fenceEvery
	}
	return wait, hushed
}

// askFence asks the fence and acts on a change: lost, everything in flight is cancelled; back, another process may have
// been at work, so the quiet time begins again.
func (q *Queue) askFence() bool {
	valid := q.fenceValid()
	q.mu.Lock()
	var cancels []func(error)
	if !valid {
		cancels = q.gate.holdAll()
	} else if !q.valid {
		q.gate.takeOver(Unclean, q.options.QuietTime, time.Now())
	}
	q.valid = valid
	q.mu.Unlock()
	for _, cancel := range cancels {
		cancel(ErrFenced)
	}
	return valid
}

// execute runs r in a goroutine of its own.
func (q *Queue) execute(ctx context.Context, r *run) {
	defer r.cancel(nil)
	var res Result
	if err := CheckFence(ctx); err != nil {
		q.mu.Lock()
		r.cancelled = true
		q.mu.Unlock()
		res = Result{Failure: Other, Err: err}
	} else {
		res = q.try(ctx, r)
	}
	interval := q.intervalOf(r)
	q.do(func(g *gate, now time.Time) { g.complete(r, res, interval, now) })
}

// try calls the operation and contains its panic. Nobody knows what a panicked one had sent: the cooldown starts.
func (q *Queue) try(ctx context.Context, r *run) (res Result) {
	ctx, cancel := context.WithTimeout(ctx, r.request.Timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			q.panicked(r)
			// The value is not shown: it may hold what no log may hold.
			res = Result{Failure: Other, Changed: r.op != nil && !r.request.ReadOnly,
				Err: fmt.Errorf("%s panicked (%T)", r.request.Kind, p)}
		}
	}()
	return r.request.Run(ctx)
}

func (q *Queue) panicked(r *run) {
	if q.options.Observer != nil {
		q.options.Observer.Panicked(r.request.Host, r.request.Kind, debug.Stack())
	}
}

// intervalOf asks a poll when it wants to run again; one that panics has to wait a while.
func (q *Queue) intervalOf(r *run) (interval time.Duration) {
	if r.interval == nil {
		return 0
	}
	defer func() {
		if p := recover(); p != nil {
			q.panicked(r)
			interval = DefaultMaxRetryDelay
		}
	}()
	return r.interval()
}

// drain ends the life of the queue: nothing starts, what runs gets its time.
func (q *Queue) drain() error {
	q.mu.Lock()
	q.draining = true
	q.mu.Unlock()
	if q.emptied(q.options.DrainTimeout) {
		return nil
	}
	q.mu.Lock()
	cancels := q.gate.holdAll()
	q.mu.Unlock()
	for _, cancel := range cancels {
		cancel(ErrStopping)
	}
	if q.emptied(lastGrace) {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return fmt.Errorf("stop the bmc queue: %d operations in flight ignored their cancelled context", len(q.gate.runs))
}

// emptied waits until nothing is in flight, limit at most, and still watches the fence.
func (q *Queue) emptied(limit time.Duration) bool {
	deadline := time.Now().Add(limit)
	for {
		q.askFence()
		q.mu.Lock()
		n := len(q.gate.runs)
		q.mu.Unlock()
		left := time.Until(deadline)
		if n == 0 || left <= 0 {
			return n == 0
		}
		timer := time.NewTimer(min(left, fenceEvery))
		select {
		case <-q.kick:
		case <-timer.C:
		}
		timer.Stop()
	}
}
