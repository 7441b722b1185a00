package coordinator

import (
	"maps"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

// view is what an arbiter knows of hosts: what it read live when it took over, what the watch showed since, and what its own
// writes answered, whichever is newest. Whoever has it holds the arbiter's lock.
type view struct {
	hosts map[types.NamespacedName]*v1beta1.PhysicalHost
	// assumed hosts are being claimed by this arbiter, for the machine of that name: the reply has not come yet.
	assumed map[types.NamespacedName]string
	// pools are the same hosts by namespace, ready to be chosen from.
	pools map[string]*hostselection.Pool
	// claims are the hosts whose claim names a machine.
	claims map[types.NamespacedName]map[string]bool
	// floor is the version of the list at the take-over: older news of hosts that were not in it is history.
	floor string
}

func newView(floor string) *view {
	return &view{
		hosts: map[types.NamespacedName]*v1beta1.PhysicalHost{}, assumed: map[types.NamespacedName]string{},
		pools: map[string]*hostselection.Pool{}, claims: map[types.NamespacedName]map[string]bool{}, floor: floor,
	}
}

// set takes over a host unless a newer one is known, and says whether it did.
func (v *view) set(host *v1beta1.PhysicalHost) bool {
	key := keyOf(host)
	before := v.hosts[key]
	if before == nil && older(host.ResourceVersion, v.floor) || before != nil && older(host.ResourceVersion, before.ResourceVersion) {
		return false
	}
	v.unlink(before)
	v.hosts[key] = host
	if claim := host.Spec.Claim; claim != nil {
		machine := types.NamespacedName{Namespace: host.Namespace, Name: claim.Machine}
		if v.claims[machine] == nil {
			v.claims[machine] = map[string]bool{}
		}
		v.claims[machine][host.Name] = true
	}
	v.pool(key.Namespace).Set(host)
	return true
}

func (v *view) pool(namespace string) *hostselection.Pool {
	if v.pools[namespace] == nil {
		v.pools[namespace] = hostselection.NewPool(namespace)
	}
	return v.pools[namespace]
}

// remove forgets a host that is no more.
func (v *view) remove(key types.NamespacedName) {
	v.unlink(v.hosts[key])
	delete(v.hosts, key)
	v.pool(key.Namespace).Remove(key.Name)
}

// unlink ends what hangs on the claim of a host as it was.
func (v *view) unlink(host *v1beta1.PhysicalHost) {
	if host == nil || host.Spec.Claim == nil {
		return
	}
	machine := types.NamespacedName{Namespace: host.Namespace, Name: host.Spec.Claim.Machine}
	if delete(v.claims[machine], host.Name); len(v.claims[machine]) == 0 {
		delete(v.claims, machine)
	}
}

func (v *view) assume(host types.NamespacedName, machine string) {
	v.assumed[host] = machine
}

func (v *view) forget(host types.NamespacedName) {
	delete(v.assumed, host)
}

// isFree says whether the host can be given to a machine.
func (v *view) isFree(key types.NamespacedName) bool {
	host := v.hosts[key]
	_, assumed := v.assumed[key]
	return host != nil && host.Spec.Claim == nil && !assumed
}

// older compares resource versions; what cannot be compared is not older.
func older(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}

func keyOf(o interface {
	GetNamespace() string
	GetName() string
}) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// sameOffer says whether the host means the same to every machine that waits for one: what the BMC polls write all the time
// must wake nobody.
func sameOffer(a, b *v1beta1.PhysicalHost) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.ResourceVersion != "" && a.ResourceVersion == b.ResourceVersion && a.UID == b.UID {
		return true
	}
	x, y := a.Spec, b.Spec // copies: what is not to be compared is taken out
	x.RedfishConnection, y.RedfishConnection = v1beta1.RedfishConnection{}, v1beta1.RedfishConnection{}
	if (x.Claim == nil) != (y.Claim == nil) || a.DeletionTimestamp.IsZero() != b.DeletionTimestamp.IsZero() {
		return false
	}
	x.Claim, y.Claim, x.Boot, y.Boot = nil, nil, nil, nil
	return equality.Semantic.DeepEqual(x, y) && maps.Equal(a.Labels, b.Labels) &&
		sameCondition(a, b, v1beta1.AvailableCondition) && sameCondition(a, b, v1beta1.PausedCondition) &&
		equality.Semantic.DeepEqual(a.Status.Hardware, b.Status.Hardware) &&
		equality.Semantic.DeepEqual(a.Status.HealthScore, b.Status.HealthScore) && equality.Semantic.DeepEqual(a.Status.LastFailure, b.Status.LastFailure)
}

func sameCondition(a, b *v1beta1.PhysicalHost, kind string) bool {
	x, y := meta.FindStatusCondition(a.Status.Conditions, kind), meta.FindStatusCondition(b.Status.Conditions, kind)
	if x == nil || y == nil {
		return x == y
	}
	return x.Status == y.Status && x.Reason == y.Reason
}
