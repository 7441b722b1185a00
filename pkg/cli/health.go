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
	// utilisation of the queue, conflicts among claims, and failures among runs, in percent.
	utilisation, conflicts, failures float64
	attempts, runs, panics           float64
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
	w, err := m.look(ctx, m.in.scrapes, length)
	if err != nil {
		return health{}, err
	}
	s, _ := config.Load(m.in.sources)
	return healthOf(w, s), nil
}

func healthOf(w window, s config.Settings) health {
	h := health{replicas: len(w.after), valid: int(sumOf(w.after, metricValid)), drivers: int(sumOf(w.after, metricDriver)),
		utilisation: 100 * w.gauge(metricQueue) / float64(s.Provisioning.MaxQueueSize),
		attempts:    w.counted(metricClaims, every), panics: w.counted(metricPanics, every),
		runs: w.counted(metricRuns, label("outcome", "ok", "busy", "5xx", "unreachable", "login_failed", "other")),
	}
	if h.attempts > 0 {
		h.conflicts = 100 * w.counted(metricClaims, label("outcome", "conflict")) / h.attempts
	}
	if h.runs > 0 {
		h.failures = 100 * (1 - w.counted(metricRuns, label("outcome", "ok"))/h.runs)
	}
	return h
}

func (h health) String() string {
	return fmt.Sprintf("%d replicas, queue %.0f %%, conflicts %.0f %% of %.0f claims, failures %.0f %% of %.0f operations",
		h.replicas, h.utilisation, h.conflicts, h.attempts, h.failures, h.runs)
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
	case h.attempts >= fewEvents && h.conflicts > conflictsTolerate && h.conflicts > before.conflicts+mayGrow:
		return fmt.Sprintf("more claims meet conflicts: %.0f %%, it was %.0f %%", h.conflicts, before.conflicts)
	case h.runs >= fewEvents && h.failures > failuresTolerate && h.failures > before.failures+mayGrow:
		return fmt.Sprintf("more operations fail: %.0f %%, it was %.0f %%", h.failures, before.failures)
	}
	return ""
}
