package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers"
)

// TestAnObjectThatCannotBeReadIsNamed: values that were stored before the schema had its bounds keep every informer of their kind from
// starting. It is said which, and how they are mended; once they are, all goes on by itself.
func TestAnObjectThatCannotBeReadIsNamed(t *testing.T) {
	c, cfg := apiServerAndConfig(t)
	name := types.NamespacedName{Name: "physicalhosts.infrastructure.cluster.x-k8s.io"}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := c.Get(t.Context(), name, crd); err != nil {
		t.Fatal(err)
	}
	ours := crd.DeepCopy()
	anything := apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: ptr.To(true)}
	install := func(schema *apiextensionsv1.JSONSchemaProps) {
		t.Helper()
		until(t, "the CRD to be taken", func() bool {
			crd := &apiextensionsv1.CustomResourceDefinition{}
			if c.Get(t.Context(), name, crd) != nil {
				return false
			}
			crd.Spec.Versions[0].Schema.OpenAPIV3Schema = schema
			return c.Update(t.Context(), crd) == nil
		})
	}
	install(&anything)
	host := func(name string) *unstructured.Unstructured {
		u := unstructuredOf(v1beta1.GroupVersion.WithKind("PhysicalHost"), map[string]any{"spec": map[string]any{"redfishConnection": map[string]any{
			"address": "https://192.0.2.7", "credentialsSecretRef": map[string]any{"name": "s"}}}})
		u.SetName(name)
		return u
	}
	bad := host("bad")
	_ = unstructured.SetNestedMap(bad.Object, map[string]any{"bootTimeout": "1d", "cooldown": "5s", "retryDelay": "soon"}, "spec", "redfishConnection", "tuning")
	until(t, "the old schema to be in effect", func() bool { return c.Create(t.Context(), bad.DeepCopy()) == nil })
	if err := c.Create(t.Context(), host("good")); err != nil {
		t.Fatal(err)
	}
	install(ours.Spec.Versions[0].Schema.OpenAPIV3Schema)
	until(t, "our schema to be in effect", func() bool {
		probe := host("probe")
		_ = unstructured.SetNestedField(probe.Object, "1d", "spec", "redfishConnection", "tuning", "bootTimeout")
		return c.Create(t.Context(), probe, client.DryRunAll) != nil
	})

	caches, err := cache.New(cfg, cache.Options{Scheme: c.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := caches.GetInformer(ctx, &v1beta1.PhysicalHost{}, cache.BlockUntilSynced(false)); err != nil {
		t.Fatal(err)
	}
	go func() { _ = caches.Start(ctx) }()
	soon, done := context.WithTimeout(ctx, 3*time.Second)
	defer done()
	if caches.WaitForCacheSync(soon) {
		t.Fatal("the cache is filled: the object is no obstacle")
	}
	illegible := &controllers.Illegible{Reader: c, Scheme: c.Scheme()}
	ended := make(chan struct{})
	go func() { defer close(ended); illegible.Run(ctx, caches.WaitForCacheSync) }()
	until(t, "the object to be named", func() bool { return illegible.Found() != "" })
	said := illegible.Found()
	const ops = `[{"op":"remove","path":"/spec/redfishConnection/tuning/bootTimeout"},{"op":"remove","path":"/spec/redfishConnection/tuning/retryDelay"}]`
	for _, word := range []string{"PhysicalHost default/bad cannot be read: spec.redfishConnection.tuning.bootTimeout (", "spec.redfishConnection.tuning.retryDelay (",
		"kubectl -n default patch physicalhost bad --type json -p '" + ops + "'"} {
		if !strings.Contains(said, word) {
			t.Errorf("%s is not in %q", word, said)
		}
	}
	if strings.Contains(said, "cooldown") || strings.Contains(said, "good") {
		t.Errorf("it blames what can be read: %q", said)
	}
	if err := c.Patch(ctx, bad, client.RawPatch(types.JSONPatchType, []byte(ops))); err != nil {
		t.Fatalf("the command that was told does not mend it: %v", err)
	}
	until(t, "the caches to be filled", func() bool {
		select {
		case <-ended:
			return illegible.Found() == ""
		default:
			return false
		}
	})
}
