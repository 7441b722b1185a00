package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
)

// Beskar7ClusterTemplateSpec holds the cluster that is made from the template. It is immutable.
type Beskar7ClusterTemplateSpec struct {
	// template of the cluster.
	// +required
	Template Beskar7ClusterTemplateResource `json:"template"`
}

// Beskar7ClusterTemplateResource is the cluster that is made from the template.
type Beskar7ClusterTemplateResource struct {
	// metadata that is set on the cluster.
	// +optional
	ObjectMeta clusterv1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec of the cluster.
	// +optional
	Spec Beskar7ClusterSpec `json:"spec,omitempty,omitzero"`
}

// +kubebuilder:object:root=true
// +kubebuilder:resource:path=beskar7clustertemplates,scope=Namespaced,categories=cluster-api,shortName=b7ct
// +kubebuilder:metadata:labels={"cluster.x-k8s.io/v1beta2=v1beta1","clusterctl.cluster.x-k8s.io="}
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"

// Beskar7ClusterTemplate is the template of Beskar7Clusters, for ClusterClasses.
type Beskar7ClusterTemplate struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +required
	Spec Beskar7ClusterTemplateSpec `json:"spec"`
}

// +kubebuilder:object:root=true

// Beskar7ClusterTemplateList is a list of templates.
type Beskar7ClusterTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Beskar7ClusterTemplate `json:"items"`
}
