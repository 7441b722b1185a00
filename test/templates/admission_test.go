package templates

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	controlplaneadmission "sigs.k8s.io/cluster-api/controlplane/kubeadm/webhooks/admission"
	"sigs.k8s.io/cluster-api/core/webhooks/admission"
	"sigs.k8s.io/cluster-api/feature"
	"sigs.k8s.io/cluster-api/util/index"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func only[T any](t *testing.T, objects []runtime.Object, kind string) *T {
	t.Helper()
	for _, obj := range objects {
		if obj.GetObjectKind().GroupVersionKind().Kind != kind {
			continue
		}
		out := new(T)
		content := obj.(*unstructured.Unstructured).Object
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	t.Fatalf("no %s in the template", kind)
	return nil
}

// class is the ClusterClass as its controller leaves it: reconciled, its variables in status.
func class(t *testing.T) *clusterv1.ClusterClass {
	t.Helper()
	c := only[clusterv1.ClusterClass](t, expand(t, "clusterclass-beskar7.yaml"), "ClusterClass")
	c.Namespace = metav1.NamespaceDefault
	required := true
	for _, v := range c.Spec.Variables {
		must := v.Required
		if must == nil {
			must = &required
		}
		c.Status.Variables = append(c.Status.Variables, clusterv1.ClusterClassStatusVariable{
			Name: v.Name,
			Definitions: []clusterv1.ClusterClassStatusVariableDefinition{
				{From: clusterv1.VariableDefinitionFromInline, Required: must, Schema: v.Schema},
			},
		})
	}
	c.Status.Conditions = []metav1.Condition{{
		Type: clusterv1.ClusterClassVariablesReadyCondition, Status: metav1.ConditionTrue, Reason: "Ready",
	}}
	return c
}

func reader(objects ...client.Object) client.Reader {
	return fake.NewClientBuilder().WithScheme(scheme()).WithObjects(objects...).
		WithIndex(&clusterv1.Cluster{}, index.ClusterClassRefPath, index.ClusterByClusterClassRef).Build()
}

func enableTopology(t *testing.T) {
	t.Helper()
	if err := feature.MutableGates.SetFromMap(map[string]bool{string(feature.ClusterTopology): true}); err != nil {
		t.Fatal(err)
	}
}

func TestClusterClassIsAdmitted(t *testing.T) {
	enableTopology(t)
	webhook := &admission.ClusterClass{Client: reader()}
	if _, err := webhook.ValidateCreate(t.Context(), class(t)); err != nil {
		t.Error(err)
	}
}

func TestTopologyClustersAreAdmitted(t *testing.T) {
	enableTopology(t)
	for name, sets := range map[string][]map[string]string{
		"fewest variables": {required, {"CLUSTER_CLASS_NAMESPACE": metav1.NamespaceDefault}},
		"all variables":    {required, {"CLUSTER_CLASS_NAMESPACE": metav1.NamespaceDefault}, optional},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := only[clusterv1.Cluster](t, expand(t, "cluster-template-topology.yaml", sets...), "Cluster")
			cluster.Namespace = metav1.NamespaceDefault
			webhook := &admission.Cluster{Client: reader(class(t))}
			if err := webhook.Default(t.Context(), cluster); err != nil {
				t.Fatal(err)
			}
			warnings, err := webhook.ValidateCreate(t.Context(), cluster)
			if err != nil || len(warnings) > 0 {
				t.Errorf("%v %v", warnings, err)
			}
			for _, v := range cluster.Spec.Topology.Variables {
				if strings.Contains(string(v.Value.Raw), "null") {
					t.Errorf("variable %s still has a null after defaulting: %s", v.Name, v.Value.Raw)
				}
			}
		})
	}
}

func TestTopologyClusterWithAWrongImageIsRefused(t *testing.T) {
	enableTopology(t)
	wrong := map[string]string{"BESKAR7_IMAGE_URL": "ftp://images.example.com/os.iso"}
	cluster := only[clusterv1.Cluster](t, expand(t, "cluster-template-topology.yaml", wrong, required), "Cluster")
	cluster.Namespace = metav1.NamespaceDefault
	cluster.Spec.Topology.ClassRef.Namespace = ""
	webhook := &admission.Cluster{Client: reader(class(t))}
	if err := webhook.Default(t.Context(), cluster); err == nil {
		t.Error("an ftp URL was admitted")
	}
}

func TestControlPlanesAreAdmitted(t *testing.T) {
	webhook := &controlplaneadmission.KubeadmControlPlane{}
	for _, replicas := range []string{"1", "3"} {
		objects := expand(t, "cluster-template.yaml", map[string]string{"CONTROL_PLANE_MACHINE_COUNT": replicas}, required)
		kcp := only[controlplanev1.KubeadmControlPlane](t, objects, "KubeadmControlPlane")
		kcp.Namespace = metav1.NamespaceDefault
		if err := webhook.Default(t.Context(), kcp); err != nil {
			t.Fatal(err)
		}
		if _, err := webhook.ValidateCreate(t.Context(), kcp); err != nil {
			t.Errorf("%s replicas: %v", replicas, err)
		}
	}
}
