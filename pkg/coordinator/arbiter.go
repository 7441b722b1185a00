package coordinator

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

// ArbiterOptions configure an Arbiter. All fields of Options but Observer and Wake are required, and all here but Progress,
// Namespace and Workers.
type ArbiterOptions struct {
	Options
	// Clock replaces that of Options: the arbiter also waits.
	Clock clock.Clock
	// Wish says what a machine asks for; false: it must not be given a host now. It reads from caches only.
	Wish func(ctx context.Context, machine *v1beta1.Beskar7Machine) (ClaimRequest, bool)
	// Namespace to which the arbiter is limited; empty: all.
	Namespace string
	// Workers is how many claims are written at once; 0 means DefaultWorkers.
	Workers int
	// Progress receives what the arbiter does, besides what Options.Observer receives.
	Progress ArbiterObserver
}

// DefaultWorkers is as many as the reconciles that one controller runs at once.
const DefaultWorkers = 10

// ArbiterObserver receives what metrics need of an arbiter. Its methods must be cheap and safe for concurrent use.
type ArbiterObserver interface {
	// ArbiterElected: this process became the arbiter.
	ArbiterElected()
	// ArbiterLeads: this process is the arbiter, or not any more.
	ArbiterLeads(yes bool)
	// ArbiterQueue is how many machines wait for a host, whether one fits or not.
	ArbiterQueue(length int)
	// ArbiterProcessed: one machine was served, from choosing its host to the answer to the write.
	ArbiterProcessed(took time.Duration)
}

type silentArbiter struct{}

func (silentArbiter) ArbiterElected()                {}
func (silentArbiter) ArbiterLeads(bool)              {}
func (silentArbiter) ArbiterQueue(int)               {}
func (silentArbiter) ArbiterProcessed(time.Duration) {}

// Arbiter makes all claims of the claim-leader mode, one write each, while its process holds the arbiter's Lease. It works like
// a scheduler: a queue of machines in the order of their claims, a view of the hosts in memory, hosts assumed from the choice
// until the answer to the write. The machine's half of a claim is the Confirmer's.
//
// Tell it of every host and machine, also while it does not lead: then that costs nothing.
type Arbiter struct {
	ArbiterOptions
	// rouse tells Run that there may be something to do; it holds one.
	rouse chan struct{}
	// running is held by Run, so that a late end of one term cannot end the next.
	running sync.Mutex

	mu sync.Mutex
	// term is nil while this process is not the arbiter, or has not read everything yet.
	term *term
	// early is what happened during the reading of a take-over; nil but then.
	early *[]func(*term)
}

// NewArbiter returns an arbiter that does nothing before Run.
func NewArbiter(options ArbiterOptions) *Arbiter {
	if options.Observer == nil {
		options.Observer = silent{}
	}
	if options.Progress == nil {
		options.Progress = silentArbiter{}
	}
	if options.Workers <= 0 {
		options.Workers = DefaultWorkers
	}
	return &Arbiter{ArbiterOptions: options, rouse: make(chan struct{}, 1)}
}

// Run serves while the process holds the Lease: call it when the Lease was won, with a context that ends when it is lost. It
// returns when nothing of it is under way any more.
func (a *Arbiter) Run(ctx context.Context) {
	a.running.Lock()
	defer a.running.Unlock()
	if ctx.Err() != nil {
		return
	}
	a.Progress.ArbiterElected()
	a.Progress.ArbiterLeads(true)
	defer a.Progress.ArbiterLeads(false)
	defer a.stepDown()
	for attempt := 1; ; attempt++ {
		err := a.takeOver(ctx)
		if err == nil {
			break
		}
		log.FromContext(ctx).Error(err, "Cannot take over the claims, trying again")
		settings := a.Settings()
		if !a.sleep(ctx, hostselection.Backoff(attempt, settings.BackoffMultiplier, settings.MaxBackoffDelay)) {
			return
		}
	}
	a.serve(ctx)
}

