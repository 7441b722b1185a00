package controllers

import (
	"context"
	"slices"
	"sync"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/settings"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/metrics"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/scope"
)

// FleetMetrics are the gauges over the whole fleet.
type FleetMetrics interface {
	SetHosts(byState, awaiting map[string]int)
	SetQueue(waiting, limit, inFlight int)
	SetDriver(held bool)
}

// Gauges sets the gauges over the fleet once in every interval. It runs on all replicas, but only the one that drives counts
// hosts: a sum over the replicas is then the fleet.
type Gauges struct {
	Client client.Reader
	// WatchFilter is the value of the watch-filter label of the hosts that are counted; empty: all.
	WatchFilter string
	Queue       func() bmcqueue.Stats
	// QueueLimit is how many operations may wait.
	QueueLimit func() int
	// Driving says whether this process holds the driver lease.
	Driving func() bool
	Metrics FleetMetrics
	// Elected is closed when this process gets the driver lease, which begins a round at once. Nil: the next one waits for its time.
	Elected <-chan struct{}
	// Interval is the time between two rounds.
	Interval settings.Period
}

// Run sets the gauges until the context ends. The first round of a driver is made at once: an interval may be as long as alerts
// wait for one.
func (g Gauges) Run(ctx context.Context) error {
	var first sync.WaitGroup
	defer first.Wait()
	first.Go(func() {
		select {
		case <-ctx.Done():
		case <-g.Elected:
			g.round(ctx)
		}
	})
	for g.Interval.Wait(ctx) {
		g.round(ctx)
	}
	return nil
}

func (g Gauges) round(ctx context.Context) {
	if err := g.set(ctx); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot set the gauges over the fleet")
	}
}

func (g Gauges) set(ctx context.Context) error {
	driving, stats := g.Driving(), g.Queue()
	g.Metrics.SetDriver(driving)
	waiting := 0
	for _, n := range stats.Waiting {
		waiting += n
	}
	g.Metrics.SetQueue(waiting, g.QueueLimit(), stats.Running+stats.Polling)
	if !driving {
		g.Metrics.SetHosts(nil, nil)
		return nil
	}
	hosts := &v1beta1.PhysicalHostList{}
	if err := g.Client.List(ctx, hosts, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	byState, awaiting := map[string]int{}, map[string]int{}
	for i := range hosts.Items {
		if !scope.Owned(g.WatchFilter, &hosts.Items[i]) {
			continue
		}
		s := &hosts.Items[i].Status
		if s.State != "" {
			byState[string(s.State)]++
		}
		if phase := awaits(s); phase != "" {
			awaiting[phase]++
		}
	}
	g.Metrics.SetHosts(byState, awaiting)
	return nil
}

// awaits is the phase of a host's next attempt, if that is still to come. A host without a wish of its own waits for its next read.
func awaits(s *v1beta1.PhysicalHostStatus) string {
	switch {
	case s.Operation != nil && slices.Contains(attemptPhases, s.Operation.Phase):
		return s.Operation.Phase
	case s.NextAttempt == nil:
		return ""
	case s.ParkedCredential != nil:
		return phaseParked
	}
	return phaseBackingOff
}

// HostMetrics are told what becomes of hosts.
type HostMetrics interface {
	// PhaseTook: a host left a state in which it was for that long.
	PhaseTook(state string, took time.Duration)
	// ProvisioningFailed: a boot came to nothing.
	ProvisioningFailed(reason string)
}

// MetricLabels are the label sets of the metrics that are told by this package.
func MetricLabels() metrics.Options {
	o := metrics.Options{Vendors: config.VendorNames(), Attempts: attemptPhases, Failures: []string{v1beta1.ReasonBootOverdue, v1beta1.ReasonBootstrapFailed}}
	for _, a := range provision.Actions() {
		if a.Hardware() {
			o.Kinds = append(o.Kinds, string(a))
		}
	}
	for _, s := range hostStates {
		o.States = append(o.States, string(s))
	}
	for _, s := range provisioningPhases {
		o.Phases = append(o.Phases, string(s))
	}
	return o
}

// hostStates are all states that the API knows.
var hostStates = []v1beta1.HostState{v1beta1.StateEnrolling, v1beta1.StateInspecting, v1beta1.StateAvailable, v1beta1.StatePoweredOn, v1beta1.StateNotEmpty,
	v1beta1.StateCleaning, v1beta1.StateDuplicate, v1beta1.StateOtherServer, v1beta1.StateMaintenance, v1beta1.StateClaimed, v1beta1.StateProvisioning,
	v1beta1.StateBooting, v1beta1.StateBootFailed, v1beta1.StateProvisioned, v1beta1.StateLost, v1beta1.StateReleasing, v1beta1.StateReleaseBlocked,
	v1beta1.StateOrphaned, v1beta1.StateQuarantined, v1beta1.StateDeleting,
	v1beta1.StatePaused}

// provisioningPhases are the states that a host passes through by our doing; how long it is in the others is up to its owner.
var provisioningPhases = []v1beta1.HostState{v1beta1.StateEnrolling, v1beta1.StateInspecting, v1beta1.StateCleaning, v1beta1.StateClaimed,
	v1beta1.StateProvisioning, v1beta1.StateBooting, v1beta1.StateReleasing, v1beta1.StateReleaseBlocked}
