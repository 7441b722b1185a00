package config

import (
	"encoding/json"
	"regexp"
	"strings"
)

// Schema is the JSON schema of the data of a ConfigMap, and of the file of --config where it is written with dotted keys.
// Values may be text, as in a ConfigMap, or of their own type. Unknown keys are allowed, as they are only warned of.
func Schema() []byte {
	properties, patterns := map[string]any{}, map[string]any{}
	for i := range global() {
		properties[table[i].Key] = schemaOf(&table[i])
	}
	names := strings.Join(VendorNames(), "|")
	first := table[len(global()):]
	for i, k := range vendorKeys {
		patterns[`^vendors\.(`+names+`)\.`+regexp.QuoteMeta(k.key)+`$`] = schemaOf(&first[i])
	}
	out, err := json.MarshalIndent(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Settings of Beskar7", "type": "object",
		"properties": properties, "patternProperties": patterns,
	}, "", "  ")
	if err != nil { // maps and strings only
		panic(err)
	}
	return append(out, '\n')
}

// schemaOf describes one value. Ranges of text cannot be said in a schema: they are in the description.
func schemaOf(s *Setting) map[string]any {
	description := s.Help
	if limits := s.Range(); limits != "" {
		description += " Range: " + limits + "."
	}
	if s.Recommendation != "" {
		description += " Recommended: " + s.Recommendation
	}
	out := map[string]any{"description": description + " Takes effect: " + s.Effect() + "."}
	if !s.Optional {
		out["default"] = s.Default
	}
	text := func(pattern string) map[string]any { return map[string]any{"type": "string", "pattern": pattern} }
	switch s.Type {
	case Integer:
		out["anyOf"] = []any{map[string]any{"type": "integer", "minimum": json.Number(s.Min), "maximum": json.Number(s.Max)}, text(`^\s*[0-9]+\s*$`)}
	case Number:
		out["anyOf"] = []any{map[string]any{"type": "number", "minimum": json.Number(s.Min), "maximum": json.Number(s.Max)}, text(`^\s*[0-9]+(\.[0-9]*)?\s*$`)}
	case Boolean:
		out["anyOf"] = []any{map[string]any{"type": "boolean"}, map[string]any{"enum": []string{"true", "false"}}}
	case Duration:
		out["type"], out["pattern"] = "string", `^\s*([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+\s*$`
	case Choice:
		out["enum"] = s.Options
	case Text, Address, URL, Names, CipherSuites, Networks:
		out["type"] = "string"
	}
	return out
}
