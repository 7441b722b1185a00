package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sigs.k8s.io/yaml"
)

// report is out/scale/claims.json.
type report struct {
	// Measures explains the names of measures.
	Measures map[string]string `json:"measures"`
	Runs     []run             `json:"runs"`
	// Broken budgets in words; empty is good.
	Broken []string `json:"broken"`
}

// budget is one entry of rangespec.yaml: a range for one measure of some runs.
type budget struct {
	// Measure it is about.
	Measure string `json:"measure"`
	// Kinds and Modes of runs that it holds for; empty: all.
	Kinds []string `json:"kinds,omitempty"`
	Modes []string `json:"modes,omitempty"`
	// MinMachines leaves smaller runs out: their start weighs too much.
	MinMachines int      `json:"minMachines,omitempty"`
	Min         *float64 `json:"min,omitempty"`
	Max         *float64 `json:"max,omitempty"`
	// Why says where the number comes from.
	Why string `json:"why"`
}

// readBudgets reads and checks rangespec.yaml.
func readBudgets(file string) ([]budget, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var spec struct {
		Claims []budget `json:"claims"`
	}
	if err := yaml.UnmarshalStrict(data, &spec); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	for _, b := range spec.Claims {
		if measures[b.Measure] == "" || (b.Min == nil && b.Max == nil) || b.Why == "" {
			return nil, fmt.Errorf("%s: the budget of %q has no such measure, no range or no reason", file, b.Measure)
		}
	}
	return spec.Claims, nil
}

// holdsFor says whether the budget is about the run.
func (b budget) holdsFor(r run) bool {
	return (len(b.Kinds) == 0 || slices.Contains(b.Kinds, r.Kind)) && (len(b.Modes) == 0 || slices.Contains(b.Modes, r.Mode)) && r.Machines >= b.MinMachines
}

// check returns a line for each budget that the run breaks. A measure that is missing breaks its budget, but for growth, which
// the smallest run has not.
func check(r run, budgets []budget) []string {
	var broken []string
	for _, b := range budgets {
		if !b.holdsFor(r) {
			continue
		}
		value, found := r.Measures[b.Measure]
		switch {
		case !found && b.Measure != "growth":
			broken = append(broken, fmt.Sprintf("%s: %s was not measured", r.Name, b.Measure))
		case !found:
		case b.Min != nil && (value < *b.Min || math.IsNaN(value)):
			broken = append(broken, fmt.Sprintf("%s: %s is %.3f, less than %g (%s)", r.Name, b.Measure, value, *b.Min, b.Why))
		case b.Max != nil && (value > *b.Max || math.IsNaN(value)):
			broken = append(broken, fmt.Sprintf("%s: %s is %.3f, more than %g (%s)", r.Name, b.Measure, value, *b.Max, b.Why))
		}
	}
	return broken
}

// store puts runs into the report in a folder, in place of those of the same name, compares all with the budgets and draws them.
func store(dir string, runs []run, budgets []budget) (report, error) {
	file := filepath.Join(dir, "claims.json")
	old := report{}
	data, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return old, err
	default:
		if err := json.Unmarshal(data, &old); err != nil {
			return old, fmt.Errorf("read %s: %w", file, err)
		}
	}
	now := report{Measures: measures, Runs: merge(old.Runs, runs), Broken: []string{}}
	grow(now.Runs)
	for _, r := range now.Runs {
		now.Broken = append(now.Broken, check(r, budgets)...)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return now, err
	}
	if data, err = json.MarshalIndent(now, "", "  "); err != nil {
		return now, err
	}
	return now, errors.Join(os.WriteFile(file, append(data, '\n'), 0o644), os.WriteFile(filepath.Join(dir, "claims.svg"), []byte(draw(now.Runs)), 0o644))
}

func merge(old, fresh []run) []run {
	kept := slices.DeleteFunc(slices.Clone(old), func(o run) bool {
		return slices.ContainsFunc(fresh, func(f run) bool { return f.Name == o.Name })
	})
	all := append(kept, fresh...)
	slices.SortStableFunc(all, func(a, b run) int {
		return cmp.Or(-cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Mode, b.Mode), cmp.Compare(a.Machines, b.Machines), cmp.Compare(a.Replicas, b.Replicas))
	})
	return all
}

// each is what a machine of a storm takes, in units of the computer's pace; 0 if the pace was not measured.
func (r *run) each() float64 {
	pace := r.Measures["paceMillis"]
	if pace == 0 {
		return 0
	}
	return r.Measures["seconds"] / float64(r.Machines) / pace
}

// grow compares each storm with the next smaller one of its mode.
func grow(runs []run) {
	last := map[string]run{}
	for _, r := range runs {
		if r.Kind != "storm" {
			continue
		}
		key := fmt.Sprint(r.Mode, r.Replicas, r.Workers)
		if before, found := last[key]; found && before.Machines < r.Machines {
			if now, then := r.each(), before.each(); now > 0 && then > 0 {
				r.set("growth", now/then)
			}
		}
		last[key] = r
	}
}

// percentile of durations in seconds; 0 of none.
func percentile(times []time.Duration, p int) float64 {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[(len(sorted)-1)*p/100].Seconds()
}
