package main

import (
	"context"
	"time"

	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
)

// speed is how much faster time goes for the actuator than for everybody else: a life takes seconds instead of a minute. The
// emulator's own times are scaled by what the site says.
const speed = 20

// fastClock is a clock that runs ahead.
type fastClock struct{ began time.Time }

func (c fastClock) Now() time.Time                  { return c.began.Add(time.Since(c.began) * speed) }
func (c fastClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// fastGate is the gate for somebody whose clock runs ahead: what he asks to wait is shorter here.
type fastGate struct{ *bmcqueue.Queue }

// Submit implements actuator.Gate.
func (g fastGate) Submit(op bmcqueue.Op) bmcqueue.Ticket {
	run := op.Run
	op.Run = func(ctx context.Context) bmcqueue.Result {
		r := run(ctx)
		if r.Wait > 0 {
			r.Wait = max(r.Wait/speed, time.Millisecond)
		}
		return r
	}
	return g.Queue.Submit(op)
}

var _ actuator.Gate = fastGate{}
