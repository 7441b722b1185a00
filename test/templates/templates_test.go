package templates

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cluster-api/cmd/clusterctl/client/yamlprocessor"
)

const folder = "../../templates"

// required are the variables without which a flavour cannot be expanded; the first five come from clusterctl's flags.
var required = map[string]string{
	"CLUSTER_NAME":                "blue",
	"KUBERNETES_VERSION":          "v1.36.3",
	"CONTROL_PLANE_MACHINE_COUNT": "1",
	"WORKER_MACHINE_COUNT":        "2",
	"CONTROL_PLANE_ENDPOINT_HOST": "192.0.2.10",
	"BESKAR7_IMAGE_URL":           "https://images.example.com/os.iso",
}

// optional are all others, with values that differ from their defaults.
var optional = map[string]string{
	"CLUSTER_CLASS_NAMESPACE":             "classes",
	"CONTROL_PLANE_ENDPOINT_PORT":         "8443",
	"BESKAR7_IMAGE_CHECKSUM":              "sha256:" + strings.Repeat("ab", 32),
	"BESKAR7_OS_FAMILY":                   "kairos",
	"BESKAR7_BOOT_MODE":                   "Install",
	"BESKAR7_CONTROL_PLANE_HOST_SELECTOR": "{matchLabels: {role: control-plane}}",
	"BESKAR7_WORKER_HOST_SELECTOR":        "{matchExpressions: [{key: rack, operator: In, values: [a, b]}]}",
	"BESKAR7_CONTROL_PLANE_MAX_SURGE":     "0",
	"BESKAR7_WORKER_MAX_SURGE":            "1",
	"BESKAR7_WORKER_MAX_UNAVAILABLE":      "0",
	"BESKAR7_POD_CIDR":                    "10.1.0.0/16",
	"BESKAR7_SERVICE_CIDR":                "10.2.0.0/16",
}

var flavours = []string{"cluster-template.yaml", "cluster-template-topology.yaml", "clusterclass-beskar7.yaml"}

func read(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// expand does what "clusterctl generate cluster" does with a template.
func expand(t *testing.T, name string, sets ...map[string]string) []runtime.Object {
	t.Helper()
	text, err := yamlprocessor.NewSimpleProcessor().Process(read(t, name), func(key string) (string, error) {
		for _, set := range sets {
			if value, ok := set[key]; ok {
				return value, nil
			}
		}
		return "", errors.New("not set")
	})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return decode(t, name, text)
}

func TestEveryObjectIsValid(t *testing.T) {
	schemas := loadSchemas(t)
	for _, name := range flavours {
		for _, obj := range append(expand(t, name, required), expand(t, name, required, optional)...) {
			for _, err := range schemas.validate(obj) {
				t.Errorf("%s: %s: %v", name, obj.GetObjectKind().GroupVersionKind().Kind, err)
			}
		}
	}
}

// A variable that is needed but not told is a user's first bad experience; one that is told but not used is the second.
func TestVariablesAreAsDocumented(t *testing.T) {
	found := map[string]bool{}
	for _, name := range flavours {
		variables, err := yamlprocessor.NewSimpleProcessor().GetVariableMap(read(t, name))
		if err != nil {
			t.Fatal(err)
		}
		for key, byDefault := range variables {
			found[key] = true
			_, must := required[key]
			_, may := optional[key]
			switch {
			case !must && !may:
				t.Errorf("%s: variable %s is in no table of this test", name, key)
			case must && byDefault != nil:
				t.Errorf("%s: variable %s has a default and so is not required", name, key)
			case may && byDefault == nil:
				t.Errorf("%s: variable %s has no default (clusterctl takes an empty one for none)", name, key)
			}
		}
	}
	for _, set := range []map[string]string{required, optional} {
		for key := range set {
			if !found[key] {
				t.Errorf("no template uses variable %s", key)
			}
		}
	}
}

// clusterctl reads a ClusterClass without asking for variables, and puts it in any namespace.
func TestClusterClassHasNoVariablesAndNoNamespaces(t *testing.T) {
	raw := string(read(t, "clusterclass-beskar7.yaml"))
	if strings.Contains(raw, "${") {
		t.Error("the ClusterClass uses a clusterctl variable")
	}
	if regexp.MustCompile(`(?m)^ *namespace:`).MatchString(raw) {
		t.Error("the ClusterClass names a namespace")
	}
}

// Every ${...} of the manager's own manifests has a default, so that "clusterctl init" needs no variable.
func TestComponentsNeedNoVariable(t *testing.T) {
	raw, err := os.ReadFile("../../config/clusterctl/kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	variables, err := yamlprocessor.NewSimpleProcessor().GetVariableMap(raw)
	if err != nil {
		t.Fatal(err)
	}
	var without []string
	for key, byDefault := range variables {
		if byDefault == nil {
			without = append(without, key)
		}
	}
	sort.Strings(without)
	if len(variables) == 0 || len(without) > 0 {
		t.Errorf("%d variables; without a default: %v", len(variables), without)
	}
}
