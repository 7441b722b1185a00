package controllers

import (
	"context"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
)

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
