package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/beskar7/beskar7/pkg/config"
)

// shown is one setting as show prints it.
type shown struct {
	Key     string          `json:"key"`
	Value   string          `json:"value"`
	Source  string          `json:"source"`
	Shadows []config.Shadow `json:"shadows,omitempty"`
	Range   string          `json:"range,omitempty"`
	Effect  string          `json:"effect"`
	// Note says what keeps the value from being in effect.
	Note string `json:"note,omitempty"`
}

// show prints the settings of the installed manager, or, with --local, those of this process.
func (c *CLI) show(ctx context.Context, args []string) error {
	flags := c.flags("config show")
	format, where := output(flags), c.place(flags)
	local := flags.Bool("local", false, "the settings of a manager that would start here with this environment and the flags after --")
	all := flags.Bool("all", false, "also the settings of vendors that nobody set")
	if err := parse(flags, args, 0, -1); err != nil {
		return err
	}
	if err := checkOutput(*format); err != nil {
		return err
	}
	if flags.NArg() > 0 && !*local {
		return usagef("flags of a manager after -- need --local")
	}
	var sources config.Sources
	stale := func(config.Origin) string { return "" }
	if *local {
		given, read := config.Arguments(flags.Args())
		for _, a := range read {
			if a.Problem != "" {
				return usagef("--%s: %s", a.Flag, a.Problem)
			}
		}
		sources = config.Sources{Flags: given, Env: c.Env}
		for _, e := range config.Explain(sources) {
			if e.Setting.Key == "config" && e.Value != "" {
				file, err := os.ReadFile(e.Value)
				if err != nil {
					return fmt.Errorf("read --config: %w", err)
				}
				sources.File = file
			}
		}
	} else {
		in, err := c.installation(ctx, where)
		if err != nil {
			return err
		}
		pods, err := in.pods(ctx)
		if err != nil {
			return err
		}
		sources, stale = in.sources, in.staleness(pods)
	}
	_, findings := config.Load(sources)
	return c.printSettings(settingsShown(sources, findings, stale, *all), findings, *format)
}

// settingsShown lists the settings; those of vendors only if they are set, or all are wanted.
func settingsShown(sources config.Sources, findings config.Findings, stale func(config.Origin) string, all bool) []shown {
	var list []shown
	for _, e := range config.Explain(sources) {
		if e.Setting.Optional && e.Source == config.SourceDefault && !all {
			continue
		}
		s := shown{Key: e.Setting.Key, Value: e.Value, Source: e.String(), Shadows: e.Shadows, Range: e.Setting.Range(), Effect: e.Setting.Effect()}
		if !e.Setting.Live {
			s.Note = stale(e.Origin)
		}
		// Settings take effect all together or not at all: a valid value beside an invalid one waits with it.
		if len(findings.Errors) > 0 && e.Source == config.SourceConfigMap {
			s.Note = "not in effect if it is new: another setting is invalid"
		}
		for _, f := range findings.Errors {
			if f.Key == e.Setting.Key {
				s.Note = "invalid, so that no change is in effect: " + f.Message
			}
		}
		list = append(list, s)
	}
	return list
}

// staleness says of a setting that needs a restart whether it may be newer than the Pods that run: it came from a ConfigMap
// that changed after they started.
func (in *installation) staleness(pods []corev1.Pod) func(config.Origin) string {
	return func(origin config.Origin) string {
		configMap := in.configMaps[origin.Name]
		if origin.Source != config.SourceConfigMap || configMap == nil {
			return ""
		}
		changed, older := changedAt(configMap), 0
		for _, p := range pods {
			if p.Status.StartTime != nil && p.Status.StartTime.Time.Before(changed) {
				older++
			}
		}
		if older == 0 {
			return ""
		}
		return fmt.Sprintf("needs a restart: the ConfigMap changed after %d of %d Pods started", older, len(pods))
	}
}

// changedAt is when an object was last written, as far as its managers say.
func changedAt(configMap *corev1.ConfigMap) time.Time {
	last := configMap.CreationTimestamp.Time
	for _, m := range configMap.ManagedFields {
		if m.Time != nil && m.Time.After(last) {
			last = m.Time.Time
		}
	}
	return last
}

func (c *CLI) printSettings(list []shown, findings config.Findings, format string) error {
	if format == "json" {
		encoder := json.NewEncoder(c.Out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(map[string]any{"settings": list, "errors": append([]config.Finding{}, findings.Errors...), "warnings": append([]config.Finding{}, findings.Warnings...)})
	}
	table := tabwriter.NewWriter(c.Out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "KEY\tVALUE\tSOURCE\tOVERRULES\tRANGE\tTAKES EFFECT")
	for _, s := range list {
		var shadows []string
		for _, shadow := range s.Shadows {
			shadows = append(shadows, fmt.Sprintf("%s=%s", shadow.Origin, shadow.Value))
		}
		effect := s.Effect
		if s.Note != "" {
			effect += " (" + s.Note + ")"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Key, dash(s.Value), s.Source, dash(strings.Join(shadows, ", ")), dash(s.Range), effect)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, kind := range []struct {
		name string
		list []config.Finding
	}{{"error", findings.Errors}, {"warning", findings.Warnings}} {
		for _, f := range kind.list {
			fmt.Fprintf(c.Out, "%s: %s\n", kind.name, f)
		}
	}
	return nil
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
