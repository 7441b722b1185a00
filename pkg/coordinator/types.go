package coordinator

import (
	"context"
	"errors"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

// Fence names the Lease under which a claim is made: the driver lease in optimistic mode, the arbiter's in claim-leader mode.
type Fence struct {
	// Holder is the identity in the Lease; empty means that the Lease is not held, and then nothing is claimed.
	Holder string
	// Transitions is the Lease's transition count.
	Transitions int32
}

// ErrNoLease is returned, wrapped, when Options.Fence says that the Lease is not held.
var ErrNoLease = errors.New("the lease under which hosts are claimed is not held")

// ErrSelector is returned, wrapped, when the machine's hostSelector cannot be understood. Only an edit helps.
var ErrSelector = errors.New("hostSelector is invalid")

// Claimer gets a host for a machine. Both modes implement it. It is safe for concurrent use, also for the same machine.
type Claimer interface {
	// Claim makes progress towards one host for one machine and says how far it came. It never waits. An error means that
	// nothing is known about the last write: call again, the protocol resumes. Not finding a host is not an error.
	Claim(ctx context.Context, req ClaimRequest) (ClaimResult, error)
	// HostChanged takes note of a host as the cache showed it before and shows it now (nil: it is new, or gone), and names the
	// machines that wait for such a host and are to be looked at now: at most one for each host. The machine that a claim names
	// is not among them. The hosts must not be changed any more.
	HostChanged(before, after *v1beta1.PhysicalHost) []types.NamespacedName
	// Forget tells that the machine does not want a host at present, or is gone.
	Forget(machine types.NamespacedName)
}

// ClaimRequest is one machine's wish for a host.
type ClaimRequest struct {
	// Machine as the caller knows it; it may be stale and is never written to. The one with its name, namespace and UID is
	// read live before anything is written.
	Machine *v1beta1.Beskar7Machine
	// Cluster is the name of the machine's Cluster.
	Cluster string
	// FailureDomain that CAPI chose for the Machine; empty means any.
	FailureDomain string
	// Boot is written to the host together with the claim.
	Boot v1beta1.Boot
	// Owner is the set of machines that the machine belongs to, such as MachineDeployment/md-0; it is written to the claim.
	// Empty: none; then spec.spread and spec.reuse have no effect.
	Owner string
	// ControlPlane machines are served before all others.
	ControlPlane bool
}

// Outcome says how far a claim came.
type Outcome string

const (
	// Claimed: this call wrote the claim; host and machine name each other.
	Claimed Outcome = "Claimed"
	// Confirmed: host and machine named each other already.
	Confirmed Outcome = "Confirmed"
	// NoHost: no host fits; Diagnosis says why. Wait for a host to change (or RetryAfter, if set).
	NoHost Outcome = "NoHost"
	// Contended: others were faster on every host that was tried. Come back after RetryAfter.
	Contended Outcome = "Contended"
	// Queued (claim-leader mode): a host fits, and the arbiter has not claimed one yet. Wait for the claim.
	Queued Outcome = "Queued"
	// NoArbiter (claim-leader mode): no process holds the arbiter's Lease, so nothing is claimed. Come back after RetryAfter.
	NoArbiter Outcome = "NoArbiter"
	// IntentLost: the machine must not claim: it is gone, being deleted or another of the same name, or it was provisioned
	// already and its host is no longer its own. Never claims a second host for a machine with a provider id.
	IntentLost Outcome = "IntentLost"
)

// ClaimResult is the answer to a ClaimRequest.
type ClaimResult struct {
	Outcome Outcome
	// Host as written or read live, for Claimed and Confirmed; else nil.
	Host *v1beta1.PhysicalHost
	// ClaimID of the claim, for Claimed and Confirmed; else empty.
	ClaimID string
	// Diagnosis of the last selection, for NoHost, Queued and Contended. Of a machine that goes on waiting it keeps its numbers as
	// long as the reasons are the same.
	Diagnosis hostselection.Diagnosis
	// RetryAfter is when to call again although nothing changed; 0 means not before a host or the machine changes.
	RetryAfter time.Duration
}

// Settings are the live settings of host selection (hostSelection.*).
type Settings struct {
	Algorithm hostselection.Algorithm
	// RetryLimit is how many further hosts one call tries after it lost the first. Minimum 0.
	RetryLimit int
	// BackoffMultiplier and MaxBackoffDelay shape RetryAfter of contended claims; see hostselection.Backoff.
	BackoffMultiplier float64
	MaxBackoffDelay   time.Duration
}

// Observer receives what metrics need. Its methods must be cheap and safe for concurrent use.
type Observer interface {
	// ClaimAttempted: one try on one host ended, or no host was found. outcome is success, conflict, no_host or error;
	// reason is, for a conflict, host_changed, host_taken, host_gone or machine_changed, else empty.
	ClaimAttempted(namespace, outcome, reason string)
	// ClaimTook: a call that ended in Claimed took that long.
	ClaimTook(namespace string, took time.Duration)
	// ClaimRetried: another host is tried in the same call.
	ClaimRetried(namespace string)
}

// Options configure both modes. All fields but Observer, Informed and Wake are required.
type Options struct {
	// Client reads from the cache and writes. Hosts must be indexed by HostByClaimMachine for MarkRelease.
	Client client.Client
	// Reader reads live from the API server.
	Reader client.Reader
	// Fence is asked once for every call, before the first write.
	Fence func() Fence
	// Settings is asked once for every call.
	Settings func() Settings
	Clock    clock.PassiveClock
	// Random is the source of claim ids, such as crypto/rand.Reader.
	Random   io.Reader
	Observer Observer
	// Informed says that HostChanged is called for every event of every host, also for those that are there at the start. Then
	// hosts are chosen from what it told, and a machine that waits costs nothing until something changes.
	Informed bool
	// Owned says whether a host may be given to machines at all: those of another manager may not. May be nil: all may.
	Owned func(host client.Object) bool
	// Wake asks for a look at a machine whose turn it is, since the one before it took another host. May be nil.
	Wake func(machine types.NamespacedName)
}

// own is the host where it may be given to machines, else nil.
func (o *Options) own(host *v1beta1.PhysicalHost) *v1beta1.PhysicalHost {
	if host == nil || o.Owned != nil && !o.Owned(host) {
		return nil
	}
	return host
}

// HostByClaimMachine is the name of the field index of PhysicalHosts by the name of the machine in their claim.
const HostByClaimMachine = "spec.claim.machine"

// IndexHostByClaimMachine is the function of that index.
func IndexHostByClaimMachine(object client.Object) []string {
	host, ok := object.(*v1beta1.PhysicalHost)
	if !ok || host.Spec.Claim == nil {
		return nil
	}
	return []string{host.Spec.Claim.Machine}
}

// Access is how MarkRelease reaches the API server.
type Access struct {
	// Client reads from the cache (with the index HostByClaimMachine) and writes.
	Client client.Client
	// Reader reads live.
	Reader client.Reader
	Clock  clock.PassiveClock
}
