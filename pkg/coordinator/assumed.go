package coordinator

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/beskar7/beskar7/api/v1beta1"
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
	until   time.Time
}

// take assumes the host for the machine. False: another machine has it.
func (a *assumedHosts) take(host types.NamespacedName, machine types.UID, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if held, found := a.hosts[host]; found && held.machine != machine && now.Before(held.until) {
		return false
	}
	a.hosts[host] = assumption{machine: machine, until: now.Add(assumeTime)}
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

// avoid adds the names of hosts that are assumed for other machines, and returns when the first of them is given up. Hosts
// whose claim the cache shows need no assumption any more.
func (a *assumedHosts) avoid(names map[string]bool, hosts []*v1beta1.PhysicalHost, machine types.UID, now time.Time) time.Time {
	var first time.Time
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.hosts) == 0 {
		return first
	}
	for _, host := range hosts {
		key := types.NamespacedName{Namespace: host.Namespace, Name: host.Name}
		held, found := a.hosts[key]
		switch {
		case !found:
		case host.Spec.Claim != nil || !now.Before(held.until):
			delete(a.hosts, key)
		case held.machine != machine:
			names[host.Name] = true
			if first.IsZero() || held.until.Before(first) {
				first = held.until
			}
		}
	}
	return first
}
