package controllers

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// Keys of BMC Secrets.
const (
	usernameKey = "username"
	passwordKey = "password"
	caBundleKey = "ca.crt"
)

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
func connect(ctx context.Context, reader client.Reader, host *v1beta1.PhysicalHost, tuning config.Tuning) (connection, error) {
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
		Learned:  learnedOf(host),
		Address:  rc.Address,
		Username: string(secret.Data[usernameKey]), Password: redfish.Password(secret.Data[passwordKey]),
		CertificateFingerprint: rc.CertificateFingerprint, InsecureSkipVerify: rc.InsecureSkipVerify, AllowOldTLS: rc.AllowOldTLS,
		SystemID: rc.SystemID, Vendor: rc.Vendor, Timeouts: redfish.Timeouts{Connection: tuning.ConnectionTimeout, Request: tuning.RequestTimeout, MaxRetries: tuning.MaxRetries, RetryDelay: tuning.RetryDelay},
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

// tuned is the host's own value if it has one that makes sense.
func tuned(own *metav1.Duration, otherwise time.Duration) time.Duration {
	if own != nil && own.Duration > 0 {
		return own.Duration
	}
	return otherwise
}

// connections remembers how each host is reached, so that a look at a host whose Secrets did not change reads none of them.
type connections struct {
	mu     sync.Mutex
	byHost map[string]remembered
}

type remembered struct {
	basis string
	connection
}

func (c *connections) get(host, basis string) (connection, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.byHost[host]
	return r.connection, ok && basis != "" && r.basis == basis
}

func (c *connections) set(host, basis string, connected connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byHost == nil {
		c.byHost = map[string]remembered{}
	}
	c.byHost[host] = remembered{basis, connected}
}

func (c *connections) drop(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byHost, host)
}

// basis names everything that a connection is made of, by versions and without its content; empty if a Secret is missing.
func (r *PhysicalHostReconciler) basis(ctx context.Context, host *v1beta1.PhysicalHost) (string, error) {
	out := fmt.Sprintf("%s %d %+v", host.UID, host.Generation, r.BMC(host))
	for _, name := range secretsOf(host) {
		meta, err := r.secretMeta(ctx, host.Namespace, name)
		if meta == nil || err != nil {
			return "", err
		}
		out += fmt.Sprintf(" %s/%s", meta.UID, meta.ResourceVersion)
	}
	return out, nil
}

// secretMeta reads the metadata of a Secret from the cache; nil if there is none.
func (r *PhysicalHostReconciler) secretMeta(ctx context.Context, namespace, name string) (*metav1.PartialObjectMetadata, error) {
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := r.SecretMeta.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, meta)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read metadata of Secret %s/%s: %w", namespace, name, err)
	}
	return meta, nil
}

// connect reads the host's Secrets if anything about them or the connection changed.
func (r *PhysicalHostReconciler) connect(ctx context.Context, host *v1beta1.PhysicalHost) (connection, error) {
	basis, err := r.basis(ctx, host)
	if err != nil {
		return connection{}, err
	}
	if known, ok := r.known.get(key(host), basis); ok {
		return known, nil
	}
	connected, err := connect(ctx, r.Reader, host, r.BMC(host))
	if err != nil {
		return connection{}, err
	}
	r.known.set(key(host), basis, connected)
	return connected, nil
}

// secretsOf are the names of the Secrets that a host needs to be reached.
func secretsOf(host *v1beta1.PhysicalHost) []string {
	names := []string{host.Spec.RedfishConnection.CredentialsSecretRef.Name}
	if ref := host.Spec.RedfishConnection.CABundleSecretRef; ref != nil && ref.Name != names[0] {
		names = append(names, ref.Name)
	}
	return names
}

// guardSecret keeps the BMC Secrets of claimed hosts: a finalizer while any claimed host needs them, and the clusterctl move
// label for good. Without them no server could be powered off. Secrets may be shared, so there is no owner reference.
func (r *PhysicalHostReconciler) guardSecret(ctx context.Context, host *v1beta1.PhysicalHost) error {
	for _, name := range secretsOf(host) {
		if err := r.guardOne(ctx, host.Namespace, name); err != nil {
			return err
		}
	}
	if host.Generation == host.Status.ObservedGeneration {
		return nil
	}
	return r.unguard(ctx, host.Namespace)
}

// unguard looks at every guarded Secret of a namespace: a host that now names another one, or is gone, leaves its old one to
// nobody else. It runs when a spec changed or a host is gone; a crash in between repeats it.
func (r *PhysicalHostReconciler) unguard(ctx context.Context, namespace string) error {
	secrets := &metav1.PartialObjectMetadataList{}
	secrets.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := r.SecretMeta.List(ctx, secrets, client.InNamespace(namespace)); err != nil {
		return fmt.Errorf("list the Secrets of namespace %s: %w", namespace, err)
	}
	for i := range secrets.Items {
		if s := &secrets.Items[i]; controllerutil.ContainsFinalizer(s, v1beta1.CredentialsFinalizer) {
			if err := r.guardOne(ctx, namespace, s.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// guardOne also runs for Secrets that no host names any more: one that was guarded may not keep its finalizer for ever.
func (r *PhysicalHostReconciler) guardOne(ctx context.Context, namespace, name string) error {
	meta, err := r.secretMeta(ctx, namespace, name)
	if meta == nil || err != nil {
		return err
	}
	base := meta.DeepCopy()
	named, needed, err := r.secretNeeded(ctx, namespace, name)
	if err != nil {
		return err
	}
	switch {
	case needed && meta.DeletionTimestamp.IsZero():
		controllerutil.AddFinalizer(meta, v1beta1.CredentialsFinalizer)
	case !needed:
		controllerutil.RemoveFinalizer(meta, v1beta1.CredentialsFinalizer)
	}
	if _, ok := meta.Labels[clusterctlv1.ClusterctlMoveLabel]; named && !ok && meta.DeletionTimestamp.IsZero() {
		if meta.Labels == nil {
			meta.Labels = map[string]string{}
		}
		meta.Labels[clusterctlv1.ClusterctlMoveLabel] = ""
	}
	if slices.Equal(base.Finalizers, meta.Finalizers) && len(base.Labels) == len(meta.Labels) {
		return nil
	}
	patch := client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, meta, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("guard Secret %s/%s: %w", namespace, name, err)
	}
	return nil
}

// secretNeeded says whether any host names the Secret, and whether a claimed one does.
func (r *PhysicalHostReconciler) secretNeeded(ctx context.Context, namespace, name string) (named, needed bool, err error) {
	hosts := &v1beta1.PhysicalHostList{}
	if err := r.Client.List(ctx, hosts, client.InNamespace(namespace), client.MatchingFields{hostBySecret: name}); err != nil {
		return false, false, fmt.Errorf("list the hosts of Secret %s/%s: %w", namespace, name, err)
	}
	claimed := slices.ContainsFunc(hosts.Items, func(h v1beta1.PhysicalHost) bool { return h.Spec.Claim != nil })
	return len(hosts.Items) > 0, claimed, nil
}
