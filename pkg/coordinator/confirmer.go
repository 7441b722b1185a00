package coordinator

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// noArbiterPause is how often a machine looks whether there is an arbiter again, while there is none.
const noArbiterPause = 5 * time.Second

// Confirmer is the machine's side of the claim-leader mode: it writes hostRef once a host's claim names the machine and gives it
// what it asks for, and says what the machine waits for until then. It never writes a host.
//
// Of several claims, left by arbiters that did not know of each other, it confirms one: that of the youngest Lease. The others
// are inert and expire. A hostRef without its claim, left by a claim that ended meanwhile, is cleared.
type Confirmer struct {
	// half does the machine's half of a claim; its own claims are not used.
	half *Optimistic
	// arbiter says whether there is an arbiter that claims.
	arbiter func() bool
}

var _ Claimer = (*Confirmer)(nil)

// NewConfirmer returns the machine's side of the claim-leader mode. arbiter says whether any process holds the arbiter's Lease.
// Options.Fence and Random are not used.
func NewConfirmer(options Options, arbiter func() bool) *Confirmer {
	return &Confirmer{half: NewOptimistic(options), arbiter: arbiter}
}

// HostChanged implements Claimer. It wakes nobody: the arbiter gives the host to whom it fits, and that machine is woken by the
// claim that names it.
func (c *Confirmer) HostChanged(before, after *v1beta1.PhysicalHost) []types.NamespacedName {
	if before, after = c.half.own(before), c.half.own(after); before == nil && after == nil {
		return nil
	}
	c.half.pools.tell(before, after)
	c.half.room.hostChanged(before, after)
	return nil
}

// Forget implements Claimer.
func (c *Confirmer) Forget(machine types.NamespacedName) { c.half.room.leave(machine, "") }

// Claim implements Claimer.
func (c *Confirmer) Claim(ctx context.Context, req ClaimRequest) (ClaimResult, error) {
	p, err := c.half.begin(req, c.half.Clock.Now())
	if err != nil {
		return ClaimResult{}, err
	}
	result, err := c.claim(ctx, p)
	if err != nil {
		return ClaimResult{}, fmt.Errorf("confirm a host for machine %s/%s: %w", p.namespace, req.Machine.Name, err)
	}
	switch result.Outcome {
	case Claimed, Confirmed, IntentLost:
		c.half.room.leave(keyOf(req.Machine), "")
	case NoHost, Contended, Queued, NoArbiter:
	}
	return result, nil
}

func (c *Confirmer) claim(ctx context.Context, p *pass) (ClaimResult, error) {
	var host *v1beta1.PhysicalHost
	if p.request.Machine.Spec.HostRef == nil {
		var err error
		if host, err = p.answer(ctx); err != nil {
			return ClaimResult{}, err
		}
		if host == nil {
			return c.wait(ctx, p)
		}
		if p.mayClaim(p.request.Machine) {
			// Under the version that the cache shows: if that is not the newest one, the write is refused, and only then is it read.
			p.machine = p.request.Machine
			return c.confirm(ctx, p, host)
		}
	}
	if mayClaim, err := p.readMachine(ctx); err != nil || !mayClaim {
		return ClaimResult{Outcome: IntentLost}, err
	}
	if p.machine.Spec.HostRef != nil {
		return c.settle(ctx, p)
	}
	return c.confirm(ctx, p, host)
}

// answer finds the claim that gives the machine what it asks for, as the cache shows it; nil if there is none.
func (p *pass) answer(ctx context.Context) (*v1beta1.PhysicalHost, error) {
	var list v1beta1.PhysicalHostList
	name := p.request.Machine.Name
	err := p.Client.List(ctx, &list, client.InNamespace(p.namespace), client.MatchingFields{HostByClaimMachine: name})
	if err != nil {
		return nil, fmt.Errorf("list hosts claimed for machine %s/%s: %w", p.namespace, name, err)
	}
	var best *v1beta1.PhysicalHost
	for i := range list.Items {
		host := &list.Items[i]
		if answers(p.request, p.want, host) && (best == nil || younger(host.Spec.Claim, best.Spec.Claim)) {
			best = host
		}
	}
	return best, nil
}

// younger orders the claims of one machine: by the Lease under which they were made, then by id.
func younger(a, b *v1beta1.Claim) bool {
	if a.LeaseTransitions != b.LeaseTransitions {
		return a.LeaseTransitions > b.LeaseTransitions
	}
	return a.ID < b.ID
}

// confirm writes hostRef on the machine as it was read, and nothing else.
func (c *Confirmer) confirm(ctx context.Context, p *pass, host *v1beta1.PhysicalHost) (ClaimResult, error) {
	ref := v1beta1.HostRef{Name: host.Name, ClaimID: host.Spec.Claim.ID}
	for range rewrites {
		err := p.patchMachine(ctx, &ref)
		if err == nil {
			return ClaimResult{Outcome: Claimed, Host: host, ClaimID: ref.ClaimID}, nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return ClaimResult{}, fmt.Errorf("confirm the claim on host %s: %w", ref.Name, err)
		}
		p.Observer.ClaimAttempted(p.namespace, "conflict", machineChanged)
		if mayClaim, err := p.readMachine(ctx); err != nil || !mayClaim {
			return ClaimResult{Outcome: IntentLost}, err
		}
		if p.machine.Spec.HostRef != nil {
			return c.settle(ctx, p)
		}
	}
	return ClaimResult{Outcome: Contended, RetryAfter: time.Second}, nil
}

// settle judges the hostRef that is on the machine: its claim is there, or it is cleared, for only an arbiter writes claims.
func (c *Confirmer) settle(ctx context.Context, p *pass) (ClaimResult, error) {
	ref := *p.machine.Spec.HostRef
	host, err := p.readHost(ctx, ref.Name)
	switch {
	case err != nil:
		return ClaimResult{}, err
	case host != nil && host.ClaimedBy(p.machine):
		return ClaimResult{Outcome: Confirmed, Host: host, ClaimID: ref.ClaimID}, nil
	case p.machine.Spec.ProviderID != "":
		return ClaimResult{Outcome: IntentLost}, nil
	}
	if result, settled, err := p.withdraw(ctx, ref); err != nil || settled {
		return result, err
	}
	return ClaimResult{Outcome: Queued, RetryAfter: time.Second}, nil
}

// wait says what the machine waits for: an arbiter, a host, or its turn.
func (c *Confirmer) wait(ctx context.Context, p *pass) (ClaimResult, error) {
	if !c.arbiter() {
		return ClaimResult{Outcome: NoArbiter, RetryAfter: noArbiterPause}, nil
	}
	room := c.half.room
	if c.half.Informed {
		if result, holds := room.recall(p.request, p.now); holds {
			return result, nil
		}
	}
	changes := room.count(p.namespace)
	if err := p.rank(ctx); err != nil {
		return ClaimResult{}, err
	}
	result := ClaimResult{Outcome: Queued, Diagnosis: p.diagnosis}
	if len(p.candidates) == 0 {
		result = p.nothing()
	}
	result, _ = room.remember(p.request, seen{want: p.want, result: result, changes: changes, now: p.now}) // the arbiter wakes
	return result, nil
}
