package kubeadmhost

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

const templateHeader = "## template: jinja"

var (
	expressionPattern = regexp.MustCompile(`(?s)\{\{-?(.*?)-?\}\}`)
	// A reference is a name, then .name or ["name"] any number of times.
	referencePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*|\[("[^"]*"|'[^']*')\])*$`)
	stepPattern      = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*|\["([^"]*)"\]|\['([^']*)'\]`)
)

// render expands the part of the template language that Cluster API users write:
// references to variables. cloud-init leaves a placeholder for an unknown
// variable and boots on; here the boot fails, because nobody would notice.
func render(text string, meta *metadata) (string, error) {
	if strings.Contains(text, "{%") || strings.Contains(text, "{#") {
		return "", errors.New("template statements and comments are not supported")
	}
	scope := map[string]any{
		"ds": map[string]any{"meta_data": meta.values},
		"v1": map[string]any{
			"local_hostname": meta.hostname, "hostname": meta.hostname,
			"instance_id": meta.instanceID, "cloud_name": "nocloud", "platform": "nocloud",
		},
	}
	if strings.Count(text, "{{") != len(expressionPattern.FindAllString(text, -1)) {
		return "", errors.New("a template expression is not closed")
	}
	var failed error
	out := expressionPattern.ReplaceAllStringFunc(text, func(match string) string {
		expression := strings.TrimSpace(expressionPattern.FindStringSubmatch(match)[1])
		value, err := resolve(expression, scope)
		if err != nil && failed == nil {
			failed = err
		}
		return value
	})
	if failed != nil {
		return "", failed
	}
	return out, nil
}

// resolve looks a reference up. Keys with dashes are also known with
// underscores, as cloud-init does it.
func resolve(expression string, scope map[string]any) (string, error) {
	if !referencePattern.MatchString(expression) {
		return "", fmt.Errorf("template expression %q is not a plain reference", expression)
	}
	var value any = scope
	for _, step := range stepPattern.FindAllStringSubmatch(expression, -1) {
		key := step[1] + step[2]
		if key == "" {
			key = step[0]
		}
		object, ok := value.(map[string]any)
		if !ok {
			return "", fmt.Errorf("template variable %q: there is nothing below a plain value", expression)
		}
		if value, ok = lookup(object, key); !ok {
			return "", fmt.Errorf("template variable %q is not defined", expression)
		}
	}
	switch v := value.(type) {
	case string:
		return v, nil
	case bool:
		if v {
			return "True", nil
		}
		return "False", nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	default:
		return "", fmt.Errorf("template variable %q is not a plain value", expression)
	}
}

func lookup(object map[string]any, key string) (any, bool) {
	if value, ok := object[key]; ok {
		return value, true
	}
	for name, value := range object {
		if strings.ReplaceAll(name, "-", "_") == key {
			return value, true
		}
	}
	return nil, false
}
