package monitoring

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

// Interval is the time between two scrapes of a recorded run, as test/demo makes them.
const Interval = "15s"

// Metric is one row of docs/metrics.md.
type Metric struct {
	Type   string
	Labels []string
}

// suffixes of the series of a histogram.
var suffixes = []string{"_bucket", "_sum", "_count"}

// borrowed are the metrics of controller-runtime that we use; their labels are its own.
var borrowed = []string{"controller_runtime_reconcile_total"}

// Table reads docs/metrics.md, which is generated from the code.
func Table(path string) (map[string]Metric, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the caller's own file
	if err != nil {
		return nil, err
	}
	out := map[string]Metric{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| (\\w+) \\| ([^|]*) \\|").FindAllStringSubmatch(string(text), -1) {
		row := Metric{Type: m[2]}
		for _, l := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(m[3], -1) {
			row.Labels = append(row.Labels, l[1])
		}
		out[m[1]] = row
	}
	if len(out) < 10 {
		return nil, fmt.Errorf("found only %d metrics in %s", len(out), path)
	}
	return out, nil
}

// family is the metric of the table that a series is of; empty if it is of none. Those that are borrowed are of themselves.
func family(table map[string]Metric, series string) string {
	if slices.Contains(borrowed, series) {
		return series
	}
	if row, ok := table[series]; ok && row.Type != "histogram" {
		return series
	}
	for _, s := range suffixes {
		if name, cut := strings.CutSuffix(series, s); cut && table[name].Type == "histogram" {
			return name
		}
	}
	return ""
}

var scrapeName = regexp.MustCompile(`^(\d+)-(.+)\.prom$`)

// Record turns a folder of scrapes, each a file NUMBER-REPLICA.prom in Prometheus' text format, into the "load" command of
// Prometheus' own tests: one line for each series of the table, with its value at each scrape and _ where there was none.
func Record(out io.Writer, folder string, table map[string]Metric) error {
	files, err := filepath.Glob(filepath.Join(folder, "*.prom"))
	if err != nil {
		return err
	}
	values, last := map[string]map[int]float64{}, 0
	for _, file := range files {
		name := scrapeName.FindStringSubmatch(filepath.Base(file))
		if name == nil {
			return fmt.Errorf("%s is not named NUMBER-REPLICA.prom", file)
		}
		n, err := strconv.Atoi(name[1])
		if err != nil {
			return err
		}
		text, err := os.ReadFile(file) //nolint:gosec // the caller's own file
		if err != nil {
			return err
		}
		if err := parse(text, name[2], n, table, values); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		last = max(last, n)
	}
	if len(files) < 2 || len(values) == 0 {
		return fmt.Errorf("%d scrapes with %d series in %s: a rate needs two", len(files), len(values), folder)
	}
	return write(out, values, last)
}

// parse takes the series of the table out of one scrape.
func parse(text []byte, replica string, n int, table map[string]Metric, values map[string]map[int]float64) error {
	p := textparse.NewPromParser(text, labels.NewSymbolTable(), false)
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if entry != textparse.EntrySeries {
			continue
		}
		_, _, value := p.Series()
		var set labels.Labels
		p.Labels(&set)
		name := set.Get(labels.MetricName)
		if family(table, name) == "" {
			continue
		}
		key := name + labels.NewBuilder(set).Del(labels.MetricName).Set("pod", replica).Labels().String()
		if values[key] == nil {
			values[key] = map[int]float64{}
		}
		values[key][n] = value
	}
}

func write(out io.Writer, values map[string]map[int]float64, last int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# A recording of a real run, made by \"make record-metrics\"; do not edit.\nload %s\n", Interval)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		b.WriteString("  " + key)
		for n := range last + 1 {
			v, ok := values[key][n]
			switch {
			case !ok:
				b.WriteString(" _")
			case math.IsNaN(v) || math.IsInf(v, 0):
				return fmt.Errorf("%s is %v", key, v)
			default:
				b.WriteString(" " + strconv.FormatFloat(v, 'f', -1, 64))
			}
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}
