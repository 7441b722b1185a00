package controllers

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/annotations"

	"github.com/beskar7/beskar7/api/v1beta1"
)

func pausedHost(host *v1beta1.PhysicalHost, g *gathered) metav1.Condition {
	if !g.facts.Paused {
		return condition(v1beta1.PausedCondition, metav1.ConditionFalse, clusterv1.NotPausedReason, "")
	}
	return condition(v1beta1.PausedCondition, metav1.ConditionTrue, clusterv1.PausedReason, pausedBy(host, g))
}

// pausedBy names who paused the host, what waits for the end of it, and the command that ends it: a pause has no end of its own.
func pausedBy(host *v1beta1.PhysicalHost, g *gathered) string {
	why, command := pauseOf(host, g)
	switch claim := host.Spec.Claim; {
	case claim != nil && claim.Release != nil:
		why += fmt.Sprintf(", so the release that machine %s asked for waits", claim.Machine)
	case g.facts.Deleting:
		why += ", so its deletion waits"
	}
	if command == "" {
		return why
	}
	return why + ". To end the pause: " + command
}

func pauseOf(host *v1beta1.PhysicalHost, g *gathered) (why, command string) {
	in := "kubectl -n " + host.Namespace
	claim := host.Spec.Claim
	switch _, moving := host.Annotations[clusterctlDeleteForMove]; {
	case moving:
		return "clusterctl move is taking the host to another cluster", ""
	case annotations.HasPaused(host):
		return "the host has the annotation " + clusterv1.PausedAnnotation, fmt.Sprintf("%s annotate ph %s %s-", in, host.Name, clusterv1.PausedAnnotation)
	case g.cluster != nil && ptr.Deref(g.cluster.Spec.Paused, false):
		return fmt.Sprintf("cluster %s is paused", g.cluster.Name), fmt.Sprintf(`%s patch cluster %s --type merge -p '{"spec":{"paused":false}}'`, in, g.cluster.Name)
	case g.machine != nil && annotations.HasPaused(g.machine):
		return fmt.Sprintf("machine %s has the annotation %s", g.machine.Name, clusterv1.PausedAnnotation),
			fmt.Sprintf("%s annotate beskar7machine %s %s-", in, g.machine.Name, clusterv1.PausedAnnotation)
	case host.Spec.Paused && claim != nil && g.machine != nil:
		return fmt.Sprintf("spec.paused is set, as machine %s or its cluster was paused; it goes with their pause", claim.Machine), ""
	case host.Spec.Paused:
		return "spec.paused is set, and there is no machine that would take it back", fmt.Sprintf(`%s patch ph %s --type merge -p '{"spec":{"paused":false}}'`, in, host.Name)
	}
	return "the host, its machine or its cluster is paused", ""
}
