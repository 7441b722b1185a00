package coordinator

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

// Why a race was lost; the values of the label conflict_reason.
const (
	hostChanged    = "host_changed"
	hostTaken      = "host_taken"
	hostGone       = "host_gone"
	machineChanged = "machine_changed"
)

// rewrites is how often one write is repeated after a conflict that changed nothing which matters: status of hosts and
// machines is written all the time.
const rewrites = 3

// pass is one call of Claim.
type pass struct {
	*Optimistic
	request   ClaimRequest
	settings  Settings
	want      hostselection.Request
	namespace string
	now       time.Time
	fence     Fence

	// machine as read live or as last written.
	machine *v1beta1.Beskar7Machine
	// lost are the hosts that will not do in this call, by name.
	lost map[string]bool

	ranked     bool
	candidates []*v1beta1.PhysicalHost
	diagnosis  hostselection.Diagnosis
	wake       time.Time
}

// run is the protocol: look, resume what an earlier call began, else try one candidate after the other.
func (p *pass) run(ctx context.Context) (ClaimResult, error) {
	if p.request.Machine.Spec.HostRef == nil {
		// While nothing fits, waiting costs no request to the API server. A stale cache only delays: its update wakes us.
		if err := p.rank(ctx); err != nil {
			return ClaimResult{}, err
		}
		if len(p.candidates) == 0 {
			return p.nothing(), nil
		}
	}
	if p.fence = p.Fence(); p.fence.Holder == "" {
		return ClaimResult{}, ErrNoLease
	}
	if mayClaim, err := p.readMachine(ctx); err != nil || !mayClaim {
		return ClaimResult{Outcome: IntentLost}, err
	}
	if p.machine.Spec.HostRef != nil {
		if result, settled, err := p.resume(ctx); err != nil || settled {
			return result, err
		}
	}
	return p.search(ctx)
}

// nothing is the answer when no host fits: wait for an event, or until time alone makes one fit.
func (p *pass) nothing() ClaimResult {
	result := ClaimResult{Outcome: NoHost, Diagnosis: p.diagnosis}
	if !p.wake.IsZero() {
		result.RetryAfter = max(p.wake.Sub(p.now), time.Second)
	}
	return result
}

// readMachine reads the machine live. False: it must not claim.
func (p *pass) readMachine(ctx context.Context) (bool, error) {
	machine := &v1beta1.Beskar7Machine{}
	err := p.Reader.Get(ctx, client.ObjectKeyFromObject(p.request.Machine), machine)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the machine: %w", err)
	}
	p.machine = machine
	return p.mayClaim(machine), nil
}

// mayClaim says whether the machine is the one that was asked for, and may have a host.
func (p *pass) mayClaim(machine *v1beta1.Beskar7Machine) bool {
	// With a provider id but no host, someone cleared hostRef of a machine whose server ran: it gets no second one.
	orphaned := machine.Spec.ProviderID != "" && machine.Spec.HostRef == nil
	return machine.UID == p.request.Machine.UID && machine.DeletionTimestamp.IsZero() && !orphaned
}

// readHost reads a host live; nil if there is none.
func (p *pass) readHost(ctx context.Context, name string) (*v1beta1.PhysicalHost, error) {
	host := &v1beta1.PhysicalHost{}
	err := p.Reader.Get(ctx, types.NamespacedName{Namespace: p.namespace, Name: name}, host)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read host %s: %w", name, err)
	}
	return host, nil
}

// resume goes on with the intent that is on the machine: an earlier call crashed, lost a reply, or succeeded. Not settled
// means that the intent led nowhere and was cleared.
func (p *pass) resume(ctx context.Context) (result ClaimResult, settled bool, err error) {
	ref := *p.machine.Spec.HostRef
	host, err := p.readHost(ctx, ref.Name)
	if err != nil {
		return ClaimResult{}, true, err
	}
	if host != nil && host.ClaimedBy(p.machine) {
		return ClaimResult{Outcome: Confirmed, Host: host, ClaimID: ref.ClaimID}, true, nil
	}
	if p.machine.Spec.ProviderID != "" {
		// It was provisioned, so a server ran with its bootstrap data: neither that host again nor another one.
		return ClaimResult{Outcome: IntentLost}, true, nil
	}
	p.assumed.take(p.hostKey(ref.Name), &p.request, p.now)
	return p.bind(ctx, ref.Name, host)
}

