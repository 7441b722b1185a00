package v1beta1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
)

// Beskar7MachineSpec is which server a machine needs and what it boots. Users write all but hostRef and providerID.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.hostRef) || !has(self.hostRef) || self.hostRef == oldSelf.hostRef",message="hostRef may be set or cleared, never replaced"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.providerID) || (has(self.providerID) && self.providerID == oldSelf.providerID)",message="providerID cannot change once it is set"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.hostRef) && !has(oldSelf.providerID) || self.imageURL == oldSelf.imageURL && (has(self.imageChecksum) ? self.imageChecksum : \"\") == (has(oldSelf.imageChecksum) ? oldSelf.imageChecksum : \"\") && has(self.osFamily) == has(oldSelf.osFamily) && (!has(self.osFamily) || self.osFamily == oldSelf.osFamily) && has(self.bootMode) == has(oldSelf.bootMode) && (!has(self.bootMode) || self.bootMode == oldSelf.bootMode)",message="a machine that has a host boots what it was given: imageURL, imageChecksum, osFamily and bootMode cannot change any more; roll the change out with a new Beskar7MachineTemplate"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.hostRef) && !has(oldSelf.providerID) || has(self.hostSelector) == has(oldSelf.hostSelector) && (!has(self.hostSelector) || self.hostSelector == oldSelf.hostSelector) && has(self.hardwareRequirements) == has(oldSelf.hardwareRequirements) && (!has(self.hardwareRequirements) || self.hardwareRequirements == oldSelf.hardwareRequirements) && has(self.spread) == has(oldSelf.spread) && (!has(self.spread) || self.spread == oldSelf.spread) && has(self.reuse) == has(oldSelf.reuse) && (!has(self.reuse) || self.reuse == oldSelf.reuse) && (has(self.priority) ? self.priority : 0) == (has(oldSelf.priority) ? oldSelf.priority : 0)",message="a machine that has a host looks for none: hostSelector, hardwareRequirements, priority, spread and reuse cannot change any more; roll the change out with a new Beskar7MachineTemplate"
type Beskar7MachineSpec struct {
	// imageURL is the ISO image that the machine boots.
	// +required
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https?://[^#]+$`
	ImageURL string `json:"imageURL"`

	// imageChecksum of the image: sha256:<hex> or sha512:<hex>. With it the image is verified before any BMC sees it.
	// +optional
	// +kubebuilder:validation:Pattern=`^((sha256:[0-9a-fA-F]{64})|(sha512:[0-9a-fA-F]{128}))?$`
	// +kubebuilder:validation:MaxLength=135
	ImageChecksum string `json:"imageChecksum,omitempty"`

	// osFamily says how the system finds its bootstrap data. Default generic: cloud-init's NoCloud.
	// +optional
	// +kubebuilder:default=generic
	OSFamily OSFamily `json:"osFamily,omitempty"`

	// bootMode is Live (default: runs from the medium) or Install (the medium writes a disk).
	// +optional
	// +kubebuilder:default=Live
	BootMode BootMode `json:"bootMode,omitempty"`

	// hostSelector selects PhysicalHosts by their labels. Absent selects all in the namespace.
	// +optional
	// +nullable
	HostSelector *metav1.LabelSelector `json:"hostSelector,omitempty"`

	// hardwareRequirements that a host's inventory must meet.
	// +optional
	HardwareRequirements HardwareRequirements `json:"hardwareRequirements,omitempty,omitzero"`

	// priority orders waiting machines for the priority algorithm: higher is served first.
	// +optional
	// +kubebuilder:validation:Minimum=-1000
	// +kubebuilder:validation:Maximum=1000
	Priority int32 `json:"priority,omitempty"`

	// spread over failure domains where the Machine names none: None (default), Soft or Hard. What is spread are the machines of
	// one MachineDeployment, MachineSet or control plane.
	// +optional
	Spread SpreadMode `json:"spread,omitempty"`

	// reuse says whether a replacement machine takes a host that a machine of the same MachineDeployment, MachineSet or control
	// plane gave back and that nobody had since: None (default), Prefer or Require. With maxSurge 0 that is the host of the
	// machine it replaces.
	// +optional
	Reuse ReuseMode `json:"reuse,omitempty"`

	// hostRef is the host that this machine claims. Written by the machine controller before the host is claimed.
	// +optional
	HostRef *HostRef `json:"hostRef,omitempty"`

	// providerID is beskar7://<namespace>/<host>/<claim id>. Written by the machine controller.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	ProviderID string `json:"providerID,omitempty"`
}

// SpreadMode says how machines of one owner are spread over failure domains.
//
// +kubebuilder:validation:Enum=None;Soft;Hard
type SpreadMode string

const (
	// SpreadNone does not spread; it is the default.
	SpreadNone SpreadMode = "None"
	// SpreadSoft prefers the least used domain and gives way with a condition.
	SpreadSoft SpreadMode = "Soft"
	// SpreadHard waits rather than give way.
	SpreadHard SpreadMode = "Hard"
)

