package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/test/controlplane"
	"github.com/beskar7/beskar7/test/lab"
)

// ours is the name of our namespace in every environment.
const ours = "beskar7-system"

// built is what kustomize makes of a folder of config/, one document each.
func built(t *testing.T, folder string) [][]byte {
	t.Helper()
	root, err := lab.Root("")
	if err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(folder) {
		folder = filepath.Join("config", folder)
	}
	build := exec.CommandContext(t.Context(), filepath.Join(root, "bin", "kustomize"), "build", folder)
	build.Dir = root
	out, err := build.Output()
	if err != nil {
		t.Fatalf("kustomize build %s: %v", folder, err)
	}
	return bytes.Split(out, []byte("\n---\n"))
}

// ofKind are the documents of some kinds.
func ofKind(documents [][]byte, kinds ...string) [][]byte {
	var out [][]byte
	for _, document := range documents {
		for _, kind := range kinds {
			if bytes.Contains(append([]byte("\n"), document...), []byte("\nkind: "+kind+"\n")) {
				out = append(out, document)
			}
		}
	}
	return out
}

// TestDeployment: what config/ ships against the real API server's own rules of who may do what.
func TestDeployment(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	plane, err := controlplane.Start(ctx, controlplane.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	scheme, err := lab.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(plane.Config(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	install := ofKind(built(t, "default"), "Namespace", "ServiceAccount", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
	if _, err := plane.Kubectl(ctx, bytes.Join(install, []byte("\n---\n")), "apply", "--server-side", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Run("metrics are for those who may", func(t *testing.T) { guardedMetrics(ctx, t, plane, c) })
	t.Run("rights in one namespace", func(t *testing.T) { namespacedRights(ctx, t, plane, c) })
	t.Run("the media authority", func(t *testing.T) { mediaAuthority(ctx, t, plane, c) })
	t.Run("Pods are restricted", func(t *testing.T) { restrictedPods(ctx, t, c) })
}

// tokenOf asks for a token of a ServiceAccount of ours.
func tokenOf(ctx context.Context, t *testing.T, c client.Client, account string) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{}
	if err := c.SubResource("token").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ours, Name: account}}, request); err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

// guardedMetrics serves metrics with the rights of the manager's ServiceAccount, as shipped, and scrapes them as several people.
func guardedMetrics(ctx context.Context, t *testing.T, plane *controlplane.ControlPlane, c client.Client) {
	ctrllog.SetLogger(logr.Discard())
	admin := plane.Config()
	config := &rest.Config{Host: admin.Host, BearerToken: tokenOf(ctx, t, c, "beskar7-controller-manager"), TLSClientConfig: rest.TLSClientConfig{CAData: admin.CAData}}
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	server, err := metricsserver.NewServer(metricsserver.Options{BindAddress: "127.0.0.1:0", SecureServing: true, FilterProvider: filters.WithAuthenticationAndAuthorization}, config, httpClient)
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- server.Start(serving) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	bound := server.(interface{ GetBindAddr() string })
	if err := lab.Until(ctx, "the metrics server to listen", time.Minute, func(context.Context) (bool, string, error) {
		return bound.GetBindAddr() != "", "no address", nil
	}); err != nil {
		t.Fatal(err)
	}
	visitor := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}} //nolint:gosec // it is self-signed
	for who, want := range map[string]int{"": http.StatusUnauthorized, "beskar7-controller-manager": http.StatusForbidden, "beskar7-metrics-reader": http.StatusOK} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+bound.GetBindAddr()+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		if who != "" {
			request.Header.Set("Authorization", "Bearer "+tokenOf(ctx, t, c, who))
		}
		reply, err := visitor.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = reply.Body.Close()
		if reply.StatusCode != want {
			t.Errorf("%q got %s, want %d", who, reply.Status, want)
		}
	}
}

