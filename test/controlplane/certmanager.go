package controlplane

import (
	"context"
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// certificateKind is what a webhook's cert-manager.io/inject-ca-from annotation names.
var certificateKind = schema.GroupVersionKind{Group: "cert-manager.io", Version: "v1", Kind: "Certificate"}

// installCertManager makes the two kinds of cert-manager that Cluster API's YAML uses, without a schema.
// clusterctl takes cert-manager for installed when it can create an Issuer and a Certificate. What
// cert-manager would do with them, issuing and injecting, the router does.
func (p *ControlPlane) installCertManager(ctx context.Context) error {
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	c, err := client.New(p.harness, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("installing the stand-in for cert-manager: %w", err)
	}
	for _, k := range []struct{ kind, plural string }{{"Issuer", "issuers"}, {"Certificate", "certificates"}} {
		if err := c.Create(ctx, opaqueCRD(k.kind, k.plural)); err != nil {
			return fmt.Errorf("installing the stand-in for cert-manager: %w", err)
		}
	}
	return nil
}

func opaqueCRD(kind, plural string) *apiextensionsv1.CustomResourceDefinition {
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: plural + "." + certificateKind.Group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: certificateKind.Group,
			Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: kind, ListKind: kind + "List", Plural: plural},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: certificateKind.Version, Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
					Type: "object", XPreserveUnknownFields: new(true),
				}},
			}},
		},
	}
}
