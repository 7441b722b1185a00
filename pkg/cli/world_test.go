package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// world is a management cluster with an installed manager whose replicas serve metrics, on a clock that only Pause moves.
type world struct {
	t      *testing.T
	client client.Client
	in     io.Reader
	out    bytes.Buffer
	err    bytes.Buffer
	now    time.Time

	mu sync.Mutex
	// counts of each replica's metrics, by series.
	counts map[string]map[string]float64
	// tick is called at every pause, with its length.
	tick func(time.Duration)
	// deaf is how many times more no Pod answers.
	deaf int
}

const system = "beskar7-system"

var installedArgs = []string{"--leader-elect=true", "--metrics-bind-address=:8080", "--media-advertise-url=https://$(POD_IP):8090"}

func deployment() *appsv1.Deployment {
	labels := map[string]string{"app": "beskar7-controller-manager"}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "beskar7-controller-manager"},
		Spec: appsv1.DeploymentSpec{Replicas: ptr.To(int32(2)), Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{
				{Name: "sidecar", Args: []string{"--kube-api-qps=99"}},
				{Name: "manager", Args: append([]string{}, installedArgs...), Env: []corev1.EnvVar{{Name: "BESKAR7_LOG_LEVEL", Value: "info"},
					{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}}}}}}}},
		Status: appsv1.DeploymentStatus{Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2},
	}
}

func pod(name string, started time.Time) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: name, Labels: map[string]string{"app": "beskar7-controller-manager"}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &metav1.Time{Time: started}, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}
}

func settingsMap(data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "beskar7-config"}, Data: data}
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), tick: func(time.Duration) {}}
	w.client = fake.NewClientBuilder().WithScheme(Scheme()).WithObjects(objects...).Build()
	w.counts = map[string]map[string]float64{
		"a": {metricValid: 1, metricDriver: 1, metricQueue: 0},
		"b": {metricValid: 1, metricDriver: 0, metricQueue: 0},
	}
	return w
}

// installed is a world with a Deployment, two Pods and a ConfigMap; nil: none.
func installed(t *testing.T, data map[string]string) *world {
	t.Helper()
	started := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	objects := []client.Object{deployment(), pod("a", started), pod("b", started)}
	if data != nil {
		objects = append(objects, settingsMap(data))
	}
	return newWorld(t, objects...)
}

// add moves a series of a replica.
func (w *world) add(replica, series string, n float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[replica][series] += n
}

func (w *world) set(replica, series string, n float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[replica][series] = n
}

// metrics is the text that a replica serves.
func (w *world) metrics(replica string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out strings.Builder
	for series, n := range w.counts[replica] {
		fmt.Fprintf(&out, "%s %v\n", series, n)
	}
	return out.String()
}

// serve is the metrics endpoint of a replica.
func (w *world) serve(replica string) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.NotFound(out, r)
			return
		}
		_, _ = out.Write([]byte(w.metrics(replica)))
	}))
	w.t.Cleanup(server.Close)
	return server
}

// guard serves the same over https, to those with the token that the fake API server makes.
func (w *world) guard(open *httptest.Server) *httptest.Server {
	server := httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer fake-token" {
			http.Error(out, "who are you?", http.StatusUnauthorized)
			return
		}
		open.Config.Handler.ServeHTTP(out, r)
	}))
	w.t.Cleanup(server.Close)
	return server
}

// cli is a CLI in this world.
func (w *world) cli() *CLI {
	ways := map[string]*httptest.Server{"a": w.serve("a"), "b": w.serve("b")}
	return New(Options{In: w.in, Out: &w.out, Err: &w.err, Now: func() time.Time { return w.now },
		Pause: func(ctx context.Context, d time.Duration) error {
			w.now = w.now.Add(d)
			w.tick(d)
			return ctx.Err()
		},
		Connect: func(string, string) (*Access, error) {
			return &Access{Client: w.client, Forward: func(_ context.Context, namespace, pod, port string) (string, func(), error) {
				if w.deaf--; w.deaf >= 0 {
					return "", nil, fmt.Errorf("Pod %s is gone", pod)
				}
				switch {
				case namespace == system && port == "8080" && ways[pod] != nil:
					return strings.TrimPrefix(ways[pod].URL, "http://"), func() {}, nil
				case namespace == system && port == "8443" && ways[pod] != nil:
					return strings.TrimPrefix(w.guard(ways[pod]).URL, "https://"), func() {}, nil
				}
				return "", nil, fmt.Errorf("no way to %s/%s:%s", namespace, pod, port)
			}}, nil
		}})
}

// run runs a command and wants an exit code.
func (w *world) run(code int, args ...string) string {
	w.t.Helper()
	w.out.Reset()
	w.err.Reset()
	if got := w.cli().Run(w.t.Context(), args); got != code {
		w.t.Fatalf("%v ended with %d, want %d\n%s%s", args, got, code, w.out.String(), w.err.String())
	}
	return w.out.String()
}

func (w *world) has(text string, parts ...string) {
	w.t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			w.t.Errorf("%q is missing in\n%s", part, text)
		}
	}
}

func (w *world) args() []string {
	w.t.Helper()
	d := &appsv1.Deployment{}
	if err := w.client.Get(w.t.Context(), client.ObjectKeyFromObject(deployment()), d); err != nil {
		w.t.Fatal(err)
	}
	return d.Spec.Template.Spec.Containers[1].Args
}

// data of the ConfigMap; nil if there is none.
func (w *world) data() map[string]string {
	w.t.Helper()
	found := settingsMap(nil)
	err := w.client.Get(w.t.Context(), client.ObjectKeyFromObject(found), found)
	if client.IgnoreNotFound(err) != nil {
		w.t.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return found.Data
}
