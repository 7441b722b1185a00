//go:build e2e

package e2e

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/emulator"
	"github.com/beskar7/beskar7/test/lab"
)

// wrongInput is one mistake in the description of a server.
type wrongInput struct {
	name   string
	err    func(*story, *v1beta1.PhysicalHost) // before the host is created
	reason string
	words  []string // that tell a person what is wrong and what to do
	mend   func(*story, *v1beta1.PhysicalHost)
	logins int // that the BMC refused in all
}

// patched changes the host.
func patched(f func(*v1beta1.RedfishConnection)) func(*story, *v1beta1.PhysicalHost) {
	return func(s *story, h *v1beta1.PhysicalHost) {
		s.change(h, func() { f(&h.Spec.RedfishConnection) })
	}
}

// written changes the host before it is created.
func written(f func(*v1beta1.RedfishConnection)) func(*story, *v1beta1.PhysicalHost) {
	return func(_ *story, h *v1beta1.PhysicalHost) { f(&h.Spec.RedfishConnection) }
}

// setSecret replaces the data of the host's Secret.
func (s *story) setSecret(h *v1beta1.PhysicalHost, data map[string]string) {
	s.t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: h.Spec.RedfishConnection.CredentialsSecretRef.Name}, StringData: data}
	NewWithT(s.t).Expect(client.IgnoreNotFound(s.Client.Delete(s.t.Context(), secret))).To(Succeed())
	NewWithT(s.t).Expect(s.Client.Create(s.t.Context(), secret)).To(Succeed())
}

func rightSecret(s *story, h *v1beta1.PhysicalHost) {
	bmc := s.Fleet.Get(h.Name)
	s.setSecret(h, map[string]string{"username": bmc.Username(), "password": bmc.Password()})
}

var wrongInputs = []wrongInput{
	{name: "wrong-password", reason: v1beta1.ReasonLoginRefused, logins: 1, words: []string{"wrong-password-bmc", "mend Secret", "retry-now"},
		err: func(s *story, h *v1beta1.PhysicalHost) {
			s.setSecret(h, map[string]string{"username": "admin", "password": "wrong"})
		},
		mend: rightSecret},
	{name: "no-secret", reason: v1beta1.ReasonSecretNotFound, words: []string{`Secret "no-secret-bmc" does not exist in namespace "input"`, "create it with the keys username and password"},
		err: func(s *story, h *v1beta1.PhysicalHost) {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: h.Spec.RedfishConnection.CredentialsSecretRef.Name}}
			NewWithT(s.t).Expect(s.Client.Delete(s.t.Context(), secret)).To(Succeed())
		},
		mend: rightSecret},
	{name: "no-password", reason: v1beta1.ReasonSecretInvalid, words: []string{`Secret "no-password-bmc" has no key "password"`},
		err: func(s *story, h *v1beta1.PhysicalHost) {
			s.setSecret(h, map[string]string{"username": "admin"})
		},
		mend: rightSecret},
	{name: "wrong-address", reason: v1beta1.ReasonUnreachable, words: []string{"127.0.0.1:1", "connection refused: check address and port"},
		err: written(func(c *v1beta1.RedfishConnection) { c.Address = "https://127.0.0.1:1" }),
		mend: func(s *story, h *v1beta1.PhysicalHost) {
			patched(func(c *v1beta1.RedfishConnection) { c.Address = s.Fleet.Get(h.Name).URL() })(s, h)
		}},
	{name: "no-ca", reason: v1beta1.ReasonCertificateRefused, words: []string{"caBundleSecretRef", "certificateFingerprint"},
		err:  written(func(c *v1beta1.RedfishConnection) { c.CABundleSecretRef = nil }),
		mend: patched(func(c *v1beta1.RedfishConnection) { c.CABundleSecretRef = &v1beta1.SecretReference{Name: "bmc-ca"} })},
	{name: "wrong-fingerprint", reason: v1beta1.ReasonCertificateRefused, words: []string{"not the pinned one", "change certificateFingerprint"},
		err: written(func(c *v1beta1.RedfishConnection) {
			c.CABundleSecretRef, c.CertificateFingerprint = nil, strings.Repeat("ab", 32)
		}),
		mend: patched(func(c *v1beta1.RedfishConnection) {
			c.CABundleSecretRef, c.CertificateFingerprint = &v1beta1.SecretReference{Name: "bmc-ca"}, ""
		})},
	{name: "wrong-system", reason: v1beta1.ReasonSystemNotFound, words: []string{"the BMC has no such system, it has 1: correct systemID"},
		err:  written(func(c *v1beta1.RedfishConnection) { c.SystemID = "Blade7" }),
		mend: patched(func(c *v1beta1.RedfishConnection) { c.SystemID = "" })},
}

