package schema

import (
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"
)

// planted has one field of each type that decodes less than an API server would let through, and the schema that controller-gen
// writes for it without markers.
type planted struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              plantedSpec `json:"spec"`
}

type plantedSpec struct {
	Duration   metav1.Duration      `json:"duration"`
	Pointer    *metav1.Duration     `json:"pointer"`
	Time       metav1.Time          `json:"time"`
	Micro      *metav1.MicroTime    `json:"micro"`
	Quantity   resource.Quantity    `json:"quantity"`
	Small      int32                `json:"small"`
	Large      int64                `json:"large"`
	Port       *intstr.IntOrString  `json:"port"`
	Conditions []metav1.Condition   `json:"conditions"`
	Map        map[string]int32     `json:"map"`
	Nested     []struct{ N uint16 } `json:"nested"`
	Dropped    string               `json:"dropped"`
	Fine       string               `json:"fine"`
	Bounded    int32                `json:"bounded"`
}

func text(props string) apiextensionsv1.JSONSchemaProps {
	out := apiextensionsv1.JSONSchemaProps{}
	if err := yaml.UnmarshalStrict([]byte(props), &out); err != nil {
		panic(err)
	}
	return out
}

func plantedKind(t *testing.T, ofConditions ...apiextensionsv1.ValidationRule) Kind {
	t.Helper()
	number := func(format string) apiextensionsv1.JSONSchemaProps {
		return text(`{type: integer, format: ` + format + `}`)
	}
	condition := text(`{type: object, required: [lastTransitionTime, type], properties: {type: {type: string}, status: {type: string}, reason: {type: string}, message: {type: string},
		lastTransitionTime: {type: string, format: date-time}, observedGeneration: {type: integer, format: int64, minimum: 0}}}`)
	nested, mapped := text(`{type: object}`), number("int32")
	nested.Properties = map[string]apiextensionsv1.JSONSchemaProps{"N": text(`{type: integer, minimum: 0}`)}
	spec := apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{
		"duration": text(`{type: string}`), "pointer": text(`{type: string}`), "time": text(`{type: string, format: date-time}`), "micro": text(`{type: string, format: date-time}`),
		"quantity": text(`{anyOf: [{type: integer}, {type: string}], x-kubernetes-int-or-string: true,
			pattern: '^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$'}`),
		"small": number("int32"), "large": number("int64"), "port": text(`{anyOf: [{type: integer}, {type: string}], x-kubernetes-int-or-string: true}`),
		"conditions": {Type: "array", MaxItems: ptr.To[int64](8), XValidations: ofConditions, Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &condition}},
		"map":        {Type: "object", AdditionalProperties: &apiextensionsv1.JSONSchemaPropsOrBool{Allows: true, Schema: &mapped}},
		"nested":     {Type: "array", Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &nested}},
		"fine":       {Type: "string"}, "bounded": {Type: "integer", Minimum: ptr.To(-5.0), Maximum: ptr.To(5.0)},
	}}
	root, err := compile(&apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"spec": spec}}, true)
	if err != nil {
		t.Fatal(err)
	}
	return Kind{root: root}
}

func TestGapsAreFound(t *testing.T) {
	gaps := Gaps(&planted{}, plantedKind(t))
	for _, field := range []string{"duration", "pointer", "time", "micro", "quantity", "small", "port", "conditions[].lastTransitionTime",
		"map{}", "nested[].N", "dropped"} {
		found := false
		for _, gap := range gaps {
			found = found || strings.HasPrefix(gap, "spec."+field+":")
		}
		if !found {
			t.Errorf("nothing was found at spec.%s", field)
		}
	}
	for _, gap := range gaps {
		if strings.HasPrefix(gap, "spec.fine:") || strings.HasPrefix(gap, "spec.bounded:") || strings.HasPrefix(gap, "spec.large:") {
			t.Errorf("a field without a gap was found: %s", gap)
		}
	}
}

// TestARuleFurtherUpClosesAGap: what the schema of a field lets through, the rule of a whole list may refuse.
func TestARuleFurtherUpClosesAGap(t *testing.T) {
	rule := apiextensionsv1.ValidationRule{Rule: "self.all(c, c.lastTransitionTime > timestamp('2000-01-01T00:00:00Z'))"}
	for _, gap := range Gaps(&planted{}, plantedKind(t, rule)) {
		if strings.HasPrefix(gap, "spec.conditions[].lastTransitionTime:") {
			t.Errorf("a gap that the rule closes: %s", gap)
		}
	}
}
