package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/cluster-api/util/conditions"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/scope"
	"github.com/beskar7/beskar7/pkg/serverid"
)

// twin is which server one PhysicalHost is, by all that is known of it: spec, status, and what this process observed, whether or
// not the API server knows of that yet.
type twin struct {
	host             types.NamespacedName
	uid              types.UID
	server           serverid.Identity
	endpoint, system string
	keys             []string
	// holds: this host has the server, and keeps it while it is registered: nobody else is offered or cleaned. Only a claim takes
	// it away.
	holds bool
	// offered: status says that the host is Available, by this process or an earlier one.
	offered bool
}

func newTwin(h *v1beta1.PhysicalHost, o actuator.Observation) *twin {
	t := &twin{host: client.ObjectKeyFromObject(h), uid: h.UID, server: recordedServer(h), offered: conditions.IsTrue(h, v1beta1.AvailableCondition)}
	if found := o.Inspected().Or(o.Answering); t.server.Compare(found) != serverid.Other {
		t.server = t.server.Or(found)
	}
	t.endpoint, t.system = placeOf(h, o)
	if t.endpoint != "" && t.system != "" {
		t.keys = append(t.keys, "endpoint "+t.endpoint+" "+t.system)
	}
	t.keys = append(t.keys, t.server.Keys()...)
	return t
}

// is says whether two hosts are one server.
func (t *twin) is(other *twin) bool {
	if t.endpoint == other.endpoint && t.system != "" && other.system != "" {
		// Two systems behind one BMC may share the serial number of their chassis.
		return t.system == other.system || serverid.SameUUID(t.server.UUID, other.server.UUID)
	}
	return t.server.Compare(other.server) == serverid.Same
}

// twins are the servers of all hosts that this process has looked at. One process drives all BMCs, so what is decided under its
// lock is decided once: of two registrations of a server that are inspected at the same moment, one is offered.
type twins struct {
	mu    sync.Mutex
	hosts map[types.NamespacedName]*twin
	byKey map[string]map[types.NamespacedName]*twin
}

// put takes in what is known of a host now, and returns who else is found under its names.
func (t *twins) put(me *twin) []types.NamespacedName {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.hosts[me.host]
	if before != nil && before.uid == me.uid && before.is(me) {
		me.holds = before.holds
	}
	if before == nil {
		me.holds = me.offered // by an earlier process
	}
	if before == nil || !slices.Equal(before.keys, me.keys) {
		t.unlink(before)
	}
	if t.hosts == nil {
		t.hosts, t.byKey = map[types.NamespacedName]*twin{}, map[string]map[types.NamespacedName]*twin{}
	}
	t.hosts[me.host] = me
	var others []types.NamespacedName
	for _, key := range me.keys {
		if t.byKey[key] == nil {
			t.byKey[key] = map[types.NamespacedName]*twin{}
		}
		t.byKey[key][me.host] = me
		for name := range t.byKey[key] {
			if name != me.host {
				others = append(others, name)
			}
		}
	}
	return others
}

// drop forgets a host that is no more.
func (t *twins) drop(host types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unlink(t.hosts[host])
	delete(t.hosts, host)
}

func (t *twins) unlink(gone *twin) {
	if gone == nil {
		return
	}
	for _, key := range gone.keys {
		if delete(t.byKey[key], gone.host); len(t.byKey[key]) == 0 {
			delete(t.byKey, key)
		}
	}
}

// settle says which of the others, that are one server with the host, has the better right to it; nil if none has, and then the
// host holds the server. It is not settled if somebody else has got hold of the server since me was put, and was not looked at.
func (t *twins) settle(me *twin, host *v1beta1.PhysicalHost, others []*v1beta1.PhysicalHost, looked []types.NamespacedName) (better *v1beta1.PhysicalHost, settled bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range me.keys {
		for name, other := range t.byKey[key] {
			if name != me.host && other.holds && !slices.Contains(looked, name) {
				return nil, false
			}
		}
	}
	now := t.hosts[me.host] // where a look at the same host overtook this one, not me
	me.holds = now != nil && now.uid == me.uid && now.is(me) && now.holds
	holds := func(h *v1beta1.PhysicalHost) bool {
		if known := t.hosts[client.ObjectKeyFromObject(h)]; known != nil && known.uid == h.UID {
			return known.holds
		}
		return conditions.IsTrue(h, v1beta1.AvailableCondition) // offered by an earlier process
	}
	for _, other := range others {
		if betterRight(other, host, holds(other), me.holds) {
			t.hold(me, false)
			return other, true
		}
	}
	for _, other := range others {
		if known := t.hosts[client.ObjectKeyFromObject(other)]; known != nil {
			known.holds = false
		}
	}
	t.hold(me, true)
	return nil, true
}

// hold notes whether the host has its server, also where a look at the same host overtook this one. t.mu is held.
func (t *twins) hold(me *twin, holds bool) {
	me.holds = holds
	if now := t.hosts[me.host]; now != nil && now.uid == me.uid && now.is(me) {
		now.holds = holds
	}
}

