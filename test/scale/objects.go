package main

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// clusterName is the one Cluster of a storm's namespace.
const clusterName = "storm"

func hostName(i int) string    { return fmt.Sprintf("host-%05d", i) }
func machineName(i int) string { return fmt.Sprintf("storm-md-%05d", i) }

// makeCluster makes a Cluster whose infrastructure is reported to be there, so that machines may claim.
func (s *site) makeCluster(ctx context.Context, namespace string) error {
	cluster := &clusterv1.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: clusterName}, Spec: clusterv1.ClusterSpec{
		ControlPlaneEndpoint: clusterv1.APIEndpoint{Host: "127.0.0.1", Port: 6443},
		InfrastructureRef:    clusterv1.ContractVersionedObjectReference{APIGroup: v1beta1.GroupVersion.Group, Kind: "Beskar7Cluster", Name: clusterName},
	}}
	if err := s.client.Create(ctx, cluster); err != nil {
		return fmt.Errorf("make the cluster: %w", err)
	}
	cluster.Status.Initialization.InfrastructureProvisioned = ptr.To(true)
	if err := s.client.Status().Update(ctx, cluster); err != nil {
		return fmt.Errorf("report the cluster's infrastructure: %w", err)
	}
	return nil
}

// newMachine is what Cluster API makes for a machine once its bootstrap data are there: Machine and Beskar7Machine.
func newMachine(namespace string, i int) (*clusterv1.Machine, *v1beta1.Beskar7Machine) {
	name := machineName(i)
	labels := map[string]string{clusterv1.ClusterNameLabel: clusterName, clusterv1.MachineDeploymentNameLabel: "storm-md"}
	owner := &clusterv1.Machine{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}, Spec: clusterv1.MachineSpec{
		ClusterName: clusterName, Version: "v1.36.1",
		Bootstrap:         clusterv1.Bootstrap{DataSecretName: ptr.To(name + "-bootstrap")},
		InfrastructureRef: clusterv1.ContractVersionedObjectReference{APIGroup: v1beta1.GroupVersion.Group, Kind: "Beskar7Machine", Name: name},
	}}
	m := &v1beta1.Beskar7Machine{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels,
		Annotations: map[string]string{clusterv1.TemplateClonedFromNameAnnotation: "storm-md", clusterv1.TemplateClonedFromGroupKindAnnotation: "Beskar7MachineTemplate." + v1beta1.GroupVersion.Group},
		Finalizers:  []string{v1beta1.MachineFinalizer},
	}, Spec: v1beta1.Beskar7MachineSpec{ImageURL: "http://127.0.0.1:9/images/base.iso", OSFamily: "ubuntu", BootMode: v1beta1.BootModeLive,
		HardwareRequirements: v1beta1.HardwareRequirements{MinCores: 8, MinMemory: resource.MustParse("32Gi")}}}
	return owner, m
}

// boot is what the machine controller asks the coordinator to write with a claim.
func boot(m *v1beta1.Beskar7Machine) v1beta1.Boot {
	return v1beta1.Boot{ImageURL: m.Spec.ImageURL, Checksum: m.Spec.ImageChecksum, OSFamily: m.Spec.OSFamily, BootMode: m.Spec.BootMode, BootstrapSecret: m.Name + "-bootstrap"}
}

func newHost(namespace string, i int) *v1beta1.PhysicalHost {
	return &v1beta1.PhysicalHost{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: hostName(i), Labels: map[string]string{"site": "storm", "rack": fmt.Sprintf("rack-%d", i%20)},
		Finalizers: []string{v1beta1.HostFinalizer}},
		Spec: v1beta1.PhysicalHostSpec{FailureDomain: fmt.Sprintf("room-%d", i%3), PowerPolicy: v1beta1.PowerPolicyKeepOn, RedfishConnection: v1beta1.RedfishConnection{
			Address:              fmt.Sprintf("https://10.%d.%d.%d", i>>16&255, i>>8&255, i&255),
			CredentialsSecretRef: v1beta1.SecretReference{Name: hostName(i) + "-bmc"}, CABundleSecretRef: &v1beta1.SecretReference{Name: "bmc-ca"}}}}
}

func hostStatus(i int) v1beta1.PhysicalHostStatus {
	now := metav1.Now().Rfc3339Copy()
	condition := func(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: status, Reason: reason, LastTransitionTime: now, ObservedGeneration: 1}
	}
	disk := func(n int) v1beta1.Disk {
		return v1beta1.Disk{Name: fmt.Sprintf("Disk.Bay.%d", n), Model: "PM1733", SerialNumber: fmt.Sprintf("S%05d%02d", i, n), Type: "NVMe", Size: resource.MustParse("1600321314816")}
	}
	nic := func(n int) v1beta1.NIC {
		return v1beta1.NIC{Name: fmt.Sprintf("NIC.Slot.%d", n), MAC: fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", i>>16&255, i>>8&255, i&255, n), SpeedMbps: 25000, LinkUp: ptr.To(true)}
	}
	return v1beta1.PhysicalHostStatus{
		State: v1beta1.StateAvailable, StateSince: now, Power: "Off", ObservedGeneration: 1, HealthScore: ptr.To(int32(100)),
		Hardware: &v1beta1.Hardware{Manufacturer: "Contoso", Model: "R650", SerialNumber: fmt.Sprintf("SN%05d", i), SystemUUID: fmt.Sprintf("0b000000-0000-4000-8000-%012x", i),
			CPU:    v1beta1.CPU{Model: "Xeon Gold 6338", Architecture: "amd64", Sockets: 2, Cores: 64, Threads: 128},
			Memory: resource.MustParse("256Gi"), Disks: []v1beta1.Disk{disk(0), disk(1)}, NICs: []v1beta1.NIC{nic(0), nic(1)}},
		BMC: &v1beta1.BMCReport{Vendor: "contoso", Product: "Contoso BMC", FirmwareVersion: "7.00.30", RedfishVersion: "1.17.0", SystemID: "1",
			MediaSlots: []v1beta1.MediaSlot{{ID: "1", Types: []string{"CD", "DVD"}, CanInsert: true}}, ResetTypes: []string{"On", "ForceOff", "GracefulShutdown", "ForceRestart"},
			BootTargets: []string{"None", "Pxe", "Cd", "Hdd"}},
		Conditions: []metav1.Condition{condition(v1beta1.ReadyCondition, metav1.ConditionTrue, v1beta1.ReasonAvailable),
			condition(v1beta1.BMCReachableCondition, metav1.ConditionTrue, v1beta1.ReasonReachable), condition(v1beta1.InspectedCondition, metav1.ConditionTrue, v1beta1.ReasonInspected),
			condition(v1beta1.AvailableCondition, metav1.ConditionTrue, v1beta1.ReasonAvailable), condition(v1beta1.BootedCondition, metav1.ConditionFalse, v1beta1.ReasonNotClaimed),
			condition(v1beta1.ReleaseBlockedCondition, metav1.ConditionFalse, v1beta1.ReasonNotReleasing)},
	}
}
