package coordinator

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

var epoch = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

const namespace = "ns"

var errLost = errors.New("no reply")

// world is one API server with hosts and machines, and a clock.
type world struct {
	t      *testing.T
	api    client.WithWatch
	clock  *clocktesting.FakePassiveClock
	random *rand.Rand
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1beta1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	api := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1beta1.PhysicalHost{}, &v1beta1.Beskar7Machine{}).
		WithIndex(&v1beta1.PhysicalHost{}, HostByClaimMachine, IndexHostByClaimMachine).Build()
	return &world{t: t, api: api, clock: clocktesting.NewFakePassiveClock(epoch), random: rand.New(rand.NewPCG(1, 1))}
}

func newHost(name string) *v1beta1.PhysicalHost {
	host := &v1beta1.PhysicalHost{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	meta.SetStatusCondition(&host.Status.Conditions, metav1.Condition{
		Type: v1beta1.AvailableCondition, Status: metav1.ConditionTrue, Reason: v1beta1.ReasonAvailable,
	})
	return host
}

func newMachine(name string) *v1beta1.Beskar7Machine {
	return &v1beta1.Beskar7Machine{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: types.UID("uid-" + name), Finalizers: []string{v1beta1.MachineFinalizer},
	}}
}

func (w *world) host(name string) *v1beta1.PhysicalHost {
	w.t.Helper()
	host := &v1beta1.PhysicalHost{}
	if err := w.api.Get(w.t.Context(), types.NamespacedName{Namespace: namespace, Name: name}, host); err != nil {
		w.t.Fatal(err)
	}
	return host
}

func (w *world) machine(name string) *v1beta1.Beskar7Machine {
	w.t.Helper()
	machine := &v1beta1.Beskar7Machine{}
	if err := w.api.Get(w.t.Context(), types.NamespacedName{Namespace: namespace, Name: name}, machine); err != nil {
		w.t.Fatal(err)
	}
	return machine
}

// edit changes an object as an outsider does.
func edit[T client.Object](w *world, object T, change func(T)) {
	w.t.Helper()
	base := object.DeepCopyObject().(T)
	change(object)
	if err := w.api.Patch(w.t.Context(), object, client.MergeFrom(base)); err != nil {
		w.t.Fatal(err)
	}
}

// options of a claimer whose requests go through c, cached and live alike.
func (w *world) options(c client.Client) Options {
	return Options{
		Client: c, Reader: c, Clock: w.clock, Random: dice{w.random},
		Fence: func() Fence { return Fence{Holder: "pod-1", Transitions: 7} },
		Settings: func() Settings {
			return Settings{Algorithm: hostselection.Deterministic, RetryLimit: 3, BackoffMultiplier: 2, MaxBackoffDelay: 30 * time.Second}
		},
	}
}

func (w *world) claimer() *Optimistic { return NewOptimistic(w.options(w.api)) }

func (w *world) access(c client.Client) Access { return Access{Client: c, Reader: c, Clock: w.clock} }

// dice is a seeded source of claim ids.
type dice struct{ random *rand.Rand }

func (d dice) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(d.random.Uint32())
	}
	return len(p), nil
}

func request(machine *v1beta1.Beskar7Machine) ClaimRequest {
	return ClaimRequest{Machine: machine, Cluster: "c", Boot: v1beta1.Boot{
		ImageURL: "http://images/a.iso", OSFamily: "generic", BootMode: v1beta1.BootModeLive, BootstrapSecret: machine.Name,
	}}
}

// fault is what happens to one request.
type fault int

const (
	fine fault = iota
	failBefore
	failAfter
	// delay answers with an error and applies the write at some later moment: a deposed leader's last request.
	delay
	crash
	faults = 5
)

// port is a client whose requests meet faults. Lists, and gets of cached readers, are not requests.
type port struct {
	// next is asked before every request.
	next func(what string) fault
	// later takes delayed writes.
	later func(what string, write func() error)
}

func (p *port) client(api client.WithWatch) client.WithWatch {
	return interceptor.NewClient(api, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
			switch p.next("get " + kind(object) + " " + key.Name) {
			case fine:
				return c.Get(ctx, key, object, opts...)
			default:
				return errLost
			}
		},
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return p.patch(ctx, c, object, patch, opts)
		},
	})
}

func (p *port) patch(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, opts []client.PatchOption) error {
	data, err := patch.Data(object)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("patch %s %s %s", kind(object), object.GetName(), data)
	copied := object.DeepCopyObject().(client.Object)
	switch p.next(what) {
	case failBefore, crash:
		return errLost
	case failAfter:
		_ = c.Patch(ctx, copied, client.RawPatch(patch.Type(), data), opts...)
		return errLost
	case delay:
		if p.later != nil {
			p.later(what, func() error {
				return c.Patch(context.Background(), copied, client.RawPatch(patch.Type(), data), opts...)
			})
		}
		return errLost
	default:
		return c.Patch(ctx, object, client.RawPatch(patch.Type(), data), opts...)
	}
}

func kind(object client.Object) string {
	return strings.TrimPrefix(fmt.Sprintf("%T", object), "*v1beta1.")
}

// frozen is a client whose lists of hosts come from a snapshot: a cache that lags behind.
func frozen(api client.WithWatch, hosts *v1beta1.PhysicalHostList) client.WithWatch {
	return interceptor.NewClient(api, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			var options client.ListOptions
			options.ApplyOptions(opts)
			out, ok := list.(*v1beta1.PhysicalHostList)
			if !ok {
				return c.List(ctx, list, opts...)
			}
			out.Items = nil
			for i := range hosts.Items {
				claim := hosts.Items[i].Spec.Claim
				if options.FieldSelector == nil || (claim != nil && options.FieldSelector.String() == HostByClaimMachine+"="+claim.Machine) {
					out.Items = append(out.Items, *hosts.Items[i].DeepCopy())
				}
			}
			return nil
		},
	})
}
