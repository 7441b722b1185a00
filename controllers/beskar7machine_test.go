package controllers

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/cluster-api/util/conditions"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/coordinator"
)

// unasked is a claimer that must not be asked for a host.
type unasked struct {
	coordinator.Claimer
	t *testing.T
}

func (u unasked) Claim(context.Context, coordinator.ClaimRequest) (coordinator.ClaimResult, error) {
	u.t.Error("asked for a host")
	return coordinator.ClaimResult{}, nil
}
func (unasked) Forget(types.NamespacedName) {}

func newOwner() *clusterv1.Machine {
	return &clusterv1.Machine{ObjectMeta: named("m"), Spec: clusterv1.MachineSpec{ClusterName: "c", Bootstrap: clusterv1.Bootstrap{DataSecretName: ptr.To("m")}}}
}

func (r *rig) machineGone() bool {
	r.t.Helper()
	err := r.api.Get(r.t.Context(), client.ObjectKey{Namespace: namespace, Name: "m"}, &v1beta1.Beskar7Machine{})
	if client.IgnoreNotFound(err) != nil {
		r.t.Fatal(err)
	}
	return err != nil
}

func (r *rig) deleteMachine() {
	r.t.Helper()
	m := &v1beta1.Beskar7Machine{}
	r.get(m, "m")
	if err := r.api.Delete(r.t.Context(), m); err != nil {
		r.t.Fatal(err)
	}
}

// Machine, Cluster, host and Secret are missing: nothing may hold the deletion up.
func TestDeleteWithEverythingMissing(t *testing.T) {
	r := newRig(t, newMachine())
	r.deleteMachine()
	r.lookAtMachine(2)
	if !r.machineGone() {
		t.Fatal("the machine stays")
	}
}

func TestDeleteMarksAndWaitsForTheHost(t *testing.T) {
	r := newRig(t, newMachine(), claimedHost())
	r.deleteMachine()
	r.lookAtMachine(3)
	if host := r.getHost(); host.Spec.Claim.Release == nil || r.machineGone() {
		t.Fatalf("claim %+v, machine gone: %v", host.Spec.Claim, r.machineGone())
	}
	edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { h.Spec.Claim, h.Spec.Boot = nil, nil })
	r.lookAtMachine(2)
	if !r.machineGone() {
		t.Fatal("the machine stays although its host is free")
	}
}

// The pause is on the host before block-move goes, even if the cache does not show the claim yet; and the block is back
// before the host goes on.
func TestPauseReachesTheHostBeforeTheBlockGoes(t *testing.T) {
	m := newMachine()
	m.Annotations = map[string]string{clusterctlv1.BlockMoveAnnotation: ""}
	cluster := newCluster()
	cluster.Spec.Paused = ptr.To(true)
	r := newRig(t, m, newOwner(), cluster, claimedHost())
	cached := newHost()
	r.machine.Client = interceptor.NewClient(r.api, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if h, ok := o.(*v1beta1.PhysicalHost); ok && !r.getHost().Spec.Paused {
				cached.DeepCopyInto(h)
				return nil
			}
			return c.Get(ctx, k, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			err := c.Patch(ctx, o, p, opts...)
			now := &v1beta1.Beskar7Machine{}
			r.get(now, "m")
			if _, blocked := now.Annotations[clusterctlv1.BlockMoveAnnotation]; blocked == r.getHost().Spec.Paused && !blocked {
				t.Errorf("after a write to %s: block-move %v, host paused %v", o.GetName(), blocked, r.getHost().Spec.Paused)
			}
			return err
		},
	})
	r.lookAtMachine(4)
	now := &v1beta1.Beskar7Machine{}
	r.get(now, "m")
	if _, blocked := now.Annotations[clusterctlv1.BlockMoveAnnotation]; blocked || !r.getHost().Spec.Paused {
		t.Fatalf("block-move %v, host paused %v", blocked, r.getHost().Spec.Paused)
	}
	edit(r, &clusterv1.Cluster{}, "c", func(c *clusterv1.Cluster) { c.Spec.Paused = nil })
	r.machine.Claims = unasked{t: t} // the host is the machine's own
	r.lookAtMachine(4)
	r.get(now, "m")
	if _, blocked := now.Annotations[clusterctlv1.BlockMoveAnnotation]; !blocked || r.getHost().Spec.Paused {
		t.Fatalf("after the pause: block-move %v, host paused %v", blocked, r.getHost().Spec.Paused)
	}
}

