package controllers

import (
	"context"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/beskar7/beskar7/api/v1beta1"
)

func (r *rig) guarded(name string) bool {
	r.t.Helper()
	secret := &corev1.Secret{}
	r.get(secret, name)
	return slices.Contains(secret.Finalizers, v1beta1.CredentialsFinalizer)
}

func TestSecretsOfClaimedHostsAreKept(t *testing.T) {
	r := newRig(t, claimedHost(), newMachine(), newCluster(), newSecret("bmc"), newSecret("bmc2"), newSecret("other"))
	r.look(2)
	secret := &corev1.Secret{}
	if r.get(secret, "bmc"); !r.guarded("bmc") || len(secret.Labels) != 1 {
		t.Fatalf("finalizers %v, labels %v", secret.Finalizers, secret.Labels)
	}
	if _, ok := secret.Labels[clusterctlv1.ClusterctlMoveLabel]; !ok {
		t.Fatalf("labels %v lack that of clusterctl move", secret.Labels)
	}
	// Another Secret is named: the old one is let go.
	edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) {
		h.Spec.RedfishConnection.CredentialsSecretRef.Name = "bmc2"
		h.Generation++
	})
	r.look(2)
	if r.guarded("bmc") || !r.guarded("bmc2") || r.guarded("other") {
		t.Fatalf("guarded: bmc %v, bmc2 %v, other %v", r.guarded("bmc"), r.guarded("bmc2"), r.guarded("other"))
	}
	// The host goes without a word, as when a person strips its finalizers.
	edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { h.Finalizers = nil })
	if err := r.api.Delete(t.Context(), r.getHost()); err != nil {
		t.Fatal(err)
	}
	r.look(1)
	if r.guarded("bmc2") {
		t.Fatal("the Secret of a host that is gone is kept for ever")
	}
}

// A host that rests costs no request: no write, and no read of its Secret.
func TestARestingHostMakesNoRequest(t *testing.T) {
	r := newRig(t, newHost(), newSecret("bmc"))
	r.look(4)
	r.requests = nil
	r.host.Reader = interceptor.NewClient(r.api, interceptor.Funcs{Get: func(_ context.Context, _ client.WithWatch, k client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
		t.Errorf("live read of %s", k)
		return nil
	}})
	r.look(3)
	if len(r.requests) != 0 {
		t.Fatalf("an idle host wrote: %v", r.requests)
	}
	// A changed Secret is read at once.
	reads := 0
	r.host.Reader = interceptor.NewClient(r.api, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		reads++
		return c.Get(ctx, k, o, opts...)
	}})
	edit(r, &corev1.Secret{}, "bmc", func(s *corev1.Secret) { s.Data["password"] = []byte("new") })
	r.look(1)
	if reads == 0 {
		t.Fatal("the changed Secret was not read")
	}
}
