package main

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// expressions are what templates write for a single value.
var expressions = map[string]string{
	"replicas":  ".Values.replicas",
	"image":     `printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote`,
	"pull":      ".Values.image.pullPolicy",
	"logLevel":  ".Values.logLevel | quote",
	"mediaType": ".Values.media.service.type",
	"cacheSize": ".Values.media.cacheSizeLimit | quote",
}

// conditionOf says when the chart has an object; empty: always.
func conditionOf(o object) string {
	switch {
	case o.kind() == "CustomResourceDefinition":
		return "if .Values.crds.install"
	case o.kind() == "ClusterRoleBinding" && o.name() == "beskar7-system-manager-rolebinding":
		return "if not .Values.watchNamespace" // Bindings in that namespace alone stand for it.
	}
	return ""
}

// mark puts marks where a value of the user's goes.
func mark(o object) error {
	switch {
	case o.kind() == "CustomResourceDefinition":
		// A release that goes away, or moves, must not take every host and machine with it.
		return o.set("keep", "metadata", "annotations", "helm.sh/resource-policy")
	case o.kind() == "Service" && o.name() == "beskar7-media":
		return markMedia(o)
	case o.kind() == "Deployment":
		return markDeployment(o)
	}
	return nil
}

type place struct {
	mark string
	path []string
}

func putAll(o object, places []place) error {
	for _, p := range places {
		if err := o.set(p.mark, p.path...); err != nil {
			return err
		}
	}
	return nil
}

func markMedia(o object) error {
	return putAll(o, []place{
		{markBlock + "media.service.annotations", []string{"metadata", "annotations"}},
		{markValue + "mediaType", []string{"spec", "type"}},
		{"", []string{"spec", "ports", "media", markHelp + "beskar7.nodePort"}},
		{"", []string{"spec", markMore + "media.service.spec"}},
	})
}

var (
	podMeta = []string{"spec", "template", "metadata"}
	podSpec = []string{"spec", "template", "spec"}
	manager = []string{"spec", "template", "spec", "containers", "manager"}
)

func under(path []string, keys ...string) []string {
	return append(append([]string{}, path...), keys...)
}

func markDeployment(o object) error {
	err := putAll(o, []place{
		{"", []string{"metadata", "labels", markMore + "labels"}},
		{markValue + "replicas", []string{"spec", "replicas"}},
		{markBlock + "strategy", []string{"spec", "strategy"}},
		{"", under(podMeta, "annotations", markMore+"podAnnotations")},
		{"", under(podMeta, "labels", markMore+"podLabels")},
		{"", under(podSpec, markHelp+"beskar7.hostNetwork")},
		{markBlock + "imagePullSecrets", under(podSpec, "imagePullSecrets")},
		{markBlock + "nodeSelector", under(podSpec, "nodeSelector")},
		{markBlock + "affinity", under(podSpec, "affinity")},
		{markBlock + "tolerations", under(podSpec, "tolerations")},
		{markCall + "beskar7.args", under(manager, "args")},
		{markValue + "logLevel", under(manager, "env", "BESKAR7_LOG_LEVEL", "value")},
		{markValue + "image", under(manager, "image")},
		{markValue + "pull", under(manager, "imagePullPolicy")},
		{markValue + "cacheSize", under(podSpec, "volumes", "cache", "emptyDir", "sizeLimit")},
		{markBlock + "livenessProbe", under(manager, "livenessProbe")},
		{markBlock + "ports", under(manager, "ports")},
		{markBlock + "readinessProbe", under(manager, "readinessProbe")},
		{markBlock + "resources", under(manager, "resources")},
	})
	if err != nil {
		return err
	}
	env := o.get(under(manager, "env")...)
	if env == nil || env.Kind != yaml.SequenceNode {
		return fmt.Errorf("deployment %s has no list of environment variables", o.name())
	}
	env.Content = append(env.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: markMore + "env"})
	return nil
}
