package cli

import (
	"regexp"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"go.yaml.in/yaml/v3"

	"github.com/beskar7/beskar7/pkg/config"
)

// containerName is the manager's container in its Deployment.
const containerName = "manager"

// configMapNames are the ConfigMaps that a manager with these sources reads, weakest first.
func configMapNames(sources config.Sources) []string {
	for _, e := range config.Explain(sources) {
		if e.Setting.Key == "configMaps" {
			return config.Scope{ConfigMaps: e.Value}.ConfigMapNames()
		}
	}
	return nil
}

// variable is one NAME=value of a container. Where the value is only known in the Pod, known is false, and the reference to it
// stays as it is wherever it is used.
type variable struct {
	name, value string
	known       bool
	line        int
}

// reference is $(NAME) in an argument or a variable.
var reference = regexp.MustCompile(`\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)`)

// expand replaces references as the kubelet does.
func expand(text string, env []variable) string {
	return reference.ReplaceAllStringFunc(text, func(match string) string {
		if match == "$$" {
			return "$"
		}
		name := match[2 : len(match)-1]
		if i := slices.IndexFunc(env, func(v variable) bool { return v.name == name }); i >= 0 {
			return env[i].value
		}
		return match
	})
}

// environ are the variables whose values are known, expanded in their order.
func environ(env []variable) []string {
	var out []string
	for i, v := range env {
		if v.known {
			out = append(out, v.name+"="+expand(v.value, env[:i]))
		}
	}
	return out
}

// expanded are a container's arguments as the manager gets them.
func expanded(args []string, env []variable) []string {
	out := make([]string, len(args))
	for i, arg := range args {
		out[i] = expand(arg, env)
	}
	return out
}

// sourcesOf are the sources of settings in a Deployment, without ConfigMaps and --config; nil without a manager's container.
func sourcesOf(deployment *appsv1.Deployment) (config.Sources, bool) {
	i := slices.IndexFunc(deployment.Spec.Template.Spec.Containers, func(c corev1.Container) bool { return c.Name == containerName })
	if i < 0 {
		return config.Sources{}, false
	}
	container := deployment.Spec.Template.Spec.Containers[i]
	env := make([]variable, len(container.Env))
	for i, v := range container.Env {
		env[i] = variable{name: v.Name, value: v.Value, known: v.ValueFrom == nil}
		if v.ValueFrom != nil {
			env[i].value = "$(" + v.Name + ")"
		}
	}
	flags, _ := config.Arguments(expanded(container.Args, env))
	return config.Sources{Flags: flags, Env: append(environ(env), "POD_NAMESPACE="+deployment.Namespace)}, true
}

// deployment reads the settings in the manager's container of a Deployment's document, with their lines.
func (j *judged) deployment(d document) (located, bool) {
	var container *yaml.Node
	for _, c := range items(path(d.root, "spec", "template", "spec", "containers")) {
		if text(child(c, "name")) == containerName {
			container = c
		}
	}
	if container == nil {
		return located{}, false
	}
	flagged, varied := config.Origin{Source: config.SourceFlag}, config.Origin{Source: config.SourceEnvironment}
	l := located{object: "Deployment/" + d.name(), lines: map[config.Origin]map[string]int{flagged: {}, varied: {}}}
	var env []variable
	for _, v := range items(child(container, "env")) {
		one := variable{name: text(child(v, "name")), value: text(child(v, "value")), known: child(v, "valueFrom") == nil, line: resolve(v).Line}
		if !one.known {
			one.value = "$(" + one.name + ")"
		}
		env = append(env, one)
	}
	var args []string
	var lines []int
	for _, a := range items(child(container, "args")) {
		args, lines = append(args, expand(text(a), env)), append(lines, a.Line)
	}
	flags, read := config.Arguments(args)
	l.sources.Flags, l.sources.Env = flags, environ(env)
	for _, a := range read {
		if a.Problem != "" {
			j.fail(lines[a.Index], l.object, "--"+a.Flag, a.Problem)
		}
		for _, s := range config.Table() {
			if s.Flag == a.Flag {
				l.lines[flagged][s.Key] = lines[a.Index]
			}
		}
	}
	for _, v := range env {
		l.lines[varied][v.name] = v.line
		for _, s := range config.Table() {
			if s.Env == v.name {
				l.lines[varied][s.Key] = v.line
			}
		}
	}
	return l, true
}
