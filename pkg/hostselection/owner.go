package hostselection

import clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

// OwnerOf names the set of machines that a Machine with these labels belongs to, for spread and reuse: Request.Owner. The highest
// one counts: a MachineSet ends with every rolling upgrade, its MachineDeployment goes on. Names come from labels that clusterctl
// move keeps. Empty: the machine is on its own.
func OwnerOf(labels map[string]string) string {
	for _, level := range []struct{ label, kind string }{
		{clusterv1.MachineControlPlaneNameLabel, "ControlPlane"},
		{clusterv1.MachineDeploymentNameLabel, "MachineDeployment"},
		{clusterv1.MachineSetNameLabel, "MachineSet"},
		{clusterv1.MachinePoolNameLabel, "MachinePool"},
	} {
		if name := labels[level.label]; name != "" {
			return level.kind + "/" + name
		}
	}
	return ""
}
