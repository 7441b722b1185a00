package bmcqueue

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"
)

// BenchmarkOperation is the gate's own cost of one operation, from Submit to Outcome, with 10,000 idle lanes beside it.
func BenchmarkOperation(b *testing.B) {
	done := make(chan struct{}, 64)
	q := New(Options{Settings: ample(), Done: func(string) { done <- struct{}{} }})
	ctx, cancel := context.WithCancel(b.Context())
	end := make(chan error)
	go func() { end <- q.Run(ctx) }()
	fill(q, 10_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := i % 10_000
		q.Submit(Op{Endpoint: bmc(n), Host: "ns/op", Namespace: "ns", Kind: "x", Run: idle})
		<-done
	}
	cancel()
	if err := <-end; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkBacklog is the cost of one start and end with 10,000 operations waiting on lanes of their own.
func BenchmarkBacklog(b *testing.B) {
	s := ample()
	s.MaxQueueSize = 20_000
	g, now := newGate(s, func() float64 { return 0 }), time.Unix(0, 0)
	submit := func(n int) {
		g.submit(Op{Endpoint: bmc(n), Host: fmt.Sprint("ns/h", n), Namespace: fmt.Sprint(n % 50),
			Class: Class(n % 3), Kind: "x", Run: idle}, now)
	}
	for n := range 10_000 {
		submit(n)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		now = now.Add(time.Millisecond)
		r := g.next(now)
		g.complete(r, Result{Changed: true}, 0, now)
		submit(10_000 + i%10_000)
		g.takeEvents()
	}
}

// BenchmarkIdleLane reports the memory of one registered host on an endpoint of its own.
func BenchmarkIdleLane(b *testing.B) {
	const lanes = 10_000
	var bytes float64
	for b.Loop() {
		before := heapInUse()
		q := New(Options{Settings: ample()})
		fill(q, lanes)
		bytes = float64(heapInUse()-before) / lanes
		runtime.KeepAlive(q)
	}
	b.ReportMetric(bytes, "B/lane")
}

func fill(q *Queue, lanes int) {
	hour := func() time.Duration { return time.Hour }
	for n := range lanes {
		q.Register(Poll{Endpoint: bmc(n), Host: fmt.Sprint("ns/h", n), Namespace: "ns", Interval: hour, Run: idle})
	}
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
