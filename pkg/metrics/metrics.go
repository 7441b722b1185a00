package metrics

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
)

// pollKind is what the gate calls the recurring reads of its lanes.
const pollKind = "Poll"

// The closed label sets.
var (
	claimOutcomes   = []string{"success", "conflict", "no_host", "error"}
	conflictReasons = []string{"", "host_changed", "host_taken", "host_gone", "machine_changed"}
	mediaFiles      = []string{"image", "seed", "composed"}
	methods         = []string{"GET", "PATCH", "POST", "PUT", "DELETE"}
)

// endingLabels are the outcomes of operations that ended without a run.
var endingLabels = map[bmcqueue.Ending]string{
	bmcqueue.EndedRefused:    "refused",
	bmcqueue.EndedDisplaced:  "displaced",
	bmcqueue.EndedSuperseded: "superseded",
	bmcqueue.EndedWithdrawn:  "withdrawn",
}

func failureLabel(failure bmcqueue.Failure) string {
	switch failure {
	case bmcqueue.None:
		return "ok"
	case bmcqueue.Unreachable:
		return "unreachable"
	case bmcqueue.Busy:
		return "busy"
	case bmcqueue.LoginFailed:
		return "login_failed"
	case bmcqueue.Other:
	}
	return "other"
}

// codeLabel keeps the label set closed whatever a handler answers.
func codeLabel(code int) string {
	if code < 100 || code > 599 {
		return "other"
	}
	return strconv.Itoa(code)
}

func known(set []string, value, otherwise string) string {
	if slices.Contains(set, value) {
		return value
	}
	return otherwise
}

// seconds are the buckets of what takes from a millisecond to ten minutes.
var seconds = []float64{.001, .005, .01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}

// New registers every metric with the registerer and returns their Recorder. It fails if one of them is registered there
// already. Until SetConfigValid is called, the settings count as valid: a process with invalid ones does not start.
func New(registerer prometheus.Registerer) (*Recorder, error) {
	r, b := build()
	for i, collector := range b.collectors {
		if err := registerer.Register(collector); err != nil {
			return nil, fmt.Errorf("register metric %s: %w", b.rows[i].Name, err)
		}
	}
	r.SetConfigValid(true)
	return r, nil
}
