package controllers

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/hostselection"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

const (
	namespace = "ns"
	claimID   = "0123456789abcdef"
)

var epoch = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// rig is the controllers around an API server in memory, with a gate that is not running: what is submitted stays there.
type rig struct {
	t       *testing.T
	api     client.WithWatch
	clock   *clocktesting.FakePassiveClock
	gate    *bmcqueue.Queue
	host    *PhysicalHostReconciler
	machine *Beskar7MachineReconciler
	// requests are all that went to the API server, but for lists.
	requests []string
	// refused are the hosts whose bootstrap data were asked for in vain, with the reasons.
	refused []string
}

type noBMC struct{}

func (noBMC) BMC(redfish.Target) (redfish.BMC, error) {
	return redfishfake.New(redfishfake.Options{}), nil
}
func (noBMC) Release(redfish.Target) bool          { return false }
func (noBMC) LogOut(context.Context, string) error { return nil }
func (noBMC) Forget(redfish.Target)                {}

type indexed map[string]client.IndexerFunc

func (i indexed) IndexField(_ context.Context, _ client.Object, field string, extract client.IndexerFunc) error {
	i[field] = extract
	return nil
}

func newRig(t *testing.T, objects ...client.Object) *rig {
	t.Helper()
	scheme, indexes := runtime.NewScheme(), indexed{}
	for _, add := range []func(*runtime.Scheme) error{v1beta1.AddToScheme, clusterv1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	if err := IndexHosts(t.Context(), indexes); err != nil {
		t.Fatal(err)
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1beta1.PhysicalHost{}, &v1beta1.Beskar7Machine{}, &v1beta1.Beskar7Cluster{}, &v1beta1.Beskar7MachineTemplate{})
	for field, extract := range indexes {
		builder = builder.WithIndex(&v1beta1.PhysicalHost{}, field, extract)
	}
	r := &rig{t: t, clock: clocktesting.NewFakePassiveClock(epoch)}
	r.api = interceptor.NewClient(builder.Build(), interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			r.requests = append(r.requests, "patch "+o.GetName())
			return c.Patch(ctx, o, p, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			r.requests = append(r.requests, "patch "+sub+" "+o.GetName())
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	})
	r.gate = bmcqueue.New(bmcqueue.Options{Settings: bmcqueue.Settings{MaxConcurrentOps: 1, WorkerCount: 1, MaxQueueSize: 10}})
	hands := actuator.New(actuator.Options{Gate: r.gate, Driver: noBMC{}, Clock: r.clock})
	r.host = &PhysicalHostReconciler{Client: r.api, Reader: r.api, SecretReader: r.api, SecretMeta: r.api, Actuator: hands, Tokens: media.NewTokens(),
		ClusterCache: clustercache.NewFakeEmptyClusterCache(), Events: events.NewFakeRecorder(1000), Clock: r.clock,
		BMC: func(*v1beta1.PhysicalHost) config.Tuning { return config.Tuning{RequestTimeout: time.Minute} }, ClaimGrace: coordinator.DefaultGrace}
	r.machine = &Beskar7MachineReconciler{Client: r.api, Reader: r.api, ClusterCache: clustercache.NewFakeEmptyClusterCache(), Clock: r.clock,
		Claims: coordinator.NewOptimistic(coordinator.Options{Client: r.api, Reader: r.api, Clock: r.clock, Random: rand.Reader,
			Fence:    func() coordinator.Fence { return coordinator.Fence{Holder: "pod-1"} },
			Settings: func() coordinator.Settings { return coordinator.Settings{Algorithm: hostselection.Deterministic} }})}
	return r
}

func (r *rig) get(o client.Object, name string) {
	r.t.Helper()
	if err := r.api.Get(r.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, o); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) getHost() *v1beta1.PhysicalHost {
	r.t.Helper()
	host := &v1beta1.PhysicalHost{}
	r.get(host, "h")
	return host
}

// look reconciles the host h n times.
func (r *rig) look(n int) {
	r.t.Helper()
	r.lookAt("h", n)
}

// lookAt reconciles a host n times.
func (r *rig) lookAt(name string, n int) {
	r.t.Helper()
	for range n {
		if _, err := r.host.Reconcile(r.t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}); err != nil {
			r.t.Fatal(err)
		}
	}
}

// lookAtMachine reconciles the machine m n times.
func (r *rig) lookAtMachine(n int) {
	r.t.Helper()
	for range n {
		if _, err := r.machine.Reconcile(r.t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: "m"}}); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) sleep(d time.Duration) { r.clock.SetTime(r.clock.Now().Add(d)) }

// edit changes an object as an outsider does.
func edit[T client.Object](r *rig, o T, name string, change func(T)) {
	r.t.Helper()
	r.get(o, name)
	base := o.DeepCopyObject().(T)
	change(o)
	if err := r.api.Patch(r.t.Context(), o, client.MergeFrom(base)); err != nil {
		r.t.Fatal(err)
	}
}

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-" + name)}
}

func newHost() *v1beta1.PhysicalHost {
	return &v1beta1.PhysicalHost{ObjectMeta: named("h"), Spec: v1beta1.PhysicalHostSpec{RedfishConnection: v1beta1.RedfishConnection{
		Address: "https://192.0.2.1", CredentialsSecretRef: v1beta1.SecretReference{Name: "bmc"}, InsecureSkipVerify: true}}}
}

func claimedHost() *v1beta1.PhysicalHost {
	h := newHost()
	h.Spec.Claim = &v1beta1.Claim{ID: claimID, Machine: "m", Cluster: "c"}
	h.Spec.Boot = &v1beta1.Boot{ImageURL: "http://images/a.iso", OSFamily: "generic", BootMode: v1beta1.BootModeLive, BootstrapSecret: "m"}
	return h
}

func newSecret(name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: named(name), Data: map[string][]byte{"username": []byte("u"), "password": []byte("p")}}
}

func newCluster() *clusterv1.Cluster { return &clusterv1.Cluster{ObjectMeta: named("c")} }

// newMachine is a Beskar7Machine that names the host's claim.
func newMachine() *v1beta1.Beskar7Machine {
	m := &v1beta1.Beskar7Machine{ObjectMeta: named("m"), Spec: v1beta1.Beskar7MachineSpec{HostRef: &v1beta1.HostRef{Name: "h", ClaimID: claimID}}}
	m.Labels = map[string]string{clusterv1.ClusterNameLabel: "c"}
	m.Finalizers = []string{v1beta1.MachineFinalizer}
	m.OwnerReferences = []metav1.OwnerReference{{APIVersion: clusterv1.GroupVersion.String(), Kind: "Machine", Name: "m", UID: "uid-owner"}}
	return m
}
