package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/beskar7/beskar7/pkg/config"
)

// report judges the settings by the metrics of a running manager, of addresses, or of saved scrapes.
func (c *CLI) report(ctx context.Context, args []string) error {
	flags := c.flags("config report")
	format, where := output(flags), c.place(flags)
	length := flags.Duration("window", time.Minute, "the time between the two looks from which rates are made; of saved scrapes, the time that lay between them")
	urls := flags.StringArray("url", nil, "the metrics of one replica, such as http://127.0.0.1:8080/metrics; give it for every replica")
	saved := flags.StringArray("scrape", nil, "a saved scrape; twice: the earlier first. Files of several replicas are separated by commas, in the same order")
	who := visitFlags(flags)
	settings := flags.String("settings", "", "with --url or --scrape: a file with the Deployment, ConfigMaps or settings of the manager; without it the defaults")
	if err := parse(flags, args, 0, 0); err != nil {
		return err
	}
	if err := checkOutput(*format); err != nil {
		return err
	}
	if *length <= 0 || len(*saved) > 2 || (len(*saved) > 0 && len(*urls) > 0) {
		return usagef("--window must be more than 0, --scrape is given at most twice, and not with --url")
	}
	var in *installation
	var sources config.Sources
	var w window
	var err error
	if len(*urls)+len(*saved) == 0 {
		if in, err = c.installation(ctx, where); err != nil {
			return err
		}
		sources = in.sources
	} else if sources, err = settingsFile(*settings); err != nil {
		return err
	}
	effective, findings := config.Load(sources)
	if len(findings.Errors) > 0 {
		return fmt.Errorf("the settings are invalid, so that they cannot be judged: %s", findings.Errors[0])
	}
	switch {
	case len(*saved) > 0:
		w, err = savedWindow(*saved, *length)
	case len(*urls) > 0:
		var guest *visitor
		if guest, err = who.visitor(); err == nil {
			w, err = c.look(ctx, guest.ofURLs(*urls), *length)
		}
	default:
		w, err = c.look(ctx, c.patiently(in.scrapes), *length)
	}
	if err != nil {
		return err
	}
	j := judge(w, effective)
	return c.printJudgement(j, commandsFor(j.Advice, in, *where), *format)
}

// savedWindow is made of one or two saved looks.
func savedWindow(saved []string, length time.Duration) (window, error) {
	after, err := readScrapes(saved[len(saved)-1])
	if err != nil || len(saved) == 1 {
		return window{after: after}, err
	}
	before, err := readScrapes(saved[0])
	return window{before: before, after: after, length: length}, err
}

// settingsFile are the sources in a file as validate takes it; without a name there are none.
func settingsFile(name string) (config.Sources, error) {
	if name == "" {
		return config.Sources{}, nil
	}
	file, err := os.ReadFile(name)
	if err != nil {
		return config.Sources{}, err
	}
	docs, err := documents(file)
	if err != nil {
		return config.Sources{}, err
	}
	var j judged
	var sources config.Sources
	for _, d := range docs {
		switch d.kind() {
		case "ConfigMap":
			sources.ConfigMaps = append(sources.ConfigMaps, config.ConfigMap{Name: d.name(), Data: j.configMap(d).data})
		case "Deployment":
			if l, ok := j.deployment(d); ok {
				sources.Flags, sources.Env = l.sources.Flags, l.sources.Env
			}
		case "":
			sources.File = j.plain(d).sources.File
		}
	}
	return sources, nil
}

// commandsFor are the commands that follow the advice. What only the Deployment can say is patched there, beside its other
// arguments.
func commandsFor(list []advice, in *installation, where place) []string {
	var out []string
	data := map[string]string{}
	for _, a := range list {
		if a.Key == "claimCoordinator.enabled" {
			patch := []operation{{Op: "add", Path: "/spec/template/spec/containers/0/args/-", Value: coordinatorFlag + "=true"}}
			if in != nil {
				patch, _ = flagPatch(in.deployment, coordinatorFlag, "true")
			}
			out = append(out, kubectl(where, "deployment "+where.deployment, "json", patch))
			continue
		}
		data[a.Key] = a.To
	}
	if len(data) == 0 {
		return out
	}
	name, exists := "beskar7-config", true
	if in != nil {
		name = in.strongest()
		exists = in.configMaps[name] != nil
	}
	if exists {
		return append([]string{kubectl(where, "configmap "+name, "merge", map[string]any{"data": data})}, out...)
	}
	create := where.kubectl() + " create configmap " + name
	for _, a := range list {
		if to, ok := data[a.Key]; ok {
			create += fmt.Sprintf(" --from-literal=%s=%s", a.Key, to)
		}
	}
	return append([]string{create}, out...)
}

func kubectl(where place, object, kind string, patch any) string {
	text, err := json.Marshal(patch)
	if err != nil { // texts only
		panic(err)
	}
	return fmt.Sprintf("%s patch %s --type %s -p %s", where.kubectl(), object, kind, quoted(string(text)))
}

// kubectl begins a command at this place: in the cluster that was looked at, which need not be the current one.
func (p place) kubectl() string {
	command := "kubectl"
	if p.kubeconfig != "" {
		command += " --kubeconfig " + quoted(p.kubeconfig)
	}
	if p.context != "" {
		command += " --context " + quoted(p.context)
	}
	return command + " -n " + p.namespace
}

// quoted is one word for a shell.
func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

func (c *CLI) printJudgement(j judgement, commands []string, format string) error {
	if format == "json" {
		// Lists that are empty are still lists for whoever reads them.
		j.Advice, commands = append([]advice{}, j.Advice...), append([]string{}, commands...)
		encoder := json.NewEncoder(c.Out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(struct {
			judgement
			Commands []string `json:"commands"`
		}{j, commands})
	}
	fmt.Fprintf(c.Out, "Effectiveness of the configuration: %d replicas, window %s\n\n", j.Replicas, j.Window)
	for _, m := range j.Measures {
		fmt.Fprintf(c.Out, "%-9s %-18s %s\n", "["+m.Verdict+"]", m.Name, m.Text)
	}
	if len(j.Advice) == 0 {
		fmt.Fprintln(c.Out, "\nNothing to recommend.")
		return nil
	}
	fmt.Fprintln(c.Out, "\nRecommended:")
	for _, a := range j.Advice {
		fmt.Fprintf(c.Out, "  %s: %s from %s to %s\n", a.Text, a.Key, a.From, a.To)
	}
	fmt.Fprintln(c.Out, "\nTo apply:")
	for _, command := range commands {
		fmt.Fprintln(c.Out, "  "+command)
	}
	return nil
}
