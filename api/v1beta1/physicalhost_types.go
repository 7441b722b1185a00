package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PowerPolicy says what to do with a claimed, bound host that is found off.
//
// +kubebuilder:validation:Enum=KeepOn;AlwaysOn;Observe
type PowerPolicy string

const (
	// PowerPolicyKeepOn powers a bound host on again whose system is on its disk; it is the default. A Live system that lost its
	// power has lost itself: it is left off and reported.
	PowerPolicyKeepOn PowerPolicy = "KeepOn"
	// PowerPolicyAlwaysOn powers a Live system on again, too: the owner's word that its image bears a second boot with the bootstrap
	// data of its first. Those of kubeadm do not: they join or make a cluster once.
	PowerPolicyAlwaysOn PowerPolicy = "AlwaysOn"
	// PowerPolicyObserve leaves a bound host as it is and reports.
	PowerPolicyObserve PowerPolicy = "Observe"
)

// PhysicalHostSpec is what must be true of one server. Users write the connection and policy fields; claim, boot, paused and
// quarantine are written by the controllers named beside them.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.claim) || !has(self.claim) || (self.claim.id == oldSelf.claim.id && self.claim.machine == oldSelf.claim.machine && self.claim.cluster == oldSelf.claim.cluster)",message="a claim may be set or cleared, never replaced: wait for its release"
// +kubebuilder:validation:XValidation:rule="!has(self.boot) || has(self.claim)",message="boot requires a claim: they are set and cleared in one write"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.claim) || !has(self.claim) || !has(oldSelf.claim.bound) || !oldSelf.claim.bound || (has(self.claim.bound) && self.claim.bound)",message="a bound claim stays bound until it is cleared"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.claim) || !has(self.claim) || !has(oldSelf.claim.release) || has(self.claim.release)",message="a release cannot be taken back"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.claim) || has(self.claim) || !has(oldSelf.claim.bound) || !oldSelf.claim.bound || has(oldSelf.claim.release) || has(self.quarantine)",message="a bound claim is cleared only after its release was marked, or into quarantine"
// +kubebuilder:validation:XValidation:rule="has(oldSelf.claim) || !has(self.claim) || !has(self.quarantine)",message="a quarantined host cannot be claimed"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.boot) || !has(self.boot) || self.boot == oldSelf.boot",message="boot is set with the claim and cleared with it"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.claim) || !has(self.claim) || self.redfishConnection.address == oldSelf.redfishConnection.address",message="address does not change while the host is claimed, as another server may answer there: delete the Machine, wait for the release (or end it unverified if the BMC is gone), then change it"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.claim) || !has(self.claim) || (has(self.redfishConnection.systemID) && size(self.redfishConnection.systemID) > 0 ? self.redfishConnection.systemID : 'any') == (has(oldSelf.redfishConnection.systemID) && size(oldSelf.redfishConnection.systemID) > 0 ? oldSelf.redfishConnection.systemID : 'any')",message="systemID does not change while the host is claimed, as it is another server's: delete the Machine, wait for the release, then change it"
type PhysicalHostSpec struct {
	// redfishConnection tells how to reach the BMC.
	// +required
	RedfishConnection RedfishConnection `json:"redfishConnection"`

	// failureDomain is where the server stands, such as a rack or a room.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	FailureDomain string `json:"failureDomain,omitempty"`

	// priority ranks hosts for the priority algorithm: higher is preferred.
	// +optional
	// +kubebuilder:validation:Minimum=-1000
	// +kubebuilder:validation:Maximum=1000
	Priority int32 `json:"priority,omitempty"`

	// consentToErase is the owner's word that whatever runs on this unclaimed server may be powered off and its media and
	// boot override removed, so that it can join the pool.
	// +optional
	ConsentToErase bool `json:"consentToErase,omitempty"`

	// maintenance keeps an unclaimed host out of the pool. A claimed host keeps its claim.
	// +optional
	Maintenance bool `json:"maintenance,omitempty"`

	// powerPolicy says what to do with a bound host that is found off. KeepOn (default) powers on what is installed, and leaves a
	// Live system off, which lost itself with its power. AlwaysOn boots a Live system again, with the bootstrap data of its first
	// boot: set it only for an image that bears that. Observe leaves every host as it is and reports.
	// +optional
	// +kubebuilder:default=KeepOn
	PowerPolicy PowerPolicy `json:"powerPolicy,omitempty"`

	// allowPlainMedia consents to boot media over plain http for this host. Control plane bootstrap data holds the cluster's
	// CA keys, so this is for BMCs that cannot do https, on a network that is trusted.
	// +optional
	AllowPlainMedia bool `json:"allowPlainMedia,omitempty"`

	// mediaURL overrides the base URL under which this host's BMC reaches the media server.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https?://[^?&#]+$`
	MediaURL string `json:"mediaURL,omitempty"`

	// phoneHomeURL overrides the base URL under which the booted system reaches the phone-home endpoint.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https?://[^?&#]+$`
	PhoneHomeURL string `json:"phoneHomeURL,omitempty"`

	// networkData is the static network configuration of the server; absent means that the image decides (usually DHCP).
	// +optional
	NetworkData *NetworkData `json:"networkData,omitempty"`

	// claim says who owns the host. Written by the coordinator; cleared by the host controller after release.
	// +optional
	Claim *Claim `json:"claim,omitempty"`

	// boot is what to boot for the claim. Written with it, in the same write.
	// +optional
	Boot *Boot `json:"boot,omitempty"`

	// lastTenant is who had the host last: its disks may still hold what that machine wrote. A replacement that asks for reuse
	// looks for it; remove it to make such a machine look elsewhere. Written by the host controller in the write that clears a
	// claim under which the hardware was touched.
	// +optional
	LastTenant *Tenant `json:"lastTenant,omitempty"`

	// paused stops every hardware action. Written by the machine controller when the machine's cluster is paused, so that it
	// survives `clusterctl move`, and cleared when it is unpaused.
	// +optional
	Paused bool `json:"paused,omitempty"`

	// quarantine keeps the host out of the pool until a person removes it. Written by the host controller.
	// +optional
	Quarantine *Quarantine `json:"quarantine,omitempty"`
}