// TestWrongInput: each mistake ends in a condition that says what to do, and recovers when it is mended.
func TestWrongInput(t *testing.T) {
	l := newLab(t)
	s := newStory(t, l, "input", 2)
	hosts := make([]*v1beta1.PhysicalHost, len(wrongInputs))
	for i, in := range wrongInputs {
		hosts[i] = s.register(in)
	}
	for i, in := range wrongInputs {
		said := s.condition(hosts[i], v1beta1.BMCReachableCondition, metav1.ConditionFalse, in.reason)
		for _, words := range in.words {
			if !strings.Contains(said, words) {
				t.Errorf("%s: %q does not say %q", in.name, said, words)
			}
		}
		ready := s.condition(hosts[i], v1beta1.ReadyCondition, metav1.ConditionFalse, in.reason)
		NewWithT(t).Expect(ready).To(Equal(said), "Ready is what `kubectl get` shows")
	}
	s.keepsLogins()
	for i, in := range wrongInputs {
		in.mend(s, hosts[i])
	}
	s.available()
	s.keepsLogins()
	s.wrongMachine()
	s.witness()
}

// register describes a server with a mistake.
func (s *story) register(in wrongInput) *v1beta1.PhysicalHost {
	s.t.Helper()
	g := NewWithT(s.t)
	bmc, err := s.Fleet.Add(emulator.Spec{Name: in.name, Username: "admin", Password: "b7-" + in.name})
	g.Expect(err).NotTo(HaveOccurred())
	host := &v1beta1.PhysicalHost{}
	g.Expect(s.Register(s.t.Context(), s.namespace, bmc, func(h *v1beta1.PhysicalHost) {
		in.err(s, h)
		host = h
	})).To(Succeed())
	return host
}

// keepsLogins expects, for a while, no more refused log-ins than one for each version of a wrong Secret.
func (s *story) keepsLogins() {
	s.t.Helper()
	NewWithT(s.t).Consistently(func(g Gomega) {
		for _, in := range wrongInputs {
			failed := slices.DeleteFunc(s.Fleet.Get(in.name).Events(), func(e emulator.Event) bool { return e.Kind != emulator.EventLoginFailed })
			g.Expect(failed).To(HaveLen(in.logins), in.name)
		}
	}, 10*time.Second, time.Second).Should(Succeed())
}