// search tries the candidates until one is claimed.
func (p *pass) search(ctx context.Context) (ClaimResult, error) {
	if !p.ranked || len(p.lost) > 0 {
		if err := p.rank(ctx); err != nil {
			return ClaimResult{}, err
		}
		if len(p.candidates) == 0 && len(p.lost) == 0 {
			return p.nothing(), nil
		}
	}
	tries := 0
	for _, candidate := range p.candidates {
		if tries > p.settings.RetryLimit {
			break
		}
		if !p.assumed.take(p.hostKey(candidate.Name), &p.request, p.now) {
			continue
		}
		if holds, err := p.spreadHolds(ctx, candidate.Name); err != nil || !holds {
			p.assumed.drop(p.hostKey(candidate.Name), p.machine.UID)
			if err != nil {
				return ClaimResult{}, err
			}
			continue
		}
		if tries++; tries > 1 {
			p.Observer.ClaimRetried(p.namespace)
		}
		if result, settled, err := p.try(ctx, candidate.Name); err != nil || settled {
			return result, err
		}
	}
	return ClaimResult{Outcome: Contended, Diagnosis: p.diagnosis}, nil
}

// try goes for one host: look at it live, write the intent, compare-and-set. Not settled means that the race was lost and
// the machine has no intent.
func (p *pass) try(ctx context.Context, name string) (result ClaimResult, settled bool, err error) {
	host, err := p.readHost(ctx, name)
	if err != nil {
		return ClaimResult{}, true, err
	}
	// Nothing was written yet, so a host that is gone by now costs no write. This is no guard: bind looks again.
	if reason := p.refusal(host); reason != "" {
		p.lose(name, reason)
		return ClaimResult{}, false, nil
	}
	id, err := p.newClaimID()
	if err != nil {
		return ClaimResult{}, true, err
	}
	if result, settled, err := p.intend(ctx, v1beta1.HostRef{Name: name, ClaimID: id}); err != nil || settled {
		return result, true, err
	}
	return p.bind(ctx, name, host)
}

// intend writes the intent on the machine as it was read live, and nothing else: if anyone changed the machine meanwhile, it
// is read again. Settled means that this call must end.
func (p *pass) intend(ctx context.Context, ref v1beta1.HostRef) (result ClaimResult, settled bool, err error) {
	for range rewrites {
		err := p.patchMachine(ctx, &ref)
		if err == nil {
			return ClaimResult{}, false, nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return ClaimResult{}, true, fmt.Errorf("write the intent to claim host %s: %w", ref.Name, err)
		}
		if mayClaim, err := p.readMachine(ctx); err != nil || !mayClaim {
			return ClaimResult{Outcome: IntentLost}, true, err
		}
		if p.machine.Spec.HostRef != nil {
			break // another worker or replica has begun for this machine: the next call resumes with its intent
		}
	}
	p.Observer.ClaimAttempted(p.namespace, "conflict", machineChanged)
	p.assumed.drop(p.hostKey(ref.Name), p.machine.UID)
	return ClaimResult{Outcome: Contended, Diagnosis: p.diagnosis}, true, nil
}

