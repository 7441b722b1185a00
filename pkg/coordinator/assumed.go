package coordinator

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/beskar7/beskar7/pkg/hostselection"
)

// assumeTime is how long a host stays assumed unless the cache shows its claim earlier: longer than a cache lags behind, short
// enough for a claim whose reply was lost and that was never applied.
const assumeTime = 10 * time.Second

// assumedHosts keeps the workers of one process from running for the same host. It only saves requests: two processes, or a
// restart, know nothing of each other's set, and the claim protocol is right without it.
type assumedHosts struct {
	mu    sync.Mutex
	hosts map[types.NamespacedName]assumption
}

type assumption struct {
	machine types.UID
	// set of machines that it belongs to; see setOf.
	set   string
	until time.Time
}

// take assumes the host for the machine of the request. False: another machine has it.
func (a *assumedHosts) take(host types.NamespacedName, req *ClaimRequest, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	machine := req.Machine.UID
	if held, found := a.hosts[host]; found && held.machine != machine && now.Before(held.until) {
		return false
	}
	a.hosts[host] = assumption{machine: machine, set: setOf(req), until: now.Add(assumeTime)}
	return true
}

// drop forgets the host if the machine had assumed it.
func (a *assumedHosts) drop(host types.NamespacedName, machine types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.hosts[host].machine == machine {
		delete(a.hosts, host)
	}
}

// avoid are the names of hosts of the pool that are assumed for other machines than that of the request, those of them that are
// assumed for machines of the same owner, and when the first of all is given up. Hosts whose claim the pool shows need no assumption
// any more.
func (a *assumedHosts) avoid(pool *hostselection.Pool, req *ClaimRequest, now time.Time) (names, peers map[string]bool, first time.Time) {
	machine, namespace, set := req.Machine.UID, req.Machine.Namespace, setOf(req)
	names, peers = map[string]bool{}, map[string]bool{}
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, held := range a.hosts {
		if key.Namespace != namespace {
			continue
		}
		host := pool.Host(key.Name)
		switch {
		case host != nil && host.Spec.Claim != nil || !now.Before(held.until):
			delete(a.hosts, key)
		case host != nil && held.machine != machine:
			names[key.Name] = true
			if set != "" && held.set == set {
				peers[key.Name] = true
			}
			if first.IsZero() || held.until.Before(first) {
				first = held.until
			}
		}
	}
	return names, peers, first
}
