package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func someRuns() []run {
	make := func(mode string, machines int, seconds, fraction float64) run {
		r := newRun(stormOptions{Mode: mode, Machines: machines, Hosts: machines, Replicas: 3, Workers: 10})
		for name := range measures {
			if name != "growth" {
				r.set(name, 0)
			}
		}
		r.set("seconds", seconds)
		r.set("paceMillis", 6)
		r.set("fractionAtOnePace", fraction)
		r.set("attemptsPerClaim", 1.2)
		r.set("writesPerClaim", 2)
		return r
	}
	return []run{make(optimisticMode, 500, 5, 0.25), make(optimisticMode, 2000, 20, 0.24), make(leaderMode, 500, 4, 0.4), make(leaderMode, 2000, 16, 0.41)}
}

func TestBudgets(t *testing.T) {
	budgets, err := readBudgets("rangespec.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, broken string
		change       func([]run)
	}{
		{"all is well", "", func([]run) {}},
		{"a double claim", "doubleClaims is 1.000, more than 0", func(r []run) { r[0].set("doubleClaims", 1) }},
		{"a stranded machine", "stranded is 2.000, more than 0", func(r []run) { r[2].set("stranded", 2) }},
		{"a third write", "writesPerClaim is 2.001, more than 2", func(r []run) { r[2].set("writesPerClaim", 2.001) }},
		{"a write that is missing", "writesPerClaim is 1.990, less than 2", func(r []run) { r[2].set("writesPerClaim", 1.99) }},
		{"too many attempts", "attemptsPerClaim is 1.900, more than 1.8", func(r []run) { r[1].set("attemptsPerClaim", 1.9) }},
		{"a slow leader", "fractionAtOnePace is 0.300, less than 0.35", func(r []run) { r[3].set("fractionAtOnePace", 0.3) }},
		{"a small slow storm is no matter", "", func(r []run) { r[0].set("fractionAtOnePace", 0.1) }},
		{"more than linear", "growth is 1.500, more than 1.25", func(r []run) { r[1].set("seconds", 30) }},
		{"a computer that was slower meanwhile", "", func(r []run) { r[1].set("seconds", 30); r[1].set("paceMillis", 9) }},
		{"a run of a time before the pace was measured", "", func(r []run) { delete(r[0].Measures, "paceMillis") }},
		{"not measured", "doubleClaims was not measured", func(r []run) { delete(r[3].Measures, "doubleClaims") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			runs := someRuns()
			c.change(runs)
			got, err := store(t.TempDir(), runs, budgets)
			if err != nil {
				t.Fatal(err)
			}
			if c.broken == "" && len(got.Broken) > 0 || c.broken != "" && (len(got.Broken) != 1 || !strings.Contains(got.Broken[0], c.broken)) {
				t.Errorf("broken: %q, want %q", got.Broken, c.broken)
			}
		})
	}
}

func TestBudgetsAreChecked(t *testing.T) {
	for _, text := range []string{"claims: [{measure: speed, max: 1, why: x}]", "claims: [{measure: seconds, why: x}]", "claims: [{measure: seconds, max: 1}]", "claims: [{measur: seconds, max: 1, why: x}]"} {
		file := filepath.Join(t.TempDir(), "spec.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readBudgets(file); err == nil {
			t.Errorf("accepted: %s", text)
		}
	}
}

// TestTheReportGrows: a run replaces the one of its name and leaves the others.
func TestTheReportGrows(t *testing.T) {
	dir, runs := t.TempDir(), someRuns()
	if _, err := store(dir, runs, nil); err != nil {
		t.Fatal(err)
	}
	again := runs[1]
	again.Measures = map[string]float64{"seconds": 7}
	got, err := store(dir, []run{again}, nil)
	if err != nil {
		t.Fatal(err)
	}
	found := 0.0
	for _, r := range got.Runs {
		if r.Name == again.Name {
			found = r.Measures["seconds"]
		}
	}
	if len(got.Runs) != len(runs) || found != 7 {
		t.Errorf("%d runs, %g s", len(got.Runs), found)
	}
}

// TestThePlot is XML and shows every number of its measures.
func TestThePlot(t *testing.T) {
	for name, runs := range map[string][]run{"of storms": someRuns(), "of nothing": nil} {
		t.Run(name, func(t *testing.T) {
			text := draw(runs)
			decoder := xml.NewDecoder(strings.NewReader(text))
			for {
				if _, err := decoder.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			for _, r := range runs {
				if want := ">" + number(r.Measures["fractionAtOnePace"]) + "<"; !strings.Contains(text, want) {
					t.Errorf("no %s", want)
				}
			}
			if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
				t.Error("a number is none")
			}
		})
	}
}

func TestPercentile(t *testing.T) {
	var times []time.Duration
	for i := 100; i > 0; i-- {
		times = append(times, time.Duration(i)*time.Second)
	}
	if p50, p99 := percentile(times, 50), percentile(times, 99); p50 != 50 || p99 != 99 {
		t.Errorf("p50 %g, p99 %g", p50, p99)
	}
}

func TestRequestsAreCounted(t *testing.T) {
	line := func(agent, verb, resource, subresource, code string) string {
		return `{"stage":"ResponseComplete","verb":"` + verb + `","userAgent":"` + agent + `","objectRef":{"resource":"` + resource + `","subresource":"` + subresource + `"},"responseStatus":{"code":` + code + "}}\n"
	}
	log := line("storm-leader", "patch", "physicalhosts", "", "200") + line("storm-leader", "patch", "physicalhosts", "", "409") + line("storm-leader", "get", "physicalhosts", "", "200") +
		line("storm-leader", "watch", "physicalhosts", "", "200") + line("storm-leader", "update", "leases", "", "200") + line("storm-leader-2", "patch", "physicalhosts", "", "200") + line("manager/v0.1.0 (linux/amd64) storm-leader", "get", "secrets", "", "200") +
		line("storm-leader", "patch", "beskar7machines", "status", "500") + `{"userAgent":"storm-leader","verb":"pat`
	got, err := countRequests(strings.NewReader(log), "storm-leader")
	if err != nil {
		t.Fatal(err)
	}
	if got.All != 5 || got.Reads != 2 || got.Writes != 3 || got.Conflicts != 1 || got.Failed != 1 || got.By["patch beskar7machines/status"] != 1 {
		t.Errorf("%+v", got)
	}
}

func TestSamplesAreSummed(t *testing.T) {
	got, err := sumSamples(strings.NewReader("# HELP a b\na_sum{verb=\"GET x\"} 1.5\na_sum{verb=\"PUT\"} 2\nb 1e3\n"))
	if err != nil || got["a_sum"] != 3.5 || got["b"] != 1000 {
		t.Errorf("%v %v", got, err)
	}
}
