package v1beta1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// HostState is a label for people, computed from what was observed. It is never an input to a decision.
//
// +kubebuilder:validation:Enum=Enrolling;Inspecting;Available;PoweredOn;NotEmpty;Cleaning;Duplicate;OtherServer;Maintenance;Claimed;Provisioning;Booting;BootFailed;Provisioned;Lost;Releasing;ReleaseBlocked;Orphaned;Quarantined;Deleting;Paused
type HostState string

const (
	// StateEnrolling: the BMC was not read yet.
	StateEnrolling HostState = "Enrolling"
	// StateInspecting: the BMC answers; its hardware is being read.
	StateInspecting HostState = "Inspecting"
	// StateAvailable: off, empty, disarmed, inventoried, nobody's.
	StateAvailable HostState = "Available"
	// StatePoweredOn: unclaimed and running: not ours to touch without its owner's consent.
	StatePoweredOn HostState = "PoweredOn"
	// StateNotEmpty: unclaimed, off, but with media inserted or a boot override set by someone else.
	StateNotEmpty HostState = "NotEmpty"
	// StateCleaning: unclaimed, being emptied with its owner's consent.
	StateCleaning HostState = "Cleaning"
	// StateDuplicate: another PhysicalHost is the same server.
	StateDuplicate HostState = "Duplicate"
	// StateOtherServer: another server than the recorded one answers at the BMC's address: nothing is changed there.
	StateOtherServer HostState = "OtherServer"
	// StateMaintenance: kept out of the pool by its owner.
	StateMaintenance HostState = "Maintenance"
	// StateClaimed: claimed, not yet confirmed by the machine.
	StateClaimed HostState = "Claimed"
	// StateProvisioning: being prepared for boot.
	StateProvisioning HostState = "Provisioning"
	// StateBooting: powered on from our medium, not yet bound.
	StateBooting HostState = "Booting"
	// StateBootFailed: booted as often as it may be without a sign of life: a person decides.
	StateBootFailed HostState = "BootFailed"
	// StateProvisioned: bound: its Node was seen or it phoned home.
	StateProvisioned HostState = "Provisioned"
	// StateLost: off, and its system was used up: it lived in memory, or may have used its bootstrap data. It is not booted again:
	// its machine is to be deleted.
	StateLost HostState = "Lost"
	// StateReleasing: being proven off, empty and disarmed.
	StateReleasing HostState = "Releasing"
	// StateReleaseBlocked: the release has passed its deadline.
	StateReleaseBlocked HostState = "ReleaseBlocked"
	// StateOrphaned: the claim's machine is gone without a release mark.
	StateOrphaned HostState = "Orphaned"
	// StateQuarantined: out of the pool until a person decides.
	StateQuarantined HostState = "Quarantined"
	// StateDeleting: the object is being deleted.
	StateDeleting HostState = "Deleting"
	// StatePaused: no hardware action.
	StatePaused HostState = "Paused"
)

