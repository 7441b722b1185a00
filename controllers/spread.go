package controllers

import (
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
)

// setOf names the set of machines that a Machine belongs to, for spread and reuse. The highest one counts: a MachineSet ends with
// every rolling upgrade, its MachineDeployment goes on. Names come from labels that clusterctl move keeps.
func setOf(machine *clusterv1.Machine) string {
	for _, level := range []struct{ label, kind string }{
		{clusterv1.MachineControlPlaneNameLabel, "ControlPlane"},
		{clusterv1.MachineDeploymentNameLabel, "MachineDeployment"},
		{clusterv1.MachineSetNameLabel, "MachineSet"},
		{clusterv1.MachinePoolNameLabel, "MachinePool"},
	} {
		if name := machine.Labels[level.label]; name != "" {
			return level.kind + "/" + name
		}
	}
	return ""
}
