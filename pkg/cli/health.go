package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/beskar7/beskar7/pkg/config"
)

// health is how the fleet does over a window.
type health struct {
	replicas int
	// valid and drivers count replicas: whose settings are valid, who drive BMCs.
	valid, drivers int
	// utilisation of the queue in percent.
	utilisation float64
	// claims that met conflicts, and runs that failed.
	claims, runs share
	panics       float64
}

// share counts events and the bad ones among them.
type share struct{ events, bad float64 }

func (s share) percent() float64 {
	if s.events == 0 {
		return 0
	}
	return 100 * s.bad / s.events
}

// worse says whether there are enough events to say that the share is more than what is tolerated and more than it was.
func (s share) worse(before share, tolerated float64) bool {
	return s.events >= fewEvents && s.percent() > tolerated && s.percent() > before.percent()+mayGrow
}

// and adds the events of a window before, if those were too few to be judged: a fleet that does little and all of it wrong is
// told after a few windows.
func (s share) and(earlier share) share {
	if earlier.events >= fewEvents {
		return s
	}
	return share{s.events + earlier.events, s.bad + earlier.bad}
}

// By how many percentage points a share may grow until it counts as worse, and from which share on. Shares of a few events jump.
const (
	mayGrow           = 10
	conflictsTolerate = conflictsLow
	failuresTolerate  = 5
	fewEvents         = 5
	queueNearFull     = 90
)

// healthOver measures for a while.
func (m *migration) healthOver(ctx context.Context, length time.Duration) (health, error) {
	w, err := m.look(ctx, m.patiently(m.in.scrapes), length)
	if err != nil {
		return health{}, err
	}
	s, _ := config.Load(m.in.sources)
	return healthOf(w, s), nil
}

func healthOf(w window, s config.Settings) health {
	h := health{replicas: len(w.after), valid: int(sumOf(w.after, metricValid)), drivers: int(sumOf(w.after, metricDriver)),
		utilisation: 100 * w.gauge(metricQueue) / float64(s.Provisioning.MaxQueueSize),
		claims:      share{w.counted(metricClaims, every), w.counted(metricClaims, label("outcome", "conflict"))},
		runs:        share{events: w.counted(metricRuns, label("outcome", "ok", "busy", "5xx", "unreachable", "login_failed", "other"))},
		panics:      w.counted(metricPanics, every),
	}
	h.runs.bad = h.runs.events - w.counted(metricRuns, label("outcome", "ok"))
	return h
}

func (h health) String() string {
	return fmt.Sprintf("%d replicas, queue %.0f %%, conflicts %.0f %% of %.0f claims, failures %.0f %% of %.0f operations",
		h.replicas, h.utilisation, h.claims.percent(), h.claims.events, h.runs.percent(), h.runs.events)
}

// unwell says what is wrong whatever was before; empty if nothing is.
func (h health) unwell() string {
	switch {
	case h.replicas == 0:
		return "no replica is ready"
	case h.valid < h.replicas:
		return fmt.Sprintf("%d of %d replicas hold the settings for invalid", h.replicas-h.valid, h.replicas)
	case h.drivers != 1:
		return fmt.Sprintf("%d replicas drive BMCs, not one", h.drivers)
	case h.panics > 0:
		return "operations panicked"
	}
	return ""
}

// worse says what got worse; empty if nothing did.
func (h health) worse(before health) string {
	switch reason := h.unwell(); {
	case reason != "":
		return reason
	case h.replicas < before.replicas:
		return fmt.Sprintf("%d replicas are ready, there were %d", h.replicas, before.replicas)
	case h.utilisation > queueNearFull && h.utilisation > before.utilisation+mayGrow:
		return fmt.Sprintf("the queue is nearly full: %.0f %%, it was %.0f %%", h.utilisation, before.utilisation)
	case h.claims.worse(before.claims, conflictsTolerate):
		return fmt.Sprintf("more claims meet conflicts: %.0f %%, it was %.0f %%", h.claims.percent(), before.claims.percent())
	case h.runs.worse(before.runs, failuresTolerate):
		return fmt.Sprintf("more operations fail: %.0f %%, it was %.0f %%", h.runs.percent(), before.runs.percent())
	}
	return ""
}