// RedfishConnection tells how to reach and trust one BMC.
type RedfishConnection struct {
	// address is the BMC's base URL, such as https://10.0.0.5 or https://[fd00::5]:8443. It does not change while the host is claimed.
	// +required
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https?://[^/@?#]+/?$`
	Address string `json:"address"`

	// credentialsSecretRef names a Secret in the same namespace with the keys username and password.
	// +required
	CredentialsSecretRef SecretReference `json:"credentialsSecretRef"`

	// caBundleSecretRef names a Secret in the same namespace whose key ca.crt holds the PEM certificates to trust.
	// +optional
	CABundleSecretRef *SecretReference `json:"caBundleSecretRef,omitempty"`

	// certificateFingerprint pins the BMC's certificate: SHA-256 of its DER form, in hex; colons are allowed.
	// +optional
	// +kubebuilder:validation:Pattern=`^([0-9a-fA-F]{2}:?){31}[0-9a-fA-F]{2}$`
	CertificateFingerprint string `json:"certificateFingerprint,omitempty"`

	// insecureSkipVerify accepts any certificate. Prefer certificateFingerprint.
	// +optional
	InsecureSkipVerify bool `json:"insecureSkipVerify,omitempty"`

	// allowOldTLS accepts TLS 1.0 and 1.1 and key exchange without forward secrecy, for a BMC that knows nothing better. Whoever
	// records the traffic can read the password once the BMC's key is known: update the firmware if that helps.
	// +optional
	AllowOldTLS bool `json:"allowOldTLS,omitempty"`

	// allowPlainHTTP consents to a BMC whose address is http://: user name and password of the BMC then cross the network in
	// clear, for everybody on the way to read. Without it such a BMC is not contacted.
	// +optional
	AllowPlainHTTP bool `json:"allowPlainHTTP,omitempty"`

	// systemID chooses the system when the BMC manages several. It does not change while the host is claimed.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	SystemID string `json:"systemID,omitempty"`

	// vendor overrides the detected vendor profile.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Vendor string `json:"vendor,omitempty"`

	// tuning overrides the global BMC settings for this host.
	// +optional
	Tuning *Tuning `json:"tuning,omitempty"`
}

