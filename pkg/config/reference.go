package config

import (
	"fmt"
	"strings"
)

//go:generate go run ./internal/reference ../../docs/configuration.md

// Reference is the table of settings in Markdown, for docs/configuration.md.
func Reference() string {
	var out strings.Builder
	out.WriteString(`# Configuration

Generated from the code; do not edit.

Every setting can come from several sources. Settings that are *live* take, from weakest to strongest: default, file
(` + "`--config`" + `), environment, flag, ConfigMap ` + "`beskar7-config`" + `; a change of the ConfigMap takes effect without a
restart. All others take: default, file, ConfigMap, environment, flag, and need a restart. With one invalid value nothing of a
change takes effect, and at start-up the manager ends with all errors in one list. Unknown keys are warnings.

`)
	out.WriteString("| Key | Type | Default | Range | Takes effect | Flag | Environment |\n")
	out.WriteString("| --- | --- | --- | --- | --- | --- | --- |\n")
	for i := range table {
		s := &table[i]
		effect := "after a restart"
		if s.Live {
			effect = "live"
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s | %s | %s | `%s` |\n",
			s.Key, s.Type, code(s.Default), dash(s.Range()), effect, code(prefixed("--", s.Flag)), s.Env)
	}
	for i := range table {
		s := &table[i]
		fmt.Fprintf(&out, "\n## `%s`\n\n%s\n", s.Key, s.Help)
		if s.Unit != "" {
			fmt.Fprintf(&out, "\nUnit: %s.\n", s.Unit)
		}
		if s.Recommendation != "" {
			fmt.Fprintf(&out, "\nRecommended: %s\n", s.Recommendation)
		}
	}
	return out.String()
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func code(text string) string {
	if text == "" {
		return "-"
	}
	return "`" + text + "`"
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}
