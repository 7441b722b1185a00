package controllers

import (
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/beskar7/beskar7/pkg/scope"
)

// ownedEvents lets through the events of objects that are this manager's, or were until now: those are let go of.
func ownedEvents(filter string) predicate.Predicate {
	owned := func(o client.Object) bool { return scope.Owned(filter, o) }
	events := predicate.NewPredicateFuncs(owned)
	events.UpdateFunc = func(e event.UpdateEvent) bool { return owned(e.ObjectOld) || owned(e.ObjectNew) }
	return events
}

// requestsFor are those of the objects that are this manager's.
func requestsFor[T any, P interface {
	*T
	client.Object
}](filter string, objects []T) []reconcile.Request {
	requests := make([]reconcile.Request, 0, len(objects))
	for i := range objects {
		if o := P(&objects[i]); scope.Owned(filter, o) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)})
		}
	}
	return requests
}
