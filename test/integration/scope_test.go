package integration

import (
	"context"
	"crypto/rand"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	controllerconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/controllers/settings"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
	"github.com/beskar7/beskar7/pkg/scope"
	"github.com/beskar7/beskar7/test/lab"
)

// TestTwoManagersShareAnAPIServer: each with a filter of its own and with everything that SetupAll wires. Neither writes to a host of
// the other, nor asks its BMC; one without a label is nobody's; one that is handed over changes hands.
func TestTwoManagersShareAnAPIServer(t *testing.T) {
	c, cfg := apiServerAndConfig(t)
	coreCRDs(t, c)
	if err := c.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "s"},
		Data: map[string][]byte{"username": []byte("u"), "password": []byte("p")}}); err != nil {
		t.Fatal(err)
	}
	for name, label := range map[string]string{"a": "one", "b": "two", "nobody": ""} {
		h := newHost(name)
		h.Spec.RedfishConnection.Address = "https://" + name + ".example.com"
		if label != "" {
			h.Labels = map[string]string{clusterv1.WatchLabel: label}
		}
		if err := c.Create(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	one, two := startFiltered(t, cfg, "one"), startFiltered(t, cfg, "two")
	state := func(name string) string {
		h := &v1beta1.PhysicalHost{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: name}, h); err != nil {
			return err.Error()
		}
		return string(h.Status.State) + " " + strings.Join(h.Finalizers, ",")
	}
	until(t, "both managers to have their host, and to have looked at all again", func() bool {
		// Not that both are Available: these servers are all alike, and a second registration is found across managers.
		seen := func(name string) bool {
			return strings.HasSuffix(state(name), v1beta1.HostFinalizer) && !strings.HasPrefix(state(name), " ")
		}
		return seen("a") && seen("b") && len(one.touched())*len(two.touched()) > 0 && one.rounds() > 12 && two.rounds() > 12
	})
	if got := state("nobody"); got != " " {
		t.Errorf("a host that is nobody's: %q", got)
	}
	for m, want := range map[*filtered][]string{one: {"a"}, two: {"b"}} {
		if got := m.touched(); !slices.Equal(got, want) {
			t.Errorf("manager %s asked the BMCs of %q, want %q", m.filter, got, want)
		}
	}
	h := &v1beta1.PhysicalHost{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "a"}, h); err != nil {
		t.Fatal(err)
	}
	base := h.DeepCopy()
	h.Labels[clusterv1.WatchLabel] = "two"
	if err := c.Patch(t.Context(), h, client.MergeFrom(base)); err != nil {
		t.Fatal(err)
	}
	until(t, "the host to change hands", func() bool {
		_, tracked := one.hands.Observed("default/a")
		return !tracked && slices.Equal(two.touched(), []string{"a", "b"})
	})
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	if err := lab.Until(t.Context(), what, time.Minute, func(context.Context) (bool, string, error) { return done(), "", nil }); err != nil {
		t.Fatal(err)
	}
}

// filtered is a manager with a filter, on empty servers that it cannot mistake.
type filtered struct {
	filter string
	every  time.Duration // between the resyncs
	hands  *actuator.Actuator
	mu     sync.Mutex
	asked  map[string]bool
	waits  int
}

func (f *filtered) BMC(target redfish.Target) (redfish.BMC, error) {
	name, _, _ := strings.Cut(strings.TrimPrefix(target.Address, "https://"), ".")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked[name] = true
	return redfishfake.New(redfishfake.Options{}), nil
}

func (*filtered) Release(redfish.Target) bool          { return false }
func (*filtered) LogOut(context.Context, string) error { return nil }
func (*filtered) Forget(redfish.Target)                {}

func (*filtered) Prepare(context.Context, string, string) (bootmedia.Prepared, error) {
	return bootmedia.Prepared{Ready: true}, nil
}

func (*filtered) Again(string) {}

