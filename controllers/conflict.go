package controllers

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// conflictRetry is long enough for the cache to see the write that was faster.
const conflictRetry = 100 * time.Millisecond

// quietly looks again soon after a write that was refused because the object had changed: that is how optimistic locking is
// meant to go, and no error.
func quietly(inner reconcile.Reconciler) reconcile.Reconciler {
	return reconcile.Func(func(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
		result, err := inner.Reconcile(ctx, req)
		if apierrors.IsConflict(err) {
			ctrl.LoggerFrom(ctx).V(1).Info("The object has changed meanwhile, looking again", "conflict", err.Error())
			return ctrl.Result{RequeueAfter: conflictRetry}, nil
		}
		return result, err
	})
}

// refused says whether the API server refuses a write whatever its version: no retry helps before somebody changes something.
func refused(err error) bool { return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) }
