package monitoring

import (
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

const recording = "testdata/run.txt"

// unanswered are queries of the dashboard that a good run does not answer, each with why.
var unanswered = map[string]string{}

// play is the recorded run in a database, with Prometheus' engine before it.
type play struct {
	t       *testing.T
	engine  *promql.Engine
	storage storage.Queryable
	step    time.Duration
	end     time.Time
}

func newPlay(t *testing.T) *play {
	t.Helper()
	text, err := os.ReadFile(recording)
	if err != nil {
		t.Fatal(err)
	}
	step, err := time.ParseDuration(Interval)
	if err != nil {
		t.Fatal(err)
	}
	scrapes := 0
	for _, line := range seriesLines(string(text)) {
		_, values, err := parser.ParseSeriesDesc(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		scrapes = max(scrapes, len(values))
	}
	db := promqltest.LoadedStorage(t, string(text))
	t.Cleanup(func() { _ = db.Close() })
	return &play{t: t, engine: promqltest.NewTestEngine(t, false, 5*time.Minute, 10_000_000), storage: db, step: step,
		end: time.Unix(0, 0).Add(time.Duration(scrapes-1) * step)}
}

// seriesLines are the lines of a recording that are series.
func seriesLines(text string) (all []string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "  ") {
			all = append(all, strings.TrimSpace(line))
		}
	}
	return all
}

// answers counts the numbers that a query gives over the run; what is no number, such as 0/0, is none.
func (p *play) answers(query string, from time.Time) int {
	p.t.Helper()
	q, err := p.engine.NewRangeQuery(p.t.Context(), p.storage, nil, query, from, p.end, p.step)
	if err != nil {
		p.t.Errorf("%s: %v", query, err)
		return 0
	}
	defer q.Close()
	result := q.Exec(p.t.Context())
	matrix, err := result.Matrix()
	if err != nil {
		p.t.Errorf("%s: %v", query, err)
		return 0
	}
	numbers := 0
	for _, s := range matrix {
		for _, point := range s.Floats {
			if !math.IsNaN(point.F) {
				numbers++
			}
		}
	}
	return numbers
}

// series counts those of the run that a selector matches.
func (p *play) series(matchers []*labels.Matcher) int {
	p.t.Helper()
	q, err := p.storage.Querier(0, p.end.UnixMilli())
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = q.Close() }()
	set, found := q.Select(p.t.Context(), false, nil, matchers...), 0
	for set.Next() {
		if set.At().Iterator(nil).Next() != chunkenc.ValNone {
			found++
		}
	}
	if set.Err() != nil {
		p.t.Fatal(set.Err())
	}
	return found
}

func TestARealRunAnswersTheDashboard(t *testing.T) {
	p, asked := newPlay(t), 0
	for _, q := range dashboard(t) {
		asked++
		answered, reason := p.answers(q.expr, time.Unix(0, 0)) > 0, unanswered[q.expr]
		switch {
		case !answered && reason == "":
			t.Errorf("%s: the run does not answer %s", q.panel, q.expr)
		case answered && reason != "":
			t.Errorf("%s: is an exception, and the run answers it: %s", q.panel, q.expr)
		}
	}
	if asked < 30 {
		t.Errorf("found only %d queries", asked)
	}
	if p.answers("sum(rate(beskar7_made_up_total[5m]))", time.Unix(0, 0)) > 0 {
		t.Error("a metric that does not exist is answered")
	}
}

// TestAlertsAskForSeriesOfARealRun: a selector that matches nothing makes an alert that never fires. At the end of a good run none
// may be about to.
func TestAlertsAskForSeriesOfARealRun(t *testing.T) {
	p := newPlay(t)
	for _, r := range alerts(t) {
		expr, err := parser.ParseExpr(r.Expr)
		if err != nil {
			t.Fatal(err)
		}
		parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
			if v, ok := n.(*parser.VectorSelector); ok && p.series(v.LabelMatchers) == 0 {
				t.Errorf("%s: the run has no series %s", r.Alert, v)
			}
			return nil
		})
		if p.answers(r.Expr, p.end) > 0 {
			t.Errorf("%s is true at the end of a good run", r.Alert)
		}
	}
}

