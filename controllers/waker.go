package controllers

import (
	"context"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/beskar7/beskar7/api/v1beta1"
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

// WakeBooting asks for a look at every host that boots from an image, as reader knows them: something was learned of the image.
func (w *Waker) WakeBooting(ctx context.Context, reader client.Reader, imageURL string) {
	hosts := &v1beta1.PhysicalHostList{}
	if err := reader.List(ctx, hosts, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list the hosts that wait for an image")
		return
	}
	for i := range hosts.Items {
		if h := &hosts.Items[i]; h.Spec.Boot != nil && h.Spec.Boot.ImageURL == imageURL {
			w.Wake(key(h))
		}
	}
}
