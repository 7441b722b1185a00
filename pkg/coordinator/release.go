package coordinator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// MarkRelease marks the release of every host that the machine holds and says whether it holds none any more (done): then its
// finalizer may go. It finds hosts by hostRef and by the claims that name the machine, so that a claim whose reply was lost is
// found too, and reads each live. An intent that never became a claim, or whose claim is gone, is cleared. reason is one
// UpperCamel word. Call it until done; an error means to call it again.
//
// A bound claim of that machine name that neither hostRef nor providerID names belongs to a former machine of the same name:
// its server runs for someone, so it is left to Judge. A claim that the cache does not show yet is missed; without a
// hostRef it is inert and expires.
func MarkRelease(ctx context.Context, access Access, machine *v1beta1.Beskar7Machine, reason string) (done bool, err error) {
	live, gone, err := liveMachine(ctx, access.Reader, machine)
	if err != nil {
		return false, err
	}
	names, err := heldHosts(ctx, access.Client, live)
	if err != nil {
		return false, err
	}
	done = true
	for _, name := range slices.Sorted(maps.Keys(names)) {
		held, err := markHost(ctx, access, live, name, reason)
		if err != nil {
			return false, err
		}
		done = done && !held
	}
	if !done || gone || live.Spec.HostRef == nil {
		return done, nil
	}
	cleared := live.DeepCopy()
	cleared.Spec.HostRef = nil
	err = access.Client.Patch(ctx, cleared, client.MergeFromWithOptions(live, client.MergeFromWithOptimisticLock{}))
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("clear the intent of machine %s/%s: %w", live.Namespace, live.Name, err)
	}
	return true, nil
}

// liveMachine reads the machine live. If it is gone, perhaps replaced by one of the same name, the caller's copy stands in:
// what it held is still to be marked.
func liveMachine(ctx context.Context, live client.Reader, machine *v1beta1.Beskar7Machine) (*v1beta1.Beskar7Machine, bool, error) {
	read := &v1beta1.Beskar7Machine{}
	err := live.Get(ctx, client.ObjectKeyFromObject(machine), read)
	switch {
	case apierrors.IsNotFound(err):
		return machine, true, nil
	case err != nil:
		return nil, false, fmt.Errorf("read machine %s/%s: %w", machine.Namespace, machine.Name, err)
	case read.UID != machine.UID:
		return machine, true, nil
	}
	return read, false, nil
}

// heldHosts are the names of all hosts that may be claimed for the machine.
func heldHosts(ctx context.Context, cache client.Reader, machine *v1beta1.Beskar7Machine) (map[string]bool, error) {
	names := map[string]bool{}
	if machine.Spec.HostRef != nil {
		names[machine.Spec.HostRef.Name] = true
	}
	if name, _, found := providerHost(machine); found {
		names[name] = true
	}
	var list v1beta1.PhysicalHostList
	err := cache.List(ctx, &list, client.InNamespace(machine.Namespace), client.MatchingFields{HostByClaimMachine: machine.Name})
	if err != nil {
		return nil, fmt.Errorf("list hosts claimed for machine %s/%s: %w", machine.Namespace, machine.Name, err)
	}
	for i := range list.Items {
		names[list.Items[i].Name] = true
	}
	return names, nil
}

// markHost marks the host's release if its claim is the machine's, and says whether it is (still) held.
func markHost(ctx context.Context, access Access, machine *v1beta1.Beskar7Machine, name, reason string) (bool, error) {
	var err error
	for range rewrites {
		host := &v1beta1.PhysicalHost{}
		err = access.Reader.Get(ctx, types.NamespacedName{Namespace: machine.Namespace, Name: name}, host)
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			break
		}
		if !holds(machine, host) {
			return false, nil
		}
		if host.Spec.Claim.Release != nil {
			return true, nil
		}
		marked := host.DeepCopy()
		marked.Spec.Claim.Release = &v1beta1.Release{Reason: reason, RequestedAt: metav1.NewTime(access.Clock.Now())}
		// Under the version that was read: the claim that is marked must be the one that was looked at.
		err = access.Client.Patch(ctx, marked, client.MergeFromWithOptions(host, client.MergeFromWithOptimisticLock{}))
		if err == nil {
			return true, nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			break
		}
	}
	return false, fmt.Errorf("mark the release of host %s/%s: %w", machine.Namespace, name, err)
}

// holds says whether the host's claim is the machine's to release.
func holds(machine *v1beta1.Beskar7Machine, host *v1beta1.PhysicalHost) bool {
	claim := host.Spec.Claim
	if claim == nil || claim.Machine != machine.Name {
		return false
	}
	if !claim.Bound || host.ClaimedBy(machine) {
		return true
	}
	name, id, found := providerHost(machine)
	return found && name == host.Name && id == claim.ID
}

// providerHost reads host and claim id from the machine's provider id.
func providerHost(machine *v1beta1.Beskar7Machine) (host, claimID string, found bool) {
	rest, found := strings.CutPrefix(machine.Spec.ProviderID, v1beta1.ProviderIDScheme+"://"+machine.Namespace+"/")
	if !found {
		return "", "", false
	}
	return strings.Cut(rest, "/")
}
