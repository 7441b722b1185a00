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
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
	"github.com/beskar7/beskar7/pkg/scope"

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
	if !scope.Owned(r.WatchFilter, t) {
		return ctrl.Result{}, nil
	}
	hosts := &v1beta1.PhysicalHostList{}
	if err := r.Client.List(ctx, hosts, client.InNamespace(t.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return ctrl.Result{}, fmt.Errorf("list hosts: %w", err)
	}
	hosts.Items = slices.DeleteFunc(hosts.Items, func(h v1beta1.PhysicalHost) bool { return !scope.Owned(r.WatchFilter, &h) })
	spec := t.Spec.Template.Spec
	selector, err := selectorOf(t)
	if err != nil {
		return ctrl.Result{}, nil //nolint:nilerr // machines of the template say so; a new template mends it
	}
	base := t.DeepCopy()
	t.Status.Capacity, t.Status.NodeInfo = capacity(hosts.Items, selector, spec.HardwareRequirements)
	if equality.Semantic.DeepEqual(base.Status, t.Status) {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, client.IgnoreNotFound(r.Client.Status().Patch(ctx, t, client.MergeFrom(base)))
}

func selectorOf(t *v1beta1.Beskar7MachineTemplate) (labels.Selector, error) {
	if t.Spec.Template.Spec.HostSelector == nil {
		return labels.Everything(), nil
	}
	return metav1.LabelSelectorAsSelector(t.Spec.Template.Spec.HostSelector)
}

// hostEvents wakes the templates that select the host, or did before its labels changed.
func (r *Beskar7MachineTemplateReconciler) hostEvents() handler.EventHandler {
	return handler.TypedFuncs[client.Object, ctrl.Request]{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q requestQueue) { r.wakeTemplates(ctx, q, e.Object) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q requestQueue) {
			r.wakeTemplates(ctx, q, e.ObjectOld, e.ObjectNew)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q requestQueue) { r.wakeTemplates(ctx, q, e.Object) },
	}
}

func (r *Beskar7MachineTemplateReconciler) wakeTemplates(ctx context.Context, q requestQueue, hosts ...client.Object) {
	templates := &v1beta1.Beskar7MachineTemplateList{}
	if err := r.Client.List(ctx, templates, client.InNamespace(hosts[0].GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot map an event to templates")
		return
	}
	for i := range templates.Items {
		selector, err := selectorOf(&templates.Items[i])
		if err == nil && scope.Owned(r.WatchFilter, &templates.Items[i]) && slices.ContainsFunc(hosts, func(h client.Object) bool { return selector.Matches(labels.Set(h.GetLabels())) }) {
			q.Add(ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&templates.Items[i])})
		}
	}
}

// capacity is the least that a matching host is known to have, in the terms of a Node: its CPUs are threads. A host whose BMC does not
// tell something says nothing of that. Hosts of several architectures give none: one image boots on one of them, and the autoscaler
// would take every new Node for the one that it expects.
func capacity(hosts []v1beta1.PhysicalHost, selector labels.Selector, needs v1beta1.HardwareRequirements) (corev1.ResourceList, v1beta1.NodeInfo) {
	var cpus int64
	var memory *resource.Quantity
	architecture := ""
	for i := range hosts {
		h := &hosts[i]
		if !selector.Matches(labels.Set(h.Labels)) || !hostselection.Meets(h, needs) {
			continue
		}
		hw := h.Status.Hardware
		if n := cpusOf(hw); n > 0 && (cpus == 0 || n < cpus) {
			cpus = n
		}
		if hw.Memory.Sign() > 0 && (memory == nil || hw.Memory.Cmp(*memory) < 0) {
			memory = &hw.Memory
		}
		switch own := hw.CPU.Architecture; {
		case own == "" || own == architecture:
		case architecture != "":
			return nil, v1beta1.NodeInfo{}
		default:
			architecture = own
		}
	}
	if cpus == 0 && memory == nil {
		return nil, v1beta1.NodeInfo{}
	}
	list := corev1.ResourceList{}
	if cpus > 0 {
		list[corev1.ResourceCPU] = *resource.NewQuantity(cpus, resource.DecimalSI)
	}
	if memory != nil {
		list[corev1.ResourceMemory] = memory.DeepCopy()
	}
	return list, v1beta1.NodeInfo{OperatingSystem: "linux", Architecture: knownArchitecture(architecture)}
}

// cpusOf is what a Node on this hardware counts as CPUs; 0: not known.
func cpusOf(hw *v1beta1.Hardware) int64 {
	if hw.CPU.Threads > 0 {
		return int64(hw.CPU.Threads)
	}
	return int64(hw.CPU.Cores)
}

func knownArchitecture(a string) string {
	if a == "amd64" || a == "arm64" {
		return a
	}
	return ""
}
