package media

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/cli"
)

const namespace = "ns"

var epoch = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// inMemory is an API server.
func inMemory(objects ...client.Object) client.Client {
	return fake.NewClientBuilder().WithScheme(cli.Scheme()).WithObjects(objects...).Build()
}

// claimed is a host that boots a Live image.
func claimed(name string) *v1beta1.PhysicalHost {
	return &v1beta1.PhysicalHost{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v1beta1.PhysicalHostSpec{
		Claim: &v1beta1.Claim{ID: "0123456789abcdef", Machine: "m", Cluster: "c"},
		Boot:  &v1beta1.Boot{ImageURL: "http://images/a.iso", OSFamily: "generic", BootMode: v1beta1.BootModeLive, BootstrapSecret: "m"}}}
}
