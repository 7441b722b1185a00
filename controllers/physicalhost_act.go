package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/settings"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/scope"
)

// act carries out a decision: API actions at once, hardware actions by handing them to the gate. over is true when there is
// nothing to report: the object is no more, or its claim has ended and what was gathered of it is history. The write wakes us.
func (r *PhysicalHostReconciler) act(ctx context.Context, host *v1beta1.PhysicalHost, g *gathered, d provision.Decision) (over bool, err error) {
	log := ctrl.LoggerFrom(ctx).WithValues("rule", d.Rule)
	switch {
	case d.Action.Hardware():
		if g.fault == nil {
			g.submitted(r.Clock.Now(), d.Action, r.Actuator.Submit(r.order(host, g, d)))
		}
		return false, nil
	case d.Action != provision.None:
		log.Info("Acting on the API", "action", d.Action)
	}
	r.Actuator.Withdraw(key(host))
	if still, err := r.stillSo(ctx, host, d); err != nil || !still {
		return false, err
	}
	switch d.Action {
	case provision.RemoveFinalizer:
		return true, r.removeFinalizer(ctx, host)
	case provision.ClearClaim:
		return true, r.clearClaim(ctx, host, nil)
	case provision.YieldClaim:
		return true, r.yieldClaim(ctx, host)
	case provision.GiveUpClaim:
		return true, r.clearClaim(ctx, host, &v1beta1.Quarantine{Reason: "ReleasedUnverified", Since: metav1.NewTime(r.Clock.Now()),
			Message: fmt.Sprintf("the claim of machine %s was ended by a person before the server was proven off: check the server, then remove spec.quarantine", host.Spec.Claim.Machine)})
	case provision.QuarantineOrphan:
		return false, r.write(ctx, host, func(h *v1beta1.PhysicalHost) {
			h.Spec.Quarantine = &v1beta1.Quarantine{Reason: v1beta1.ReasonOrphaned, Since: metav1.NewTime(r.Clock.Now()),
				Message: fmt.Sprintf("machine %s is gone without giving the host back, and its system was running: it was left running", h.Spec.Claim.Machine)}
		})
	case provision.ReleaseOrphan:
		// The one mark that is not the machine controller's: there is no machine. It is durable, so that a release that has begun
		// goes on after a restart, a lost status or a move.
		return false, r.write(ctx, host, func(h *v1beta1.PhysicalHost) {
			h.Spec.Claim.Release = &v1beta1.Release{Reason: v1beta1.ReasonOrphaned, RequestedAt: metav1.NewTime(r.Clock.Now())}
		})
	case provision.MarkBound:
		if err := r.blankMedium(ctx, host); err != nil {
			return false, err
		}
		return false, r.write(ctx, host, markBound)
	case provision.MintGrant:
		return false, r.mint(ctx, host, g)
	case provision.RevokeGrant:
		return false, r.revoke(ctx, host)
	case provision.None, provision.Observe, provision.Inspect, provision.ShutDown, provision.ForceOff, provision.Eject,
		provision.Insert, provision.Arm, provision.Disarm, provision.PowerOn:
	}
	return false, nil
}

// stillSo decides again on live reads, before a claim is ended or judged orphaned: a cache that stopped following must not
// cost a machine its host. All else is guarded by the resource version of the host alone.
func (r *PhysicalHostReconciler) stillSo(ctx context.Context, host *v1beta1.PhysicalHost, d provision.Decision) (bool, error) {
	switch d.Action {
	case provision.ClearClaim, provision.YieldClaim, provision.QuarantineOrphan, provision.ReleaseOrphan:
	default:
		return true, nil
	}
	fresh, err := r.live(ctx, client.ObjectKeyFromObject(host))
	if err != nil {
		return false, client.IgnoreNotFound(err)
	}
	again, err := r.gather(ctx, r.Reader, fresh)
	if err != nil {
		return false, err
	}
	return provision.Decide(again.facts).Action == d.Action, nil
}

// live is the host as the API server has it now. One that became another manager's is not found.
func (r *PhysicalHostReconciler) live(ctx context.Context, name client.ObjectKey) (*v1beta1.PhysicalHost, error) {
	host := &v1beta1.PhysicalHost{}
	if err := r.Reader.Get(ctx, name, host); err != nil {
		return nil, err
	}
	if !scope.Owned(r.WatchFilter, host) {
		return nil, apierrors.NewNotFound(v1beta1.GroupVersion.WithResource("physicalhosts").GroupResource(), name.Name)
	}
	return host, nil
}

// submitted takes in the gate's answer to a wish. One that it had no room for is to be handed to it again: nobody else would.
func (g *gathered) submitted(now time.Time, wish provision.Action, t bmcqueue.Ticket) {
	if t.Accepted || t.RetryAfter <= 0 {
		return
	}
	g.deadlines = append(g.deadlines, now.Add(t.RetryAfter))
	if t.Reason == bmcqueue.ReasonFull {
		g.refused = wish
	}
}

