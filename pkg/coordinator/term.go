package coordinator

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

// term is what an arbiter knows while it holds the Lease. It ends with it: the next term begins with live reads. All of it is
// used under the arbiter's lock.
type term struct {
	*Arbiter
	// ctx is that of Run, for Wish.
	ctx   context.Context
	view  *view
	queue *queue
	// floor is the version of the list of machines at the take-over.
	floor string
}

func (t *term) setHost(host *v1beta1.PhysicalHost) {
	key := keyOf(host)
	before := t.view.hosts[key]
	if !t.view.set(host) {
		return
	}
	t.reviewClaimant(before)
	t.reviewClaimant(host)
	if sameOffer(before, host) {
		return
	}
	if t.view.isFree(key) {
		t.offer(key, nil)
	}
	t.reconsider(key.Namespace)
}

func (t *term) dropHost(key types.NamespacedName) {
	before := t.view.hosts[key]
	t.view.remove(key)
	t.reviewClaimant(before)
}

// disown forgets a host that became another manager's; what an old event shows may be so no longer.
func (t *term) disown(host *v1beta1.PhysicalHost) {
	if before := t.view.hosts[keyOf(host)]; before != nil && !older(host.ResourceVersion, before.ResourceVersion) {
		t.dropHost(keyOf(host))
	}
}

// reviewClaimant looks again at the machine that a host's claim names, or named.
func (t *term) reviewClaimant(host *v1beta1.PhysicalHost) {
	if host == nil || host.Spec.Claim == nil {
		return
	}
	if k := t.queue.tickets[types.NamespacedName{Namespace: host.Namespace, Name: host.Spec.Claim.Machine}]; k != nil {
		t.review(k)
	}
}

func (t *term) setMachine(machine *v1beta1.Beskar7Machine) {
	key := keyOf(machine)
	k := t.queue.tickets[key]
	switch {
	case k == nil && older(machine.ResourceVersion, t.floor), k != nil && older(machine.ResourceVersion, k.machine.ResourceVersion):
		return
	case k != nil && k.machine.UID != machine.UID:
		t.leave(k)
		k = nil
	}
	if k == nil {
		k = &ticket{key: key}
		t.queue.tickets[key] = k
	}
	k.machine = machine
	t.review(k)
}

// refresh asks what the machine wishes. False: it must not be given a host now. changed: it wishes something else than before.
func (t *term) refresh(k *ticket) (wishes, changed bool) {
	m := k.machine
	if m.Spec.HostRef != nil || m.Spec.ProviderID != "" || !m.DeletionTimestamp.IsZero() {
		return false, false
	}
	request, ok := t.Wish(t.ctx, m)
	if !ok {
		return false, false
	}
	request.Machine = m
	want, err := wanted(request, t.Clock.Now())
	if err != nil {
		return false, false // the machine controller says so; only an edit helps, and that is an event
	}
	changed = k.request.Machine == nil || !sameWish(k.request, request)
	if k.place == active && changed { // its place in the heap may depend on it
		t.queue.move(k, idle, time.Time{})
	}
	k.request, k.want = request, want
	return true, changed
}

// review decides anew where a ticket belongs. While its claim is being written it stays: the answer reviews it.
func (t *term) review(k *ticket) {
	if k.place == binding {
		return
	}
	wishes, changed := t.refresh(k)
	switch {
	case !wishes:
		t.giveUp(k)
		t.queue.move(k, idle, time.Time{})
		t.passOn(k, types.NamespacedName{})
	case t.isAnswered(k):
		t.giveUp(k)
		k.losses = 0
		t.queue.move(k, answered, time.Time{})
		t.passOn(k, types.NamespacedName{})
	case k.place == idle || k.place == answered || changed:
		if k.since.IsZero() || k.place == answered {
			k.since = t.Clock.Now()
		}
		t.queue.move(k, active, time.Time{})
	}
}

