package controllers

import (
	"maps"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"context"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

type requestQueue = workqueue.TypedRateLimitingInterface[ctrl.Request]

// Waker hands the names of objects from whoever is not their controller, such as the gate and the actuator, to that one. Waking never blocks and is merged:
// what waits is a set.
type Waker struct {
	mu      sync.Mutex
	queue   requestQueue
	pending map[types.NamespacedName]bool
}

// NewWaker makes a Waker.
func NewWaker() *Waker { return &Waker{pending: map[types.NamespacedName]bool{}} }

// Wake asks for a look at a host, "namespace/name". Before the controller runs, it is kept.
func (w *Waker) Wake(host string) {
	if namespace, name, ok := strings.Cut(host, "/"); ok {
		w.WakeObject(types.NamespacedName{Namespace: namespace, Name: name})
	}
}

// WakeObject asks for a look at an object. Before the controller runs, it is kept.
func (w *Waker) WakeObject(id types.NamespacedName) {
	w.mu.Lock()
	queue := w.queue
	if queue == nil {
		w.pending[id] = true
	}
	w.mu.Unlock()
	if queue != nil {
		queue.Add(ctrl.Request{NamespacedName: id})
	}
}

// source starts with the controller and takes over its queue.
func (w *Waker) source() source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[ctrl.Request]) error {
		w.mu.Lock()
		w.queue = queue
		pending := w.pending
		w.pending = nil
		w.mu.Unlock()
		for id := range pending {
			queue.Add(ctrl.Request{NamespacedName: id})
		}
		return nil
	})
}

func sameLabels(a, b *v1beta1.PhysicalHost) bool { return maps.Equal(a.Labels, b.Labels) }

// domainChanged lets through what can change the published failure domains.
var domainChanged = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, after := e.ObjectOld.(*v1beta1.PhysicalHost), e.ObjectNew.(*v1beta1.PhysicalHost)
	return before.Spec.FailureDomain != after.Spec.FailureDomain || hostselection.Offered(before) != hostselection.Offered(after) || !sameLabels(before, after)
}}

// hardwareChanged lets through what can change the capacity of templates.
var hardwareChanged = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, after := e.ObjectOld.(*v1beta1.PhysicalHost), e.ObjectNew.(*v1beta1.PhysicalHost)
	return !sameLabels(before, after) || !equality.Semantic.DeepEqual(before.Status.Hardware, after.Status.Hardware)
}}
