package controlplane

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestMain(m *testing.M) {
	// client-go's parts log through controller-runtime's global logger, which belongs to the program.
	ctrl.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

// The infrastructure provider of these tests: a kind that core can reference, and nothing that runs.
const fakeProvider = `
apiVersion: v1
kind: Namespace
metadata: {name: fake-system}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: fakeclusters.infrastructure.cluster.x-k8s.io
  labels: {cluster.x-k8s.io/v1beta2: v1beta1, cluster.x-k8s.io/provider: infrastructure-fake}
spec:
  group: infrastructure.cluster.x-k8s.io
  scope: Namespaced
  names: {kind: FakeCluster, listKind: FakeClusterList, plural: fakeclusters, singular: fakecluster}
  versions:
  - name: v1beta1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

const cluster = `
apiVersion: cluster.x-k8s.io/%s
kind: Cluster
metadata: {name: %s, namespace: default}
spec:
  clusterNetwork: {pods: {cidrBlocks: [%q]}}
  infrastructureRef: %s
`

func writeFakeProvider(t *testing.T) ReleaseSource {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "infrastructure-fake", "v0.1.0")
	metadata := "apiVersion: clusterctl.cluster.x-k8s.io/v1alpha3\nkind: Metadata\nreleaseSeries: [{major: 0, minor: 1, contract: v1beta2}]\n"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "infrastructure-components.yaml")
	if err := writeFiles(map[string][]byte{file: []byte(fakeProvider), filepath.Join(dir, "metadata.yaml"): []byte(metadata)}); err != nil {
		t.Fatal(err)
	}
	return ReleaseSource{Name: "fake", Type: "InfrastructureProvider", URL: file}
}

// lap logs how long each step took.
func lap(t *testing.T) func(string) {
	last := time.Now()
	return func(step string) {
		t.Logf("%-28s %6.1f s", step, time.Since(last).Seconds())
		last = time.Now()
	}
}

func testDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "beskar7-controlplane-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("logs are kept in %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	return dir
}

func TestManagementCluster(t *testing.T) {
	g := NewWithT(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	timed := lap(t)
	_, err := Binaries(ctx, BinariesOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	timed("binaries")
	p, err := Start(ctx, Options{Dir: filepath.Join(testDir(t), "cp")})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = p.Stop() })
	timed("start")

	g.Expect(p.AddSource(writeFakeProvider(t))).To(Succeed())
	g.Expect(p.Init(ctx, "--infrastructure", "fake:v0.1.0")).To(Succeed())
	timed("init, managers ready")

	checkWebhooks(ctx, g, p)
	timed("webhooks and conversion")
	core := p.providers[0]
	checkIdentity(ctx, g, p, core)
	checkCrashes(ctx, g, core)
	timed("identity and crashes")
	checkScale(ctx, g, p, core)
	timed("scale to 0 and back")
	checkNode(ctx, g, p, core)
	timed("port-forward and logs")
	checkRollOut(ctx, g, p, core)
	timed("rolling restart")
	checkRecreated(ctx, g, p)
	timed("webhooks recreated")

	states := stateOf(g, p)
	g.Expect(len(states)).To(BeNumerically(">=", 6))
	g.Expect(p.Stop()).To(Succeed())
	g.Expect(p.Stop()).To(Succeed())
	for _, s := range states {
		g.Expect(s.alive()).To(BeFalse(), "%s still runs", s.Name)
	}
	timed("stop")
}

func stateOf(g *WithT, p *ControlPlane) []processState {
	data, err := os.ReadFile(p.path(stateFile))
	g.Expect(err).NotTo(HaveOccurred())
	var states []processState
	g.Expect(json.Unmarshal(data, &states)).To(Succeed())
	return states
}

// checkWebhooks shows that core's webhooks decide, and that its conversion answers.
func checkWebhooks(ctx context.Context, g *WithT, p *ControlPlane) {
	const ref = "{apiGroup: infrastructure.cluster.x-k8s.io, kind: FakeCluster, name: x}"
	bad := fmt.Sprintf(cluster, "v1beta2", "bad", "not-a-network", ref)
	_, err := p.Kubectl(ctx, []byte(bad), "apply", "-f", "-")
	g.Expect(err).To(MatchError(ContainSubstring("invalid CIDR address: not-a-network")))

	good := fmt.Sprintf(cluster, "v1beta2", "good", "192.168.0.0/16", ref)
	_, err = p.Kubectl(ctx, []byte(good), "apply", "-f", "-")
	g.Expect(err).NotTo(HaveOccurred())
	out, err := p.Kubectl(ctx, nil, "get", "clusters.v1beta1.cluster.x-k8s.io", "good", "-o", "jsonpath={.apiVersion} {.spec.infrastructureRef.apiVersion}")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(out).To(Equal("cluster.x-k8s.io/v1beta1 infrastructure.cluster.x-k8s.io/v1beta1"))
}

// checkIdentity shows that a manager has its ServiceAccount's rights and no others.
func checkIdentity(ctx context.Context, g *WithT, p *ControlPlane, v *Provider) {
	config, err := clientcmd.BuildConfigFromFlags("", v.kubeconfig())
	g.Expect(err).NotTo(HaveOccurred())
	c := newClient(g, config)
	review := &authenticationv1.SelfSubjectReview{}
	g.Expect(c.Create(ctx, review)).To(Succeed())
	g.Expect(review.Status.UserInfo.Username).To(Equal("system:serviceaccount:capi-system:capi-manager"))
	g.Expect(c.List(ctx, &appsv1.DeploymentList{})).To(MatchError(ContainSubstring("forbidden")))

	audit, err := os.ReadFile(p.AuditLog())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(audit)).To(ContainSubstring("system:serviceaccount:capi-system:capi-manager"))
}

func newClient(g *WithT, config *rest.Config) client.Client {
	scheme, err := newScheme()
	g.Expect(err).NotTo(HaveOccurred())
	c, err := client.New(config, client.Options{Scheme: scheme})
	g.Expect(err).NotTo(HaveOccurred())
	return c
}

// checkCrashes: one the caller made stays, one it did not make is mended.
func checkCrashes(ctx context.Context, g *WithT, v *Provider) {
	g.Expect(v.Kill9()).To(Succeed())
	g.Consistently(v.PID, 3*followInterval).Should(BeZero())
	g.Expect(v.Restart(ctx)).To(Succeed())
	g.Expect(v.Ready(ctx)).To(Succeed())
	g.Expect(v.Restarts()).To(BeZero())

	g.Expect(v.process().Kill9()).To(Succeed())
	g.Eventually(v.Restarts, 10*time.Second).Should(Equal(1))
	g.Expect(v.Ready(ctx)).To(Succeed())
}

// checkScale follows what clusterctl upgrade does to a Deployment.
func checkScale(ctx context.Context, g *WithT, p *ControlPlane, v *Provider) {
	c := newClient(g, p.Config())
	key := client.ObjectKey{Namespace: v.opts.Namespace, Name: v.opts.Deployment}
	replicas := func() (int32, error) {
		d := &appsv1.Deployment{}
		err := c.Get(ctx, key, d)
		return d.Status.AvailableReplicas, err
	}
	g.Eventually(replicas, 20*time.Second).Should(BeEquivalentTo(1))
	_, err := p.Kubectl(ctx, nil, "-n", key.Namespace, "scale", "deployment", key.Name, "--replicas=0")
	g.Expect(err).NotTo(HaveOccurred())
	g.Eventually(v.PID, 20*time.Second).Should(BeZero())
	g.Eventually(replicas, 20*time.Second).Should(BeZero())
	_, err = p.Kubectl(ctx, nil, "-n", key.Namespace, "scale", "deployment", key.Name, "--replicas=1")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(v.Ready(ctx)).To(Succeed())
	g.Eventually(replicas, 20*time.Second).Should(BeEquivalentTo(1))
}

// checkRecreated deletes and recreates a webhook configuration with its Service references, as
// clusterctl upgrade does, and expects that it is routed again, unless its Certificate is wrong.
func checkRecreated(ctx context.Context, g *WithT, p *ControlPlane) {
	c := newClient(g, p.Config())
	shipped := &admissionv1.ValidatingWebhookConfiguration{}
	g.Expect(c.Get(ctx, client.ObjectKey{Name: "capi-validating-webhook-configuration"}, shipped)).To(Succeed())
	g.Expect(c.Delete(ctx, shipped.DeepCopy())).To(Succeed())
	shipped.ResourceVersion, shipped.UID = "", ""
	for i := range shipped.Webhooks {
		cc := &shipped.Webhooks[i].ClientConfig
		path := "/" + strings.SplitN(strings.TrimPrefix(*cc.URL, "https://"), "/", 2)[1]
		*cc = admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "capi-system", Name: "capi-webhook-service", Path: &path}}
	}
	wrong := shipped.DeepCopy()
	wrong.Name = "wrong"
	wrong.Webhooks = wrong.Webhooks[:1]
	wrong.Annotations[injectFrom] = "capi-kubeadm-bootstrap-system/capi-kubeadm-bootstrap-serving-cert"
	g.Expect(c.Create(ctx, shipped)).To(Succeed())
	g.Expect(p.Routed(ctx)).To(Succeed())
	_, err := p.Kubectl(ctx, nil, "label", "cluster", "good", "again=yes")
	g.Expect(err).NotTo(HaveOccurred())

	g.Expect(c.Create(ctx, wrong)).To(Succeed())
	g.Eventually(func() error {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return p.Routed(short)
	}).WithTimeout(time.Minute).Should(MatchError(ContainSubstring("left: wrong")), "on a slow machine the time is over before anything was listed")
	g.Expect(c.Delete(ctx, wrong)).To(Succeed())
}