// betterRight: bound before claimed before neither, then the one that holds the server, then the older one.
func betterRight(a, b *v1beta1.PhysicalHost, aHolds, bHolds bool) bool {
	bound := func(h *v1beta1.PhysicalHost) bool { return h.Spec.Claim != nil && h.Spec.Claim.Bound }
	switch {
	case bound(a) != bound(b):
		return bound(a)
	case (a.Spec.Claim != nil) != (b.Spec.Claim != nil):
		return a.Spec.Claim != nil
	case aHolds != bHolds:
		return aHolds
	case !a.CreationTimestamp.Equal(&b.CreationTimestamp):
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Namespace+"/"+a.Name < b.Namespace+"/"+b.Name
}

// gatherDuplicate finds the other PhysicalHosts of the same server, and whether one of them has the better right to it. What is
// offered, cleaned or worked on passes here first, in the reconcile and again in each operation.
func (r *PhysicalHostReconciler) gatherDuplicate(ctx context.Context, host *v1beta1.PhysicalHost, g *gathered) error {
	me := newTwin(host, g.observation)
	var better *v1beta1.PhysicalHost
	var others []*v1beta1.PhysicalHost
	for settled := false; !settled; {
		observed := r.twins.put(me)
		var err error
		if others, err = r.twinsOf(ctx, me, observed); err != nil {
			return err
		}
		better, settled = r.twins.settle(me, host, others, observed)
	}
	if better != nil {
		g.duplicateOf = key(better)
		g.brief.Facts.Duplicate = true
		return nil
	}
	for _, other := range others {
		if host.Spec.Claim != nil && other.Spec.Claim != nil {
			g.alsoClaimed = key(other)
		}
	}
	return nil
}

// twinsOf are the other hosts that are one server with this one: those of the cache, and those that only this process knows yet.
// Nothing of them is changed.
func (r *PhysicalHostReconciler) twinsOf(ctx context.Context, me *twin, observed []types.NamespacedName) ([]*v1beta1.PhysicalHost, error) {
	found, err := r.hostsUnder(ctx, me.keys)
	if err != nil {
		return nil, err
	}
	for _, name := range observed {
		if found[name] != nil {
			continue
		}
		other := &v1beta1.PhysicalHost{}
		switch err := r.Client.Get(ctx, name, other); {
		case apierrors.IsNotFound(err):
			r.twins.drop(name)
		case err != nil:
			return nil, fmt.Errorf("look at another host of the same server: %w", err)
		default:
			found[name] = other
		}
	}
	delete(found, me.host)
	return r.twins.those(me, found), nil
}

// hostsUnder are the hosts of the cache, by name, that have one of the keys. They are the cache's own objects.
func (r *PhysicalHostReconciler) hostsUnder(ctx context.Context, keys []string) (map[types.NamespacedName]*v1beta1.PhysicalHost, error) {
	found := map[types.NamespacedName]*v1beta1.PhysicalHost{}
	for _, id := range keys {
		list := &v1beta1.PhysicalHostList{}
		if err := r.Client.List(ctx, list, client.MatchingFields{hostByServer: id}, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("look for other hosts of the same server: %w", err)
		}
		for i := range list.Items {
			found[client.ObjectKeyFromObject(&list.Items[i])] = &list.Items[i]
		}
	}
	return found, nil
}

// those are the hosts among the given that are one server with this one, in the order of their names.
func (t *twins) those(me *twin, found map[types.NamespacedName]*v1beta1.PhysicalHost) []*v1beta1.PhysicalHost {
	t.mu.Lock()
	defer t.mu.Unlock()
	var same []*v1beta1.PhysicalHost
	for name, h := range found {
		other := newTwin(h, actuator.Observation{})
		if known := t.hosts[name]; known != nil && known.uid == h.UID {
			other = known
		}
		if me.is(other) {
			same = append(same, h)
		}
	}
	slices.SortFunc(same, func(a, b *v1beta1.PhysicalHost) int { return strings.Compare(key(a), key(b)) })
	return same
}

// hostsOfServer maps a host that came, went, or changed in what its twins are judged by, to those twins.
func (r *PhysicalHostReconciler) hostsOfServer(ctx context.Context, o client.Object) []ctrl.Request {
	host, ok := o.(*v1beta1.PhysicalHost)
	if !ok {
		return nil
	}
	found, err := r.hostsUnder(ctx, serverIdentities(host))
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot map an event to hosts", "field", hostByServer)
	}
	delete(found, client.ObjectKeyFromObject(host))
	requests := make([]ctrl.Request, 0, len(found))
	for name, twin := range found {
		if scope.Owned(r.WatchFilter, twin) {
			requests = append(requests, ctrl.Request{NamespacedName: name})
		}
	}
	return requests
}

// twinsConcerned: a host came or went, or changed in what its twins are judged by.
var twinsConcerned = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, ok1 := e.ObjectOld.(*v1beta1.PhysicalHost)
	after, ok2 := e.ObjectNew.(*v1beta1.PhysicalHost)
	if !ok1 || !ok2 {
		return false
	}
	standing := func(h *v1beta1.PhysicalHost) [2]bool {
		return [2]bool{h.Spec.Claim != nil, h.Spec.Claim != nil && h.Spec.Claim.Bound}
	}
	return standing(before) != standing(after) || !slices.Equal(serverIdentities(before), serverIdentities(after))
}}