// SecretReference names a Secret in the object's own namespace.
type SecretReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// Tuning overrides settings of the BMC gate and driver for one host. Unset fields follow the vendor and global settings,
// and so does a time of 0s, but for settleTime.
type Tuning struct {
	// cooldown between two changing operations on the BMC (provisioning.bmcCooldownPeriod).
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) == duration('0s') || duration(self) >= duration('1s') && duration(self) <= duration('10m')",message="must be from 1s to 10m, in h, m, s or ms, where a day is 24h; or 0s, which is the default"
	Cooldown *metav1.Duration `json:"cooldown,omitempty"`
	// settleTime is how long the BMC is left alone after media or power were changed, before the effect is looked for and before
	// the next change. It stands in for what the vendor table knows; 0s is not at all.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('10m')",message="must be from 0s to 10m, in h, m, s or ms: a day is 24h"
	SettleTime *metav1.Duration `json:"settleTime,omitempty"`
	// operationTimeout bounds one operation (provisioning.operationTimeout).
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) == duration('0s') || duration(self) >= duration('10s') && duration(self) <= duration('1h')",message="must be from 10s to 1h, in h, m, s or ms, where a day is 24h; or 0s, which is the default"
	OperationTimeout *metav1.Duration `json:"operationTimeout,omitempty"`
	// connectionTimeout bounds the TCP and TLS set-up (bmc.connectionTimeout).
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) == duration('0s') || duration(self) >= duration('1s') && duration(self) <= duration('10m')",message="must be from 1s to 10m, in h, m, s or ms, where a day is 24h; or 0s, which is the default"
	ConnectionTimeout *metav1.Duration `json:"connectionTimeout,omitempty"`
	// requestTimeout bounds one request (bmc.requestTimeout).
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) == duration('0s') || duration(self) >= duration('1s') && duration(self) <= duration('30m')",message="must be from 1s to 30m, in h, m, s or ms, where a day is 24h; or 0s, which is the default"
	RequestTimeout *metav1.Duration `json:"requestTimeout,omitempty"`
	// maxRetries repeats idempotent requests (bmc.maxRetries).
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10
	MaxRetries *int32 `json:"maxRetries,omitempty"`
	// retryDelay between such repeats (bmc.retryDelay).
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) == duration('0s') || duration(self) >= duration('1s') && duration(self) <= duration('10m')",message="must be from 1s to 10m, in h, m, s or ms, where a day is 24h; or 0s, which is the default"
	RetryDelay *metav1.Duration `json:"retryDelay,omitempty"`
	// bootTimeout is how long a booted system may take until its Node or phone-home is seen. Default 30m.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) == duration('0s') || duration(self) >= duration('1s') && duration(self) <= duration('168h')",message="must be from 1s to 168h, in h, m, s or ms, where a day is 24h; or 0s, which is the default"
	BootTimeout *metav1.Duration `json:"bootTimeout,omitempty"`
	// shutdownTimeout is how long a graceful shutdown may take before power is cut. Default 3m.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) == duration('0s') || duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="must be from 1s to 24h, in h, m, s or ms, where a day is 24h; or 0s, which is the default"
	ShutdownTimeout *metav1.Duration `json:"shutdownTimeout,omitempty"`
	// releaseTimeout is how long a release may take before it is reported as blocked. Default 10m.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) == duration('0s') || duration(self) >= duration('1s') && duration(self) <= duration('168h')",message="must be from 1s to 168h, in h, m, s or ms, where a day is 24h; or 0s, which is the default"
	ReleaseTimeout *metav1.Duration `json:"releaseTimeout,omitempty"`
}

// Quarantine says why a host may not be used until a person looked at it. Remove spec.quarantine to end it.
type Quarantine struct {
	// reason in one UpperCamel word.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason"`
	// message for a person.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// since when.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time such as 2026-01-31T12:00:00Z, from 2000 to 2999"
	Since metav1.Time `json:"since,omitempty,omitzero"`
}

// +kubebuilder:object:root=true
// +kubebuilder:resource:path=physicalhosts,scope=Namespaced,categories=cluster-api,shortName=ph
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels={"cluster.x-k8s.io/v1beta2=v1beta1","clusterctl.cluster.x-k8s.io=","clusterctl.cluster.x-k8s.io/move-hierarchy="}
// +kubebuilder:printcolumn:name="State",type="string",JSONPath=".status.state",description="What the host is doing"
// +kubebuilder:printcolumn:name="Power",type="string",JSONPath=".status.power",description="Observed power"
// +kubebuilder:printcolumn:name="Machine",type="string",JSONPath=".spec.claim.machine",description="Beskar7Machine that owns the host"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].status",description="Whether the host is as it should be"
// +kubebuilder:printcolumn:name="Message",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].message",description="What is wrong and what to do"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="Cluster",type="string",JSONPath=".spec.claim.cluster",priority=1
// +kubebuilder:printcolumn:name="Operation",type="string",JSONPath=".status.operation.kind",priority=1
// +kubebuilder:printcolumn:name="Attempts",type="integer",JSONPath=".status.attempts",priority=1
// +kubebuilder:printcolumn:name="Next",type="string",JSONPath=".status.nextAttempt",priority=1
// +kubebuilder:printcolumn:name="Model",type="string",JSONPath=".status.hardware.model",priority=1
// +kubebuilder:printcolumn:name="Cores",type="integer",JSONPath=".status.hardware.cpu.cores",priority=1
// +kubebuilder:printcolumn:name="Memory",type="string",JSONPath=".status.hardware.memory",priority=1
// +kubebuilder:printcolumn:name="Domain",type="string",JSONPath=".spec.failureDomain",priority=1
// +kubebuilder:printcolumn:name="BMC",type="string",JSONPath=".spec.redfishConnection.address",priority=1

// PhysicalHost is one server that is managed through its BMC.
type PhysicalHost struct {
	metav1.TypeMeta `json:",inline"`
	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is what must be true.
	// +required
	Spec PhysicalHostSpec `json:"spec"`
	// status is what was observed.
	// +optional
	Status PhysicalHostStatus `json:"status,omitempty,omitzero"`
}

// GetConditions returns the conditions of the host.
func (h *PhysicalHost) GetConditions() []metav1.Condition { return h.Status.Conditions }

// SetConditions replaces the conditions of the host.
func (h *PhysicalHost) SetConditions(conditions []metav1.Condition) { h.Status.Conditions = conditions }

// +kubebuilder:object:root=true

// PhysicalHostList is a list of hosts.
type PhysicalHostList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PhysicalHost `json:"items"`
}
