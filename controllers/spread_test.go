package controllers

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
)

func TestTheLastTenantIsWhoTouchedTheHardware(t *testing.T) {
	before := &v1beta1.Tenant{Cluster: "c", Owner: "MachineDeployment/old", Machine: "old"}
	for name, c := range map[string]struct {
		edit    func(*v1beta1.PhysicalHost)
		touched bool
	}{
		"never confirmed":    {func(*v1beta1.PhysicalHost) {}, false},
		"released untouched": {func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Release = &v1beta1.Release{} }, false},
		"another's boot":     {func(h *v1beta1.PhysicalHost) { h.Status.Booted = &v1beta1.BootRecord{ClaimID: "x"} }, false},
		"got media":          {func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Media = &v1beta1.MediaGrant{} }, true},
		"booted":             {func(h *v1beta1.PhysicalHost) { h.Status.Booted = &v1beta1.BootRecord{ClaimID: claimID} }, true},
		"bound":              {func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Bound = true }, true},
	} {
		h := &v1beta1.PhysicalHost{Spec: v1beta1.PhysicalHostSpec{LastTenant: before,
			Claim: &v1beta1.Claim{ID: claimID, Cluster: "c", Owner: "MachineDeployment/new", Machine: "new"}}}
		c.edit(h)
		got, want := tenantAfter(h, epoch), v1beta1.Tenant{Cluster: "c", Owner: "MachineDeployment/new", Machine: "new", ReleasedAt: metav1.NewMicroTime(epoch)}
		if c.touched && *got != want || !c.touched && got != before {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// placed is a host in a failure domain, available.
func placed(name, domain string, edits ...func(*v1beta1.PhysicalHost)) *v1beta1.PhysicalHost {
	h := &v1beta1.PhysicalHost{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"role": "any"}}}
	h.Spec.FailureDomain = domain
	conditions.Set(h, condition(v1beta1.AvailableCondition, metav1.ConditionTrue, v1beta1.ReasonAvailable, ""))
	for _, edit := range edits {
		edit(h)
	}
	return h
}

func claimedBy(machine, cluster, owner string) func(*v1beta1.PhysicalHost) {
	return func(h *v1beta1.PhysicalHost) {
		h.Spec.Claim = &v1beta1.Claim{ID: claimID, Machine: machine, Cluster: cluster, Owner: owner}
		conditions.Set(h, condition(v1beta1.AvailableCondition, metav1.ConditionFalse, v1beta1.ReasonClaimed, ""))
	}
}

