package integration

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/test/emulator"
)

// budgetMemory is what gate, actuator and driver together may hold for one BMC that rests, in bytes.
const budgetMemory = 64 << 10

// TestIdleMemoryBudget enrols BMCs, lets them rest, and takes the difference that it makes to let go of them all. What the
// emulator holds stays in both.
func TestIdleMemoryBudget(t *testing.T) {
	const bmcs = 40
	fleet := newFleet(t)
	var targets []redfish.Target
	for i := range bmcs {
		b, err := fleet.Add(emulator.Spec{Name: fmt.Sprint("idle-", i)})
		if err != nil {
			t.Fatal(err)
		}
		targets = append(targets, target(fleet, b))
	}
	with := resting(t, targets)
	per := (with - heapAlive()) / bmcs
	t.Logf("memory per idle BMC: %d bytes of gate, actuator and driver, of %d", per, budgetMemory)
	if per > budgetMemory {
		t.Errorf("an idle BMC costs %d bytes, the budget is %d", per, budgetMemory)
	}
}

// resting is the heap with all BMCs at rest; they are let go of when it returns.
func resting(t *testing.T, targets []redfish.Target) int64 {
	t.Helper()
	held, letGo := restingFleet(t, targets)
	with := heapAlive()
	runtime.KeepAlive(held)
	letGo()
	return with
}

// restingFleet observes every BMC once, and then leaves them alone without a connection.
func restingFleet(t *testing.T, targets []redfish.Target) (held *actuator.Actuator, letGo func()) {
	t.Helper()
	looked := make(chan struct{}, 1)
	look := func(string) {
		select {
		case looked <- struct{}{}:
		default:
		}
	}
	gate := bmcqueue.New(bmcqueue.Options{Settings: bmcqueue.Settings{MaxConcurrentOps: 8, WorkerCount: 8, MaxQueueSize: 10, OperationTimeout: time.Minute}})
	pool := redfish.NewPool(redfish.Options{IdleTimeout: time.Millisecond})
	held = actuator.New(actuator.Options{Gate: gate, Driver: pool, Clock: clocktesting.NewFakePassiveClock(time.Now()), Changed: look})
	ctx, cancel := context.WithCancel(context.Background())
	var over sync.WaitGroup
	over.Go(func() { _ = gate.Run(ctx) })
	end := sync.OnceFunc(func() {
		cancel()
		over.Wait()
		closing, done := context.WithTimeout(context.Background(), time.Minute)
		defer done()
		if err := pool.Close(closing); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	for i, target := range targets {
		if err := held.Track(actuator.Tracking{Host: fmt.Sprint("ns/", i), Namespace: "ns", Target: target, Interval: func() time.Duration { return time.Hour }}); err != nil {
			t.Fatal(err)
		}
		gate.PollNow(fmt.Sprint("ns/", i))
	}
	for i := range targets {
		for seen, _ := held.Observed(fmt.Sprint("ns/", i)); seen.SlotsAt.IsZero(); seen, _ = held.Observed(fmt.Sprint("ns/", i)) {
			select {
			case <-looked:
			case <-t.Context().Done():
				t.Fatal("the BMCs are not polled")
			}
		}
	}
	return held, end
}

// heapAlive is what is reachable, in bytes.
func heapAlive() int64 {
	runtime.GC()
	runtime.GC() // what the first one finalized goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
