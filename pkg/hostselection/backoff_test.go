package hostselection

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	cases := []struct {
		attempt    int
		multiplier float64
		limit      time.Duration
		want       time.Duration
	}{
		{1, 1.5, 30 * time.Second, time.Second},
		{2, 1.5, 30 * time.Second, 1500 * time.Millisecond},
		{4, 2, 30 * time.Second, 8 * time.Second},
		{6, 2, 30 * time.Second, 30 * time.Second},
		{1 << 40, 3, 300 * time.Second, 300 * time.Second},
		{100, 1, 30 * time.Second, time.Second},
		{0, 2, time.Minute, time.Second},
		{-5, 2, time.Minute, time.Second},
		{9, 0.5, time.Minute, time.Second},
		{3, 2, 0, time.Second},
	}
	for _, c := range cases {
		if got := Backoff(c.attempt, c.multiplier, c.limit); got != c.want {
			t.Errorf("Backoff(%d, %v, %v) = %v, want %v", c.attempt, c.multiplier, c.limit, got, c.want)
		}
	}
}
