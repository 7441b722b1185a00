//go:build budget

package hostselection

import (
	"math"
	"testing"
	"time"
)

// budget is for one choice among 10,000 hosts on one core of a machine of 2024.
const budget = time.Millisecond

// TestBudget is run on demand, on a machine that does little else: go test -tags budget -run TestBudget ./pkg/hostselection.
// Others on the machine only ever add time, so the best of some rounds is what the code takes.
func TestBudget(t *testing.T) {
	hosts := NewPool("ns", pool(10_000)...)
	for _, algorithm := range algorithms {
		for name, req := range map[string]Request{"": choice(), " with hard spread": spreading(choice())} {
			best := time.Duration(math.MaxInt64)
			for range 50 {
				started := time.Now()
				hosts.Rank(algorithm, req)
				best = min(best, time.Since(started))
			}
			t.Logf("%s%s: %v for one of %d hosts", algorithm, name, best, hosts.Len())
			if best > budget {
				t.Errorf("%s%s took %v, more than %v", algorithm, name, best, budget)
			}
		}
	}
}
