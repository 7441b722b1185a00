package media

import (
	"context"
	"fmt"

	toolscache "k8s.io/client-go/tools/cache"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// WatchGrants has ended called with the token hash of every grant that ends, changes or is bound from now on, so that a replica
// keeps nothing in memory for it. It also starts the caches that a Source reads, so that no BMC waits for them.
func WatchGrants(ctx context.Context, c cache.Cache, ended func(tokenHash string)) error {
	if _, err := c.GetInformer(ctx, &v1beta1.Beskar7Machine{}); err != nil {
		return fmt.Errorf("watch Beskar7Machines for the media: %w", err)
	}
	if _, err := c.GetInformer(ctx, &clusterv1.Machine{}); err != nil {
		return fmt.Errorf("watch Machines for the media: %w", err)
	}
	hosts, err := c.GetInformer(ctx, &v1beta1.PhysicalHost{})
	if err != nil {
		return fmt.Errorf("watch hosts for the media: %w", err)
	}
	_, err = hosts.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		UpdateFunc: func(before, after any) {
			old, ok1 := before.(*v1beta1.PhysicalHost)
			now, ok2 := after.(*v1beta1.PhysicalHost)
			if ok1 && ok2 {
				tellEnded(old, now, ended)
			}
		},
		DeleteFunc: func(o any) {
			if unknown, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = unknown.Obj
			}
			if host, ok := o.(*v1beta1.PhysicalHost); ok {
				tellEnded(host, &v1beta1.PhysicalHost{}, ended)
			}
		},
	})
	return err
}

// tellEnded compares two versions of a host.
func tellEnded(before, after *v1beta1.PhysicalHost, ended func(tokenHash string)) {
	if before.Spec.Claim == nil || before.Spec.Claim.Media == nil {
		return
	}
	hash, claim := before.Spec.Claim.Media.TokenHash, after.Spec.Claim
	if claim == nil || claim.Media == nil || claim.Media.TokenHash != hash || claim.Release != nil && before.Spec.Claim.Release == nil || claim.Bound && !before.Spec.Claim.Bound {
		ended(hash)
	}
}