func TestSpreadIsSaidOnceTheHostIsKnown(t *testing.T) {
	const owner = "MachineDeployment/md"
	hosts := []*v1beta1.PhysicalHost{placed("a1", "a", claimedBy("peer", "c", owner)), placed("a2", "a", claimedBy("m", "c", owner)),
		placed("b1", "b", claimedBy("x", "other", "")), placed("b2", "b", claimedBy("m", "c", owner))}
	for _, c := range []struct {
		name, host, domain string
		mode               v1beta1.SpreadMode
		want               metav1.ConditionStatus
	}{
		{"gave way", "a2", "", v1beta1.SpreadSoft, metav1.ConditionFalse},
		{"kept", "b2", "", v1beta1.SpreadSoft, metav1.ConditionTrue},
		{"not asked", "a2", "", v1beta1.SpreadNone, ""},
		{"prescribed", "a2", "a", v1beta1.SpreadSoft, ""},
		{"no host yet", "", "", v1beta1.SpreadSoft, ""},
	} {
		var objects []client.Object
		w := &machineWork{machine: &v1beta1.Beskar7Machine{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "m"}}, cluster: &clusterv1.Cluster{}, owner: &clusterv1.Machine{}}
		for _, h := range hosts {
			if h.Name == c.host {
				w.host = h
			}
			if h.Name == c.host || h.Spec.Claim.Machine != "m" {
				objects = append(objects, h.DeepCopy())
			}
		}
		w.cluster.Name, w.owner.Labels, w.owner.Spec.FailureDomain, w.machine.Spec.Spread = "c", map[string]string{clusterv1.MachineDeploymentNameLabel: "md"}, c.domain, c.mode
		if err := (&Beskar7MachineReconciler{Client: newRig(t, objects...).api}).reportSpread(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		got := conditions.Get(w.machine, v1beta1.SpreadCondition)
		if (got == nil) != (c.want == "") || got != nil && got.Status != c.want {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestPublishedDomainsHaveHostsForAControlPlane(t *testing.T) {
	plane := func(name string) *v1beta1.Beskar7Machine {
		return &v1beta1.Beskar7Machine{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name,
			Labels: map[string]string{clusterv1.ClusterNameLabel: "c", clusterv1.MachineControlPlaneLabel: ""}}}
	}
	reported := plane("cp-2")
	reported.Status.FailureDomain = "gone"
	worker := &v1beta1.Beskar7Machine{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "w", Labels: map[string]string{clusterv1.ClusterNameLabel: "c"}}}
	worker.Status.FailureDomain = "workers"
	all := []client.Object{
		placed("1", "free"), placed("2", "free"), placed("3", ""),
		placed("4", "maintenance", func(h *v1beta1.PhysicalHost) { h.Spec.Maintenance = true }),
		placed("5", "quarantine", func(h *v1beta1.PhysicalHost) { h.Spec.Quarantine = &v1beta1.Quarantine{} }),
		placed("6", "others", claimedBy("x", "other", "")),
		placed("7", "workers", claimedBy("w", "c", "")),
		placed("8", "own", claimedBy("cp-1", "c", "ControlPlane/cp")),
		placed("9", "returning", claimedBy("x", "other", ""), func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Release = &v1beta1.Release{} }),
		placed("10", "unreachable", func(h *v1beta1.PhysicalHost) {
			conditions.Set(h, condition(v1beta1.AvailableCondition, metav1.ConditionFalse, v1beta1.ReasonUnreachable, ""))
		}),
		placed("11", "running", func(h *v1beta1.PhysicalHost) {
			conditions.Set(h, condition(v1beta1.AvailableCondition, metav1.ConditionFalse, v1beta1.ReasonPoweredOn, ""))
		}),
		placed("12", "labelled", func(h *v1beta1.PhysicalHost) { h.Labels["role"] = "control-plane" }),
		plane("cp-1"), reported, worker,
	}
	selected := &metav1.LabelSelector{MatchLabels: map[string]string{"role": "control-plane"}}
	for name, c := range map[string]struct {
		spec    v1beta1.Beskar7ClusterSpec
		want    []string // those with a minus are not for new control plane machines
		message string
	}{
		"from hosts":      {v1beta1.Beskar7ClusterSpec{}, []string{"free", "-gone", "labelled", "-own", "returning", "unreachable"}, ""},
		"from some hosts": {v1beta1.Beskar7ClusterSpec{ControlPlaneHostSelector: selected}, []string{"-gone", "labelled", "-own"}, ""},
		"listed":          {v1beta1.Beskar7ClusterSpec{FailureDomains: []string{"free", "own", "others"}}, []string{"free", "-gone", "-own"}, `no host that a control plane machine may get is in "others"`},
		"listed, in use":  {v1beta1.Beskar7ClusterSpec{FailureDomains: []string{"own"}}, []string{"-gone", "own"}, ""},
		"listed, none has": {v1beta1.Beskar7ClusterSpec{FailureDomains: []string{"others", "nowhere"}}, []string{"-gone", "nowhere", "others", "-own"},
			`no host that a control plane machine may get is in "nowhere", "others"`},
	} {
		bc := &v1beta1.Beskar7Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "bc", Labels: map[string]string{clusterv1.ClusterNameLabel: "c"}}, Spec: c.spec}
		if err := (&Beskar7ClusterReconciler{Client: newRig(t, all...).api}).publishDomains(t.Context(), bc); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range bc.Status.FailureDomains {
			if !ptr.Deref(d.ControlPlane, false) {
				d.Name = "-" + d.Name
			}
			got = append(got, d.Name)
		}
		if said := conditions.GetMessage(bc, v1beta1.FailureDomainsCondition); !slices.Equal(got, c.want) || said != c.message {
			t.Errorf("%s: %v, want %v; said %q", name, got, c.want, said)
		}
	}
}

// A selector that cannot be read is said, and what is in use stays published.
func TestASpoiltSelectorPublishesWhatIsInUse(t *testing.T) {
	machine := &v1beta1.Beskar7Machine{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "cp",
		Labels: map[string]string{clusterv1.ClusterNameLabel: "c", clusterv1.MachineControlPlaneLabel: ""}}}
	machine.Status.FailureDomain = "gone"
	all := []client.Object{placed("1", "free"), placed("2", "own", claimedBy("cp", "c", "ControlPlane/cp")), machine}
	spoilt := &v1beta1.Beskar7Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Labels: map[string]string{clusterv1.ClusterNameLabel: "c"}}}
	spoilt.Spec.ControlPlaneHostSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}
	if err := (&Beskar7ClusterReconciler{Client: newRig(t, all...).api}).publishDomains(t.Context(), spoilt); err != nil {
		t.Fatal(err)
	}
	if c := conditions.Get(spoilt, v1beta1.FailureDomainsCondition); c.Reason != v1beta1.ReasonSelectorInvalid || len(spoilt.Status.FailureDomains) != 2 {
		t.Errorf("%+v, %v: what is in use stays published", c, spoilt.Status.FailureDomains)
	}
}