// PhysicalHostStatus is what was observed of a host. The host controller is its only writer; all of it can be derived again.
type PhysicalHostStatus struct {
	// state is a label for people.
	// +optional
	State HostState `json:"state,omitempty"`
	// stateSince is when that state was entered; deadlines count from it.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time such as 2026-01-31T12:00:00Z, from 2000 to 2999"
	StateSince metav1.Time `json:"stateSince,omitempty,omitzero"`
	// power is the observed power state: On, Off, PoweringOn, PoweringOff or Unknown.
	// +optional
	Power string `json:"power,omitempty"`
	// observedGeneration is the generation that the last reconcile saw.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// hardware is the last good inventory.
	// +optional
	Hardware *Hardware `json:"hardware,omitempty"`
	// bmc is the report of what the BMC is and can do.
	// +optional
	BMC *BMCReport `json:"bmc,omitempty"`
	// operation is what is being done to the BMC, or waits for its turn.
	// +optional
	Operation *HostOperation `json:"operation,omitempty"`
	// attempts counts failed tries of the present wish.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	Attempts int32 `json:"attempts,omitempty"`
	// nextAttempt is when the next try is due.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time such as 2026-01-31T12:00:00Z, from 2000 to 2999"
	NextAttempt *metav1.Time `json:"nextAttempt,omitempty"`
	// progress is how far what the host waits for has come, such as the download of its image. Conditions do not tell it, since
	// they are mirrored to other objects and it changes all the time.
	// +optional
	Progress string `json:"progress,omitempty"`
	// healthScore is 0 (failing) to 100 (no recent failure).
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	HealthScore *int32 `json:"healthScore,omitempty"`
	// lastFailure is when a provisioning attempt last failed; with healthScore it cools a host off.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time such as 2026-01-31T12:00:00Z, from 2000 to 2999"
	LastFailure *metav1.Time `json:"lastFailure,omitempty"`
	// lastUsed is when the host was last claimed; round-robin starts from it.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time such as 2026-01-31T12:00:00Z, from 2000 to 2999"
	LastUsed *metav1.Time `json:"lastUsed,omitempty"`
	// parkedCredential is the credential that the BMC refused; it is not tried again until it changes.
	// +optional
	ParkedCredential *ParkedCredential `json:"parkedCredential,omitempty"`
	// retryNow is the last value of the retry-now annotation that was honoured.
	// +optional
	RetryNow string `json:"retryNow,omitempty"`
	// booted is the last boot that was observed for the present claim.
	// +optional
	Booted *BootRecord `json:"booted,omitempty"`
	// conditions of the host.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.all(c, c.lastTransitionTime >= timestamp('2000-01-01T00:00:00Z') && c.lastTransitionTime < timestamp('3000-01-01T00:00:00Z'))",message="lastTransitionTime must be from 2000 to 2999"
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BootRecord is about the boots of a host for one claim: from our medium or, once what was installed is bound, from its disk.
type BootRecord struct {
	// claimID is the claim it was booted for.
	ClaimID string `json:"claimID"`
	// at is when power On was observed after the last boot.
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time such as 2026-01-31T12:00:00Z, from 2000 to 2999"
	At metav1.Time `json:"at"`
	// count of boots in a row that no sign of life came of, the last one included. It begins anew with the owner's next change of
	// spec, with the retry-now annotation, and where status was lost.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	Count int32 `json:"count,omitempty"`
	// first is when the first boot of that row was observed: the deadline for a sign of life counts from it.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time such as 2026-01-31T12:00:00Z, from 2000 to 2999"
	First metav1.Time `json:"first,omitempty,omitzero"`
	// offAt is when the server was found off again, if it was.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time such as 2026-01-31T12:00:00Z, from 2000 to 2999"
	OffAt *metav1.Time `json:"offAt,omitempty"`
	// wish is a digest of what the owner had written in spec when the row began.
	// +optional
	Wish string `json:"wish,omitempty"`
}

// HostOperation is one operation at the BMC gate.
type HostOperation struct {
	// kind of operation, such as InsertMedia.
	Kind string `json:"kind"`
	// phase is InProgress, BackingOff, Parked, or Refused while the queue has no room for it.
	// +optional
	Phase string `json:"phase,omitempty"`
	// since when.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time such as 2026-01-31T12:00:00Z, from 2000 to 2999"
	Since metav1.Time `json:"since,omitempty,omitzero"`
	// lastError in words.
	// +optional
	LastError string `json:"lastError,omitempty"`
}

// ParkedCredential is a credential that a BMC refused at log-in.
type ParkedCredential struct {
	// secretUID of the Secret.
	SecretUID string `json:"secretUID"`
	// secretVersion is the Secret's resource version.
	SecretVersion string `json:"secretVersion"`
	// since when.
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time such as 2026-01-31T12:00:00Z, from 2000 to 2999"
	Since metav1.Time `json:"since"`
}

// Hardware is the inventory of a server.
type Hardware struct {
	// +optional
	Manufacturer string `json:"manufacturer,omitempty"`
	// +optional
	Model string `json:"model,omitempty"`
	// +optional
	SerialNumber string `json:"serialNumber,omitempty"`
	// systemUUID is the SMBIOS UUID, lower case.
	// +optional
	SystemUUID string `json:"systemUUID,omitempty"`
	// +optional
	CPU CPU `json:"cpu,omitempty,omitzero"`
	// memory in bytes, as a quantity.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?([KMGTPE]i|[numkMGTPE]|[eE][0-9]{1,2})?$`
	// +kubebuilder:validation:XValidation:rule="type(self) == string || type(self) == int && self >= 0",message="must not be negative, nor a fraction without quotes"
	Memory resource.Quantity `json:"memory,omitempty,omitzero"`
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1024
	Disks []Disk `json:"disks,omitempty"`
	// +optional
	// +listType=atomic
	NICs []NIC `json:"nics,omitempty"`
	// accelerators are the GPUs and the like that the BMC lists among the processors, alike ones together.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Accelerators []Accelerator `json:"accelerators,omitempty"`
}

// CPU describes all processors of a server together.
type CPU struct {
	// +optional
	Model string `json:"model,omitempty"`
	// architecture is amd64, arm64 or the BMC's own word.
	// +optional
	Architecture string `json:"architecture,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	Sockets int32 `json:"sockets,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	Cores int32 `json:"cores,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	Threads int32 `json:"threads,omitempty"`
}

// Accelerator is one kind of accelerator.
type Accelerator struct {
	// kind is GPU, FPGA, DSP or Accelerator.
	// +optional
	Kind string `json:"kind,omitempty"`
	// +optional
	Vendor string `json:"vendor,omitempty"`
	// +optional
	Model string `json:"model,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	Count int32 `json:"count,omitempty"`
}

// Disk is one drive.
type Disk struct {
	// +optional
	Name string `json:"name,omitempty"`
	// +optional
	Model string `json:"model,omitempty"`
	// +optional
	SerialNumber string `json:"serialNumber,omitempty"`
	// type is HDD, SSD or NVMe.
	// +optional
	Type string `json:"type,omitempty"`
	// size in bytes, as a quantity.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?([KMGTPE]i|[numkMGTPE]|[eE][0-9]{1,2})?$`
	// +kubebuilder:validation:XValidation:rule="type(self) == string || type(self) == int && self >= 0",message="must not be negative, nor a fraction without quotes"
	Size resource.Quantity `json:"size,omitempty,omitzero"`
	// wwn is the name of the drive in the world, as Linux has it in /dev/disk/by-id: 0x... or eui....
	// +optional
	WWN string `json:"wwn,omitempty"`
	// blockSize is the size of a logical block in bytes.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	BlockSize int32 `json:"blockSize,omitempty"`
	// protocol is the BMC's word for the bus: NVMe, SATA, SAS, PCIe.
	// +optional
	Protocol string `json:"protocol,omitempty"`
	// location is what is written at the bay.
	// +optional
	Location string `json:"location,omitempty"`
}

// NIC is one network interface.
type NIC struct {
	// +optional
	Name string `json:"name,omitempty"`
	// +optional
	MAC string `json:"mac,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	SpeedMbps int32 `json:"speedMbps,omitempty"`
	// +optional
	LinkUp *bool `json:"linkUp,omitempty"`
}

// BMCReport is what the BMC is and can do.
type BMCReport struct {
	// +optional
	Vendor string `json:"vendor,omitempty"`
	// +optional
	Product string `json:"product,omitempty"`
	// +optional
	FirmwareVersion string `json:"firmwareVersion,omitempty"`
	// +optional
	RedfishVersion string `json:"redfishVersion,omitempty"`
	// systemID is the system that is managed.
	// +optional
	SystemID string `json:"systemID,omitempty"`
	// +optional
	// +listType=atomic
	MediaSlots []MediaSlot `json:"mediaSlots,omitempty"`
	// +optional
	// +listType=atomic
	ResetTypes []string `json:"resetTypes,omitempty"`
	// +optional
	// +listType=atomic
	BootTargets []string `json:"bootTargets,omitempty"`
	// +optional
	// +listType=atomic
	Capabilities []string `json:"capabilities,omitempty"`
	// problems are what is missing, each with what to do about it.
	// +optional
	// +listType=atomic
	Problems []string `json:"problems,omitempty"`
	// learned are the forms of requests that this BMC was found to take. Losing them costs some requests.
	// +optional
	Learned *Learned `json:"learned,omitempty"`
}

// Learned is how a BMC wants to be asked, as found out by asking. The words are those of the driver.
type Learned struct {
	// vendor is the row of the vendor table, firmware the BMC's version for which all this was learned.
	// +optional
	Vendor string `json:"vendor,omitempty"`
	// +optional
	Firmware string `json:"firmware,omitempty"`
	// system, manager and media are paths of resources.
	// +optional
	System string `json:"system,omitempty"`
	// +optional
	Manager string `json:"manager,omitempty"`
	// +optional
	Media string `json:"media,omitempty"`
	// insert are the members that an insert body needs beyond the image.
	// +optional
	Insert string `json:"insert,omitempty"`
	// +optional
	Eject string `json:"eject,omitempty"`
	// bootTarget is the word for the virtual CD, bootMode and bootPlace are how and where the override is set.
	// +optional
	BootTarget string `json:"bootTarget,omitempty"`
	// +optional
	BootMode string `json:"bootMode,omitempty"`
	// +optional
	BootPlace string `json:"bootPlace,omitempty"`
	// ifMatch is what a PATCH carries.
	// +optional
	IfMatch string `json:"ifMatch,omitempty"`
	// refused are the slots that refused our media, with commas: the others are tried first.
	// +optional
	Refused string `json:"refused,omitempty"`
	// session names the session that the driver holds, never its token, so that the next one can end it after a crash.
	// +optional
	Session string `json:"session,omitempty"`
}

// MediaSlot is one virtual media slot.
type MediaSlot struct {
	// id of the slot at the BMC.
	ID string `json:"id"`
	// types of media that it takes.
	// +optional
	// +listType=atomic
	Types []string `json:"types,omitempty"`
	// canInsert is false for slots that only a console session can use.
	// +optional
	CanInsert bool `json:"canInsert,omitempty"`
}
