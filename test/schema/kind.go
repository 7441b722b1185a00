package schema

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

// budget is what the CEL rules of one object may cost at the API server.
const budget = 10_000_000

// Kind is one served version of a CRD.
type Kind struct {
	runtimeschema.GroupVersionKind
	root *node
}

// Load reads the CRDs in the folders.
func Load(folders ...string) (map[runtimeschema.GroupVersionKind]Kind, error) {
	kinds := map[runtimeschema.GroupVersionKind]Kind{}
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("no CRDs in %s: %w", folder, err)
		}
		for _, file := range files {
			definition, err := read(file)
			if err != nil {
				return nil, err
			}
			for _, version := range definition.Spec.Versions {
				if version.Schema == nil || !version.Served {
					continue
				}
				root, err := compile(version.Schema.OpenAPIV3Schema, true)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", file, err)
				}
				gvk := runtimeschema.GroupVersionKind{Group: definition.Spec.Group, Version: version.Name, Kind: definition.Spec.Names.Kind}
				kinds[gvk] = Kind{gvk, root}
			}
		}
	}
	return kinds, nil
}

func read(file string) (*apiextensionsv1.CustomResourceDefinition, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(raw, definition); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return definition, nil
}

// Accepted says what the API server would have against the CRD itself, such as a CEL rule that may cost too much.
func Accepted(file string) error {
	definition, err := read(file)
	if err != nil {
		return err
	}
	apiextensionsv1.SetDefaults_CustomResourceDefinition(definition)
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&definition.Spec)
	internal := &apiextensions.CustomResourceDefinition{}
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(definition, internal, nil); err != nil {
		return err
	}
	internal.Status.StoredVersions = []string{definition.Spec.Versions[0].Name}
	return crdvalidation.ValidateCustomResourceDefinition(context.Background(), internal).ToAggregate()
}

// Admit treats obj as the API server treats a create: it changes it as that does, and says what that would refuse.
func (k Kind) Admit(obj map[string]any) field.ErrorList {
	defaulting.PruneNonNullableNullsWithoutDefaults(obj, k.root.structural)
	pruning.Prune(obj, k.root.structural, true)
	defaulting.Default(obj, k.root.structural)
	return k.root.refuses(obj)
}

// node is one place in a schema, ready to judge values.
type node struct {
	structural *structuralschema.Structural
	validator  validation.SchemaValidator
	rules      *cel.Validator
	properties map[string]*node
	// items of an array, values of a map.
	items, values *node
}

func compile(props *apiextensionsv1.JSONSchemaProps, root bool) (*node, error) {
	internal := &apiextensions.JSONSchemaProps{}
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(props, internal, nil); err != nil {
		return nil, err
	}
	unformat(internal)
	structural, err := structuralschema.NewStructural(internal)
	if err != nil {
		return nil, err
	}
	validator, _, err := validation.NewSchemaValidator(internal)
	if err != nil {
		return nil, err
	}
	n := &node{structural: structural, validator: validator, rules: cel.NewValidator(structural, root, budget), properties: map[string]*node{}}
	for name := range props.Properties {
		child := props.Properties[name]
		if n.properties[name], err = compile(&child, false); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if props.Items != nil && props.Items.Schema != nil {
		if n.items, err = compile(props.Items.Schema, false); err != nil {
			return nil, err
		}
	}
	if props.AdditionalProperties != nil && props.AdditionalProperties.Schema != nil {
		if n.values, err = compile(props.AdditionalProperties.Schema, false); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// unformat forgets the formats of integers: older API servers take them for a comment.
func unformat(props *apiextensions.JSONSchemaProps) {
	if props.Type == "integer" {
		props.Format = ""
	}
	for name, child := range props.Properties {
		unformat(&child)
		props.Properties[name] = child
	}
	if props.Items != nil && props.Items.Schema != nil {
		unformat(props.Items.Schema)
	}
	if props.AdditionalProperties != nil && props.AdditionalProperties.Schema != nil {
		unformat(props.AdditionalProperties.Schema)
	}
}

// refuses says what schema and rules have against a value, at this place and below.
func (n *node) refuses(value any) field.ErrorList {
	errs := validation.ValidateCustomResource(nil, value, n.validator)
	if n.rules == nil || len(errs) > 0 {
		return errs
	}
	more, _ := n.rules.Validate(context.Background(), nil, n.structural, value, nil, budget)
	return more
}
