package controllers

import (
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/coordinator"
)

// guarding remembers what makes a look at one host cheap however many hosts share its Secrets. All of it can be lost: it is found
// again from the cache. The zero value is ready for use.
type guarding struct {
	mu sync.Mutex
	// names are the Secrets that each host named when it was last looked at, by the host's key.
	names map[string][]string
	// witness is a claimed host that names the Secret, by the Secret's key. It is asked whether it still does.
	witness map[client.ObjectKey]string
	// swept are the namespaces whose guarded Secrets were all looked at by this process.
	swept map[string]bool
}

// left are the Secrets that the host named before and not among now.
func (g *guarding) left(host string, now []string) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(g.names[host]), func(name string) bool { return slices.Contains(now, name) })
}

// settle notes that all that left and sweep ask for was done.
func (g *guarding) settle(host client.ObjectKey, now []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.names == nil {
		g.names, g.swept = map[string][]string{}, map[string]bool{}
	}
	g.swept[host.Namespace] = true
	if len(now) == 0 {
		delete(g.names, host.String())
		return
	}
	g.names[host.String()] = now
}

func (g *guarding) sweep(namespace string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.swept[namespace]
}

func (g *guarding) witnessOf(secret client.ObjectKey) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.witness[secret]
}

func (g *guarding) setWitness(secret client.ObjectKey, host string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if host == "" {
		delete(g.witness, secret)
		return
	}
	if g.witness == nil {
		g.witness = map[client.ObjectKey]string{}
	}
	g.witness[secret] = host
}

// guardSecret keeps the BMC Secrets of claimed hosts: a finalizer while any claimed host needs them, and the clusterctl move
// label for good. Without them no server could be powered off. Secrets may be shared, so there is no owner reference. guarded says
// that all of them are kept now: nothing is begun for a claim before that, as the next deletion would take the means to end it.
func (r *PhysicalHostReconciler) guardSecret(ctx context.Context, host *v1beta1.PhysicalHost) (guarded bool, err error) {
	names, guarded := secretsOf(host), true
	for _, name := range names {
		one, err := r.guardOne(ctx, client.ObjectKey{Namespace: host.Namespace, Name: name}, host)
		if err != nil {
			return false, err
		}
		guarded = guarded && one
	}
	return guarded, r.unguard(ctx, client.ObjectKeyFromObject(host), names...)
}

// unbegun says whether the host's claim waits for its Secrets to be guarded: nothing was done for it yet, nor is it to be undone.
func unbegun(host *v1beta1.PhysicalHost) bool {
	return host.Spec.Claim != nil && host.Spec.Claim.Release == nil && !(coordinator.Holding{Host: host}).Touched()
}

// gatherSecrets finds out whether the BMC of a claim that ends before anything was done for it can be asked at all. It takes a live
// read to say that it cannot.
func (r *PhysicalHostReconciler) gatherSecrets(ctx context.Context, host *v1beta1.PhysicalHost, g *gathered) error {
	if host.Spec.Claim.Release == nil || (coordinator.Holding{Host: host}).Touched() {
		return nil
	}
	for _, name := range secretsOf(host) {
		meta, err := r.secretMeta(ctx, host.Namespace, name)
		if err != nil {
			return err
		}
		if meta != nil {
			continue
		}
		err = r.Reader.Get(ctx, client.ObjectKey{Namespace: host.Namespace, Name: name}, &corev1.Secret{})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("read Secret %s/%s: %w", host.Namespace, name, err)
		}
		g.brief.Facts.NoSecret = g.brief.Facts.NoSecret || err != nil
	}
	return nil
}

// unguard lets go of the Secrets that a host named and names no more; none are left of one that is gone. A crash in between is
// mended by the process that comes after: it looks at every guarded Secret of the namespace once. One that the API server lets nobody
// change keeps no host waiting that does not name it.
func (r *PhysicalHostReconciler) unguard(ctx context.Context, host client.ObjectKey, names ...string) error {
	left := r.guarding.left(host.String(), names)
	if r.guarding.sweep(host.Namespace) {
		guarded, err := r.guardedSecrets(ctx, host.Namespace)
		if err != nil {
			return err
		}
		left = guarded
	}
	for _, name := range left {
		switch _, err := r.guardOne(ctx, client.ObjectKey{Namespace: host.Namespace, Name: name}, nil); {
		case refused(err):
			ctrl.LoggerFrom(ctx).Error(err, "Cannot let go of a Secret that no claimed host needs; it is tried again by the next process, or remove the finalizer",
				"secret", name, "finalizer", v1beta1.CredentialsFinalizer)
		case err != nil:
			return err
		}
	}
	r.guarding.settle(host, names)
	return nil
}

