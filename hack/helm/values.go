package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// entry is one key at the top of values.yaml.
type entry struct {
	key     string
	comment string
	value   any
}

// written returns the entry as values.yaml has it, without the comment.
func (e entry) written() (string, error) { return encode(map[string]any{e.key: e.value}) }

// installation is what the values say of one kustomization, in the order of values.yaml.
type installation struct {
	entries []entry
	tag     string // of the manager's image
}

type (
	fields map[string]any
	list   []any
)

// installationOf reads the values off what kustomize built.
func installationOf(objects []object) (installation, error) {
	deployment, media, budget, settings := find(objects, "Deployment"), find(objects, "Service/beskar7-media"),
		find(objects, "PodDisruptionBudget"), find(objects, "ConfigMap/beskar7-config")
	if deployment.root == nil || media.root == nil {
		return installation{}, errors.New("no Deployment, or no Service beskar7-media, among the objects")
	}
	at := func(path ...string) *yaml.Node { return deployment.get(path...) }
	repository, tag, found := strings.Cut(text(at(under(manager, "image")...)), ":")
	if !found || strings.Contains(tag, "/") {
		return installation{}, fmt.Errorf("image %s has no tag", text(at(under(manager, "image")...)))
	}
	budget.remove("spec", "selector") // The template's.
	entries := []entry{
		{"image", "The manager's image. An empty tag is the chart's appVersion.",
			fields{"repository": repository, "tag": "", "pullPolicy": at(under(manager, "imagePullPolicy")...)}},
		{"imagePullSecrets", "Secrets in the release's namespace to pull the image with: [{name: registry}].", list{}},
		{"replicas", "One replica works, the others wait for its lease and serve media and webhooks.", at("spec", "replicas")},
		{"strategy", "How an update replaces Pods; empty leaves it to Kubernetes.", orEmpty(at("spec", "strategy"))},
		{"logLevel", "debug, info, warn or error.", at(under(manager, "env", "BESKAR7_LOG_LEVEL", "value")...)},
		{"args", "The manager's flags (docs/configuration.md). A list replaces this one whole: keep those of certificates, cache\n" +
			"and ports. Templates are evaluated.", flags(at(under(manager, "args")...))},
		{"extraArgs", "Flags behind those of args, of which the later wins: [--namespace=hosts].", list{}},
		{"settings", "The data of ConfigMap beskar7-config (docs/configuration.md). Empty: no ConfigMap.",
			orEmpty(settings.get("data"))},
		{"profiles", "Names of profiles (the files in profiles/), read behind the settings, so that they win: [hpe-ilo].", list{}},
		{"env", "More environment variables of the manager: [{name: HTTPS_PROXY, value: ...}].", list{}},
		{"labels", "More labels of the Deployment.", more(at("metadata", "labels"))},
		{"podLabels", "More labels of the Pods.", more(at(under(podMeta, "labels")...))},
		{"podAnnotations", "More annotations of the Pods.", more(at(under(podMeta, "annotations")...))},
	}
	entries = append(entries, scheduling(deployment)...)
	return installation{tag: tag, entries: append(entries, serving(deployment, media, budget)...)}, nil
}

// scheduling returns the entries of where Pods run and what they may use there.
func scheduling(deployment object) []entry {
	at := func(key string) any { return orEmpty(deployment.get(under(podSpec, key)...)) }
	return []entry{
		{"nodeSelector", "Labels of the nodes that Pods run on.", at("nodeSelector")},
		{"affinity", "Which nodes and neighbours Pods prefer or need.", at("affinity")},
		{"tolerations", "Taints that Pods stand.", deployment.get(under(podSpec, "tolerations")...)},
		{"resources", "What the manager gets, and what it may use at most.", deployment.get(under(manager, "resources")...)},
	}
}

