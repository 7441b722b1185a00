package controllers

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/provision"
)

// grantLifetime bounds how long the media URLs of an installation work; those of a Live system work until its release.
const grantLifetime = 24 * time.Hour

// act carries out a decision: API actions at once, hardware actions by handing them to the gate. gone is true when the object
// is no more.
func (r *PhysicalHostReconciler) act(ctx context.Context, host *v1beta1.PhysicalHost, g *gathered, d provision.Decision) (gone bool, err error) {
	log := ctrl.LoggerFrom(ctx).WithValues("rule", d.Rule)
	switch {
	case d.Action.Hardware():
		if g.fault == nil {
			r.submit(host, g, d)
		}
		return false, nil
	case d.Action != provision.None:
		log.Info("Acting on the API", "action", d.Action)
	}
	r.Actuator.Withdraw(key(host))
	switch d.Action {
	case provision.RemoveFinalizer:
		return true, r.removeFinalizer(ctx, host)
	case provision.ClearClaim:
		return false, r.clearClaim(ctx, host, nil)
	case provision.GiveUpClaim:
		return false, r.clearClaim(ctx, host, &v1beta1.Quarantine{Reason: "ReleasedUnverified", Since: metav1.NewTime(r.Clock.Now()),
			Message: fmt.Sprintf("the claim of machine %s was ended by a person before the server was proven off: check the server, then remove spec.quarantine", host.Spec.Claim.Machine)})
	case provision.QuarantineOrphan:
		return false, r.write(ctx, host, func(h *v1beta1.PhysicalHost) {
			h.Spec.Quarantine = &v1beta1.Quarantine{Reason: v1beta1.ReasonOrphaned, Since: metav1.NewTime(r.Clock.Now()),
				Message: fmt.Sprintf("machine %s is gone without giving the host back, and its system was running: it was left running", h.Spec.Claim.Machine)}
		})
	case provision.MarkBound:
		return false, r.write(ctx, host, func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Bound = true })
	case provision.MintGrant:
		return false, r.mint(ctx, host, g)
	case provision.RevokeGrant:
		return false, r.write(ctx, host, func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Media = nil })
	case provision.None, provision.Observe, provision.Inspect, provision.ShutDown, provision.ForceOff, provision.Eject,
		provision.Insert, provision.Arm, provision.Disarm, provision.PowerOn:
	}
	return false, nil
}

// submit hands a hardware action to the gate.
func (r *PhysicalHostReconciler) submit(host *v1beta1.PhysicalHost, g *gathered, d provision.Decision) {
	name := client.ObjectKeyFromObject(host)
	r.Actuator.Submit(actuator.Order{
		Host: key(host), Namespace: host.Namespace, Action: d.Action, Class: classOf(g.facts), ClaimID: g.brief.ClaimID,
		Cooldown: tuned(tuning(host).Cooldown, 0), Timeout: tuned(tuning(host).OperationTimeout, 0),
		Shutdown: shutdownTimeout(host), Settle: settleTimeout,
		Brief: func(ctx context.Context) (actuator.Brief, error) {
			// Live reads: what was decided from a cache is decided again on what the API server says now (D4).
			fresh := &v1beta1.PhysicalHost{}
			if err := r.Reader.Get(ctx, name, fresh); err != nil {
				return actuator.Brief{}, fmt.Errorf("read the host again: %w", err)
			}
			again, err := r.gather(ctx, r.Reader, fresh)
			if err != nil {
				return actuator.Brief{}, err
			}
			return again.brief, nil
		},
	})
}

func classOf(f provision.Facts) bmcqueue.Class {
	switch f.Claim {
	case provision.ClaimReleasing:
		return bmcqueue.ClassRelease
	case provision.ClaimHeld:
		return bmcqueue.ClassProvision
	case provision.ClaimNone, provision.ClaimUnconfirmed, provision.ClaimExpired, provision.ClaimOrphaned, provision.ClaimOrphanBound:
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
		h.Spec.Claim, h.Spec.Boot = nil, nil
		if quarantine != nil {
			h.Spec.Quarantine = quarantine
		}
	}); err != nil {
		return err
	}
	if claim.Media != nil {
		r.Tokens.drop(claim.Media.TokenHash)
	}
	r.event(host, "Normal", "Released", "Release", fmt.Sprintf("claim %s of machine %s is cleared", claim.ID, claim.Machine))
	return nil
}

// mint draws a media token and records its hash. The token itself is only kept in memory, and in the URLs that the BMC gets.
func (r *PhysicalHostReconciler) mint(ctx context.Context, host *v1beta1.PhysicalHost, g *gathered) error {
	token, err := bootmedia.NewToken()
	if err != nil {
		return err
	}
	grant := &v1beta1.MediaGrant{TokenHash: token.Hash(), ImageETag: g.image.Pin.ETag, ImageLength: g.image.Pin.Length}
	if g.facts.Install {
		grant.Expires = ptr.To(metav1.NewTime(r.Clock.Now().Add(grantLifetime)))
	}
	r.Tokens.keep(token)
	if err := r.write(ctx, host, func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Media = grant }); err != nil {
		r.Tokens.drop(token.Hash())
		return err
	}
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

func (r *PhysicalHostReconciler) event(host *v1beta1.PhysicalHost, kind, reason, action, note string) {
	r.Events.Eventf(host, nil, kind, reason, action, "%s", note)
}