// order is a hardware action for the gate.
func (r *PhysicalHostReconciler) order(host *v1beta1.PhysicalHost, g *gathered, d provision.Decision) actuator.Order {
	name, bmc, all := client.ObjectKeyFromObject(host), r.BMC(host), r.BMC(&v1beta1.PhysicalHost{})
	return actuator.Order{
		Host: key(host), Namespace: host.Namespace, Action: d.Action, Class: classOf(g.facts), ClaimID: g.brief.ClaimID,
		Inputs:   r.mediaBase(host),
		Group:    config.VendorOf(settings.VendorOf(host)),
		Cooldown: ownTime(all.Cooldown, bmc.Cooldown), Timeout: ownTime(all.OperationTimeout, bmc.OperationTimeout),
		Shutdown: shutdownTimeout(host), Settle: settleTimeout, Rest: restOf(host),
		Brief: func(ctx context.Context) (actuator.Brief, error) {
			// Live reads: what was decided from a cache is decided again on what the API server says now (D4).
			fresh, err := r.live(ctx, name)
			if err != nil {
				return actuator.Brief{}, fmt.Errorf("read the host again: %w", err)
			}
			again, err := r.gather(ctx, r.Reader, fresh)
			if err != nil {
				return actuator.Brief{}, err
			}
			return again.brief, nil
		},
	}
}

// ownTime is a host's own time for an operation, and 0 where that is the time of all hosts: with 0 the gate follows the live setting,
// also for operations that wait in it already.
func ownTime(all, own time.Duration) time.Duration {
	if own == all {
		return 0
	}
	return own
}

func classOf(f provision.Facts) bmcqueue.Class {
	switch f.Claim {
	case provision.ClaimReleasing:
		return bmcqueue.ClassRelease
	case provision.ClaimHeld:
		return bmcqueue.ClassProvision
	case provision.ClaimNone, provision.ClaimUnconfirmed, provision.ClaimExpired, provision.ClaimOrphaned, provision.ClaimOrphanExpired, provision.ClaimOrphanBound:
	}
	return bmcqueue.ClassRest
}

// write patches spec under the resource version that was decided on: a decision on a stale object is refused and made again.
func (r *PhysicalHostReconciler) write(ctx context.Context, host *v1beta1.PhysicalHost, change func(*v1beta1.PhysicalHost)) error {
	base := host.DeepCopy()
	change(host)
	return r.Client.Patch(ctx, host, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
}

func (r *PhysicalHostReconciler) clearClaim(ctx context.Context, host *v1beta1.PhysicalHost, quarantine *v1beta1.Quarantine) error {
	claim := host.Spec.Claim
	if err := r.write(ctx, host, func(h *v1beta1.PhysicalHost) {
		h.Spec.LastTenant = tenantAfter(h, r.Clock.Now())
		h.Spec.Claim, h.Spec.Boot = nil, nil
		if quarantine != nil {
			h.Spec.Quarantine = quarantine
		}
	}); err != nil {
		return err
	}
	r.Streams.Drop(key(host))
	if claim.Media != nil {
		r.Tokens.Drop(claim.Media.TokenHash)
	}
	if err := r.dropMedium(ctx, host, claim.Media); err != nil {
		return err
	}
	r.event(host, "Normal", "Released", "Release", fmt.Sprintf("claim %s of machine %s is cleared", claim.ID, claim.Machine))
	return nil
}

// yieldClaim gives a host up that its owner powered on before anything of ours reached it (D12): the host stays out of the pool
// while it runs, and its machine, whose hostRef leads nowhere then, looks for another one.
func (r *PhysicalHostReconciler) yieldClaim(ctx context.Context, host *v1beta1.PhysicalHost) error {
	claim := host.Spec.Claim
	if err := r.write(ctx, host, func(h *v1beta1.PhysicalHost) { h.Spec.Claim, h.Spec.Boot = nil, nil }); err != nil {
		return err
	}
	r.event(host, corev1.EventTypeWarning, v1beta1.ReasonPoweredOn, "Yield",
		fmt.Sprintf("somebody powered the server on before it was prepared for machine %s: the claim is given up, and the machine looks for another host", claim.Machine))
	return nil
}

func (r *PhysicalHostReconciler) removeFinalizer(ctx context.Context, host *v1beta1.PhysicalHost) error {
	r.forget(key(host))
	base := host.DeepCopy()
	if !controllerutil.RemoveFinalizer(host, v1beta1.HostFinalizer) {
		return nil
	}
	err := r.Client.Patch(ctx, host, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
	return client.IgnoreNotFound(err)
}

// tenantAfter is who had the host last once its claim is cleared. A claim under which the hardware was never touched leaves no
// trace: what is on the disks is still of the tenant before.
func tenantAfter(host *v1beta1.PhysicalHost, now time.Time) *v1beta1.Tenant {
	claim := host.Spec.Claim
	if !(coordinator.Holding{Host: host}).Touched() {
		return host.Spec.LastTenant
	}
	return &v1beta1.Tenant{
		Cluster: claim.Cluster, Owner: claim.Owner, Machine: claim.Machine,
		ReleasedAt: metav1.NewMicroTime(now.Truncate(time.Microsecond)),
	}
}
