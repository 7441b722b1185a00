package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// GroupVersion is the group and version of every kind in this package.
	GroupVersion = schema.GroupVersion{Group: "infrastructure.cluster.x-k8s.io", Version: "v1beta1"}

	schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme adds the kinds of this package to a scheme.
	AddToScheme = schemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&Beskar7Cluster{}, &Beskar7ClusterList{},
		&Beskar7ClusterTemplate{}, &Beskar7ClusterTemplateList{},
		&Beskar7Machine{}, &Beskar7MachineList{},
		&Beskar7MachineTemplate{}, &Beskar7MachineTemplateList{},
		&PhysicalHost{}, &PhysicalHostList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
