package main

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// namespace is where kustomize puts the installation; Helm's user chooses another.
const namespace = "beskar7-system"

// A mark stands in the tree of an object where the template has an action. The kinds are told
// apart by their beginning, and by the line that the mark is written on: `key: mark`, `mark: ""` or `- mark`.
const (
	markValue = "mark-value-"  // key: {{ the value }}
	markBlock = "mark-block-"  // key with the value below it, both absent when the value is empty
	markMore  = "mark-more-"   // what is added to the mapping or list, if anything
	markHelp  = "mark-help-"   // what a helper writes in this place, if anything
	markCall  = "mark-call-"   // key with what a helper writes below it
	releaseNS = "mark-release" // the release's namespace, anywhere in a scalar
)

var (
	lineValue = regexp.MustCompile(`^( *)((?:- )?)([\w./-]+): mark-value-(.+)$`)
	lineBlock = regexp.MustCompile(`^( *)([\w./-]+): mark-block-(.+)$`)
	lineCall  = regexp.MustCompile(`^( *)((?:- )?)([\w./-]+): mark-call-(.+)$`)
	lineHelp  = regexp.MustCompile(`^( *)mark-help-([\w.]+): ""$`)
	lineMore  = regexp.MustCompile(`^( *)(?:mark-more-([\w.]+): ""|- mark-more-([\w.]+))$`)
)

// template writes an object as a Helm template; scalars that rename has become the expressions there.
func template(o object, rename map[string]string) (string, error) {
	if err := mark(o); err != nil {
		return "", err
	}
	var renamed []string
	each(o.root, func(scalar *yaml.Node) {
		scalar.Value = inRelease(scalar.Value)
		if expression, ok := rename[scalar.Value]; ok {
			scalar.Value = "mark-rename-" + scalar.Value
			renamed = append(renamed, scalar.Value, expression)
		}
	})
	written, err := encode(o.root)
	if err != nil {
		return "", err
	}
	written = strings.ReplaceAll(written, "{{", "{{ `{{` }}")
	lines := strings.SplitAfter(strings.TrimSuffix(written, "\n"), "\n")
	for i, line := range lines {
		lines[i] = action(line)
	}
	written = strings.ReplaceAll(strings.Join(lines, ""), releaseNS, "{{ .Release.Namespace }}")
	written = strings.ReplaceAll(written, "namespace: {{ .Release.Namespace }}\n", "namespace: {{ .Release.Namespace | quote }}\n") // 123 is a name, too
	written = strings.NewReplacer(renamed...).Replace(written)
	if condition := conditionOf(o); condition != "" {
		written = "{{- " + condition + " }}\n" + written + "{{- end }}\n"
	}
	return written, nil
}

// inRelease replaces the namespace where it is one, and not the beginning of a name such as beskar7-system-manager-role.
func inRelease(value string) string {
	switch {
	case value == namespace:
		return releaseNS
	case strings.HasPrefix(value, namespace+"/"):
		return releaseNS + strings.TrimPrefix(value, namespace)
	case strings.HasSuffix(value, "="+namespace):
		return strings.TrimSuffix(value, namespace) + releaseNS
	}
	return strings.Replace(value, "."+namespace+".", "."+releaseNS+".", 1)
}

// action turns a line with a mark into the template's.
func action(line string) string {
	line = strings.TrimSuffix(line, "\n")
	if m := lineValue.FindStringSubmatch(line); m != nil {
		return fmt.Sprintf("%s%s%s: {{ %s }}\n", m[1], m[2], m[3], expressions[m[4]])
	}
	if m := lineBlock.FindStringSubmatch(line); m != nil {
		return fmt.Sprintf("%[1]s{{- with .Values.%[3]s }}\n%[1]s%[2]s:\n%[1]s  {{- toYaml . | nindent %[4]d }}\n%[1]s{{- end }}\n",
			m[1], m[2], m[3], len(m[1])+2)
	}
	if m := lineCall.FindStringSubmatch(line); m != nil {
		deep := len(m[1]) + len(m[2]) + 2
		return fmt.Sprintf("%s%s%s:\n%s{{- include \"%s\" . | nindent %d }}\n", m[1], m[2], m[3], strings.Repeat(" ", deep), m[4], deep)
	}
	if m := lineHelp.FindStringSubmatch(line); m != nil {
		return fmt.Sprintf("%[1]s{{- with include \"%[2]s\" $ }}\n%[1]s{{- . | nindent %[3]d }}\n%[1]s{{- end }}\n", m[1], m[2], len(m[1]))
	}
	if m := lineMore.FindStringSubmatch(line); m != nil {
		return fmt.Sprintf("%[1]s{{- with .Values.%[2]s }}\n%[1]s{{- toYaml . | nindent %[3]d }}\n%[1]s{{- end }}\n",
			m[1], m[2]+m[3], len(m[1]))
	}
	return line + "\n"
}
