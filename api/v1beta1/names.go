package v1beta1

// Finalizers. Each keeps its object until the duty named beside it is done.
const (
	// MachineFinalizer keeps a Beskar7Machine until its claim on a host is gone.
	MachineFinalizer = "beskar7machine.infrastructure.cluster.x-k8s.io"
	// ClusterFinalizer keeps a Beskar7Cluster until no Beskar7Machine of the cluster is left.
	ClusterFinalizer = "beskar7cluster.infrastructure.cluster.x-k8s.io"
	// HostFinalizer keeps a PhysicalHost until it is unclaimed.
	HostFinalizer = "physicalhost.infrastructure.cluster.x-k8s.io"
	// CredentialsFinalizer keeps a BMC Secret while a claimed host needs it: without it no server could be powered off.
	CredentialsFinalizer = "physicalhost.infrastructure.cluster.x-k8s.io/credentials"
)

// Annotations that a person sets.
const (
	// RetryNowAnnotation on a PhysicalHost asks for one immediate attempt; each new value asks once. It also releases a
	// parked log-in for one try.
	RetryNowAnnotation = "infrastructure.cluster.x-k8s.io/retry-now"
	// ReleaseUnverifiedAnnotation on a PhysicalHost ends a release that cannot finish. Its value must be the claim's id, so
	// that an old command never ends a newer claim. The host goes to quarantine, never to Available.
	ReleaseUnverifiedAnnotation = "infrastructure.cluster.x-k8s.io/release-unverified"
)

// AcceptServerAnnotation on an unclaimed PhysicalHost takes another server than the recorded one for the host's, such as one with a
// new mainboard. Its value is the system UUID that the server has now, or its serial number if it has no UUID, so that an old
// command never accepts a third server. It has no effect on a claimed host.
const AcceptServerAnnotation = "infrastructure.cluster.x-k8s.io/accept-server"

// ProviderIDScheme starts every provider id: beskar7://<namespace>/<host>/<claim id>. The claim id makes it unique for each
// tenancy, so that a former tenant's Node is never taken for the present one.
const ProviderIDScheme = "beskar7"
