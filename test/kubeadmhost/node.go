package kubeadmhost

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/test/emulator"
)

// node reads a Node object; nil when there is none.
func (c *cluster) node(ctx context.Context, name string) (*corev1.Node, error) {
	var node corev1.Node
	err := c.api.Get(ctx, client.ObjectKey{Name: name}, &node)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read node %s: %w", name, err)
	}
	return &node, nil
}

func readyStatus(node *corev1.Node) corev1.ConditionStatus {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status
		}
	}
	return corev1.ConditionUnknown
}

// registerNode does what a kubelet does when it starts: it creates its Node, or
// takes an existing one over. As with a kubelet, the provider id, labels and
// taints of a Node that exists stay as they are.
func (c *cluster) registerNode(ctx context.Context, p *plan, id emulator.Identity, h *host) error {
	status := nodeStatus(p, id, h)
	node, err := newNode(p, h)
	if err != nil {
		return err
	}
	node.Status = status
	err = c.api.Create(ctx, node)
	if apierrors.IsAlreadyExists(err) {
		err = c.updateNode(ctx, h.name, func(existing *corev1.Node) { existing.Status = status })
	}
	if err != nil {
		return fmt.Errorf("register node %s: %w", h.name, err)
	}
	return nil
}

func newNode(p *plan, h *host) (*corev1.Node, error) {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: h.name, Labels: map[string]string{
			corev1.LabelHostname: h.name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
		}},
		Spec: corev1.NodeSpec{ProviderID: h.providerID, Taints: p.registration.Taints},
	}
	for pair := range strings.SplitSeq(p.kubeletArgs["node-labels"], ",") {
		if key, value, _ := strings.Cut(pair, "="); key != "" {
			node.Labels[key] = value
		}
	}
	for text := range strings.SplitSeq(p.kubeletArgs["register-with-taints"], ",") {
		if text == "" {
			continue
		}
		pair, effect, ok := strings.Cut(text, ":")
		if !ok {
			return nil, fmt.Errorf("kubelet argument register-with-taints: %q has no effect", text)
		}
		key, value, _ := strings.Cut(pair, "=")
		node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffect(effect)})
	}
	if p.kubeletArgs["cloud-provider"] == "external" {
		node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: "node.cloudprovider.kubernetes.io/uninitialized", Value: "true", Effect: corev1.TaintEffectNoSchedule})
	}
	if !p.controlPlane {
		return node, nil
	}
	node.Labels[controlPlaneKey] = ""
	node.Labels["node.kubernetes.io/exclude-from-external-load-balancers"] = ""
	// kubeadm: no list means the default taint, an empty list means none.
	if p.registration.Taints == nil {
		node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: controlPlaneKey, Effect: corev1.TaintEffectNoSchedule})
	}
	return node, nil
}

func nodeStatus(p *plan, id emulator.Identity, h *host) corev1.NodeStatus {
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason string) corev1.NodeCondition {
		now := metav1.Now()
		return corev1.NodeCondition{Type: kind, Status: status, Reason: reason, LastHeartbeatTime: now, LastTransitionTime: now}
	}
	addresses := []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: h.name}}
	if ip := p.kubeletArgs["node-ip"]; ip != "" {
		addresses = append(addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: ip})
	}
	resources := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("8"), corev1.ResourceMemory: resource.MustParse("32Gi"), corev1.ResourcePods: resource.MustParse("110"),
	}
	return corev1.NodeStatus{
		Capacity: resources, Allocatable: resources, Addresses: addresses,
		Conditions: []corev1.NodeCondition{
			condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory"),
			condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure"),
			condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID"),
			condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady"),
		},
		NodeInfo: corev1.NodeSystemInfo{
			KubeletVersion: h.version, SystemUUID: id.UUID, MachineID: strings.ReplaceAll(id.UUID, "-", ""), BootID: id.UUID,
			OperatingSystem: "linux", Architecture: "amd64", OSImage: "Emulated Linux", KernelVersion: "6.12.0", ContainerRuntimeVersion: "containerd://2.1.0",
		},
	}
}

func (c *cluster) updateNode(ctx context.Context, name string, change func(*corev1.Node)) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		var node corev1.Node
		if err := c.api.Get(ctx, client.ObjectKey{Name: name}, &node); err != nil {
			return err
		}
		change(&node)
		return c.api.Update(ctx, &node)
	})
}

// markUnknown is what the control plane makes of a server that fell silent.
func (c *cluster) markUnknown(ctx context.Context, h *host) (exists bool, err error) {
	err = c.updateNode(ctx, h.name, func(node *corev1.Node) {
		for i := range node.Status.Conditions {
			condition := &node.Status.Conditions[i]
			condition.Status, condition.Reason = corev1.ConditionUnknown, "NodeStatusUnknown"
			condition.Message, condition.LastTransitionTime = "Kubelet stopped posting node status.", metav1.Now()
		}
	})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil || !h.controlPlane {
		return true, err
	}
	for _, component := range controlPlaneComponents {
		err := c.updatePod(ctx, component+"-"+h.name, func(pod *corev1.Pod) {
			pod.Status.Conditions = []corev1.PodCondition{podReady(corev1.ConditionFalse)}
		})
		if err != nil {
			return true, err
		}
	}
	return true, nil
}
