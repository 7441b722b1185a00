package config

import (
	"fmt"
	"slices"
)

// Effective is one setting with where its value came from.
type Effective struct {
	Setting Setting
	// Value as it was written.
	Value string
	Origin
	// Shadows are the values that were overruled, strongest first, without the default.
	Shadows []Shadow
}

// Shadow is a value that another one overruled.
type Shadow struct {
	Origin
	Value string `json:"value"`
}

// The order of sources, strongest first. A live setting takes the ConfigMaps over all else, so that a Deployment that also
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
	from, failed := map[string]Source{}, map[string]bool{}
	for i := range table {
		s := &table[i]
		effective := choose(s, all)
		from[s.Key] = effective.Source
		if effective.Source == SourceDefault && s.Optional {
			continue
		}
		value, err := s.parse(effective.Value)
		if err != nil {
			findings.fail(s.Key, effective.Origin, err.Error())
			failed[s.Key] = true
			continue
		}
		s.store(&settings, value, effective.Source != SourceDefault)
		for _, shadowed := range effective.Shadows {
			if _, err := s.parse(shadowed.Value); err != nil {
				findings.warn(s.Key, shadowed.Origin, fmt.Sprintf("%v; it is overruled by the %s", err, effective.Origin))
			}
		}
	}
	relateLeases(&settings, failed, &findings)
	if len(findings.Errors) == 0 {
		relate(&settings, from, &findings)
	}
	if len(findings.Errors) > 0 {
		settings = Defaults()
		for i := range table {
			if value, found := all.get(Origin{Source: SourceEnvironment}, table[i].Key); found && isPod(&table[i]) {
				table[i].store(&settings, value, true)
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
		if value, err := table[i].parse(table[i].Default); err == nil && !table[i].Optional { // a test says that all of them parse
			table[i].store(&settings, value, false)
		}
	}
	return settings
}

func isPod(s *Setting) bool { return len(s.Key) > 4 && s.Key[:4] == "pod." }

// choose takes the strongest value. Of several ConfigMaps the last is the strongest.
func choose(s *Setting, all layers) Effective {
	order := restartOrder
	if s.Live {
		order = liveOrder
	}
	chosen := Effective{Setting: *s}
	for _, source := range order {
		for _, layer := range slices.Backward(all) {
			if layer.Source != source {
				continue
			}
			value, found := layer.values[s.Key]
			switch {
			case !found || (s.Local && source == SourceConfigMap):
			case chosen.Source == "":
				chosen.Value, chosen.Origin = value, layer.Origin
			case source != SourceDefault:
				chosen.Shadows = append(chosen.Shadows, Shadow{Origin: layer.Origin, Value: value})
			}
		}
	}
	return chosen
}

func (f *Findings) fail(key string, origin Origin, message string) {
	f.Errors = append(f.Errors, Finding{Key: key, Origin: origin, Message: message})
}

func (f *Findings) warn(key string, origin Origin, message string) {
	f.Warnings = append(f.Warnings, Finding{Key: key, Origin: origin, Message: message})
}

// Reload is current with the live settings of next: what a running process may take over. The rest waits for a restart.
func Reload(current, next Settings) Settings {
	for i := range table {
		s := &table[i]
		if s.Live {
			s.store(&current, s.value(&next), false)
		}
	}
	current.Chosen = next.Chosen // all of it is live
	return current
}

// Change is a setting whose value differs.
type Change struct {
	Key string
	// Live says whether it takes effect at once.
	Live bool
	// Before and After as text.
	Before, After string
}

// Changes lists what differs between two settings, in the order of the table.
func Changes(before, after Settings) []Change {
	var changes []Change
	for i := range table {
		s := &table[i]
		if b, a := s.value(&before), s.value(&after); b != a {
			changes = append(changes, Change{Key: s.Key, Live: s.Live, Before: fmt.Sprint(b), After: fmt.Sprint(a)})
		}
	}
	return changes
}