// wrongMachine is a cluster whose machine looks for a host that is not there, with a selector that is none, and boots from an
// image that is not there; mended one by one.
func (s *story) wrongMachine() {
	s.t.Helper()
	t := s.t
	g := NewWithT(t)
	var there atomic.Bool
	images := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !there.Load() {
			http.NotFound(w, r)
			return
		}
		http.Redirect(w, r, s.Image, http.StatusFound)
	}))
	t.Cleanup(images.Close)
	spec := lab.ClusterSpec{Name: "wrong", Namespace: s.namespace, ControlPlanes: 1, Variables: map[string]string{
		"BESKAR7_IMAGE_URL": images.URL + "/not-yet.iso", "BESKAR7_CONTROL_PLANE_HOST_SELECTOR": "{matchExpressions: [{key: role, operator: Near, values: [x]}]}"}}
	g.Expect(s.Apply(t.Context(), spec)).To(MatchError(ContainSubstring("hostSelector")), "a template is refused at once")
	spec.Variables["BESKAR7_CONTROL_PLANE_HOST_SELECTOR"] = "{matchLabels: {role: control-plane}}"
	g.Expect(s.Apply(t.Context(), spec)).To(Succeed())
	machine := s.machineSays(v1beta1.ReasonNoHostAvailable, "0/9 hosts available: 9 do not match the selector")
	s.wrongDomains("wrong")
	before := client.MergeFrom(machine.DeepCopy())
	machine.Spec.HostSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "role", Operator: metav1.LabelSelectorOpIn}}}
	g.Expect(s.Client.Patch(t.Context(), machine, before)).To(Succeed())
	machine = s.machineSays(v1beta1.ReasonSelectorInvalid, "hostSelector is invalid", "values set can't be empty")
	before = client.MergeFrom(machine.DeepCopy())
	machine.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"role": "control-plane"}}
	g.Expect(s.Client.Patch(t.Context(), machine, before)).To(Succeed())
	s.machineSays(v1beta1.ReasonNoHostAvailable, "do not match the selector")
	s.kubectl("label", "ph", s.namespace+"-0", "role=control-plane")
	s.machineSays(v1beta1.ReasonImageUnusable, "404", "/not-yet.iso")
	there.Store(true)
	s.running("wrong", 1, 0)
	s.remove("wrong")
	s.available()
	s.spent()
}

// wrongDomains gives a cluster a selector of control plane hosts that is none, and the right one again.
func (s *story) wrongDomains(name string) {
	s.t.Helper()
	g := NewWithT(s.t)
	cluster, err := lab.Object(s.t.Context(), s.Lab, s.namespace, name, &v1beta1.Beskar7Cluster{})
	g.Expect(err).NotTo(HaveOccurred())
	right := cluster.Spec.ControlPlaneHostSelector
	for _, want := range []struct {
		selector *metav1.LabelSelector
		status   metav1.ConditionStatus
		words    string
	}{
		{&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "role", Operator: metav1.LabelSelectorOpIn}}}, metav1.ConditionFalse, "spec.controlPlaneHostSelector"},
		{right, metav1.ConditionTrue, ""},
	} {
		before := client.MergeFrom(cluster.DeepCopy())
		cluster.Spec.ControlPlaneHostSelector = want.selector
		g.Expect(s.Client.Patch(s.t.Context(), cluster, before)).To(Succeed())
		s.until("the cluster to judge its selector", func(ctx context.Context) (bool, string, error) {
			err := s.Client.Get(ctx, client.ObjectKeyFromObject(cluster), cluster)
			c := ptr.Deref(conditions.Get(cluster, v1beta1.FailureDomainsCondition), metav1.Condition{})
			return c.Status == want.status && strings.Contains(c.Message, want.words), string(c.Status) + ": " + c.Message, err
		})
	}
}

// machineSays waits until the one Beskar7Machine's Ready condition has this reason and these words.
func (s *story) machineSays(reason string, words ...string) *v1beta1.Beskar7Machine {
	s.t.Helper()
	var machine *v1beta1.Beskar7Machine
	said := ""
	s.until("a machine to say "+reason, func(ctx context.Context) (bool, string, error) {
		list := &v1beta1.Beskar7MachineList{}
		if err := s.Client.List(ctx, list, client.InNamespace(s.namespace)); err != nil || len(list.Items) != 1 {
			return false, "there is not one machine", err
		}
		machine = &list.Items[0]
		c := ptr.Deref(conditions.Get(machine, v1beta1.ReadyCondition), metav1.Condition{})
		said = c.Message
		return c.Reason == reason && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(said, w) }), c.Reason + ": " + c.Message, nil
	})
	s.t.Logf("%s: %s", reason, said)
	return machine
}