// with is a folder with config/default and one of the components.
func with(t *testing.T, component string) string {
	t.Helper()
	root, err := lab.Root("")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	up, err := filepath.Rel(dir, filepath.Join(root, "config"))
	if err != nil {
		t.Fatal(err)
	}
	content := "resources: [" + up + "/default]\ncomponents: [" + up + "/components/" + component + "]\n"
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// namespacedRights: with components/namespaced-rbac the manager may read Secrets where it looks, and nowhere else.
func namespacedRights(ctx context.Context, t *testing.T, plane *controlplane.ControlPlane, c client.Client) {
	may := func(namespace, group, resource, verb string) bool {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: "system:serviceaccount:" + ours + ":beskar7-controller-manager",
			ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Group: group, Resource: resource, Verb: verb}}}
		if err := c.Create(ctx, review); err != nil {
			t.Fatal(err)
		}
		return review.Status.Allowed
	}
	if !may("kube-system", "", "secrets", "list") {
		t.Error("without the component the manager cannot watch all namespaces")
	}
	documents := built(t, with(t, "namespaced-rbac"))
	if d := ofKind(documents, "Deployment"); len(d) != 1 || !bytes.Contains(d[0], []byte("- --namespace=default\n")) || !bytes.Contains(d[0], []byte("- --leader-elect\n")) {
		t.Error("the Deployment is not told its namespace, or lost its flags")
	}
	if err := c.Delete(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "beskar7-system-manager-rolebinding"}}); err != nil {
		t.Fatal(err)
	}
	rights := ofKind(documents, "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
	if _, err := plane.Kubectl(ctx, bytes.Join(rights, []byte("\n---\n")), "apply", "--server-side", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	// The authorizer follows what is stored: the binding that is gone first, those that came after it.
	if err := lab.Until(ctx, "the API server to know the new rights", time.Minute, func(context.Context) (bool, string, error) {
		return !may("kube-system", "", "secrets", "list") && may(ours, "events.k8s.io", "events", "create") && may("default", "", "secrets", "watch"), "not yet", nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, namespace := range []string{"", "kube-system", ours} {
		for _, verb := range []string{"get", "list", "watch", "patch"} { // of one of ours it may, by its name
			if may(namespace, "", "secrets", verb) {
				t.Errorf("may %s Secrets in %q", verb, namespace)
			}
		}
	}
	for _, verb := range []string{"list", "watch", "patch"} {
		if group := v1beta1.GroupVersion.Group; !may("default", group, "physicalhosts", verb) || may("kube-system", group, "physicalhosts", verb) {
			t.Errorf("%s hosts", verb)
		}
	}
	if !may(ours, "coordination.k8s.io", "leases", "update") || !may("", "authentication.k8s.io", "tokenreviews", "create") {
		t.Error("the rights that do not depend on the watched namespace are gone")
	}
}

// mediaAuthority is made, shared and renewed with the rights of the manager's ServiceAccount, those of one namespace at that.
func mediaAuthority(ctx context.Context, t *testing.T, plane *controlplane.ControlPlane, c client.Client) {
	admin := plane.Config()
	config := &rest.Config{Host: admin.Host, BearerToken: tokenOf(ctx, t, c, "beskar7-controller-manager"), TLSClientConfig: rest.TLSClientConfig{CAData: admin.CAData}}
	own, err := client.New(config, client.Options{Scheme: c.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	now := clocktesting.NewFakePassiveClock(time.Now())
	replica := func() *media.Authority {
		m := &media.Authority{Client: own, Secret: client.ObjectKey{Namespace: ours, Name: "beskar7-media-ca"}, Name: "media", Names: []string{"192.0.2.5"}, Clock: now}
		if err := m.Load(ctx); err != nil {
			t.Fatal(err)
		}
		return m
	}
	first, second := replica(), replica()
	if made := string(first.Authority()); made == "" || made != string(second.Authority()) {
		t.Error("replicas do not share their authority")
	}
	now.SetTime(now.Now().AddDate(8, 0, 0))
	if renewed := string(replica().Authority()); renewed == string(first.Authority()) {
		t.Error("it was not renewed")
	}
	if err := second.Load(ctx); err != nil {
		t.Fatal(err)
	}
	if string(second.Authority()) == string(first.Authority()) {
		t.Error("a replica does not see what another one renewed")
	}
}

// restrictedPods: our namespace enforces Pod Security "restricted", and the Pods of every environment are within it.
func restrictedPods(ctx context.Context, t *testing.T, c client.Client) {
	pod := func(environment string) *corev1.Pod {
		deployments := ofKind(built(t, environment), "Deployment")
		d := &appsv1.Deployment{}
		if len(deployments) != 1 {
			t.Fatalf("%s has %d Deployments", environment, len(deployments))
		}
		if err := yaml.UnmarshalStrict(deployments[0], d); err != nil {
			t.Fatal(err)
		}
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ours, Name: "p", Labels: d.Spec.Template.Labels}, Spec: d.Spec.Template.Spec}
	}
	for _, environment := range []string{"default", "clusterctl", "overlays/development", "overlays/staging", "overlays/production", "overlays/large-scale"} {
		if err := c.Create(ctx, pod(environment), client.DryRunAll); err != nil {
			t.Errorf("%s: %v", environment, err)
		}
	}
	for what, loosen := range map[string]func(*corev1.Pod){
		"hostNetwork": func(p *corev1.Pod) { p.Spec.HostNetwork = true },
		"runAsNonRoot": func(p *corev1.Pod) {
			p.Spec.Containers[0].SecurityContext.RunAsNonRoot, p.Spec.SecurityContext.RunAsNonRoot = nil, nil
		},
		"capabilities": func(p *corev1.Pod) { p.Spec.Containers[0].SecurityContext.Capabilities = nil },
	} {
		loose := pod("default")
		loosen(loose)
		if err := c.Create(ctx, loose, client.DryRunAll); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `violates PodSecurity "restricted`) {
			t.Errorf("without %s: %v", what, err)
		}
	}
}

// An installation or upgrade by clusterctl must not reset what an operator has tuned.
func TestComponentsShipNoSettings(t *testing.T) {
	for _, folder := range []string{"clusterctl", "default"} {
		if got := ofKind(built(t, folder), "ConfigMap"); len(got) != 0 {
			t.Errorf("config/%s ships a ConfigMap:\n%s", folder, got[0])
		}
	}
	if len(ofKind(built(t, "overlays/production"), "ConfigMap")) != 1 {
		t.Error("the check does not see the ConfigMap of production")
	}
}
