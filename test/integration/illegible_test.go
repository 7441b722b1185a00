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

const (
	tuningPath = "/spec/redfishConnection/tuning/"
	// removal is the remedy that is told for the object of storeUnread.
	removal = `[{"op":"remove","path":"` + tuningPath + `bootTimeout"},{"op":"remove","path":"` + tuningPath + `retryDelay"}]`
)

// TestAnObjectThatCannotBeReadIsNamed: values that were stored before the schema had its bounds keep every informer of their kind from
// starting. It is said which, and how they are mended; once they are, all goes on by itself.
func TestAnObjectThatCannotBeReadIsNamed(t *testing.T) {
	c, cfg := apiServerAndConfig(t)
	bad := storeUnread(t, c)
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
	for _, word := range []string{"PhysicalHost default/bad cannot be read: spec.redfishConnection.tuning.bootTimeout (",
		"spec.redfishConnection.tuning.retryDelay (", "kubectl -n default patch physicalhost bad --type json -p '" + removal + "'"} {
		if !strings.Contains(said, word) {
			t.Errorf("%s is not in %q", word, said)
		}
	}
	if strings.Contains(said, "cooldown") || strings.Contains(said, "good") {
		t.Errorf("it blames what can be read: %q", said)
	}
	if err := c.Patch(ctx, bad, client.RawPatch(types.JSONPatchType, []byte(removal))); err != nil {
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

// storeUnread stores a host with two values that ours cannot read, and one that is fine, under a schema without bounds; ours is
// in effect again when it returns.
func storeUnread(t *testing.T, c client.Client) *unstructured.Unstructured {
	t.Helper()
	name, crd := types.NamespacedName{Name: "physicalhosts.infrastructure.cluster.x-k8s.io"}, &apiextensionsv1.CustomResourceDefinition{}
	if err := c.Get(t.Context(), name, crd); err != nil {
		t.Fatal(err)
	}
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
	host := func(name string, tuning map[string]any) *unstructured.Unstructured {
		secret := map[string]any{"name": "s"}
		connection := map[string]any{"address": "https://192.0.2.7", "credentialsSecretRef": secret, "tuning": tuning}
		spec := map[string]any{"redfishConnection": connection}
		u := unstructuredOf(v1beta1.GroupVersion.WithKind("PhysicalHost"), map[string]any{"spec": spec})
		u.SetName(name)
		return u
	}
	install(&apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: ptr.To(true)})
	bad := host("bad", map[string]any{"bootTimeout": "1d", "cooldown": "5s", "retryDelay": "soon"})
	until(t, "the schema without bounds to be in effect", func() bool { return c.Create(t.Context(), bad.DeepCopy()) == nil })
	if err := c.Create(t.Context(), host("good", map[string]any{})); err != nil {
		t.Fatal(err)
	}
	install(crd.Spec.Versions[0].Schema.OpenAPIV3Schema)
	until(t, "our schema to be in effect", func() bool {
		return c.Create(t.Context(), host("probe", map[string]any{"bootTimeout": "1d"}), client.DryRunAll) != nil
	})
	return bad
}
