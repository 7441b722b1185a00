package metrics

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// family is the metric that a series is of.
func family(rows map[string]Description, series string) (Description, bool) {
	for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
		name, cut := strings.CutSuffix(series, suffix)
		if row, found := rows[name]; cut && found && (row.Type == "histogram") == (suffix != "") {
			return row, true
		}
	}
	return Description{}, false
}

func described() map[string]Description {
	rows := map[string]Description{}
	for _, row := range Descriptions() {
		rows[row.Name] = row
	}
	return rows
}

// TestWhatIsShippedNamesMetricsThatExist is the cheap half of "make test-alerts", which needs Prometheus: alerts, dashboard and
// runbook ask for nothing that was renamed.
func TestWhatIsShippedNamesMetricsThatExist(t *testing.T) {
	rows := described()
	for _, file := range []string{"config/prometheus/rules.yaml", "config/prometheus/rules_test.yaml", "config/grafana/dashboard.json", "docs/operations.md"} {
		text, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`\b(beskar7|rest_client)_[a-z0-9_]+\b`).FindAllString(string(text), -1)
		if len(found) == 0 {
			t.Errorf("%s names no metric", file)
		}
		for _, name := range found {
			_, whole := rows[name]
			if _, ok := family(rows, name); !ok && !whole {
				t.Errorf("%s names %s, which does not exist", file, name)
			}
		}
	}
}

// TestTheRecordingIsOfTheseMetrics: the run that the dashboard is tested with was one of this code. When it fails: "make record-metrics".
func TestTheRecordingIsOfTheseMetrics(t *testing.T) {
	text, err := os.ReadFile("../../hack/monitoring/testdata/run.txt")
	if err != nil {
		t.Fatal(err)
	}
	rows, recorded := described(), map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z0-9_]+)\{`).FindAllStringSubmatch(string(text), -1) {
		if row, ok := family(rows, m[1]); ok {
			recorded[row.Name] = true
		} else if !strings.HasPrefix(m[1], "controller_runtime_") {
			t.Errorf("the recording has %s, which does not exist", m[1])
		}
	}
	for name := range rows {
		if !recorded[name] {
			t.Errorf("the recording has no %s", name)
		}
	}
}
