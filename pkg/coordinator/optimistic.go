package coordinator

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

// Optimistic claims hosts without an arbiter: intent on the machine, then compare-and-set on the host. See the package.
type Optimistic struct {
	Options
	*process
}

// process is what one process remembers between calls. Losing it costs requests and time, never correctness.
type process struct {
	assumed assumedHosts
	room    *room
	// pools are kept if Options.Informed.
	pools pools

	mu sync.Mutex
	// contended counts the passes in a row that each machine lost; its back-off grows with it.
	contended map[types.UID]int
}

var _ Claimer = (*Optimistic)(nil)

// NewOptimistic returns the optimistic mode.
func NewOptimistic(options Options) *Optimistic {
	if options.Observer == nil {
		options.Observer = silent{}
	}
	return &Optimistic{Options: options, process: &process{
		assumed:   assumedHosts{hosts: map[types.NamespacedName]assumption{}},
		room:      newRoom(),
		pools:     pools{byNS: map[string]*hostselection.Pool{}},
		contended: map[types.UID]int{},
	}}
}

type silent struct{}

func (silent) ClaimAttempted(string, string, string) {}
func (silent) ClaimTook(string, time.Duration)       {}
func (silent) ClaimRetried(string)                   {}

// HostChanged implements Claimer.
func (o *Optimistic) HostChanged(before, after *v1beta1.PhysicalHost) []types.NamespacedName {
	if before, after = o.own(before), o.own(after); before == nil && after == nil {
		return nil
	}
	o.pools.tell(before, after)
	var woken []types.NamespacedName
	if machine, found := o.room.hostChanged(before, after); found {
		woken = append(woken, machine)
	}
	if !sameOffer(before, after) {
		woken = append(woken, o.room.dependents(namespaceOf(before, after))...)
	}
	return woken
}

// Forget implements Claimer.
func (o *Optimistic) Forget(machine types.NamespacedName) { o.leave(machine, "") }

// leave ends a machine's wait, and wakes the next ones for the hosts that it was woken for and did not take.
func (o *Optimistic) leave(machine types.NamespacedName, taken string) {
	o.wakeAll(o.room.leave(machine, taken))
}

// passOn is for a machine whose claim failed: it goes on waiting, and the hosts that it was woken for wake the next ones, too.
func (o *Optimistic) passOn(machine types.NamespacedName) {
	o.wakeAll(o.room.passOn(machine))
}

func (o *Optimistic) wakeAll(machines []types.NamespacedName) {
	if o.Wake == nil {
		return
	}
	for _, machine := range machines {
		o.Wake(machine)
	}
}

// wait keeps what a machine found out that has to wait, and passes on what it was woken for and cannot have.
func (o *Optimistic) wait(p *pass, result ClaimResult, changes int) ClaimResult {
	saw := seen{want: p.want, result: result, changes: changes, cooling: map[string]bool{}, now: p.now}
	if pending := o.room.pendingFor(keyOf(p.request.Machine)); len(pending) > 0 && o.Informed {
		pool, done := o.pools.look(p.namespace)
		for _, host := range pending {
			saw.cooling[host] = pool.Refusal(p.want, host) == hostselection.Cooling
		}
		done()
	}
	result, next := o.room.remember(p.request, saw)
	o.wakeAll(next)
	return result
}

// Claim implements Claimer.
func (o *Optimistic) Claim(ctx context.Context, req ClaimRequest) (ClaimResult, error) {
	started := o.Clock.Now()
	if o.Informed && req.Machine.Spec.HostRef == nil {
		if result, holds := o.room.recall(req, started); holds {
			return result, nil
		}
	}
	p, err := o.begin(req, started)
	if err != nil {
		o.passOn(keyOf(req.Machine))
		return ClaimResult{}, err
	}
	changes := o.room.count(p.namespace)
	result, err := p.run(ctx)
	if err != nil {
		o.passOn(keyOf(req.Machine))
		o.Observer.ClaimAttempted(p.namespace, "error", "")
		return ClaimResult{}, fmt.Errorf("claim a host for machine %s/%s: %w", p.namespace, req.Machine.Name, err)
	}
	result.RetryAfter = o.retryAfter(p, result)
	switch result.Outcome {
	case Claimed:
		o.Observer.ClaimAttempted(p.namespace, "success", "")
		o.Observer.ClaimTook(p.namespace, o.Clock.Since(started))
		o.leave(keyOf(req.Machine), result.Host.Name)
	case NoHost:
		o.Observer.ClaimAttempted(p.namespace, "no_host", "")
		result = o.wait(p, result, changes)
	case Confirmed:
		o.leave(keyOf(req.Machine), result.Host.Name)
	case Contended, IntentLost, Queued, NoArbiter:
		o.leave(keyOf(req.Machine), "")
	}
	return result, nil
}

// retryAfter sets the back-off of a contended machine, and forgets it after any other outcome.
func (o *Optimistic) retryAfter(p *pass, result ClaimResult) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if result.Outcome != Contended {
		delete(o.contended, p.request.Machine.UID)
		return result.RetryAfter
	}
	o.contended[p.request.Machine.UID]++
	return hostselection.Backoff(o.contended[p.request.Machine.UID], p.settings.BackoffMultiplier, p.settings.MaxBackoffDelay)
}

// begin makes the pass of one call.
func (o *Optimistic) begin(req ClaimRequest, now time.Time) (*pass, error) {
	want, err := wanted(req, now)
	if err != nil {
		return nil, err
	}
	return &pass{Optimistic: o, request: req, settings: o.Settings(), want: want, namespace: req.Machine.Namespace, now: now, lost: map[string]bool{}}, nil
}

// rank reads the hosts from the cache and orders those that fit.
func (p *pass) rank(ctx context.Context) error {
	pool, done, err := p.pool(ctx)
	if err != nil {
		return err
	}
	defer done()
	want := p.want
	want.Avoid, want.Peers, p.wake = p.assumed.avoid(pool, &p.request, p.now)
	for name := range p.lost {
		want.Avoid[name] = true
	}
	want.Limit = p.settings.RetryLimit + 1 + spareCandidates
	ranking := pool.Rank(p.settings.Algorithm, want)
	p.ranked, p.candidates, p.diagnosis = true, ranking.Candidates, ranking.Diagnosis
	if p.wake.IsZero() || (!ranking.Retry.IsZero() && ranking.Retry.Before(p.wake)) {
		p.wake = ranking.Retry
	}
	return nil
}

// spareCandidates are for hosts that another worker assumes between ranking and trying; skipping those costs no request.
const spareCandidates = 8