// isAnswered says whether a host's claim is there for the machine to confirm.
func (t *term) isAnswered(k *ticket) bool {
	for name := range t.view.claims[k.key] {
		if answers(k.request, k.want, t.view.hosts[types.NamespacedName{Namespace: k.key.Namespace, Name: name}]) {
			return true
		}
	}
	return false
}

// giveUp ends a bind of unknown outcome that nobody wants any more. Should it still be applied, its claim is inert and expires.
func (t *term) giveUp(k *ticket) {
	if k.unsure == nil {
		return
	}
	host := keyOf(k.unsure.host)
	k.unsure = nil
	t.view.forget(host)
	t.offer(host, nil)
}

// leave ends the ticket of a machine that is no more.
func (t *term) leave(k *ticket) {
	t.giveUp(k)
	t.queue.drop(k)
	t.passOn(k, types.NamespacedName{})
}

// offer wakes the best of the machines that wait for a host like this one: one host, one machine. Only machines after the given
// one are asked, if any is given.
func (t *term) offer(host types.NamespacedName, after *ticket) {
	if !t.view.isFree(host) {
		return
	}
	var best *ticket
	for k := range t.queue.parked[host.Namespace] {
		if after != nil && !after.before(k) || best != nil && !k.before(best) {
			continue
		}
		if willFit(k.want, t.view.hosts[host]) {
			best = k
		}
	}
	if best != nil {
		if !slices.Contains(best.wokenFor, host) {
			best.wokenFor = append(best.wokenFor, host)
		}
		t.queue.move(best, active, time.Time{})
	}
}

// passOn offers the hosts that woke a machine, but for the one it takes, to those after it: the ones before it were asked.
func (t *term) passOn(k *ticket, taken types.NamespacedName) {
	woken := k.wokenFor
	k.wokenFor = nil
	for _, host := range woken {
		if host != taken {
			t.offer(host, k)
		}
	}
}

// passOnBut offers the hosts that woke a machine to those after it, for it found none; but for those that it can have when their
// cool-off is over: it is back by then, and passes them on if it does not take them.
func (t *term) passOnBut(k *ticket, want hostselection.Request) {
	pool := t.view.pool(k.key.Namespace)
	var cooling []types.NamespacedName
	k.wokenFor = slices.DeleteFunc(k.wokenFor, func(host types.NamespacedName) bool {
		cools := pool.Refusal(want, host.Name) == hostselection.Cooling
		if cools {
			cooling = append(cooling, host)
		}
		return cools
	})
	t.passOn(k, types.NamespacedName{})
	k.wokenFor = cooling
}

// choose takes the first of the queue: it gets the best host that fits, assumed, or is parked.
func (t *term) choose(k *ticket, fence Fence) (*bind, error) {
	now := t.Clock.Now()
	if k.unsure != nil {
		b := k.unsure
		b.fence, b.chosen, b.unsure, k.unsure = fence, now, true, nil
		t.queue.move(k, binding, time.Time{})
		return b, nil
	}
	want := k.want
	want.Now, want.Limit = now, 1
	want.Avoid, want.Peers = t.underWay(k)
	ranking := t.view.pool(k.key.Namespace).Rank(t.Settings().Algorithm, want)
	if len(ranking.Candidates) == 0 {
		t.Observer.ClaimAttempted(k.key.Namespace, "no_host", "")
		t.queue.move(k, parked, ranking.Retry)
		t.passOnBut(k, want)
		return nil, nil
	}
	id, err := t.newClaimID()
	if err != nil {
		t.queue.move(k, resting, now.Add(hostselection.BackoffBase))
		return nil, err
	}
	host := ranking.Candidates[0]
	t.view.assume(keyOf(host), k.key.Name)
	t.queue.move(k, binding, time.Time{})
	t.passOn(k, keyOf(host))
	return &bind{term: t, ticket: k, host: host, id: id, request: k.request, want: k.want, fence: fence, chosen: now}, nil
}
