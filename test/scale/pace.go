package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// pace is how fast this computer is, watched all the time. The processors of a virtual machine are shared with strangers: the same
// instructions were seen to take twice the time from one minute to the next, which says nothing about claims. Numbers of different
// minutes are compared by what one fixed calculation cost in each.
type pace struct {
	mu      sync.Mutex
	samples []paceSample
}

type paceSample struct {
	at   time.Time
	cost time.Duration
}

const (
	// paceEvery and paceRounds make the calculation about a fiftieth of one processor.
	paceEvery  = 250 * time.Millisecond
	paceRounds = 16
)

// watchPace measures until ctx ends.
func watchPace(ctx context.Context) *pace {
	p := &pace{}
	go func() {
		runtime.LockOSThread() // the clock is the thread's
		defer runtime.UnlockOSThread()
		text := bytes.Repeat([]byte(`{"kind":"PhysicalHost","spec":{"claim":{"id":"0123456789abcdef"}},"n":[1,2.5,true,null]},`), 300)
		text = append(append([]byte{'['}, text[:len(text)-1]...), ']')
		ticks := time.NewTicker(paceEvery)
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
				if cost, ok := threadCost(func() { calculate(text) }); ok {
					p.note(time.Now(), cost)
				}
			}
		}
	}()
	return p
}

// calculate allocates nothing, so that no garbage collection of the harness counts.
func calculate(text []byte) {
	for range paceRounds {
		if !json.Valid(text) {
			panic("the fixed calculation is wrong")
		}
	}
}

// threadCost is the CPU time that f takes of the calling thread.
func threadCost(f func()) (time.Duration, bool) {
	var before, after unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &before) != nil {
		return 0, false
	}
	f()
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &after) != nil {
		return 0, false
	}
	return time.Duration(after.Nano() - before.Nano()), true
}

func (p *pace) note(at time.Time, cost time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.samples = append(p.samples, paceSample{at, cost})
}

// millis is the mean cost of the calculation since a moment, or the last one before it, in CPU milliseconds.
func (p *pace) millis(since time.Time) (float64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.samples) == 0 {
		return 0, errors.New("the pace of this computer was never measured")
	}
	first := len(p.samples) - 1
	for first > 0 && !p.samples[first-1].at.Before(since) {
		first--
	}
	total := time.Duration(0)
	for _, s := range p.samples[first:] {
		total += s.cost
	}
	return total.Seconds() * 1000 / float64(len(p.samples)-first), nil
}
