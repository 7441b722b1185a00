package schema

import (
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/beskar7/beskar7/api/v1beta1"
)

const crds = "../../config/crd/bases"

func ours(t *testing.T) (*runtime.Scheme, map[runtimeschema.GroupVersionKind]Kind) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1beta1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	kinds, err := Load(crds)
	if err != nil {
		t.Fatal(err)
	}
	return scheme, kinds
}

// TestTypesTakeWhatTheirSchemaAccepts for every kind that we have.
func TestTypesTakeWhatTheirSchemaAccepts(t *testing.T) {
	scheme, kinds := ours(t)
	for gvk, kind := range kinds {
		object, err := scheme.New(gvk)
		if err != nil {
			t.Errorf("%s has a CRD and no type: %v", gvk.Kind, err)
			continue
		}
		for _, gap := range Gaps(object, kind) {
			t.Errorf("%s: %s", gvk.Kind, gap)
		}
	}
	for name := range scheme.KnownTypes(v1beta1.GroupVersion) {
		if name, ok := strings.CutSuffix(name, "List"); ok {
			if _, ok := kinds[v1beta1.GroupVersion.WithKind(name)]; !ok {
				t.Errorf("%s has a type and no CRD", name)
			}
		}
	}
}

// TestTheAPIServerTakesTheCRDs: in particular, what their rules may cost.
func TestTheAPIServerTakesTheCRDs(t *testing.T) {
	files, err := filepath.Glob(crds + "/*.yaml")
	if err != nil || len(files) != 5 {
		t.Fatalf("found %v: %v", files, err)
	}
	for _, file := range files {
		if err := Accepted(file); err != nil {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
	}
}
