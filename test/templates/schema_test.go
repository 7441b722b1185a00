package templates

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	bootstrapv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/yaml"

	infrav1 "github.com/beskar7/beskar7/api/v1beta1"
)

func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clusterv1.AddToScheme, bootstrapv1.AddToScheme, controlplanev1.AddToScheme, infrav1.AddToScheme,
	} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return s
}

// decode turns YAML documents into typed objects and refuses unknown and duplicate fields, then returns them untyped, as
// the API server is sent them.
func decode(t *testing.T, name string, text []byte) []runtime.Object {
	t.Helper()
	known := scheme()
	reader := utilyaml.NewYAMLReader(bytesReader(text))
	var objects []runtime.Object
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		obj := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(document, &obj.Object); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, document)
		}
		typed, err := known.New(obj.GroupVersionKind())
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, document)
		}
		if err := yaml.UnmarshalStrict(document, typed); err != nil {
			t.Errorf("%s: %s: %v", name, obj.GetKind(), err)
		}
		objects = append(objects, obj)
	}
}

// crd is what the API server does with objects of one kind.
type crd struct {
	structural *schema.Structural
	validator  validation.SchemaValidator
	rules      *cel.Validator
}

type schemas map[runtimeschema.GroupVersionKind]crd

// loadSchemas reads our CRDs and those of Cluster API, the latter from its module.
func loadSchemas(t *testing.T) schemas {
	t.Helper()
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/cluster-api").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimSpace(string(module))
	found := schemas{}
	for _, bases := range []string{
		"../../config/crd/bases",
		filepath.Join(dir, "core/config/crd/bases"),
		filepath.Join(dir, "bootstrap/kubeadm/config/crd/bases"),
		filepath.Join(dir, "controlplane/kubeadm/config/crd/bases"),
	} {
		files, err := filepath.Glob(filepath.Join(bases, "*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no CRDs in %s: %v", bases, err)
		}
		for _, file := range files {
			found.load(t, file)
		}
	}
	return found
}

func (s schemas) load(t *testing.T, file string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var definition apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(raw, &definition); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, version := range definition.Spec.Versions {
		if version.Schema == nil || !version.Served {
			continue
		}
		var props apiextensions.JSONSchemaProps
		if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(
			version.Schema.OpenAPIV3Schema, &props, nil); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		structural, err := schema.NewStructural(&props)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		validator, _, err := validation.NewSchemaValidator(&props)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		gvk := runtimeschema.GroupVersionKind{
			Group: definition.Spec.Group, Version: version.Name, Kind: definition.Spec.Names.Kind,
		}
		s[gvk] = crd{structural, validator, cel.NewValidator(structural, true, 10_000_000)}
	}
}

// validate treats obj as the API server treats a create: nulls out, defaults in, schema, rules.
func (s schemas) validate(obj runtime.Object) field.ErrorList {
	u := obj.(*unstructured.Unstructured).DeepCopy()
	definition, ok := s[u.GroupVersionKind()]
	if !ok {
		return field.ErrorList{field.NotFound(field.NewPath("kind"), u.GroupVersionKind())}
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(u.Object, definition.structural)
	defaulting.Default(u.Object, definition.structural)
	errs := validation.ValidateCustomResource(nil, u.Object, definition.validator)
	if definition.rules == nil {
		return errs
	}
	more, _ := definition.rules.Validate(context.Background(), nil, definition.structural, u.Object, nil, 10_000_000)
	return append(errs, more...)
}

func bytesReader(text []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(text)) }
