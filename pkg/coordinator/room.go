package coordinator

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

// room remembers the machines for which no host was found, and what was found out, so that asking again costs nothing until a
// host changes, a host that changes wakes one machine, and what is said of a wait is not said anew with every number in it.
type room struct {
	mu      sync.Mutex
	waiters map[types.NamespacedName]*waiter
	// changes of hosts that may matter to anyone, counted by namespace.
	changes map[string]int
}

// waiter is one machine in the room.
type waiter struct {
	request ClaimRequest
	want    hostselection.Request
	result  ClaimResult
	// changes is the count when the hosts were read; with a newer one the result is old.
	changes int
	// until is when time alone makes the result old; zero: never.
	until time.Time
	// wokenFor is the host that woke it, as it was; nil: none did, or it has looked since.
	wokenFor *v1beta1.PhysicalHost
	// cooling are hosts that woke it and that it can have when their cool-off is over: it comes back by itself then, and nobody else
	// was woken for them.
	cooling []*v1beta1.PhysicalHost
}

// pending are the hosts for which this machine is the one that was woken.
func (w *waiter) pending() []*v1beta1.PhysicalHost {
	if w == nil {
		return nil
	}
	if w.wokenFor == nil {
		return w.cooling
	}
	return append(slices.Clip(w.cooling), w.wokenFor)
}

func newRoom() *room {
	return &room{waiters: map[types.NamespacedName]*waiter{}, changes: map[string]int{}}
}

// count of changes in a namespace, to be taken before the hosts are read.
func (r *room) count(namespace string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changes[namespace]
}

// recall is the last result, if it still holds. A machine that was woken looks: others wait for what it finds.
func (r *room) recall(req ClaimRequest, now time.Time) (ClaimResult, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.waiters[keyOf(req.Machine)]
	if w == nil || w.wokenFor != nil || w.changes != r.changes[req.Machine.Namespace] || !sameWish(w.request, req) || !w.until.IsZero() && !now.Before(w.until) {
		return ClaimResult{}, false
	}
	result := w.result
	if !w.until.IsZero() {
		result.RetryAfter = w.until.Sub(now)
	}
	return result, true
}

// pendingFor are the names of the hosts for which the machine was woken.
func (r *room) pendingFor(machine types.NamespacedName) (names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, host := range r.waiters[machine].pending() {
		names = append(names, host.Name)
	}
	return names
}

// seen is what a machine found out for which no host was found.
type seen struct {
	want   hostselection.Request
	result ClaimResult
	// changes is the count before the hosts were read.
	changes int
	// cooling are the hosts of those that woke it that only cool off.
	cooling map[string]bool
	now     time.Time
}

// remember keeps the result of a machine that waits, and returns it as it is to be told: with the sentence of before, as long as
// its reasons are the same. The hosts that woke it, and that it cannot have, wake the next ones: their names are returned.
func (r *room) remember(req ClaimRequest, saw seen) (ClaimResult, []types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key, result := keyOf(req.Machine), saw.result
	before := r.waiters[key]
	if before != nil && before.result.Outcome == result.Outcome && sameWish(before.request, req) && before.result.Diagnosis.Same(result.Diagnosis) {
		result.Diagnosis = before.result.Diagnosis
	}
	w := &waiter{request: req, want: saw.want, result: result, changes: saw.changes}
	if result.RetryAfter > 0 {
		w.until = saw.now.Add(result.RetryAfter)
	}
	r.waiters[key] = w
	if saw.changes != r.changes[req.Machine.Namespace] {
		// A host changed while the hosts were read, when nobody could know whom to wake: it looks again before it passes any on.
		if before != nil {
			w.wokenFor, w.cooling = before.wokenFor, before.cooling
		}
		if result.RetryAfter == 0 || result.RetryAfter > time.Second {
			result.RetryAfter = time.Second
		}
		return result, nil
	}
	var others []*v1beta1.PhysicalHost
	for _, host := range before.pending() {
		if saw.cooling[host.Name] {
			w.cooling = append(w.cooling, host)
		} else {
			others = append(others, host)
		}
	}
	return result, r.wakeAll(others, &req)
}

