package config

import "fmt"

// Effective is one setting with where its value came from.
type Effective struct {
	Setting Setting
	// Value as it was written.
	Value  string
	Source Source
	// Shadows are the sources whose values were overruled, strongest first.
	Shadows []Source
}

// The order of sources, strongest first. A live setting takes the ConfigMap over all else, so that a Deployment that also
// sets it stays tunable; a setting that needs a restart takes what the Deployment says.
var (
	liveOrder    = []Source{SourceConfigMap, SourceFlag, SourceEnvironment, SourceFile, SourceDefault}
	restartOrder = []Source{SourceFlag, SourceEnvironment, SourceConfigMap, SourceFile, SourceDefault}
)

// Load merges and checks all sources. With any error the settings are the defaults (and what the Pod said of itself), and the
// findings list all errors at once. It never panics.
func Load(sources Sources) (Settings, Findings) {
	var findings Findings
	var settings Settings
	all := collect(sources, &findings)
	from := map[string]Source{}
	for i := range table {
		s := &table[i]
		effective := choose(s, all)
		from[s.Key] = effective.Source
		value, err := s.parse(effective.Value)
		if err != nil {
			findings.fail(s.Key, effective.Source, err.Error())
			continue
		}
		s.store(&settings, value)
		for _, shadowed := range effective.Shadows {
			if _, err := s.parse(all[shadowed][s.Key]); err != nil {
				findings.warn(s.Key, shadowed, fmt.Sprintf("%v; it is overruled by the %s", err, effective.Source))
			}
		}
	}
	if len(findings.Errors) == 0 {
		relate(&settings, from, &findings)
	}
	if len(findings.Errors) > 0 {
		settings = Defaults()
		for i := range table {
			if value, found := all[SourceEnvironment][table[i].Key]; found && isPod(&table[i]) {
				table[i].store(&settings, value)
			}
		}
	}
	return settings, findings
}

// Explain says for every setting, in the order of the table, what its value is and where it came from, valid or not.
func Explain(sources Sources) []Effective {
	all := collect(sources, &Findings{})
	effective := make([]Effective, len(table))
	for i := range table {
		effective[i] = choose(&table[i], all)
	}
	return effective
}

// Defaults are the settings when no source says anything.
func Defaults() Settings {
	var settings Settings
	for i := range table {
		if value, err := table[i].parse(table[i].Default); err == nil { // a test says that all of them parse
			table[i].store(&settings, value)
		}
	}
	return settings
}

func isPod(s *Setting) bool { return len(s.Key) > 4 && s.Key[:4] == "pod." }

func choose(s *Setting, all layers) Effective {
	order := restartOrder
	if s.Live {
		order = liveOrder
	}
	chosen := Effective{Setting: *s}
	for _, source := range order {
		value, found := all[source][s.Key]
		switch {
		case !found:
		case chosen.Source == "":
			chosen.Value, chosen.Source = value, source
		case source != SourceDefault:
			chosen.Shadows = append(chosen.Shadows, source)
		}
	}
	return chosen
}

func (f *Findings) fail(key string, source Source, message string) {
	f.Errors = append(f.Errors, Finding{Key: key, Source: source, Message: message})
}

func (f *Findings) warn(key string, source Source, message string) {
	f.Warnings = append(f.Warnings, Finding{Key: key, Source: source, Message: message})
}

// Reload is current with the live settings of next: what a running process may take over. The rest waits for a restart.
func Reload(current, next Settings) Settings {
	for i := range table {
		s := &table[i]
		if !s.Live {
			continue
		}
		s.store(&current, s.value(&next))
	}
	return current
}
