package coordinator

import (
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

// recall is the last result, if it still holds.
func (r *room) recall(req ClaimRequest, now time.Time) (ClaimResult, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.waiters[keyOf(req.Machine)]
	if w == nil || w.changes != r.changes[req.Machine.Namespace] || !sameWish(w.request, req) || !w.until.IsZero() && !now.Before(w.until) {
		return ClaimResult{}, false
	}
	result := w.result
	if !w.until.IsZero() {
		result.RetryAfter = w.until.Sub(now)
	}
	return result, true
}

// remember keeps the result of a machine that waits, and returns it as it is to be told: with the sentence of before, as long as
// its reasons are the same. changes is the count before the hosts were read.
func (r *room) remember(req ClaimRequest, want hostselection.Request, result ClaimResult, changes int, now time.Time) ClaimResult {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := keyOf(req.Machine)
	if before := r.waiters[key]; before != nil && before.result.Outcome == result.Outcome && sameWish(before.request, req) &&
		before.result.Diagnosis.Same(result.Diagnosis) {
		result.Diagnosis = before.result.Diagnosis
	}
	w := &waiter{request: req, want: want, result: result, changes: changes}
	if result.RetryAfter > 0 {
		w.until = now.Add(result.RetryAfter)
	}
	r.waiters[key] = w
	if changes != r.changes[req.Machine.Namespace] && (result.RetryAfter == 0 || result.RetryAfter > time.Second) {
		result.RetryAfter = time.Second // a host changed while the hosts were read, when nobody could know whom to wake
	}
	return result
}

// leave forgets a machine that waits no more. taken is the name of the host that it got, or empty. If it was woken for another one,
// the next machine is woken for that: its name is returned.
func (r *room) leave(machine types.NamespacedName, taken string) (types.NamespacedName, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.waiters[machine]
	delete(r.waiters, machine)
	if w == nil || w.wokenFor == nil || w.wokenFor.Name == taken {
		return types.NamespacedName{}, false
	}
	return r.wake(w.wokenFor)
}

// passOn returns the next machine for the host that woke this one, which has not taken it and may never: each failure of it wakes
// one more.
func (r *room) passOn(machine types.NamespacedName) (types.NamespacedName, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.waiters[machine]
	if w == nil || w.wokenFor == nil {
		return types.NamespacedName{}, false
	}
	return r.wake(w.wokenFor)
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
	return r.wake(after)
}

// taken notes that a host is not to be had any more, so that whoever was woken for it does not wake another.
func (r *room) taken(host types.NamespacedName) {
	for key, w := range r.waiters {
		if w.wokenFor != nil && key.Namespace == host.Namespace && w.wokenFor.Name == host.Name {
			w.wokenFor = nil
		}
	}
}

// wake chooses the machine that is to look at a host: the first in the order of claims that it fits and that was not woken for
// another host.
func (r *room) wake(host *v1beta1.PhysicalHost) (types.NamespacedName, bool) {
	var best types.NamespacedName
	var chosen *waiter
	for key, w := range r.waiters {
		if key.Namespace != host.Namespace || w.wokenFor != nil || chosen != nil && !earlier(&w.request, &chosen.request) {
			continue
		}
		if hostselection.Refusal(w.want, host) == "" {
			best, chosen = key, w
		}
	}
	if chosen == nil {
		return best, false
	}
	chosen.wokenFor = host
	return best, true
}

// sameWish says whether two requests ask for the same.
func sameWish(a, b ClaimRequest) bool {
	return a.Machine.UID == b.Machine.UID && a.Cluster == b.Cluster && a.FailureDomain == b.FailureDomain && a.Boot == b.Boot &&
		a.Owner == b.Owner && a.ControlPlane == b.ControlPlane && equality.Semantic.DeepEqual(a.Machine.Spec, b.Machine.Spec)
}
