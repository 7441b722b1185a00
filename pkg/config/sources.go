package config

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// Sources are where settings come from. Reading them is the caller's: this package does no I/O.
type Sources struct {
	// Flags that Bind declared, parsed. nil: none.
	Flags *pflag.FlagSet
	// Env as os.Environ gives it.
	Env []string
	// File is the content of --config, in YAML: nested maps and dotted keys are understood, in any case.
	File []byte
	// ConfigMaps are those of --config-map that exist, weakest first.
	ConfigMaps []ConfigMap
}

// ConfigMap is the name and data of a ConfigMap of settings.
type ConfigMap struct { //nolint:revive // it is what Kubernetes calls it
	Name string
	Data map[string]string
}

// Bind declares the flags of all settings that have one. Their values are checked by Load, not while they are parsed, so that
// all errors are seen at once.
func Bind(flags *pflag.FlagSet) {
	for i := range table {
		s := &table[i]
		if s.Flag == "" {
			continue
		}
		help := strings.TrimSuffix(s.Help, ".")
		if limits := s.Range(); limits != "" {
			help += " (" + limits + ")"
		}
		flag := flags.VarPF(&raw{text: s.Default, kind: s.Type}, s.Flag, "", help)
		if s.Type == Boolean {
			flag.NoOptDefVal = "true" // --leader-elect alone means true
		}
	}
}

// raw is a flag that keeps its text. Names and Networks gather up; of all others the last one counts.
type raw struct {
	text string
	kind Type
	set  bool
}

func (r *raw) String() string { return r.text }
func (r *raw) Type() string   { return string(r.kind) }

func (r *raw) Set(text string) error {
	if r.set && (r.kind == Names || r.kind == Networks) {
		text = r.text + "," + text
	}
	r.text, r.set = text, true
	return nil
}

// layers are raw values by origin. Of one source, later layers are stronger.
type layers []layer

type layer struct {
	Origin
	values map[string]string
}

func (l layers) get(origin Origin, key string) (string, bool) {
	for _, layer := range l {
		if layer.Origin == origin {
			value, found := layer.values[key]
			return value, found
		}
	}
	return "", false
}

// collect reads every source. What cannot be read or is not known goes to the findings.
func collect(sources Sources, findings *Findings) layers {
	defaults, flags, variables := map[string]string{}, map[string]string{}, map[string]string{}
	env := environment(sources.Env)
	keys := map[string]*Setting{}
	for i := range table {
		s := &table[i]
		keys[s.Key] = s
		defaults[s.Key] = s.Default
		if value, found := env[s.Env]; found {
			variables[s.Key] = value
			delete(env, s.Env)
		}
		if sources.Flags == nil || s.Flag == "" {
			continue
		}
		if flag := sources.Flags.Lookup(s.Flag); flag != nil && flag.Changed {
			flags[s.Key] = flag.Value.String()
		}
	}
	file := readFile(sources.File, findings)
	delete(file, "config")
	all := layers{{Origin{Source: SourceDefault}, defaults}, {Origin{Source: SourceFile}, file}}
	for _, configMap := range sources.ConfigMaps {
		all = append(all, layer{Origin{SourceConfigMap, configMap.Name}, configMap.Data})
	}
	for _, layer := range all[1:] {
		layer.warn(keys, findings)
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if strings.HasPrefix(name, "BESKAR7_") {
			findings.warn(name, Origin{Source: SourceEnvironment}, "there is no such setting"+suggest(name, func(s *Setting) string { return s.Env }))
		}
	}
	return append(all, layer{Origin{Source: SourceEnvironment}, variables}, layer{Origin{Source: SourceFlag}, flags})
}

// warn of keys that have no effect here.
func (l layer) warn(known map[string]*Setting, findings *Findings) {
	for _, key := range slices.Sorted(maps.Keys(l.values)) {
		switch s := known[key]; {
		case s == nil:
			findings.warn(key, l.Origin, "there is no such setting"+suggest(key, func(s *Setting) string { return s.Key }))
		case s.Local && l.Source == SourceConfigMap:
			findings.warn(key, l.Origin, "it is ignored in a ConfigMap: it says where settings are found")
		}
	}
}

// serviceLink matches what Kubernetes sets for every Service of the namespace: BESKAR7_WEBHOOK_SERVICE_PORT_443_TCP_ADDR.
var serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)$`)

// environment reads NAME=value lines; a later one wins. Service links are left out: a Service named beskar7-webhook would
// otherwise set webhook.port to tcp://10.96.0.7:443.
func environment(lines []string) map[string]string {
	env := map[string]string{}
	for _, line := range lines {
		name, value, found := strings.Cut(line, "=")
		if !found || serviceLink.MatchString(name) || (strings.HasSuffix(name, "_PORT") && strings.Contains(value, "://")) {
			continue
		}
		env[name] = value
	}
	return env
}

// readFile flattens a YAML file. The parser has panicked on hostile input before, so it is fenced in.
func readFile(file []byte, findings *Findings) (values map[string]string) {
	values = map[string]string{}
	if len(bytes.TrimSpace(file)) == 0 {
		return values
	}
	defer func() {
		if recover() != nil {
			findings.fail("config", Origin{Source: SourceFile}, "the file cannot be read as YAML")
		}
	}()
	parser := viper.New()
	parser.SetConfigType("yaml")
	if err := parser.ReadConfig(bytes.NewReader(file)); err != nil {
		findings.fail("config", Origin{Source: SourceFile}, "the file cannot be read as YAML: "+firstLine(err.Error()))
		return values
	}
	spelled := map[string]string{} // viper folds the case of keys
	for i := range table {
		spelled[strings.ToLower(table[i].Key)] = table[i].Key
	}
	for _, key := range parser.AllKeys() {
		name, known := spelled[key]
		if !known {
			name = key
		}
		values[name] = textOf(parser.Get(key))
	}
	return values
}

// textOf writes a YAML value as a ConfigMap would hold it; what is no scalar stays recognisable in the error that follows.
func textOf(value any) string {
	if value == nil {
		return ""
	}
	return fmt.Sprint(value)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
