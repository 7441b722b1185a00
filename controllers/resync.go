package controllers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/beskar7/beskar7/controllers/settings"
	"github.com/beskar7/beskar7/pkg/scope"
)

// resync looks at all objects of a kind again, although nothing changed, whenever its period has passed: the net under events
// that were lost or mapped wrongly. It lists from the cache, and a reconcile of an object that rests makes no request, to an
// API server or a BMC.
type resync struct {
	client client.Reader
	// list is an empty list of the kind.
	list client.ObjectList
	// filter is the value of --watch-filter.
	filter string
	period settings.Period
}

// source runs with the controller that it feeds, so only in the process that drives.
func (s resync) source() source.Source {
	return source.Func(func(ctx context.Context, queue requestQueue) error {
		go s.run(ctx, queue)
		return nil
	})
}

func (s resync) run(ctx context.Context, queue requestQueue) {
	for s.period.Wait(ctx) {
		s.round(ctx, queue)
	}
}

func (s resync) round(ctx context.Context, queue requestQueue) {
	list := s.list.DeepCopyObject().(client.ObjectList)
	if err := s.client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list the objects to look at again")
		return
	}
	_ = meta.EachListItem(list, func(item runtime.Object) error {
		if o, ok := item.(client.Object); ok && scope.Owned(s.filter, o) {
			queue.Add(ctrl.Request{NamespacedName: client.ObjectKeyFromObject(o)})
		}
		return nil
	})
}

// bounded gives every reconcile the time limit that is set when it starts.
type bounded struct {
	reconcile.Reconciler
	timeout func() time.Duration
}

// Reconcile ends with the limit at the latest.
func (b bounded) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	limited, cancel := context.WithTimeout(ctx, b.timeout())
	defer cancel()
	return b.Reconciler.Reconcile(limited, req)
}
