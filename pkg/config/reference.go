package config

import (
	"fmt"
	"strings"
)

//go:generate go run ./internal/reference ../../docs/configuration.md

const preamble = `# Configuration

Generated from the code; do not edit.

Every setting can come from several sources. Settings that are *live* take, from weakest to strongest: default, file
(` + "`--config`" + `), environment, flag, ConfigMaps (` + "`--config-map`" + `, a later one is stronger; ` + "`beskar7-config`" + ` unless told otherwise);
a change of a ConfigMap takes effect within a second and without a restart. All others take: default, file, ConfigMaps,
environment, flag, and need a restart; an event on the ConfigMap says so. With one invalid value nothing of a change takes
effect: an event and the log list all errors, and ` + "`beskar7_config_valid`" + ` is 0. At start-up the manager ends with the same list.
Unknown keys are warnings.

` + "`manager config validate FILE…`" + ` checks ConfigMaps and Deployments before they are applied, ` + "`manager config show`" + ` prints what is in
effect, from where, and what it overrules. ` + "`config/samples/beskar7-config.yaml`" + ` lists every key;
` + "`configuration.schema.json`" + ` describes the file of ` + "`--config`" + ` and the data of a ConfigMap to editors.

`

const vendorSection = `
## Settings of one vendor

What follows can be set for the BMCs of one vendor as ` + "`vendors.<name>.<key>`" + `, such as
` + "`vendors.dell.provisioning.bmcCooldownPeriod`" + `, and all of it but the part of maxConcurrentOps for one host, in
` + "`spec.redfishConnection.tuning`" + `. The first that is set counts: host, vendor, global key (where some source sets it), what is known
of the vendor, default. Types and ranges are those of the global keys; a time of 0s at a host counts as not set. All of it is live. The vendor is ` + "`spec.redfishConnection.vendor`" + `,
or what the BMC says of itself.

`

const hostSection = `
Some BMCs want to be left alone after media or power were changed, by what is known of the vendor: for that long the effect is not
looked for, and nothing else is changed. A host's ` + "`settleTime`" + ` stands in for that; ` + "`0s`" + ` is not at all.
`

// Reference is the table of settings in Markdown, for docs/configuration.md.
func Reference() string {
	var out strings.Builder
	out.WriteString(preamble)
	out.WriteString("| Key | Type | Default | Range | Takes effect | Flag | Environment |\n")
	out.WriteString("| --- | --- | --- | --- | --- | --- | --- |\n")
	for i := range global() {
		s := &table[i]
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s | %s | %s | `%s` |\n",
			s.Key, s.Type, code(s.Default), dash(s.Range()), s.Effect(), code(prefixed("--", s.Flag)), s.Env)
	}
	out.WriteString(vendorSection)
	fmt.Fprintf(&out, "Names: `%s`.\n\n| Key | In a host's tuning |\n| --- | --- |\n", strings.Join(VendorNames(), "`, `"))
	for i, in := range []string{"-", "`operationTimeout`", "`cooldown`", "`connectionTimeout`", "`requestTimeout`", "`maxRetries`", "`retryDelay`"} {
		fmt.Fprintf(&out, "| `%s` | %s |\n", vendorKeys[i].key, in)
	}
	out.WriteString(hostSection)
	for i := range global() {
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

// global is the table without the settings of vendors, which are its end.
func global() []Setting { return table[:len(table)-vendorCount*len(vendorKeys)] }

// Effect says when a changed value takes effect, in words.
func (s *Setting) Effect() string {
	if s.Live {
		return "live"
	}
	return "after a restart"
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
