package v1beta1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
)

// Beskar7MachineTemplateSpec holds the machine that is made from the template. It is immutable: roll out a change by
// pointing to a new template.
type Beskar7MachineTemplateSpec struct {
	// template of the machine.
	// +required
	Template Beskar7MachineTemplateResource `json:"template"`
}

// Beskar7MachineTemplateResource is the machine that is made from the template.
type Beskar7MachineTemplateResource struct {
	// metadata that is set on the machine.
	// +optional
	ObjectMeta clusterv1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec of the machine.
	// +required
	Spec Beskar7MachineSpec `json:"spec"`
}

// Beskar7MachineTemplateStatus tells the autoscaler what a machine of this template has, also when there is none yet.
type Beskar7MachineTemplateStatus struct {
	// capacity is the least that any matching host has.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:validation:MaxProperties=8
	// +kubebuilder:validation:XValidation:rule="self.all(k, type(self[k]) == int || type(self[k]) == string && isQuantity(self[k]) && !self[k].matches('[eE][^i]'))",message="each must be a quantity without an exponent"
	Capacity corev1.ResourceList `json:"capacity,omitempty"`
	// nodeInfo of the matching hosts.
	// +optional
	NodeInfo NodeInfo `json:"nodeInfo,omitempty,omitzero"`
	// conditions of the template.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.all(c, c.lastTransitionTime >= timestamp('2000-01-01T00:00:00Z') && c.lastTransitionTime < timestamp('3000-01-01T00:00:00Z'))",message="lastTransitionTime must be from 2000 to 2999"
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// NodeInfo is what is known of the Node before there is one.
//
// +kubebuilder:validation:MinProperties=1
type NodeInfo struct {
	// architecture of the CPU.
	// +optional
	// +kubebuilder:validation:Enum=amd64;arm64;s390x;ppc64le
	Architecture string `json:"architecture,omitempty"`
	// operatingSystem of the Node.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	OperatingSystem string `json:"operatingSystem,omitempty"`
}

// +kubebuilder:object:root=true
// +kubebuilder:resource:path=beskar7machinetemplates,scope=Namespaced,categories=cluster-api,shortName=b7mt
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels={"cluster.x-k8s.io/v1beta2=v1beta1","clusterctl.cluster.x-k8s.io="}
// +kubebuilder:printcolumn:name="Image",type="string",JSONPath=".spec.template.spec.imageURL"
// +kubebuilder:printcolumn:name="CPU",type="string",JSONPath=".status.capacity.cpu"
// +kubebuilder:printcolumn:name="Memory",type="string",JSONPath=".status.capacity.memory"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"

// Beskar7MachineTemplate is the template of Beskar7Machines.
type Beskar7MachineTemplate struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +required
	Spec Beskar7MachineTemplateSpec `json:"spec"`
	// +optional
	Status Beskar7MachineTemplateStatus `json:"status,omitempty,omitzero"`
}

// GetConditions returns the conditions of the template.
func (t *Beskar7MachineTemplate) GetConditions() []metav1.Condition { return t.Status.Conditions }

// SetConditions replaces the conditions of the template.
func (t *Beskar7MachineTemplate) SetConditions(conditions []metav1.Condition) {
	t.Status.Conditions = conditions
}

// +kubebuilder:object:root=true

// Beskar7MachineTemplateList is a list of templates.
type Beskar7MachineTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Beskar7MachineTemplate `json:"items"`
}
