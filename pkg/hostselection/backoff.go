package hostselection

import (
	"math"
	"time"
)

// BackoffBase is the first delay of Backoff.
const BackoffBase = time.Second

// Backoff is the delay after the attempt-th unsuccessful attempt, counted from 1: BackoffBase, then multiplied each time, at
// most limit. A multiplier below 1 (or no number) counts as 1; a limit below BackoffBase counts as BackoffBase.
func Backoff(attempt int, multiplier float64, limit time.Duration) time.Duration {
	limit = max(limit, BackoffBase)
	if !(multiplier >= 1) {
		multiplier = 1
	}
	delay := float64(BackoffBase) * math.Pow(multiplier, float64(max(attempt, 1)-1))
	if !(delay < float64(limit)) { // also when it overflowed to infinity
		return limit
	}
	return time.Duration(delay)
}
