package main

import (
	"context"
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	start := time.Now()
	p := &pace{}
	if _, err := p.millis(start); err == nil {
		t.Error("a pace that was never measured")
	}
	for i, cost := range []time.Duration{4, 6, 8, 16} {
		p.note(start.Add(time.Duration(i)*time.Second), cost*time.Millisecond)
	}
	for _, c := range []struct {
		since time.Duration
		want  float64
	}{{0, 8.5}, {2 * time.Second, 12}, {3 * time.Second, 16}, {time.Minute, 16}} {
		if got, err := p.millis(start.Add(c.since)); err != nil || got != c.want {
			t.Errorf("since %v: %v %v, want %v", c.since, got, err, c.want)
		}
	}
}

// TestPaceIsMeasured: on whatever computer the test runs.
func TestPaceIsMeasured(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := watchPace(ctx)
	for {
		if got, err := p.millis(time.Time{}); err == nil {
			if got <= 0 || got > 10_000 {
				t.Errorf("%v ms", got)
			}
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal("not measured")
		case <-time.After(paceEvery):
		}
	}
}
