package monitoring

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v2"
)

// check parses a query and looks up every metric in it, and every label that a selector or a grouping names.
func check(t *testing.T, where, query string, table map[string]Metric) {
	t.Helper()
	expr, err := parser.ParseExpr(query)
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	var known []string
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		i := slices.IndexFunc(v.LabelMatchers, func(m *labels.Matcher) bool { return m.Name == model.MetricNameLabel })
		if i < 0 || family(table, v.LabelMatchers[i].Value) == "" {
			t.Errorf("%s: there is no metric %q", where, v.Name)
			return nil
		}
		has := labelsOf(table, v.LabelMatchers[i].Value)
		for _, m := range v.LabelMatchers {
			if m.Name != model.MetricNameLabel && !slices.Contains(has, m.Name) {
				t.Errorf("%s: %s has no label %q", where, v.Name, m.Name)
			}
		}
		known = append(known, has...)
		return nil
	})
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if a, ok := n.(*parser.AggregateExpr); ok {
			for _, l := range a.Grouping {
				if !slices.Contains(known, l) {
					t.Errorf("%s: groups by %q, which nothing in it has", where, l)
				}
			}
		}
		return nil
	})
}

// labelsOf are the labels that a series may have.
func labelsOf(table map[string]Metric, series string) []string {
	if slices.Contains(borrowed, series) {
		return []string{"controller", "result", "pod"}
	}
	has := append([]string{"pod"}, table[family(table, series)].Labels...)
	if strings.HasSuffix(series, "_bucket") {
		has = append(has, model.BucketLabel)
	}
	return has
}

// query is one of the dashboard.
type query struct{ panel, expr string }

func dashboard(t *testing.T) (all []query) {
	t.Helper()
	data, err := os.ReadFile("../../config/grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var shown struct {
		Panels []struct {
			Type, Title string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &shown); err != nil {
		t.Fatal(err)
	}
	for _, p := range shown.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %s asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			all = append(all, query{p.Title, target.Expr})
		}
	}
	return all
}

func table(t *testing.T) map[string]Metric {
	t.Helper()
	all, err := Table("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestDashboardAsksForMetricsThatExist, and shows all of them but a few.
func TestDashboardAsksForMetricsThatExist(t *testing.T) {
	metrics, asked := table(t), ""
	for _, q := range dashboard(t) {
		check(t, q.panel, q.expr, metrics)
		asked += q.expr + "\n"
	}
	for name := range metrics {
		if !strings.Contains(asked, name) {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}

// alert is one rule.
type alert struct {
	Alert, Expr string
	Annotations map[string]string
}

func alerts(t *testing.T) (all []alert) {
	t.Helper()
	data, err := os.ReadFile("../../config/prometheus/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var object struct {
		Spec struct{ Groups []struct{ Rules []alert } }
	}
	if err := yaml.Unmarshal(data, &object); err != nil {
		t.Fatal(err)
	}
	for _, g := range object.Spec.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func TestAlertsAskForMetricsThatExistAndHaveARunbook(t *testing.T) {
	runbook, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	metrics, all := table(t), alerts(t)
	for _, r := range all {
		check(t, r.Alert, r.Expr, metrics)
		if !strings.HasSuffix(r.Annotations["runbook_url"], "/docs/operations.md#"+strings.ToLower(r.Alert)) {
			t.Errorf("%s has the runbook %q", r.Alert, r.Annotations["runbook_url"])
		}
		_, section, found := strings.Cut(string(runbook), "\n### "+r.Alert+"\n")
		section, _, _ = strings.Cut(section, "\n#")
		if !found || len(strings.Fields(section)) < 15 {
			t.Errorf("docs/operations.md does not say what to do about %s: %q", r.Alert, section)
		}
	}
	for _, name := range []string{"ClaimConflicts", "QueueNearlyFull", "QueueStalled", "SlowClaims", "BMCOverload", "HostsQuarantined", "LeaderFlapping", "NoReconciles", "ConfigInvalid"} {
		if !slices.ContainsFunc(all, func(r alert) bool { return r.Alert == "Beskar7"+name }) {
			t.Errorf("there is no alert %s", name)
		}
	}
}

// ruleTests are what promtool runs.
type ruleTests struct {
	Tests []struct {
		Name        string
		InputSeries []struct{ Series string } `yaml:"input_series"`
		Cases       []struct {
			Alertname string
			Expected  []any `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	}
}

// TestEveryAlertIsTestedBothWays: firing and not firing, on series that the product has.
func TestEveryAlertIsTestedBothWays(t *testing.T) {
	data, err := os.ReadFile("../../config/prometheus/rules_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var tests ruleTests
	if err := yaml.Unmarshal(data, &tests); err != nil {
		t.Fatal(err)
	}
	metrics, fires, silent := table(t), map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, s := range test.InputSeries {
			set, _, err := parser.ParseSeriesDesc(s.Series)
			if err != nil {
				t.Errorf("%s: %v", test.Name, err)
				continue
			}
			name := set.Get(labels.MetricName)
			if family(metrics, name) == "" {
				t.Errorf("%s: there is no metric %s", test.Name, name)
			}
			set.Range(func(l labels.Label) {
				if l.Name != labels.MetricName && !slices.Contains(labelsOf(metrics, name), l.Name) {
					t.Errorf("%s: %s has no label %s", test.Name, name, l.Name)
				}
			})
		}
		for _, c := range test.Cases {
			if len(c.Expected) > 0 {
				fires[c.Alertname] = true
			} else {
				silent[c.Alertname] = true
			}
		}
	}
	for _, r := range alerts(t) {
		if !fires[r.Alert] || !silent[r.Alert] {
			t.Errorf("%s is tested firing: %t, not firing: %t", r.Alert, fires[r.Alert], silent[r.Alert])
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