// TestTheRecordingIsOfThisCode: what the recorded run showed is what the table of metrics says, name by name and label by label.
// When it fails, the metrics were changed: "make record-metrics".
func TestTheRecordingIsOfThisCode(t *testing.T) {
	table := table(t)
	text, err := os.ReadFile(recording)
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[string][]string{}
	for _, line := range seriesLines(string(text)) {
		set, _, err := parser.ParseSeriesDesc(line)
		if err != nil {
			t.Fatal(err)
		}
		name := family(table, set.Get(labels.MetricName))
		if name == "" {
			t.Errorf("the recording has %s, the table has not", set.Get(labels.MetricName))
			continue
		}
		has := recorded[name]
		if has == nil {
			has = []string{}
		}
		set.Range(func(l labels.Label) { // an empty one is none: not every series of a metric has all
			if l.Name != labels.MetricName && l.Name != "pod" && l.Name != "le" && !slices.Contains(has, l.Name) {
				has = append(has, l.Name)
			}
		})
		recorded[name] = has
	}
	for name, row := range table {
		want := slices.Sorted(slices.Values(row.Labels))
		if got := recorded[name]; got == nil || !slices.Equal(slices.Sorted(slices.Values(got)), want) {
			t.Errorf("the recording has %s with the labels %v, the table with %v", name, got, want)
		}
	}
}

func TestRecord(t *testing.T) {
	dir, table := t.TempDir(), map[string]Metric{"a_total": {Type: "counter", Labels: []string{"x"}}, "h_seconds": {Type: "histogram"}}
	for name, text := range map[string]string{
		"0000-p.prom": "# TYPE a_total counter\na_total{x=\"1\"} 2\ngo_goroutines 7\n",
		"0002-p.prom": "a_total{x=\"1\"} 3\nh_seconds_bucket{le=\"+Inf\"} 1\nh_seconds_sum 2.5e-05\nh_seconds_count 1\na_total_sum 1\n",
	} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	if err := Record(&out, dir, table); err != nil {
		t.Fatal(err)
	}
	want := []string{`a_total{pod="p", x="1"} 2 _ 3`, `h_seconds_bucket{le="+Inf", pod="p"} _ _ 1`, `h_seconds_count{pod="p"} _ _ 1`, `h_seconds_sum{pod="p"} _ _ 0.000025`}
	if got := seriesLines(out.String()); !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
	if err := Record(&out, t.TempDir(), table); err == nil {
		t.Error("an empty folder is taken for a run")
	}
}

// quiet are metrics that stay 0 in a good run, each with what counts it, and which test brings that about.
var quiet = map[string]string{
	"beskar7_bmc_operation_panics_total":     "a bug; pkg/coordinator/bmcqueue tests that panics are told",
	"beskar7_provisioning_failures_total":    "a boot that fails; controllers tests that each is counted once",
	"beskar7_hosts_awaiting_attempt":         "a BMC that fails; controllers tests TestGauges",
	"beskar7_host_claim_retries_total":       "a lost race; pkg/coordinator tests that the next host is tried",
	"beskar7_provisioning_queue_length":      "more work than slots at the moment of the pass; controllers tests TestGauges",
	"beskar7_claim_coordinator_queue_length": "more machines than hosts at the moment of the scrape; pkg/coordinator tests the arbiter's queue",
}

// TestTheRunFedEveryMetric: a metric that nothing counts is no metric.
func TestTheRunFedEveryMetric(t *testing.T) {
	text, err := os.ReadFile(recording)
	if err != nil {
		t.Fatal(err)
	}
	table, fed := table(t), map[string]bool{}
	for _, line := range seriesLines(string(text)) {
		set, values, err := parser.ParseSeriesDesc(line)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(values, func(v parser.SequenceValue) bool { return !v.Omitted && v.Value != 0 }) {
			fed[family(table, set.Get(labels.MetricName))] = true
		}
	}
	for name := range table {
		if !fed[name] && quiet[name] == "" {
			t.Errorf("%s stayed 0: who feeds it?", name)
		}
	}
	for name := range quiet {
		if _, known := table[name]; !known {
			t.Errorf("there is no %s", name)
		}
	}
}
