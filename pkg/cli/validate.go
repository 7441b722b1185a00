package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/beskar7/beskar7/pkg/config"
)

// judged is what was found in one file.
type judged struct {
	File     string `json:"file"`
	Errors   []spot `json:"errors"`
	Warnings []spot `json:"warnings"`
	// Checked counts the objects that hold settings.
	Checked int `json:"checked"`
}

// spot is one finding with its line; 0 if it belongs to none.
type spot struct {
	Line    int    `json:"line,omitempty"`
	Object  string `json:"object,omitempty"`
	Key     string `json:"key,omitempty"`
	Message string `json:"message"`
}

// validate checks files before they are applied.
func (c *CLI) validate(_ context.Context, args []string) error {
	flags := c.flags("config validate")
	format := output(flags)
	if err := parse(flags, args, 1, -1); err != nil {
		return err
	}
	if err := checkOutput(*format); err != nil {
		return err
	}
	var all []judged
	valid := true
	for _, name := range flags.Args() {
		j := judged{File: name}
		if file, err := c.readFile(name); err != nil {
			j.fail(0, "", "", "cannot be read: "+err.Error())
		} else {
			j.judge(file)
		}
		j.sort()
		valid = valid && len(j.Errors) == 0
		all = append(all, j)
	}
	if *format == "json" {
		encoder := json.NewEncoder(c.Out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(map[string]any{"valid": valid, "files": all}); err != nil {
			return err
		}
	} else {
		c.printJudged(all)
	}
	if !valid {
		return errFound
	}
	return nil
}

// readFile reads a file, or In: "kubectl kustomize DIR | manager config validate -".
func (c *CLI) readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(c.In)
	}
	return os.ReadFile(name)
}

func (c *CLI) printJudged(all []judged) {
	for _, j := range all {
		for _, kind := range []struct {
			name  string
			spots []spot
		}{{"error", j.Errors}, {"warning", j.Warnings}} {
			for _, s := range kind.spots {
				where, what := j.File, s.Message
				if s.Line > 0 {
					where += fmt.Sprintf(":%d", s.Line)
				}
				if s.Key != "" {
					what = s.Key + ": " + what
				}
				fmt.Fprintf(c.Out, "%s: %s: %s\n", where, kind.name, what)
			}
		}
		verdict := "valid"
		if len(j.Errors) > 0 {
			verdict = "invalid"
		}
		fmt.Fprintf(c.Out, "%s: %s: %d objects checked, %d errors, %d warnings\n", j.File, verdict, j.Checked, len(j.Errors), len(j.Warnings))
	}
}

func (j *judged) fail(line int, object, key, message string) {
	j.Errors = append(j.Errors, spot{line, object, key, message})
}

func (j *judged) sort() {
	// What belongs to no line is in the order of objects, whatever the order in which maps were walked.
	byLine := func(a, b spot) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Object, b.Object))
	}
	slices.SortStableFunc(j.Errors, byLine)
	slices.SortStableFunc(j.Warnings, byLine)
	j.Errors = append([]spot{}, slices.Compact(j.Errors)...)
	j.Warnings = append([]spot{}, slices.Compact(j.Warnings)...)
}

// judge checks everything in a file: each Deployment together with the ConfigMaps that it reads, every other ConfigMap and
// settings file by itself.
func (j *judged) judge(file []byte) {
	docs, err := documents(file)
	if err != nil {
		j.fail(lineOf(err.Error()), "", "", err.Error())
		return
	}
	configMaps := map[string]located{}
	var deployments, plain []located
	for _, d := range docs {
		switch d.kind() {
		case "ConfigMap":
			if l := j.configMap(d); isSettings(d.name(), l.data) {
				if _, twice := configMaps[d.name()]; twice {
					j.fail(d.root.Line, l.object, "", "there are two ConfigMaps of this name: check the files of each installation by themselves")
				}
				configMaps[d.name()] = l
			}
		case "Deployment":
			if l, ok := j.deployment(d); ok {
				deployments = append(deployments, l)
			}
		case "":
			plain = append(plain, j.plain(d))
		}
	}
	alone := map[string]bool{}
	for name := range configMaps {
		alone[name] = true
	}
	for _, l := range deployments {
		for _, name := range l.names() {
			if m, ok := configMaps[name]; ok {
				l.add(name, m)
				alone[name] = false
			}
		}
		j.load(l)
	}
	for _, l := range plain {
		j.load(l)
	}
	for name, m := range configMaps {
		if alone[name] {
			l := located{object: m.object, lines: map[config.Origin]map[string]int{}}
			l.add(name, m)
			j.load(l)
		}
	}
	if j.Checked += len(configMaps) + len(deployments) + len(plain); j.Checked == 0 && len(j.Errors) == 0 {
		j.fail(0, "", "", "holds no settings: no ConfigMap of settings, no Deployment with a container named manager, no settings file")
	}
}