// touched are the hosts whose BMCs it asked anything.
func (f *filtered) touched() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.asked))
}

// period of the resyncs; it counts them.
func (f *filtered) period() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waits++
	return f.every
}

func (f *filtered) rounds() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waits
}

func startFiltered(t *testing.T, cfg *rest.Config, filter string) *filtered {
	t.Helper()
	return startResyncing(t, cfg, filter, 200*time.Millisecond)
}

// startResyncing is startFiltered with resyncs as often as asked.
func startResyncing(t *testing.T, cfg *rest.Config, filter string, every time.Duration) *filtered {
	t.Helper()
	scheme, err := lab.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Controller: controllerconfig.Controller{SkipNameValidation: ptr.To(true)},
		Client:     client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.ConfigMap{}, &corev1.Secret{}}}}})
	if err != nil {
		t.Fatal(err)
	}
	f, wake := &filtered{filter: filter, every: every, asked: map[string]bool{}}, controllers.NewWaker()
	gate := bmcqueue.New(bmcqueue.Options{Settings: bmcqueue.Settings{MaxConcurrentOps: 4, WorkerCount: 4, MaxQueueSize: 10, OperationTimeout: time.Minute}, Done: wake.Wake})
	f.hands = actuator.New(actuator.Options{Gate: gate, Driver: f, Clock: clock.RealClock{}, Changed: wake.Wake})
	clusters := clustercache.NewFakeEmptyClusterCache()
	claims := coordinator.NewOptimistic(coordinator.Options{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Clock: clock.RealClock{}, Random: rand.Reader, Informed: true,
		Owned: func(o client.Object) bool { return scope.Owned(filter, o) },
		Fence: func() coordinator.Fence { return coordinator.Fence{Holder: filter} }, Settings: func() coordinator.Settings { return coordinator.Settings{} }})
	r := controllers.Reconcilers{
		Host: &controllers.PhysicalHostReconciler{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), SecretReader: mgr.GetAPIReader(), SecretMeta: mgr.GetCache(), Actuator: f.hands,
			Media: f, Tokens: media.NewTokens(), ClusterCache: clusters, Events: events.NewFakeRecorder(1000), Clock: clock.RealClock{},
			BMC: func(*v1beta1.PhysicalHost) config.Tuning { return config.Tuning{RequestTimeout: time.Minute} }, ClaimGrace: coordinator.DefaultGrace, WatchFilter: filter},
		Machine:  &controllers.Beskar7MachineReconciler{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), ClusterCache: clusters, Clock: clock.RealClock{}, Claims: claims, WatchFilter: filter},
		Cluster:  &controllers.Beskar7ClusterReconciler{Client: mgr.GetClient(), WatchFilter: filter},
		Template: &controllers.Beskar7MachineTemplateReconciler{Client: mgr.GetClient(), WatchFilter: filter},
	}
	if err := controllers.SetupAll(t.Context(), mgr, r, controllers.SetupOptions{MaxConcurrentReconciles: 2, Timeout: func() time.Duration { return time.Minute },
		SyncPeriod: settings.Period{Of: f.period}, Wake: wake, WakeMachine: controllers.NewWaker()}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	running.Go(func() { _ = gate.Run(ctx) })
	running.Go(func() { _ = mgr.Start(ctx) })
	return f
}

// coreCRDs installs the kinds of Cluster API that our controllers watch, from its module.
func coreCRDs(t *testing.T, c client.Client) {
	t.Helper()
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/cluster-api").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"clusters", "machines"} {
		data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(module)), "core/config/crd/bases", "cluster.x-k8s.io_"+kind+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(data, crd); err != nil {
			t.Fatal(err)
		}
		if err := c.Create(t.Context(), crd); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the kinds of Cluster API to be served", func() bool {
		return c.List(t.Context(), &clusterv1.ClusterList{}) == nil && c.List(t.Context(), &clusterv1.MachineList{}) == nil
	})
}
