package controllers

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
)

// blankMedium takes the bootstrap data out of the record of a host's grant. It is done before the host is marked bound, which
// closes them, so that a crash in between repeats it. A Secret that the API server lets nobody change, such as one that somebody made
// immutable, is left for media.Sweep: the mark alone ends the service of the data, and a system that runs must not wait for it.
func (r *PhysicalHostReconciler) blankMedium(ctx context.Context, host *v1beta1.PhysicalHost) error {
	if host.Spec.Claim.Media == nil {
		return nil
	}
	secret, err := media.RecordOf(ctx, r.SecretReader, host)
	if wrong := media.RecordError(""); errors.As(err, &wrong) || apierrors.IsNotFound(err) {
		return nil // nothing of ours to take them out of
	}
	if err != nil {
		return err
	}
	patch, err := media.Blanked(secret)
	if patch == nil || err != nil {
		return err
	}
	err = client.IgnoreNotFound(r.Client.Patch(ctx, secret, patch))
	if refused(err) {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot take the bootstrap data out of the Secret of a medium; they are not served any more, and stay in it until it can be changed", "secret", secret.Name)
		return nil
	}
	if err != nil {
		return fmt.Errorf("take the bootstrap data out of the medium's Secret %s: %w", secret.Name, err)
	}
	return nil
}

// dropMedium deletes the record of a grant that has ended. What a crash leaves is collected by media.Sweep.
func (r *PhysicalHostReconciler) dropMedium(ctx context.Context, host *v1beta1.PhysicalHost, grant *v1beta1.MediaGrant) error {
	if grant == nil || grant.MediumHash == "" {
		return nil
	}
	secret := &corev1.Secret{}
	err := r.SecretReader.Get(ctx, client.ObjectKey{Namespace: host.Namespace, Name: media.RecordName(host.Name, grant.TokenHash)}, secret)
	if err != nil || secret.Type != v1beta1.MediumSecretType {
		return client.IgnoreNotFound(err)
	}
	return client.IgnoreNotFound(r.Client.Delete(ctx, secret, client.Preconditions{UID: &secret.UID}))
}
