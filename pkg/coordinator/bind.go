package coordinator

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

// bind is one claim that is to be written.
type bind struct {
	term    *term
	ticket  *ticket
	host    *v1beta1.PhysicalHost
	id      string
	request ClaimRequest
	want    hostselection.Request
	fence   Fence
	chosen  time.Time
	// unsure: an earlier write got no answer. Find out first; then go on with the same host and the same id, so that the earlier
	// write and the next are one.
	unsure bool
}

// verdict is how a bind ended.
type verdict int

const (
	won verdict = iota
	lost
	unknown
)

// reply is the end of one bind. host is the newest known, nil if it is gone (or nothing is known of it).
type reply struct {
	verdict verdict
	host    *v1beta1.PhysicalHost
	reason  string
	err     error
}

// next chooses a host for the first machine in the queue that one fits, and assumes it; whoever calls it must write the bind.
// Without one it says when time alone may change that; 0 means never.
func (a *Arbiter) next(ctx context.Context) (*bind, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.term
	if t == nil {
		return nil, 0
	}
	// Asked for every claim: what is not ours any more must not be claimed under its name, although Run's context ends only
	// when the election has noticed.
	fence := a.Fence()
	if fence.Holder == "" {
		return nil, time.Second
	}
	defer func() { a.Progress.ArbiterQueue(t.queue.waiting) }()
	t.queue.due(a.Clock.Now())
	for k := t.queue.active.first(); k != nil; k = t.queue.active.first() {
		b, err := t.choose(k, fence)
		if err != nil {
			log.FromContext(ctx).Error(err, "Cannot claim a host", "machine", k.key)
		}
		if b != nil {
			return b, 0
		}
	}
	if k := t.queue.timed.first(); k != nil {
		return nil, max(k.until.Sub(a.Clock.Now()), time.Millisecond)
	}
	return nil, 0
}

// write makes the one write of a claim and takes note of its end.
func (a *Arbiter) write(ctx context.Context, b *bind) {
	r := a.attempt(ctx, b)
	if r.err != nil && ctx.Err() == nil {
		log.FromContext(ctx).Error(r.err, "The outcome of a claim is unknown, looking again", "machine", b.ticket.key, "host", b.host.Name)
	}
	a.Progress.ArbiterProcessed(a.Clock.Since(b.chosen))
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.term != b.term {
		return // deposed meanwhile: the next arbiter has read, or will read, what became of it
	}
	b.term.settle(b, r)
	a.Progress.ArbiterQueue(b.term.queue.waiting)
}

// attempt writes claim and boot under the version of the host that was chosen.
func (a *Arbiter) attempt(ctx context.Context, b *bind) reply {
	host := b.host
	if b.unsure {
		r, settled := a.findOut(ctx, b, nil)
		if settled {
			return r
		}
		host = r.host
	}
	updated, err := writeClaim(ctx, a.Client, host, b.id, b.request, b.fence, a.Clock.Now())
	switch {
	case err == nil:
		return reply{verdict: won, host: updated}
	case apierrors.IsConflict(err), apierrors.IsNotFound(err), apierrors.IsInvalid(err):
		r, settled := a.findOut(ctx, b, err)
		if !settled {
			r.verdict, r.reason = lost, hostChanged // it fits still, but perhaps another fits better now
		}
		return r
	}
	return reply{verdict: unknown, err: err}
}

// findOut reads the host live. Not settled: it still fits, and its claim is not ours (yet).
func (a *Arbiter) findOut(ctx context.Context, b *bind, cause error) (_ reply, settled bool) {
	live := &v1beta1.PhysicalHost{}
	err := a.Reader.Get(ctx, keyOf(b.host), live)
	switch {
	case apierrors.IsNotFound(err):
		return reply{verdict: lost, reason: hostGone}, true
	case err != nil && cause != nil:
		return reply{verdict: unknown, err: cause}, true
	case err != nil:
		return reply{verdict: unknown, err: err}, true
	case live.Spec.Claim != nil && live.Spec.Claim.ID == b.id:
		return reply{verdict: won, host: live}, true // our own write, whose answer was lost
	case live.Spec.Claim != nil:
		return reply{verdict: lost, host: live, reason: hostTaken}, true
	}
	want := b.want
	want.Now = a.Clock.Now()
	if a.own(live) == nil || hostselection.Refusal(want, live) != "" {
		return reply{verdict: lost, host: live, reason: hostChanged}, true
	}
	return reply{host: live}, false
}

