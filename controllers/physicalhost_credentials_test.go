package controllers

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/endpoint"
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

// TestBMCsThatAreNotContacted: over plain http without consent, and at an address that nobody may name; each is told with what to
// do.
func TestBMCsThatAreNotContacted(t *testing.T) {
	for _, c := range []struct{ address, reason, hint string }{
		{"http://192.0.2.1", v1beta1.ReasonPlainHTTPNotAllowed, "spec.redfishConnection.allowPlainHTTP"},
		{"HTTP://192.0.2.1", v1beta1.ReasonPlainHTTPNotAllowed, "spec.redfishConnection.allowPlainHTTP"},
		{"https://169.254.169.254", v1beta1.ReasonAddressNotAllowed, "--allow-addresses"},
		{"https://[::ffff:127.0.0.1]:8443", v1beta1.ReasonAddressNotAllowed, "--allow-addresses"},
	} {
		host := newHost()
		host.Spec.RedfishConnection.Address = c.address
		r := newRig(t, host, newSecret("bmc"))
		r.host.Reach = endpoint.NewPolicy(endpoint.PolicyOptions{})
		r.look(3)
		reach := conditions.Get(r.getHost(), v1beta1.BMCReachableCondition)
		if reach == nil || reach.Status != metav1.ConditionFalse || reach.Reason != c.reason || !strings.Contains(reach.Message, c.hint) {
			t.Errorf("%s: %+v", c.address, reach)
		}
		if strings.HasPrefix(c.address, "https") {
			continue
		}
		edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) {
			h.Spec.RedfishConnection.AllowPlainHTTP = true
			h.Generation++
		})
		r.look(1)
		if reach := conditions.Get(r.getHost(), v1beta1.BMCReachableCondition); reach.Reason == c.reason {
			t.Errorf("%s, with consent: %+v", c.address, reach)
		}
	}
}

// TestMediaOverPlainHTTPNeedConsent, however the scheme is written.
func TestMediaOverPlainHTTPNeedConsent(t *testing.T) {
	for _, base := range []string{"http://192.0.2.9:8090", "HTTP://192.0.2.9:8090", "hTTp://192.0.2.9:8090"} {
		host := claimedHost()
		host.Spec.MediaURL = base
		r := newRig(t, host, newMachine(), newCluster(), newSecret("bmc"))
		reason := func() string {
			r.look(2)
			return conditions.GetReason(r.getHost(), v1beta1.BootedCondition)
		}
		if got := reason(); got != v1beta1.ReasonMediaNotAllowed {
			t.Errorf("%s: %s", base, got)
		}
		edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { h.Spec.AllowPlainMedia = true })
		if got := reason(); got != v1beta1.ReasonBootstrapDataMissing {
			t.Errorf("%s, with consent: %s", base, got)
		}
	}
}
