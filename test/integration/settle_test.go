package integration

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/test/emulator"
)

// TestABMCIsLeftAloneAfterAChange: what a BMC that wants rest after an insert sees of gate, actuator and driver in that time is
// nothing at all, and after it the boot goes on. The BMC takes the times.
func TestABMCIsLeftAloneAfterAChange(t *testing.T) {
	t.Parallel()
	const rest = 3 * time.Second
	fleet := newFleet(t)
	b, err := fleet.Add(emulator.Spec{Name: "rests"})
	if err != nil {
		t.Fatal(err)
	}
	b.SetGuest(&emulated{t: t, bmc: b})
	l := newHostLoop(t, fleet, b, time.Hour)
	l.rest = actuator.Rest{AfterInsert: rest}
	l.until(provision.Available)
	var mu sync.Mutex
	var inserted time.Time
	var gap time.Duration // from the insert to the next request
	b.SetIntercept(func(_ http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if !inserted.IsZero() && gap == 0 {
			gap = time.Since(inserted)
		}
		if strings.HasSuffix(r.URL.Path, "InsertMedia") {
			inserted = time.Now()
		}
		return false
	})
	l.change(func(b *actuator.Brief) {
		b.ClaimID, b.Facts.Claim, b.Facts.Content, b.Facts.KeepOn = "0123456789abcdef", provision.ClaimHeld, provision.ContentNoToken, true
	})
	l.until(provision.Booting)
	mu.Lock()
	defer mu.Unlock()
	// The gate counts from the end of the operation, which is after this: never less.
	if gap < rest {
		t.Errorf("the next request came %s after the insert, which wants %s of rest", gap, rest)
	}
}
