package process

import (
	"context"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/beskar7/beskar7/controllers"
	"github.com/beskar7/beskar7/controllers/settings"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/daemon"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// How the time to end is used: a Pod has 30 s (terminationGracePeriodSeconds). The gate drains, cancels what is left and gives it
// 5 s, logs out; then the lease is let go.
const (
	shutdownTimeout = 27 * time.Second
	drainTimeout    = 15 * time.Second
	logoutTimeout   = 5 * time.Second
)

// addGate adds the BMC gate, which runs only under the driver lease.
func (p *parts) addGate() (*actuator.Actuator, error) {
	queue := p.newGate()
	gauges := controllers.Gauges{Client: p.mgr.GetClient(), WatchFilter: p.settings.Scope.WatchFilter, Queue: queue.Stats, QueueLimit: func() int { return p.live.Gate().MaxQueueSize }, Driving: p.lease.Valid, Metrics: p.metrics,
		Elected: p.mgr.Elected(), Interval: p.gaugesInterval()}
	if err := p.mgr.Add(everywhere{gauges.Run}); err != nil {
		return nil, err
	}
	dump := daemon.DumpOnSignal{Dump: queue.Dump, Log: p.live.Logger().WithName("gate")}
	if err := p.mgr.Add(everywhere{dump.Run}); err != nil {
		return nil, err
	}
	pool := redfish.NewPool(p.driverOptions())
	err := p.mgr.Add(manager.RunnableFunc(func(ctx context.Context) error { return p.drive(ctx, queue, pool) }))
	return actuator.New(actuator.Options{Gate: queue, Driver: pool, Clock: clock.RealClock{}, Changed: p.wake.Wake}), err
}

// newGate makes the BMC gate, which follows its settings.
func (p *parts) newGate() *bmcqueue.Queue {
	queue := bmcqueue.New(bmcqueue.Options{Settings: p.live.Gate(), Fence: p.lease, Done: p.wake.Wake, Observer: p.metrics, DrainTimeout: drainTimeout})
	p.live.OnChange(func() { queue.Apply(p.live.Gate()) })
	return queue
}

func (p *parts) driverOptions() redfish.Options {
	return redfish.Options{Installation: daemon.Installation(p.mgr.GetConfig(), leaseNamespace(p.settings)), Reach: p.reach,
		MaxLogouts: func() int { return min(p.live.Gate().MaxConcurrentOps, p.live.Gate().WorkerCount) }}
}

// drive runs the gate for as long as this process leads. When the lease is lost the manager ends, and the process with it; when the
// process is asked to end, the lease is let go only after nothing can be on its way to a BMC any more.
func (p *parts) drive(ctx context.Context, queue *bmcqueue.Queue, pool *redfish.Pool) error {
	queue.TakeOver(p.lease.HandOver(), p.live.Settings().QuietTime())
	if err := queue.Run(ctx); err != nil {
		return err
	}
	if !p.lease.Valid() {
		return nil // a log-out would be a request that is not ours to make
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoutTimeout)
	defer cancel()
	_ = pool.Close(closing) // logs out; what cannot be reached ends its sessions by itself
	if queue.Settled() {
		p.lease.Settled()
	}
	return nil
}

func (p *parts) gaugesInterval() settings.Period {
	return p.live.Period(func(s config.Settings) time.Duration { return s.Metrics.Interval })
}