// bind sets the claim that the machine's intent names on the host, if the host, as read live, still fits. host is nil if it
// does not exist. Not settled means that the host is lost and the intent was cleared. An error leaves the intent in place:
// the write may have been applied, and the next call must find out.
func (p *pass) bind(ctx context.Context, name string, host *v1beta1.PhysicalHost) (result ClaimResult, settled bool, err error) {
	ref := *p.machine.Spec.HostRef
	reason := ""
	for range rewrites {
		if host != nil && host.ClaimedBy(p.machine) {
			// Our own write whose reply was lost, or another worker that resumed the same intent.
			return ClaimResult{Outcome: Claimed, Host: host, ClaimID: ref.ClaimID}, true, nil
		}
		if reason = p.refusal(host); reason != "" {
			break
		}
		claimed, err := writeClaim(ctx, p.Client, host, ref.ClaimID, p.request, p.fence, p.now)
		if err == nil {
			return ClaimResult{Outcome: Claimed, Host: claimed, ClaimID: ref.ClaimID}, true, nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return ClaimResult{}, true, fmt.Errorf("claim host %s: %w", name, err)
		}
		reason = hostChanged
		// Time has passed: without its intent, this call has no business on the host any more.
		if mayClaim, err := p.readMachine(ctx); err != nil || !mayClaim {
			return ClaimResult{Outcome: IntentLost}, true, err
		}
		if now := p.machine.Spec.HostRef; now == nil || *now != ref {
			p.Observer.ClaimAttempted(p.namespace, "conflict", machineChanged)
			return ClaimResult{Outcome: Contended, Diagnosis: p.diagnosis}, true, nil
		}
		if host, err = p.readHost(ctx, name); err != nil {
			return ClaimResult{}, true, err
		}
	}
	p.lose(name, reason)
	return p.withdraw(ctx, ref)
}

// withdraw clears the intent after its race was lost. Settled means that this call must end.
func (p *pass) withdraw(ctx context.Context, ref v1beta1.HostRef) (result ClaimResult, settled bool, err error) {
	for range rewrites {
		err := p.patchMachine(ctx, nil)
		if err == nil {
			return ClaimResult{}, false, nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return ClaimResult{}, true, fmt.Errorf("withdraw the intent to claim host %s: %w", ref.Name, err)
		}
		if mayClaim, err := p.readMachine(ctx); err != nil || !mayClaim {
			return ClaimResult{Outcome: IntentLost}, true, err
		}
		if now := p.machine.Spec.HostRef; now == nil || *now != ref || p.machine.Spec.ProviderID != "" {
			break
		}
	}
	return ClaimResult{Outcome: Contended, Diagnosis: p.diagnosis}, true, nil
}

// refusal is why the host, as read live, cannot be claimed; empty if it can.
func (p *pass) refusal(host *v1beta1.PhysicalHost) string {
	switch {
	case host == nil:
		return hostGone
	case host.Spec.Claim != nil:
		return hostTaken
	case p.own(host) == nil, hostselection.Refusal(p.want, host) != "":
		return hostChanged
	}
	return ""
}

func (p *pass) lose(host, reason string) {
	p.lost[host] = true
	p.assumed.drop(p.hostKey(host), p.machine.UID)
	p.Observer.ClaimAttempted(p.namespace, "conflict", reason)
}

func (p *pass) hostKey(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: p.namespace, Name: name}
}

// patchMachine sets or clears hostRef under the resource version that was read. The intent blocks `clusterctl move` in the same
// write: a move between the intent and the pause on the host would take one without the other. Whoever carries the pause to
// the host takes the block away.
func (p *pass) patchMachine(ctx context.Context, ref *v1beta1.HostRef) error {
	updated := p.machine.DeepCopy()
	updated.Spec.HostRef = ref
	if ref != nil {
		if updated.Annotations == nil {
			updated.Annotations = map[string]string{}
		}
		updated.Annotations[clusterctlv1.BlockMoveAnnotation] = ""
	}
	if err := p.Client.Patch(ctx, updated, client.MergeFromWithOptions(p.machine, client.MergeFromWithOptimisticLock{})); err != nil {
		return err
	}
	p.machine = updated
	return nil
}

// newClaimID is 8 random bytes in hex. It is never guessed against, only compared: its length keeps tenancies apart.
func (o *Options) newClaimID() (string, error) {
	var raw [8]byte
	if _, err := io.ReadFull(o.Random, raw[:]); err != nil {
		return "", fmt.Errorf("make a claim id: %w", err)
	}
	return hex.EncodeToString(raw[:]), nil
}
