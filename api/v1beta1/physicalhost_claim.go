package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BootMode says what the booted medium is for.
//
// +kubebuilder:validation:Enum=Live;Install
type BootMode string

const (
	// BootModeLive runs the machine from the medium: it stays inserted until release.
	BootModeLive BootMode = "Live"
	// BootModeInstall writes an operating system to disk: the medium is disarmed once the system is bound.
	BootModeInstall BootMode = "Install"
)

// OSFamily says how an operating system finds its bootstrap data.
//
// +kubebuilder:validation:Enum=generic;ubuntu;debian;talos;kairos;flatcar;fedora-coreos;rhcos;leap-micro;microos;none
type OSFamily string

// Claim says who owns a host, and how far that went. It is inert until the machine's hostRef names it back.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.server) || has(self.server) && self.server == oldSelf.server",message="the server of a claim is recorded once and stays what it is until the claim ends"
type Claim struct {
	// id is random, 16 hex digits; it is part of the provider id. Set with the claim.
	// +required
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{16}$`
	ID string `json:"id"`
	// machine is the name of the Beskar7Machine, in the host's namespace, that owns the host.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Machine string `json:"machine"`
	// cluster is the name of the Cluster of that machine.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Cluster string `json:"cluster"`
	// owner is the set of machines that the machine belongs to, as kind and name, such as MachineDeployment/md-0; empty for a
	// machine of its own. Spread counts the hosts of one owner, reuse looks for those that it had.
	// +optional
	// +kubebuilder:validation:MaxLength=317
	Owner string `json:"owner,omitempty"`
	// server is which server was claimed, from the inventory that it was chosen by. Written with the claim, so that it outlives
	// status and `clusterctl move`; nothing is changed at the BMC while another server answers there. For a claim without it, as older
	// versions made them, the host controller writes it once, when the server of status.hardware answers; until then that is compared.
	// +optional
	Server *Server `json:"server,omitempty"`
	// claimedAt is when the claim was made, by the clock of whoever made it.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time such as 2026-01-31T12:00:00Z, from 2000 to 2999"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	ClaimedAt *metav1.MicroTime `json:"claimedAt,omitempty"`
	// leaseHolder is the identity that held the arbiter's or driver's Lease when the claim was made.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	LeaseHolder string `json:"leaseHolder,omitempty"`
	// leaseTransitions is that Lease's transition count at the time.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	LeaseTransitions int32 `json:"leaseTransitions,omitempty"`
	// release marks that the machine gives the host back: the only thing that starts a release. Written by the machine controller
	// before it drops its finalizer; for an orphan that never ran anything, by the host controller after a grace time.
	// +optional
	Release *Release `json:"release,omitempty"`
	// bound is true once the system that was booted for this claim was seen as a Node or phoned home. Written by the host
	// controller. A bound host is never powered off, re-armed or given other media unless its owner asks.
	// +optional
	Bound bool `json:"bound,omitempty"`
	// media is the present capability to fetch this claim's boot media. Written by the host controller.
	// +optional
	Media *MediaGrant `json:"media,omitempty"`
	// phoneHome is the receipt of the booted system's call. Written by whichever replica received it.
	// +optional
	PhoneHome *PhoneHome `json:"phoneHome,omitempty"`
}

// Server is what identifies a server, in its BMC's words. Place holders that boards ship with identify nothing.
type Server struct {
	// systemUUID is the SMBIOS UUID; BMCs give it in either order of bytes.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	SystemUUID string `json:"systemUUID,omitempty"`
	// serialNumber of the system.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	SerialNumber string `json:"serialNumber,omitempty"`
}

// Tenant says who had a host before.
type Tenant struct {
	// cluster is the name of the Cluster.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Cluster string `json:"cluster"`
	// owner is the set of machines that the tenant belonged to, as in its claim.
	// +optional
	// +kubebuilder:validation:MaxLength=317
	Owner string `json:"owner,omitempty"`
	// machine is the name of the Beskar7Machine.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Machine string `json:"machine"`
	// releasedAt is when the claim was cleared.
	// +required
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time such as 2026-01-31T12:00:00Z, from 2000 to 2999"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	ReleasedAt metav1.MicroTime `json:"releasedAt"`
}

// Release is the durable mark that starts the release of a host.
type Release struct {
	// reason in one UpperCamel word.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason"`
	// requestedAt is when the mark was written.
	// +required
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time such as 2026-01-31T12:00:00Z, from 2000 to 2999"
	RequestedAt metav1.Time `json:"requestedAt"`
}

// MediaGrant is a capability to fetch boot media. Only the token's hash is stored: the token itself is in the URL that the
// BMC was given.
type MediaGrant struct {
	// tokenHash is the SHA-256 of the token, in hex.
	// +required
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	TokenHash string `json:"tokenHash"`
	// expires is when the URLs stop working. Absent: with the claim's release, as for a system that runs from its medium.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time such as 2026-01-31T12:00:00Z, from 2000 to 2999"
	Expires *metav1.Time `json:"expires,omitempty"`
	// dataUntil ends the bootstrap data of the media before the media themselves: from then on, and once the host is bound whatever
	// it says, data files read as zeroes while the image is served on. A bound host is served data only before this time, which
	// stands in a grant made for its next boot. Absent: until the host is bound.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time such as 2026-01-31T12:00:00Z, from 2000 to 2999"
	DataUntil *metav1.Time `json:"dataUntil,omitempty"`
	// mediumHash is the SHA-256, in hex, of what the media of this grant are made of, as it was recorded in a Secret when the grant
	// was made: what changes later changes no byte of them. Absent in grants of older versions, which get no bootstrap data served.
	// +optional
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	MediumHash string `json:"mediumHash,omitempty"`
	// imageETag pins the image that was seen when the grant was made, for images without a checksum.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	ImageETag string `json:"imageETag,omitempty"`
	// imageLength pins its length in bytes.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ImageLength int64 `json:"imageLength,omitempty"`
}

// PhoneHomeOutcome is what the booted system said about its bootstrap.
//
// +kubebuilder:validation:Enum=Succeeded;Failed
type PhoneHomeOutcome string

const (
	// PhoneHomeSucceeded binds the claim.
	PhoneHomeSucceeded PhoneHomeOutcome = "Succeeded"
	// PhoneHomeFailed never binds.
	PhoneHomeFailed PhoneHomeOutcome = "Failed"
)

// PhoneHome is the receipt of a phone-home call.
type PhoneHome struct {
	// outcome of the bootstrap.
	// +required
	Outcome PhoneHomeOutcome `json:"outcome"`
	// receivedAt is when it was received.
	// +required
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time such as 2026-01-31T12:00:00Z, from 2000 to 2999"
	ReceivedAt metav1.Time `json:"receivedAt"`
	// detail for a person.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Detail string `json:"detail,omitempty"`
}

// Boot is what a claimed host boots.
type Boot struct {
	// imageURL is the ISO image.
	// +required
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=2048
	ImageURL string `json:"imageURL"`
	// checksum of the image: sha256:<hex> or sha512:<hex>.
	// +optional
	// +kubebuilder:validation:MaxLength=135
	Checksum string `json:"checksum,omitempty"`
	// osFamily says how the system finds its bootstrap data.
	// +required
	OSFamily OSFamily `json:"osFamily"`
	// bootMode is Live or Install.
	// +required
	BootMode BootMode `json:"bootMode"`
	// bootstrapSecret names the Secret with the bootstrap data that CAPI generated.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	BootstrapSecret string `json:"bootstrapSecret"`
}
