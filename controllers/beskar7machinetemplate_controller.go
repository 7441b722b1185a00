package controllers

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=beskar7machinetemplates,verbs=list;watch
// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=beskar7machinetemplates/status,verbs=patch

// Beskar7MachineTemplateReconciler tells the autoscaler what a machine of a template will have, so that it can scale from zero.
type Beskar7MachineTemplateReconciler struct {
	Client      client.Client
	WatchFilter string
}

// Reconcile looks at one template: its capacity is the least that any matching host has.
func (r *Beskar7MachineTemplateReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	t := &v1beta1.Beskar7MachineTemplate{}
	if err := r.Client.Get(ctx, req.NamespacedName, t); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !Owned(r.WatchFilter, t) {
		return ctrl.Result{}, nil
	}
	hosts := &v1beta1.PhysicalHostList{}
	if err := r.Client.List(ctx, hosts, client.InNamespace(t.Namespace)); err != nil {
		return ctrl.Result{}, fmt.Errorf("list hosts: %w", err)
	}
	hosts.Items = slices.DeleteFunc(hosts.Items, func(h v1beta1.PhysicalHost) bool { return !Owned(r.WatchFilter, &h) })
	spec := t.Spec.Template.Spec
	selector := labels.Everything()
	if spec.HostSelector != nil {
		parsed, err := metav1.LabelSelectorAsSelector(spec.HostSelector)
		if err != nil {
			return ctrl.Result{}, nil //nolint:nilerr // machines of the template say so; a new template mends it
		}
		selector = parsed
	}
	base := t.DeepCopy()
	t.Status.Capacity, t.Status.NodeInfo = capacity(hosts.Items, selector, spec.HardwareRequirements)
	if equality.Semantic.DeepEqual(base.Status, t.Status) {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, client.IgnoreNotFound(r.Client.Status().Patch(ctx, t, client.MergeFrom(base)))
}

// capacity is the least of the inventories that match; nothing if none does.
func capacity(hosts []v1beta1.PhysicalHost, selector labels.Selector, needs v1beta1.HardwareRequirements) (corev1.ResourceList, v1beta1.NodeInfo) {
	var list corev1.ResourceList
	info := v1beta1.NodeInfo{}
	for i := range hosts {
		h := &hosts[i]
		if !selector.Matches(labels.Set(h.Labels)) || !hostselection.Meets(h, needs) {
			continue
		}
		own := corev1.ResourceList{corev1.ResourceCPU: *resource.NewQuantity(int64(h.Status.Hardware.CPU.Cores), resource.DecimalSI), corev1.ResourceMemory: h.Status.Hardware.Memory.DeepCopy()}
		if list == nil {
			list, info = own, v1beta1.NodeInfo{OperatingSystem: "linux", Architecture: knownArchitecture(h.Status.Hardware.CPU.Architecture)}
			continue
		}
		for name, q := range own {
			if least := list[name]; q.Cmp(least) < 0 {
				list[name] = q
			}
		}
	}
	return list, info
}

func knownArchitecture(a string) string {
	if a == "amd64" || a == "arm64" {
		return a
	}
	return ""
}
