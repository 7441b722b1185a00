package metrics

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// seconds are the buckets of what takes from a millisecond to ten minutes.
var seconds = []float64{.001, .005, .01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}

// long are the buckets of what people wait for: the way of a host through its states takes from seconds to hours.
var long = []float64{1, 2, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200}

// Options are the label sets that belong to others. Each is closed: a value that is not in it counts as "other".
type Options struct {
	// Kinds of BMC operations, without polls.
	Kinds []string
	// Vendors of BMCs, as the groups of operations are called.
	Vendors []string
	// States of hosts, and of them the Phases whose duration is measured.
	States, Phases []string
	// Attempts are the phases of operations whose next attempt is still to come.
	Attempts []string
	// Failures are the reasons for which a provisioning fails.
	Failures []string
}

// New registers every metric with the registerer and returns their Recorder. It fails if one of them is registered there
// already. What can be counted exists at 0 from the start: a rate over a series that begins with its first event misses that
// event. Until SetConfigValid is called, the settings count as valid: a process with invalid ones does not start.
func New(registerer prometheus.Registerer, o Options) (*Recorder, error) {
	r, b := build()
	r.options = o
	for i, collector := range b.collectors {
		if err := registerer.Register(collector); err != nil {
			return nil, fmt.Errorf("register metric %s: %w", b.rows[i].Name, err)
		}
	}
	r.begin()
	r.SetConfigValid(true)
	return r, nil
}