// A machine that rests costs no write.
func TestARestingMachineMakesNoWrite(t *testing.T) {
	host := claimedHost()
	host.Spec.Claim.Bound = true
	cluster := newCluster()
	cluster.Status.Initialization.InfrastructureProvisioned = ptr.To(true)
	r := newRig(t, newMachine(), newOwner(), cluster, host)
	r.lookAtMachine(5)
	m := &v1beta1.Beskar7Machine{}
	if r.get(m, "m"); !ptr.Deref(m.Status.Initialization.Provisioned, false) || m.Spec.ProviderID != v1beta1.ProviderID(namespace, "h", claimID) {
		t.Fatalf("spec %+v, status %+v", m.Spec, m.Status)
	}
	r.requests = nil
	r.lookAtMachine(3)
	if len(r.requests) > 0 {
		t.Fatalf("it wrote %v", r.requests)
	}
}

// A machine for which no host is free says so once, and costs no write until the reason is another one.
func TestAWaitingMachineMakesNoWrite(t *testing.T) {
	m, cluster, host := newMachine(), newCluster(), newHost()
	m.Spec.HostRef = nil
	cluster.Status.Initialization.InfrastructureProvisioned = ptr.To(true)
	host.Spec.Claim = &v1beta1.Claim{ID: claimID, Machine: "another", Cluster: "c"}
	r := newRig(t, m, newOwner(), cluster, host)
	says := func() string {
		t.Helper()
		r.get(m, "m")
		if reason := conditions.GetReason(m, v1beta1.HostClaimedCondition); reason != v1beta1.ReasonNoHostAvailable {
			t.Fatalf("reason %q", reason)
		}
		return conditions.GetMessage(m, v1beta1.HostClaimedCondition)
	}
	r.lookAtMachine(4)
	if got := says(); got != "0/1 hosts available: 1 claimed" {
		t.Fatalf("it says %q", got)
	}
	r.requests = nil
	for i := range 20 {
		r.sleep(time.Minute)
		edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { h.Labels = map[string]string{"seen": strconv.Itoa(i)} })
		r.lookAtMachine(1)
	}
	if slices.ContainsFunc(r.requests, func(q string) bool { return strings.HasSuffix(q, " m") }) {
		t.Fatalf("while nothing changed for it, it wrote: %v", r.requests)
	}
	edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) {
		h.Spec.Claim, h.Spec.Maintenance = nil, true
	})
	r.requests = nil
	r.lookAtMachine(5)
	if got := says(); got != "0/1 hosts available: 1 in maintenance" || len(r.requests) != 1 {
		t.Fatalf("it says %q after %v", got, r.requests)
	}
}

func TestMachinesWaitInTheOrderOfTheContract(t *testing.T) {
	m, owner, cluster := newMachine(), newOwner(), newCluster()
	m.Spec.HostRef, m.Finalizers = nil, nil
	owner.Spec.Bootstrap.DataSecretName = nil
	r := newRig(t, m, owner, cluster)
	reason := func() string {
		r.t.Helper()
		r.lookAtMachine(4)
		r.get(m, "m")
		for _, c := range m.Status.Conditions {
			if c.Type == v1beta1.ReadyCondition && c.Status == metav1.ConditionFalse {
				return c.Reason
			}
		}
		return ""
	}
	if got := reason(); got != v1beta1.ReasonWaitingForCluster {
		t.Fatalf("reason %q", got)
	}
	cluster.Status.Initialization.InfrastructureProvisioned = ptr.To(true)
	if err := r.api.Update(t.Context(), func() client.Object { c := &clusterv1.Cluster{}; r.get(c, "c"); c.Status = cluster.Status; return c }()); err != nil {
		t.Fatal(err)
	}
	if got := reason(); got != v1beta1.ReasonWaitingForBootstrapData {
		t.Fatalf("reason %q", got)
	}
}

func TestWithoutAnOwnerNothingIsWritten(t *testing.T) {
	m := newMachine()
	m.OwnerReferences, m.Finalizers, m.Spec.HostRef = nil, nil, nil
	r := newRig(t, m, newCluster())
	result, err := r.machine.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(m)})
	if err != nil || !result.IsZero() || len(r.requests) > 0 {
		t.Fatalf("%+v, %v, wrote %v", result, err, r.requests)
	}
}
