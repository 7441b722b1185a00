package monitoring

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v2"
)

// known are the metrics that exist: those of docs/metrics.md, which is generated from the code, and those of controller-runtime
// that we use.
func known(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{"controller_runtime_reconcile_total": true}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| (\\w+)").FindAllStringSubmatch(string(text), -1) {
		out[m[1]] = true
		if m[2] == "histogram" {
			out[m[1]+"_bucket"], out[m[1]+"_sum"], out[m[1]+"_count"] = true, true, true
		}
	}
	if len(out) < 10 {
		t.Fatalf("found only %d metrics in docs/metrics.md", len(out))
	}
	return out
}

// check parses a query and looks up every metric in it.
func check(t *testing.T, where, query string, known map[string]bool) {
	t.Helper()
	expr, err := parser.ParseExpr(query)
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		if i := slices.IndexFunc(v.LabelMatchers, func(m *labels.Matcher) bool { return m.Name == model.MetricNameLabel }); i < 0 || !known[v.LabelMatchers[i].Value] {
			t.Errorf("%s: there is no metric %q", where, v.Name)
		}
		return nil
	})
}

func TestDashboardAsksForMetricsThatExist(t *testing.T) {
	data, err := os.ReadFile("../../config/grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Type, Title string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	metrics, queries := known(t), 0
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			check(t, p.Title, target.Expr, metrics)
			queries++
		}
	}
	if queries < 15 {
		t.Errorf("found only %d queries", queries)
	}
}

func TestAlertsAskForMetricsThatExistAndHaveARunbook(t *testing.T) {
	data, err := os.ReadFile("../../config/prometheus/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rule struct {
		Spec struct {
			Groups []struct {
				Rules []struct {
					Alert, Expr string
					Annotations map[string]string
				}
			}
		}
	}
	if err := yaml.Unmarshal(data, &rule); err != nil {
		t.Fatal(err)
	}
	runbook, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	metrics := known(t)
	for _, g := range rule.Spec.Groups {
		for _, r := range g.Rules {
			check(t, r.Alert, r.Expr, metrics)
			if !strings.HasSuffix(r.Annotations["runbook_url"], "/docs/operations.md#"+strings.ToLower(r.Alert)) {
				t.Errorf("%s has the runbook %q", r.Alert, r.Annotations["runbook_url"])
			}
			if !strings.Contains(string(runbook), "\n### "+r.Alert+"\n") {
				t.Errorf("docs/operations.md has no section %s", r.Alert)
			}
		}
	}
}

// TestAlertsFireWhenTheyShould runs config/prometheus/rules_test.yaml through promtool, which wants the groups of the rule object
// in a file of their own.
func TestAlertsFireWhenTheyShould(t *testing.T) {
	data, err := os.ReadFile("../../config/prometheus/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var object struct{ Spec yaml.MapSlice }
	if err := yaml.Unmarshal(data, &object); err != nil {
		t.Fatal(err)
	}
	groups, err := yaml.Marshal(object.Spec)
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("../../config/prometheus/rules_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"rules.out.yaml": groups, "rules_test.yaml": tests} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if said, err := exec.CommandContext(t.Context(), "go", "tool", "promtool", "test", "rules", filepath.Join(dir, "rules_test.yaml")).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, said)
	}
}