// serving returns the entries of what the manager listens on, and of its availability.
func serving(deployment, media, budget object) []entry {
	return []entry{
		{"ports", "The ports that the flags above open.", deployment.get(under(manager, "ports")...)},
		{"livenessProbe", "A manager that fails it is started anew.", deployment.get(under(manager, "livenessProbe")...)},
		{"readinessProbe", "A manager that fails it serves neither media nor webhooks.", deployment.get(under(manager, "readinessProbe")...)},
		{"podDisruptionBudget", "What evictions leave running: {minAvailable: 2}. Empty: no PodDisruptionBudget.",
			orEmpty(budget.get("spec"))},
		{"media", "Service beskar7-media, through which BMCs and booted systems reach the media server. nodePort is the port of\n" +
			"every node (0: Kubernetes chooses), spec is added to its spec: {externalTrafficPolicy: Local}.\n" +
			"Tell the manager its URL with --media-advertise-url. cacheSizeLimit is that of the volume for verified images: a tenth more\n" +
			"than --media-cache-size.",
			fields{"cacheSizeLimit": deployment.get(under(podSpec, "volumes", "cache", "emptyDir", "sizeLimit")...),
				"service": fields{"type": media.get("spec", "type"), "annotations": fields{}, "nodePort": 0, "spec": fields{}}}},
		{"hostNetwork", "The manager listens on its node's own addresses. Set strategy to {type: RollingUpdate, rollingUpdate: {maxSurge: 0,\n" +
			"maxUnavailable: 1}} with it, and the namespace's Pod Security to privileged.", false},
		{"watchNamespace", "The one namespace of hosts and clusters that the manager looks at, and may look at. Empty: all.", ""},
		{"networkPolicy", "Let in BMCs and booted systems, webhooks and scrapes, and nothing else.", fields{"enabled": false}},
		{"crds", "The CRDs are upgraded with the chart, and stay when the release goes. false: somebody else installs them.",
			fields{"install": true}},
	}
}

// find returns the first object of a kind, or kind/name; its root is nil when there is none.
func find(objects []object, want string) object {
	for _, o := range objects {
		if want == o.kind() || want == o.kind()+"/"+o.name() {
			return o
		}
	}
	return object{root: nil}
}

// flags returns the manager's arguments with the release's namespace in place of kustomize's.
func flags(args *yaml.Node) list {
	var out list
	for i := 0; args != nil && i < len(args.Content); i++ {
		out = append(out, strings.ReplaceAll(inRelease(args.Content[i].Value), releaseNS, "{{ .Release.Namespace }}"))
	}
	return out
}

func orEmpty(node *yaml.Node) any {
	if node == nil {
		return fields{}
	}
	return node
}

// more returns what a mapping of labels or annotations has beside what every installation has.
func more(node *yaml.Node) fields {
	rest := fields{}
	for i := 0; node != nil && i < len(node.Content); i += 2 {
		switch node.Content[i].Value {
		case "app", "cluster.x-k8s.io/provider", "kubectl.kubernetes.io/default-container":
		default:
			rest[node.Content[i].Value] = node.Content[i+1]
		}
	}
	return rest
}

func chartFile(defaults installation) (string, error) {
	return fmt.Sprintf(header, "config/default") + fmt.Sprintf(`apiVersion: v2
name: beskar7
description: Cluster API infrastructure provider for bare metal servers with a Redfish BMC
type: application
version: %s
appVersion: %q
`, strings.TrimPrefix(defaults.tag, "v"), defaults.tag), nil
}

func valuesFile(defaults installation) (string, error) {
	var out strings.Builder
	fmt.Fprintf(&out, header, "config/default")
	for _, e := range defaults.entries {
		written, err := e.written()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "\n# %s\n%s", strings.ReplaceAll(e.comment, "\n", "\n# "), written)
	}
	return out.String(), nil
}

// environments adds values-<name>.yaml for each overlay: what it has other than the default installation.
func environments(config string, defaults installation, files map[string]string) error {
	names, err := directories(filepath.Join(config, "overlays"))
	if err != nil {
		return err
	}
	for _, name := range names {
		objects, err := build(filepath.Join(config, "overlays", name))
		if err != nil {
			return err
		}
		overlay, err := installationOf(objects)
		if err != nil {
			return fmt.Errorf("overlay %s: %w", name, err)
		}
		var out strings.Builder
		fmt.Fprintf(&out, header, "config/overlays/"+name)
		for i, e := range overlay.entries {
			usual, err := defaults.entries[i].written()
			if err != nil {
				return err
			}
			written, err := e.written()
			if err != nil {
				return err
			}
			if written != usual {
				out.WriteString(written)
			}
		}
		files["values-"+name+".yaml"] = out.String()
	}
	return nil
}

// profiles adds the data of each profile's ConfigMap.
func profiles(config string, files map[string]string) error {
	names, err := directories(filepath.Join(config, "profiles"))
	if err != nil {
		return err
	}
	for _, name := range names {
		objects, err := build(filepath.Join(config, "profiles", name))
		if err != nil {
			return err
		}
		data := find(objects, "ConfigMap/beskar7-config-"+name).get("data")
		if data == nil {
			return fmt.Errorf("profile %s has no ConfigMap beskar7-config-%s with data", name, name)
		}
		written, err := encode(data)
		if err != nil {
			return err
		}
		files["profiles/"+name+".yaml"] = fmt.Sprintf(header, "config/profiles/"+name) + written
	}
	return nil
}

func directories(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