// leave forgets a machine that waits no more. taken is the name of the host that it got, or empty. For the others that it was woken
// for, the next machines are woken: their names are returned.
func (r *room) leave(machine types.NamespacedName, taken string) []types.NamespacedName {
	r.mu.Lock()
	defer r.mu.Unlock()
	pending := r.waiters[machine].pending()
	delete(r.waiters, machine)
	return r.wakeAll(slices.DeleteFunc(slices.Clone(pending), func(h *v1beta1.PhysicalHost) bool { return h.Name == taken }), nil)
}

// passOn returns the next machines for the hosts that woke this one, which has not taken them and may never: each failure of it
// wakes one more for each.
func (r *room) passOn(machine types.NamespacedName) []types.NamespacedName {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.waiters[machine]
	if w == nil || w.wokenFor == nil {
		return nil // it looks again by itself
	}
	return r.wakeAll(w.pending(), nil)
}

// hostChanged counts a change, and returns the one machine that is to look at the host, if any waits for such a one.
func (r *room) hostChanged(before, after *v1beta1.PhysicalHost) (types.NamespacedName, bool) {
	if sameOffer(before, after) {
		return types.NamespacedName{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	host := after
	if host == nil {
		host = before
	}
	r.changes[host.Namespace]++
	if after == nil || after.Spec.Claim != nil {
		r.taken(keyOf(host))
		return types.NamespacedName{}, false
	}
	return r.wake(after, nil)
}

// taken notes that a host is not to be had any more, so that whoever was woken for it does not wake another.
func (r *room) taken(host types.NamespacedName) {
	for key, w := range r.waiters {
		if key.Namespace != host.Namespace {
			continue
		}
		if w.wokenFor != nil && w.wokenFor.Name == host.Name {
			w.wokenFor = nil
		}
		w.cooling = slices.DeleteFunc(slices.Clone(w.cooling), func(h *v1beta1.PhysicalHost) bool { return h.Name == host.Name })
	}
}

func (r *room) wakeAll(hosts []*v1beta1.PhysicalHost, after *ClaimRequest) (woken []types.NamespacedName) {
	for _, host := range hosts {
		if next, found := r.wake(host, after); found {
			woken = append(woken, next)
		}
	}
	return woken
}

// wake chooses the machine that is to look at a host: the first in the order of claims that it fits and that was not woken for
// another host; only machines after the given one are asked, if any is given. One that the host would fit but for its cool-off is
// woken, too: it learns when that ends.
func (r *room) wake(host *v1beta1.PhysicalHost, after *ClaimRequest) (types.NamespacedName, bool) {
	var best types.NamespacedName
	var chosen *waiter
	for key, w := range r.waiters {
		if key.Namespace != host.Namespace || w.wokenFor != nil || chosen != nil && !earlier(&w.request, &chosen.request) ||
			after != nil && !earlier(after, &w.request) {
			continue
		}
		if willFit(w.want, host) {
			best, chosen = key, w
		}
	}
	if chosen == nil {
		return best, false
	}
	chosen.wokenFor = host
	return best, true
}

// willFit says whether the host fits the request now, or will when its cool-off is over, as far as that hangs on the host alone. When
// that is, the machine finds out by looking: the request is of the time when it began to wait.
func willFit(want hostselection.Request, host *v1beta1.PhysicalHost) bool {
	reason := hostselection.Refusal(want, host)
	return reason == "" || reason == hostselection.Cooling
}

// sameWish says whether two requests ask for the same.
func sameWish(a, b ClaimRequest) bool {
	return a.Machine.UID == b.Machine.UID && a.Cluster == b.Cluster && a.FailureDomain == b.FailureDomain && a.Boot == b.Boot &&
		a.Owner == b.Owner && a.ControlPlane == b.ControlPlane && equality.Semantic.DeepEqual(a.Machine.Spec, b.Machine.Spec)
}
