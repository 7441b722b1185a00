package coordinator

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

// What one machine gets may depend on what others of its owner have: spread and reuse. Here is what both modes do for that.

// setOf names the set of machines whose hosts are counted together; empty for a machine of its own.
func setOf(req *ClaimRequest) string {
	if req.Owner == "" {
		return ""
	}
	return req.Machine.Namespace + "/" + req.Cluster + "/" + req.Owner
}

// pool has the hosts of the machine's namespace as the cache shows them. It must not be used after done was called.
func (p *pass) pool(ctx context.Context) (pool *hostselection.Pool, done func(), err error) {
	if p.Informed {
		pool, done = p.pools.look(p.namespace)
		return pool, done, nil
	}
	var list v1beta1.PhysicalHostList
	if err := p.Client.List(ctx, &list, client.InNamespace(p.namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, nil, fmt.Errorf("list hosts: %w", err)
	}
	pool = hostselection.NewPool(p.namespace)
	for i := range list.Items {
		if host := p.own(&list.Items[i]); host != nil {
			pool.Set(host)
		}
	}
	return pool, func() {}, nil
}

// pools are the hosts of all namespaces, as the watch shows them: reading ten thousand hosts from a cache for every claim takes
// longer than everything else that a claim does.
type pools struct {
	mu   sync.RWMutex
	byNS map[string]*hostselection.Pool
}

// look locks the pools for reading until done is called.
func (p *pools) look(namespace string) (pool *hostselection.Pool, done func()) {
	p.mu.RLock()
	if pool = p.byNS[namespace]; pool == nil {
		pool = hostselection.NewPool(namespace)
	}
	return pool, p.mu.RUnlock
}

// tell takes note of an event: a host as it is now, or nil and as it was before it was deleted.
func (p *pools) tell(before, after *v1beta1.PhysicalHost) {
	p.mu.Lock()
	defer p.mu.Unlock()
	namespace := namespaceOf(before, after)
	if p.byNS[namespace] == nil {
		p.byNS[namespace] = hostselection.NewPool(namespace)
	}
	if after == nil {
		p.byNS[namespace].Remove(before.Name)
		return
	}
	p.byNS[namespace].Set(after)
}

// spreadHolds looks again, after the host was assumed, whether it is still one that the machine may have beside those of its
// owner: two workers that chose at the same time see each other's assumption here, and at most one of them goes on. Two
// processes do not see each other; the driver lease keeps them apart.
func (p *pass) spreadHolds(ctx context.Context, name string) (bool, error) {
	if !p.want.DependsOnOthers() {
		return true, nil
	}
	pool, done, err := p.pool(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	want := p.want
	want.Avoid, want.Peers, _ = p.assumed.avoid(pool, &p.request, p.now)
	return pool.Refusal(want, name) == "", nil
}

// underWay are the names of the hosts that this arbiter is claiming, and of those that it is claiming for machines of the same owner.
func (t *term) underWay(k *ticket) (all, peers map[string]bool) {
	all, peers = map[string]bool{}, map[string]bool{}
	set := setOf(&k.request)
	for host, machine := range t.view.assumed {
		if host.Namespace != k.key.Namespace {
			continue
		}
		all[host.Name] = true
		other := t.queue.tickets[types.NamespacedName{Namespace: host.Namespace, Name: machine}]
		if set != "" && other != nil && other != k && setOf(&other.request) == set {
			peers[host.Name] = true
		}
	}
	return all, peers
}

// reconsider wakes machines whose choice depends on hosts that are not on offer: a change of one may make another fit.
func (t *term) reconsider(namespace string) {
	first := map[string]*ticket{}
	for k := range t.queue.parked[namespace] {
		if !k.want.DependsOnOthers() {
			continue
		}
		alike := likeness(&k.request)
		if best := first[alike]; best == nil || k.before(best) {
			first[alike] = k
		}
	}
	for _, k := range first {
		t.queue.move(k, active, time.Time{})
	}
}

// dependents are the machines in the room whose choice depends on hosts that are not on offer.
func (r *room) dependents(namespace string) []types.NamespacedName {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := map[string]*ClaimRequest{}
	for key, w := range r.waiters {
		if key.Namespace != namespace || !w.want.DependsOnOthers() {
			continue
		}
		alike := likeness(&w.request)
		if best := first[alike]; best == nil || earlier(&w.request, best) {
			first[alike] = &w.request
		}
	}
	var names []types.NamespacedName
	for _, req := range first {
		names = append(names, keyOf(req.Machine))
	}
	return names
}

// likeness is the same for machines that wish the same: those of one MachineSet. Of them the first is woken; its claim is the
// change that wakes the next.
func likeness(req *ClaimRequest) string {
	if set := req.Machine.Labels[clusterv1.MachineSetNameLabel]; set != "" {
		return "set " + set
	}
	return "machine " + req.Machine.Name
}

func namespaceOf(before, after *v1beta1.PhysicalHost) string {
	if after != nil {
		return after.Namespace
	}
	return before.Namespace
}