// settle takes note of the end of a bind.
func (t *term) settle(b *bind, r reply) {
	k, key := b.ticket, keyOf(b.host)
	known := t.queue.tickets[k.key] == k
	t.count(b, r)
	if r.verdict == unknown && known {
		k.unsure = b
		k.losses++
		t.queue.move(k, resting, t.Clock.Now().Add(t.backoff(k.losses)))
		t.reviewUnsure(k)
		return
	}
	k.unsure = nil
	switch {
	case r.host != nil:
		t.view.set(r.host)
	case r.verdict == lost:
		t.dropHost(key)
	}
	t.view.forget(key)
	if known {
		t.place(k, r)
	}
	t.offer(key, nil) // if it is free after all
	// The watch will show nothing new of the host: what it means to others is told here.
	t.reconsider(key.Namespace)
}

// reviewUnsure lets go of a bind of unknown outcome if its machine does not want it any more.
func (t *term) reviewUnsure(k *ticket) {
	if wishes, _ := t.refresh(k); !wishes {
		t.review(k)
	}
}

// place puts the ticket of a settled bind where it belongs: to those that wait for the machine, or back into the queue.
func (t *term) place(k *ticket, r reply) {
	limit, now := t.Settings().RetryLimit, t.Clock.Now()
	wishes, _ := t.refresh(k)
	switch {
	case !wishes:
		t.queue.move(k, idle, time.Time{})
		k.since, k.losses = time.Time{}, 0
	case t.isAnswered(k):
		t.queue.move(k, answered, time.Time{})
		k.losses = 0
	case r.verdict == won:
		t.queue.move(k, active, time.Time{}) // it wishes something else by now
	default:
		if k.losses++; k.losses <= limit {
			t.Observer.ClaimRetried(k.key.Namespace)
			t.queue.move(k, active, time.Time{})
			return
		}
		t.queue.move(k, resting, now.Add(t.backoff(k.losses-limit)))
	}
}

func (t *term) backoff(losses int) time.Duration {
	settings := t.Settings()
	return hostselection.Backoff(losses, settings.BackoffMultiplier, settings.MaxBackoffDelay)
}

func (t *term) count(b *bind, r reply) {
	namespace := b.ticket.key.Namespace
	switch r.verdict {
	case won:
		t.Observer.ClaimAttempted(namespace, "success", "")
		t.Observer.ClaimTook(namespace, t.Clock.Since(b.ticket.since))
	case lost:
		t.Observer.ClaimAttempted(namespace, "conflict", r.reason)
	case unknown:
		t.Observer.ClaimAttempted(namespace, "error", "")
	}
}

// writeClaim sets claim and boot in one write under the resource version of the host that is given.
func writeClaim(ctx context.Context, c client.Client, host *v1beta1.PhysicalHost, id string, req ClaimRequest, fence Fence, now time.Time) (*v1beta1.PhysicalHost, error) {
	updated := host.DeepCopy()
	at := metav1.NewMicroTime(now.Truncate(time.Microsecond)) // as it will be read
	updated.Spec.Claim = &v1beta1.Claim{
		ID: id, Machine: req.Machine.Name, Cluster: req.Cluster, Owner: req.Owner, ClaimedAt: &at,
		LeaseHolder: fence.Holder, LeaseTransitions: fence.Transitions, Server: ServerOf(host),
	}
	boot := req.Boot
	updated.Spec.Boot = &boot
	err := c.Patch(ctx, updated, client.MergeFromWithOptions(host, client.MergeFromWithOptimisticLock{}))
	return updated, err
}

// longestIdentity is what the API takes: a BMC that says more says nothing that identifies.
const longestIdentity = 256

// ServerOf is which server the host was found to be when it was inventoried, as a claim records it; nil if its BMC did not say.
func ServerOf(host *v1beta1.PhysicalHost) *v1beta1.Server {
	hw := host.Status.Hardware
	if hw == nil {
		return nil
	}
	short := func(s string) string {
		if len(s) > longestIdentity {
			return ""
		}
		return s
	}
	server := v1beta1.Server{SystemUUID: short(hw.SystemUUID), SerialNumber: short(hw.SerialNumber)}
	if server == (v1beta1.Server{}) {
		return nil
	}
	return &server
}

// answers says whether the host's claim, whoever made it, gives the machine what it asks for, so that the machine may confirm it: a
// claim made for a former machine of its name, or for what it asked earlier, does not. A claim under which hardware was touched
// was confirmed once, by someone else.
func answers(req ClaimRequest, want hostselection.Request, host *v1beta1.PhysicalHost) bool {
	claim := host.Spec.Claim
	if claim == nil || claim.Machine != req.Machine.Name || claim.Cluster != req.Cluster || claim.Release != nil ||
		host.Spec.Boot == nil || *host.Spec.Boot != req.Boot || (Holding{Host: host}).Touched() {
		return false
	}
	// The host as it was before it was claimed: what is asked now is whether it is the kind that the machine wants.
	free := *host
	free.Spec.Claim, free.Spec.Boot = nil, nil
	free.Status.LastFailure = nil
	free.Status.Conditions = []metav1.Condition{{Type: v1beta1.AvailableCondition, Status: metav1.ConditionTrue}}
	return hostselection.Refusal(want, &free) == ""
}