// located are sources of settings with the lines of their values.
type located struct {
	object  string
	sources config.Sources
	data    map[string]string
	lines   map[config.Origin]map[string]int
}

func (l *located) add(name string, m located) {
	l.sources.ConfigMaps = append(l.sources.ConfigMaps, config.ConfigMap{Name: name, Data: m.data})
	origin := config.Origin{Source: config.SourceConfigMap, Name: name}
	l.lines[origin] = m.lines[config.Origin{}]
}

// names are the ConfigMaps that a manager with these sources reads.
func (l *located) names() []string { return configMapNames(l.sources) }

// load judges sources and finds the lines of what it finds.
func (j *judged) load(l located) {
	_, findings := config.Load(l.sources)
	from := map[string]config.Origin{}
	for _, e := range config.Explain(l.sources) {
		from[e.Setting.Key] = e.Origin
	}
	place := func(f config.Finding) spot {
		origin := f.Origin
		if origin.Source == "" {
			origin = from[f.Key]
		}
		return spot{Line: l.lines[origin][f.Key], Object: l.object, Key: f.Key, Message: f.Message}
	}
	for _, f := range findings.Errors {
		j.Errors = append(j.Errors, place(f))
	}
	for _, f := range findings.Warnings {
		j.Warnings = append(j.Warnings, place(f))
	}
}

// configMap reads the data of a ConfigMap. What the API server would refuse is an error.
func (j *judged) configMap(d document) located {
	l := located{object: "ConfigMap/" + d.name(), data: map[string]string{}, lines: map[config.Origin]map[string]int{{}: {}}}
	pairs(child(d.root, "data"), func(key, value *yaml.Node) {
		if _, twice := l.data[key.Value]; twice {
			j.fail(key.Line, l.object, key.Value, "it is there twice")
		}
		if value.Kind != yaml.ScalarNode || value.ShortTag() != "!!str" {
			j.fail(value.Line, l.object, key.Value, "a ConfigMap holds only text: put the value into quotes")
		}
		l.data[key.Value] = value.Value
		l.lines[config.Origin{}][key.Value] = key.Line
	})
	return l
}

// isSettings: a ConfigMap counts by its name or by a key that is a setting.
func isSettings(name string, data map[string]string) bool {
	if strings.HasPrefix(name, "beskar7-config") {
		return true
	}
	return slices.ContainsFunc(config.Table(), func(s config.Setting) bool { _, ok := data[s.Key]; return ok && strings.Contains(s.Key, ".") })
}

// plain reads a settings file as --config takes it.
func (j *judged) plain(d document) located {
	origin := config.Origin{Source: config.SourceFile}
	file, err := yaml.Marshal(d.root)
	if err != nil {
		j.fail(d.root.Line, "file", "", "cannot be read: "+err.Error())
	}
	l := located{object: "file", sources: config.Sources{File: file}, lines: map[config.Origin]map[string]int{origin: {}}}
	l.walk(origin, "", d.root, map[*yaml.Node]bool{})
	return l
}

// walk notes the line of every key, joined by dots. Keys of files may be in any case. An alias that holds itself ends the walk.
func (l *located) walk(origin config.Origin, prefix string, n *yaml.Node, seen map[*yaml.Node]bool) {
	if seen[n] {
		return
	}
	seen[n] = true
	pairs(n, func(key, value *yaml.Node) {
		name := prefix + key.Value
		l.lines[origin][name], l.lines[origin][strings.ToLower(name)] = key.Line, key.Line
		for _, s := range config.Table() {
			if strings.EqualFold(s.Key, name) {
				l.lines[origin][s.Key] = key.Line
			}
		}
		l.walk(origin, name+".", value, seen)
	})
}

// lineOf finds the line in an error of the YAML parser.
func lineOf(message string) int {
	var line int
	if _, rest, ok := strings.Cut(message, "line "); ok {
		_, _ = fmt.Sscanf(rest, "%d", &line)
	}
	return line
}