// ReuseMode says whether a replacement takes the host of the machine it replaces.
//
// +kubebuilder:validation:Enum=None;Prefer;Require
type ReuseMode string

const (
	// ReuseNone takes any host; it is the default.
	ReuseNone ReuseMode = "None"
	// ReusePrefer takes such a host if one is available, else any: it never waits.
	ReusePrefer ReuseMode = "Prefer"
	// ReuseRequire takes no other host while there is such a one, or one that is being given back, and waits for it. Without
	// any, there is nothing to wait for: the first machines of an owner, and those of a scale-up, take any host.
	ReuseRequire ReuseMode = "Require"
)

// HardwareRequirements are minimums.
type HardwareRequirements struct {
	// minCores counts CPU cores of all sockets.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	MinCores int32 `json:"minCores,omitempty"`
	// minMemory in all.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?([KMGTPE]i|[numkMGTPE]|[eE][0-9]{1,2})?$`
	// +kubebuilder:validation:XValidation:rule="type(self) == string || type(self) == int && self >= 0",message="must not be negative, nor a fraction without quotes"
	MinMemory resource.Quantity `json:"minMemory,omitempty,omitzero"`
	// minDisk is the least size of the largest disk.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?([KMGTPE]i|[numkMGTPE]|[eE][0-9]{1,2})?$`
	// +kubebuilder:validation:XValidation:rule="type(self) == string || type(self) == int && self >= 0",message="must not be negative, nor a fraction without quotes"
	MinDisk resource.Quantity `json:"minDisk,omitempty,omitzero"`
	// minNICs counts network interfaces.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	MinNICs int32 `json:"minNICs,omitempty"`
	// architecture of the CPUs.
	// +optional
	// +kubebuilder:validation:Enum=amd64;arm64
	Architecture string `json:"architecture,omitempty"`
	// models that are accepted, as the inventory reports them; empty accepts all.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=256
	Models []string `json:"models,omitempty"`
}

// HostRef names the claimed host and the claim. Both sides must name each other before any hardware is touched.
type HostRef struct {
	// name of the PhysicalHost in the machine's namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// claimID of the claim.
	// +required
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{16}$`
	ClaimID string `json:"claimID"`
}

// Beskar7MachineStatus is what was observed of a machine.
type Beskar7MachineStatus struct {
	// initialization reports the first provisioning, as the contract asks.
	// +optional
	Initialization Beskar7MachineInitializationStatus `json:"initialization,omitempty,omitzero"`
	// addresses of the machine.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Addresses []clusterv1.MachineAddress `json:"addresses,omitempty"`
	// failureDomain of the host.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	FailureDomain string `json:"failureDomain,omitempty"`
	// conditions of the machine.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.all(c, c.lastTransitionTime >= timestamp('2000-01-01T00:00:00Z') && c.lastTransitionTime < timestamp('3000-01-01T00:00:00Z'))",message="lastTransitionTime must be from 2000 to 2999"
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Beskar7MachineInitializationStatus reports the first provisioning.
//
// +kubebuilder:validation:MinProperties=1
type Beskar7MachineInitializationStatus struct {
	// provisioned is true once power On was observed after an armed boot from our medium. It never goes back.
	// +optional
	Provisioned *bool `json:"provisioned,omitempty"`
}

// +kubebuilder:object:root=true
// +kubebuilder:resource:path=beskar7machines,scope=Namespaced,categories=cluster-api,shortName=b7m
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels={"cluster.x-k8s.io/v1beta2=v1beta1","clusterctl.cluster.x-k8s.io="}
// +kubebuilder:printcolumn:name="Cluster",type="string",JSONPath=".metadata.labels['cluster\\.x-k8s\\.io/cluster-name']"
// +kubebuilder:printcolumn:name="Host",type="string",JSONPath=".spec.hostRef.name",description="Claimed PhysicalHost"
// +kubebuilder:printcolumn:name="Provisioned",type="boolean",JSONPath=".status.initialization.provisioned"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="Message",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].message"
// +kubebuilder:printcolumn:name="Paused",type="string",JSONPath=".status.conditions[?(@.type=='Paused')].status",priority=1
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="ProviderID",type="string",JSONPath=".spec.providerID",priority=1
// +kubebuilder:printcolumn:name="Image",type="string",JSONPath=".spec.imageURL",priority=1

// Beskar7Machine is the infrastructure of one Cluster API Machine.
type Beskar7Machine struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +required
	Spec Beskar7MachineSpec `json:"spec"`
	// +optional
	Status Beskar7MachineStatus `json:"status,omitempty,omitzero"`
}

// GetConditions returns the conditions of the machine.
func (m *Beskar7Machine) GetConditions() []metav1.Condition { return m.Status.Conditions }

// SetConditions replaces the conditions of the machine.
func (m *Beskar7Machine) SetConditions(conditions []metav1.Condition) {
	m.Status.Conditions = conditions
}

// +kubebuilder:object:root=true

// Beskar7MachineList is a list of machines.
type Beskar7MachineList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Beskar7Machine `json:"items"`
}
