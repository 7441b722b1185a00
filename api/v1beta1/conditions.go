package v1beta1

import clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

// Condition types of PhysicalHost. Ready is the summary; Available says whether a machine may claim the host.
const (
	ReadyCondition  = clusterv1.ReadyCondition
	PausedCondition = clusterv1.PausedCondition

	// BMCReachableCondition is True while the BMC answers and accepts our credentials.
	BMCReachableCondition = "BMCReachable"
	// InspectedCondition is True once the hardware was read.
	InspectedCondition = "Inspected"
	// IdentityVerifiedCondition is True while the server that answers is the recorded one, and no other PhysicalHost's.
	IdentityVerifiedCondition = "IdentityVerified"
	// AvailableCondition is True while the host may be claimed: observed off, empty, disarmed, inventoried, nobody's.
	AvailableCondition = "Available"
	// BootedCondition is True once power On was observed after an armed boot from our medium for the present claim.
	BootedCondition = "Booted"
	// AdvertisedURLsTrustedCondition is False while clients that verify certificates do not trust the media server at the URLs that
	// this host's BMC and system are given.
	AdvertisedURLsTrustedCondition = "AdvertisedURLsTrusted"
	// ReleaseBlockedCondition is True when a release has passed its deadline; its message has the command that ends it.
	ReleaseBlockedCondition = "ReleaseBlocked"
)

// Condition types of Beskar7Machine.
const (
	// HostClaimedCondition is True once claim and hostRef name each other.
	HostClaimedCondition = "HostClaimed"
	// HostProvisionedCondition is True once the host was booted for this machine.
	HostProvisionedCondition = "HostProvisioned"
	// SpreadCondition is False when soft spreading over failure domains had to give way.
	SpreadCondition = "Spread"
)

// Condition types of Beskar7Cluster.
const (
	// EndpointReadyCondition is True once the control plane endpoint is known.
	EndpointReadyCondition = "ControlPlaneEndpointReady"
	// FailureDomainsCondition tells where the published failure domains come from.
	FailureDomainsCondition = "FailureDomainsPublished"
)

// Reasons of PhysicalHost conditions.
const (
	ReasonReachable            = "Reachable"
	ReasonNotYetContacted      = "NotYetContacted"
	ReasonUnreachable          = "Unreachable"
	ReasonBusy                 = "Busy"
	ReasonLoginRefused         = "LoginRefused"
	ReasonCredentialUnproven   = "CredentialUnproven"
	ReasonCertificateRefused   = "CertificateRefused"
	ReasonSystemNotFound       = "SystemNotFound"
	ReasonUnsupported          = "Unsupported"
	ReasonProtocolError        = "ProtocolError"
	ReasonConnectionInvalid    = "ConnectionInvalid"
	ReasonPlainHTTPNotAllowed  = "PlainHTTPNotAllowed"
	ReasonAddressNotAllowed    = "AddressNotAllowed"
	ReasonSecretNotFound       = "SecretNotFound"
	ReasonSecretInvalid        = "SecretInvalid"
	ReasonInspected            = "Inspected"
	ReasonInspecting           = "Inspecting"
	ReasonAvailable            = "Available"
	ReasonClaimed              = "Claimed"
	ReasonPoweredOn            = "PoweredOn"
	ReasonForeignMedia         = "ForeignMedia"
	ReasonBootOverrideSet      = "BootOverrideSet"
	ReasonCleaning             = "Cleaning"
	ReasonDuplicate            = "Duplicate"
	ReasonOtherServer          = "OtherServer"
	ReasonIdentityVerified     = "IdentityVerified"
	ReasonIdentityNotTold      = "IdentityNotTold"
	ReasonQuarantined          = "Quarantined"
	ReasonMaintenance          = "Maintenance"
	ReasonDeleting             = clusterv1.DeletingReason
	ReasonNotObserved          = "NotObserved"
	ReasonBooted               = "Booted"
	ReasonBooting              = "Booting"
	ReasonNotClaimed           = "NotClaimed"
	ReasonWaitingForConfirm    = "WaitingForConfirmation"
	ReasonOrphaned             = "Orphaned"
	ReasonReleasing            = "Releasing"
	ReasonReleaseOverdue       = "ReleaseOverdue"
	ReasonNotReleasing         = "NotReleasing"
	ReasonMediaNotReady        = "MediaNotReady"
	ReasonImageUnusable        = "ImageUnusable"
	ReasonImageChanged         = "ImageChanged"   // of an event: an image without checksum is no longer the one that was pinned
	ReasonMediaNotServed       = "MediaNotServed" // of an event: the image could not be streamed to the BMC
	ReasonBootstrapDataMissing = "BootstrapDataMissing"
	ReasonMediaNotAllowed      = "PlainMediaNotAllowed"
	ReasonCertificateMismatch  = "CertificateMismatch"
	ReasonCertificateCovers    = "CertificateCovers"
	ReasonBootOverdue          = "BootOverdue"
	ReasonBootFailed           = "BootFailed"            // booted as often as it may be, without a sign of life
	ReasonSwitchedOff          = "SwitchedOff"           // off soon after its boot, without a sign of life; it is booted again
	ReasonSystemLost           = "SystemLost"            // off, and what ran cannot be booted again
	ReasonNodeUnknown          = "NodeUnknown"           // off, and nobody can say whether its system ran
	ReasonNodeNotOurs          = "NodeWithoutProviderID" // a Node of the machine's name runs without our provider id
	ReasonPoweredOff           = "PoweredOff"            // off, and its owner wants it left so
	ReasonRunningUnknown       = "RunningUnknown"        // claimed and running, and nobody can say what
	ReasonBootstrapFailed      = "BootstrapFailed"
	ReasonPowerLost            = "PowerLost"
	ReasonHostPaused           = "HostPaused"
	ReasonOperationFailing     = "OperationFailing"
)

// Reasons of Beskar7Machine and Beskar7Cluster conditions.
const (
	ReasonWaitingForCluster       = clusterv1.WaitingForClusterInfrastructureReadyReason
	ReasonWaitingForBootstrapData = clusterv1.WaitingForBootstrapDataReason
	ReasonNoHostAvailable         = "NoHostAvailable"
	ReasonClaimContended          = "ClaimContended"
	ReasonWaitingForArbiter       = "WaitingForArbiter"
	ReasonSelectorInvalid         = "SelectorInvalid"
	ReasonHostClaimed             = "HostClaimed"
	ReasonHostLost                = "HostLost"
	ReasonProvisioning            = "Provisioning"
	ReasonProvisioned             = clusterv1.ProvisionedReason
	ReasonWaitingForHost          = "WaitingForHost"
	ReasonWaitingForRelease       = "WaitingForRelease"
	ReasonEndpointKnown           = "EndpointKnown"
	ReasonEndpointMissing         = "EndpointMissing"
	ReasonDomainsListed           = "Listed"
	ReasonDomainsFromHosts        = "FromHosts"
	ReasonNoFailureDomains        = "NoFailureDomains"
	ReasonSpreadKept              = "SpreadKept"
	ReasonSpreadGaveWay           = "SpreadGaveWay"
)