// guardedSecrets are the names of the Secrets with our finalizer.
func (r *PhysicalHostReconciler) guardedSecrets(ctx context.Context, namespace string) ([]string, error) {
	secrets := &metav1.PartialObjectMetadataList{}
	secrets.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := r.SecretMeta.List(ctx, secrets, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list the Secrets of namespace %s: %w", namespace, err)
	}
	var names []string
	for i := range secrets.Items {
		if s := &secrets.Items[i]; controllerutil.ContainsFinalizer(s, v1beta1.CredentialsFinalizer) {
			names = append(names, s.Name)
		}
	}
	return names, nil
}

// guardOne also runs for Secrets that no host is known to name, by is nil then: one that was guarded may not keep its finalizer for
// ever. guarded says whether it is there, with our finalizer.
func (r *PhysicalHostReconciler) guardOne(ctx context.Context, secret client.ObjectKey, by *v1beta1.PhysicalHost) (guarded bool, err error) {
	meta, err := r.secretMeta(ctx, secret.Namespace, secret.Name)
	if meta == nil || err != nil {
		return false, err
	}
	base := meta.DeepCopy()
	needed, err := r.secretNeeded(ctx, secret, by)
	if err != nil {
		return false, err
	}
	switch {
	case needed && meta.DeletionTimestamp.IsZero():
		controllerutil.AddFinalizer(meta, v1beta1.CredentialsFinalizer)
	case !needed:
		controllerutil.RemoveFinalizer(meta, v1beta1.CredentialsFinalizer)
	}
	if _, ok := meta.Labels[clusterctlv1.ClusterctlMoveLabel]; by != nil && !ok && meta.DeletionTimestamp.IsZero() {
		if meta.Labels == nil {
			meta.Labels = map[string]string{}
		}
		meta.Labels[clusterctlv1.ClusterctlMoveLabel] = ""
	}
	guarded = controllerutil.ContainsFinalizer(meta, v1beta1.CredentialsFinalizer)
	if slices.Equal(base.Finalizers, meta.Finalizers) && len(base.Labels) == len(meta.Labels) {
		return guarded, nil
	}
	err = r.Client.Patch(ctx, meta, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("guard Secret %s: %w", secret, err)
	}
	return guarded && err == nil, nil
}

// secretNeeded says whether a claimed host names the Secret. by is a host that names it, or nil. One witness is enough, and the last
// one that was found is asked first: only when it is no more, the hosts that need the Secret are looked through for another one.
func (r *PhysicalHostReconciler) secretNeeded(ctx context.Context, secret client.ObjectKey, by *v1beta1.PhysicalHost) (bool, error) {
	if by != nil && by.Spec.Claim != nil {
		return true, nil
	}
	if name := r.guarding.witnessOf(secret); name != "" {
		witness := &v1beta1.PhysicalHost{}
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: secret.Namespace, Name: name}, witness)
		switch {
		case err == nil && slices.Contains(secretsNeededBy(witness), secret.Name):
			return true, nil
		case err != nil && !apierrors.IsNotFound(err):
			return false, fmt.Errorf("read a host of Secret %s: %w", secret, err)
		}
	}
	hosts := &v1beta1.PhysicalHostList{}
	if err := r.Client.List(ctx, hosts, client.InNamespace(secret.Namespace), client.MatchingFields{hostByNeededSecret: secret.Name},
		client.Limit(1), client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("look for claimed hosts of Secret %s: %w", secret, err)
	}
	if len(hosts.Items) == 0 {
		r.guarding.setWitness(secret, "")
		return false, nil
	}
	r.guarding.setWitness(secret, hosts.Items[0].Name)
	return true, nil
}

// secretsNeededBy are the Secrets that may not go while the host is claimed.
func secretsNeededBy(host *v1beta1.PhysicalHost) []string {
	if host.Spec.Claim == nil {
		return nil
	}
	return secretsOf(host)
}
