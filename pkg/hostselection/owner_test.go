package hostselection

import (
	"testing"

	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
)

func TestOwnerOf(t *testing.T) {
	const deployment, set, plane = clusterv1.MachineDeploymentNameLabel, clusterv1.MachineSetNameLabel, clusterv1.MachineControlPlaneNameLabel
	for want, labels := range map[string]map[string]string{
		"":                       {"other": "x"},
		"MachineSet/md-0-abcde":  {set: "md-0-abcde"},
		"MachineDeployment/md-0": {set: "md-0-abcde", deployment: "md-0"},
		"ControlPlane/cp":        {plane: "cp", clusterv1.MachineControlPlaneLabel: ""},
	} {
		if got := OwnerOf(labels); got != want {
			t.Errorf("%v: %q, want %q", labels, got, want)
		}
	}
}
