package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// Keys of BMC Secrets.
const (
	usernameKey = "username"
	passwordKey = "password"
	caBundleKey = "ca.crt"
)

// BMCSettings are the defaults of connections to BMCs; a host's tuning overrides them.
type BMCSettings struct {
	ConnectionTimeout, RequestTimeout, RetryDelay time.Duration
	MaxRetries                                    int
}

// inputError is a fault in what a user wrote; only a change of that mends it.
type inputError struct{ reason, message string }

func (e *inputError) Error() string { return e.message }

// connection is how to reach one BMC, and which Secret said so.
type connection struct {
	target        redfish.Target
	secretUID     types.UID
	secretVersion string
}

// connect reads a host's Secrets, live, and builds the target. Faults in them are *inputError.
func connect(ctx context.Context, reader client.Reader, host *v1beta1.PhysicalHost, defaults BMCSettings) (connection, error) {
	rc := host.Spec.RedfishConnection
	secret, err := readSecret(ctx, reader, host.Namespace, rc.CredentialsSecretRef.Name,
		"create it with the keys username and password")
	if err != nil {
		return connection{}, err
	}
	for _, key := range []string{usernameKey, passwordKey} {
		if len(secret.Data[key]) == 0 {
			return connection{}, &inputError{v1beta1.ReasonSecretInvalid,
				fmt.Sprintf("Secret %q has no key %q: BMC credentials need the keys username and password", secret.Name, key)}
		}
	}
	target := redfish.Target{
		Address:  rc.Address,
		Username: string(secret.Data[usernameKey]), Password: redfish.Password(secret.Data[passwordKey]),
		CertificateFingerprint: rc.CertificateFingerprint, InsecureSkipVerify: rc.InsecureSkipVerify,
		SystemID: rc.SystemID, Vendor: rc.Vendor, Timeouts: timeouts(rc.Tuning, defaults),
	}
	if ref := rc.CABundleSecretRef; ref != nil {
		bundle, err := readSecret(ctx, reader, host.Namespace, ref.Name, "create it with the key ca.crt")
		if err != nil {
			return connection{}, err
		}
		if target.CABundle = bundle.Data[caBundleKey]; len(target.CABundle) == 0 {
			return connection{}, &inputError{v1beta1.ReasonSecretInvalid,
				fmt.Sprintf("Secret %q has no key %q with the certificates to trust", ref.Name, caBundleKey)}
		}
	}
	if err := target.Validate(); err != nil {
		return connection{}, &inputError{v1beta1.ReasonConnectionInvalid, "spec.redfishConnection cannot be used: " + err.Error()}
	}
	return connection{target: target, secretUID: secret.UID, secretVersion: secret.ResourceVersion}, nil
}

func readSecret(ctx context.Context, reader client.Reader, namespace, name, hint string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil, &inputError{v1beta1.ReasonSecretNotFound, fmt.Sprintf("Secret %q does not exist in namespace %q: %s", name, namespace, hint)}
	case err != nil:
		return nil, fmt.Errorf("read Secret %s/%s: %w", namespace, name, err)
	}
	return secret, nil
}

func timeouts(t *v1beta1.Tuning, d BMCSettings) redfish.Timeouts {
	out := redfish.Timeouts{Connection: d.ConnectionTimeout, Request: d.RequestTimeout, MaxRetries: d.MaxRetries, RetryDelay: d.RetryDelay}
	if t == nil {
		return out
	}
	out.Connection = tuned(t.ConnectionTimeout, out.Connection)
	out.Request = tuned(t.RequestTimeout, out.Request)
	out.RetryDelay = tuned(t.RetryDelay, out.RetryDelay)
	if t.MaxRetries != nil {
		out.MaxRetries = int(*t.MaxRetries)
	}
	return out
}

// tuned is the host's own value if it has one that makes sense.
func tuned(own *metav1.Duration, otherwise time.Duration) time.Duration {
	if own != nil && own.Duration > 0 {
		return own.Duration
	}
	return otherwise
}

// guardSecret keeps the BMC Secrets of claimed hosts: a finalizer while any claimed host needs them, and the clusterctl move
// label for good. Without them no server could be powered off. Secrets may be shared, so there is no owner reference.
func (r *PhysicalHostReconciler) guardSecret(ctx context.Context, host *v1beta1.PhysicalHost) error {
	names := []string{host.Spec.RedfishConnection.CredentialsSecretRef.Name}
	if ref := host.Spec.RedfishConnection.CABundleSecretRef; ref != nil && ref.Name != names[0] {
		names = append(names, ref.Name)
	}
	for _, name := range names {
		if err := r.guardOne(ctx, host, name); err != nil {
			return err
		}
	}
	return nil
}

func (r *PhysicalHostReconciler) guardOne(ctx context.Context, host *v1beta1.PhysicalHost, name string) error {
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: host.Namespace, Name: name}, meta); err != nil {
		return client.IgnoreNotFound(err)
	}
	base := meta.DeepCopy()
	needed, err := r.secretNeeded(ctx, host, name)
	if err != nil {
		return err
	}
	switch {
	case needed && meta.DeletionTimestamp.IsZero():
		controllerutil.AddFinalizer(meta, v1beta1.CredentialsFinalizer)
	case !needed:
		controllerutil.RemoveFinalizer(meta, v1beta1.CredentialsFinalizer)
	}
	if _, ok := meta.Labels[clusterctlv1.ClusterctlMoveLabel]; !ok && meta.DeletionTimestamp.IsZero() {
		if meta.Labels == nil {
			meta.Labels = map[string]string{}
		}
		meta.Labels[clusterctlv1.ClusterctlMoveLabel] = ""
	}
	if slices.Equal(base.Finalizers, meta.Finalizers) && len(base.Labels) == len(meta.Labels) {
		return nil
	}
	patch := client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, meta, patch); err != nil {
		return fmt.Errorf("guard Secret %s/%s: %w", host.Namespace, name, client.IgnoreNotFound(err))
	}
	return nil
}

// secretNeeded says whether any claimed host uses the Secret.
func (r *PhysicalHostReconciler) secretNeeded(ctx context.Context, host *v1beta1.PhysicalHost, name string) (bool, error) {
	if host.Spec.Claim != nil {
		return true, nil
	}
	hosts := &v1beta1.PhysicalHostList{}
	if err := r.Client.List(ctx, hosts, client.InNamespace(host.Namespace), client.MatchingFields{hostBySecret: name}); err != nil {
		return false, err
	}
	return slices.ContainsFunc(hosts.Items, func(h v1beta1.PhysicalHost) bool { return h.Spec.Claim != nil && h.Name != host.Name }), nil
}