// serve chooses and lets workers write.
func (a *Arbiter) serve(ctx context.Context) {
	var writers sync.WaitGroup
	defer writers.Wait()
	slots := make(chan struct{}, a.Workers)
	for ctx.Err() == nil {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		chosen, pause := a.next(ctx)
		if chosen == nil {
			<-slots
			if !a.sleep(ctx, pause) {
				return
			}
			continue
		}
		writers.Go(func() {
			a.write(ctx, chosen)
			<-slots
			a.stir()
		})
	}
}

// sleep waits until there may be something to do, at most for pause; 0 means without end. False: the context ended.
func (a *Arbiter) sleep(ctx context.Context, pause time.Duration) bool {
	var alarm <-chan time.Time
	if pause > 0 {
		timer := a.Clock.NewTimer(pause)
		defer timer.Stop()
		alarm = timer.C()
	}
	select {
	case <-ctx.Done():
		return false
	case <-alarm:
	case <-a.rouse:
	}
	return ctx.Err() == nil
}

func (a *Arbiter) stir() {
	select {
	case a.rouse <- struct{}{}:
	default:
	}
}

// takeOver reads all hosts and machines live: what an earlier arbiter claimed last may not be in this process's cache yet.
func (a *Arbiter) takeOver(ctx context.Context) error {
	var early []func(*term)
	a.mu.Lock()
	a.early = &early
	a.mu.Unlock()
	var hosts v1beta1.PhysicalHostList
	if err := a.Reader.List(ctx, &hosts, client.InNamespace(a.Namespace)); err != nil {
		return fmt.Errorf("list hosts: %w", err)
	}
	var machines v1beta1.Beskar7MachineList
	if err := a.Reader.List(ctx, &machines, client.InNamespace(a.Namespace)); err != nil {
		return fmt.Errorf("list machines: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	t := &term{Arbiter: a, ctx: ctx, view: newView(""), queue: newQueue()}
	for i := range hosts.Items {
		if host := a.own(&hosts.Items[i]); host != nil {
			t.view.set(host)
		}
	}
	for i := range machines.Items {
		t.setMachine(&machines.Items[i])
	}
	// Only now: what a list shows was written before the list was made.
	t.view.floor, t.floor = hosts.ResourceVersion, machines.ResourceVersion
	for _, happened := range early {
		happened(t)
	}
	a.term, a.early = t, nil
	a.Progress.ArbiterQueue(t.queue.waiting)
	return nil
}

func (a *Arbiter) stepDown() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.term, a.early = nil, nil
	a.Progress.ArbiterQueue(0)
}

// tell carries news into the term, if there is one.
func (a *Arbiter) tell(news func(*term)) {
	a.mu.Lock()
	switch {
	case a.early != nil:
		*a.early = append(*a.early, news)
	case a.term != nil:
		news(a.term)
		a.Progress.ArbiterQueue(a.term.queue.waiting)
	}
	a.mu.Unlock()
	a.stir()
}

// HostChanged tells of a host as the watch shows it. The host is kept and must not be changed any more.
func (a *Arbiter) HostChanged(host *v1beta1.PhysicalHost) {
	a.tell(func(t *term) {
		if a.own(host) == nil {
			t.disown(host)
			return
		}
		t.setHost(host)
	})
}

// HostDeleted tells that a host is no more.
func (a *Arbiter) HostDeleted(host types.NamespacedName) {
	a.tell(func(t *term) { t.dropHost(host) })
}

// MachineChanged tells of a machine as the watch shows it. The machine is kept and must not be changed any more.
func (a *Arbiter) MachineChanged(machine *v1beta1.Beskar7Machine) {
	a.tell(func(t *term) { t.setMachine(machine) })
}

// MachineDeleted tells that a machine is no more.
func (a *Arbiter) MachineDeleted(machine types.NamespacedName) {
	a.tell(func(t *term) {
		if ticket := t.queue.tickets[machine]; ticket != nil {
			t.leave(ticket)
		}
	})
}

// WishChanged tells that Wish may answer something else for a machine than before.
func (a *Arbiter) WishChanged(machine types.NamespacedName) {
	a.tell(func(t *term) {
		if ticket := t.queue.tickets[machine]; ticket != nil {
			t.review(ticket)
		}
	})
}
