package actuator

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// How often an effect is looked for: at first soon, as quick BMCs take well under a second, then ever less often.
const (
	firstLook = 250 * time.Millisecond
	lastLook  = 5 * time.Second
)

// run is one operation while it is in the gate, over all its tries. The gate never runs it twice at a time.
type run struct {
	actuator *Actuator
	id       string
	order    Order
	// acted is when the changing request was sent; zero before.
	acted time.Time
	// slot is where media went in or out.
	slot string
	// medium that went in.
	medium bootmedia.Medium
	looks  int
}

// step is one turn in the gate.
func (r *run) step(ctx context.Context) bmcqueue.Result {
	result := r.turn(ctx)
	if result.Failure == bmcqueue.None && result.Err == nil && result.Wait == 0 {
		r.actuator.ended(r)
	}
	return result
}

// turn is check, act, read; or, once acted, only read.
func (r *run) turn(ctx context.Context) bmcqueue.Result {
	a, host := r.actuator, r.order.Host
	bmc, err := a.open(host)
	if err != nil {
		return a.failed(host, err)
	}
	o, err := a.observe(ctx, host, bmc)
	if err != nil {
		return a.failed(host, err)
	}
	if r.order.Class == bmcqueue.ClassRelease {
		o = a.prove(host, r.order.ClaimID, o)
	}
	if !r.acted.IsZero() {
		return r.look(o, false)
	}
	brief, err := r.order.Brief(ctx)
	if err != nil {
		return bmcqueue.Result{Failure: bmcqueue.Other, Err: err}
	}
	if provision.Decide(Complete(brief, o)).Action != r.order.Action {
		return bmcqueue.Result{} // the facts have moved on; whoever asked decides again
	}
	if r.order.Action.Reads() {
		return r.read(ctx, bmc)
	}
	if err := bmcqueue.CheckFence(ctx); err != nil {
		return bmcqueue.Result{Failure: bmcqueue.Other, Err: err}
	}
	return r.act(ctx, bmc, brief, o)
}

// read carries out an action that only reads. Observing goes on while the answer is not settled.
func (r *run) read(ctx context.Context, bmc redfish.BMC) bmcqueue.Result {
	if r.order.Action == provision.Inspect {
		if err := r.actuator.inspect(ctx, r.order.Host, bmc); err != nil {
			return r.actuator.failed(r.order.Host, err)
		}
		return bmcqueue.Result{}
	}
	return bmcqueue.Result{Wait: r.pause(), Message: "power state is not settled"}
}

// act makes the one changing request and reads back.
func (r *run) act(ctx context.Context, bmc redfish.BMC, brief Brief, o Observation) bmcqueue.Result {
	a, host := r.actuator, r.order.Host
	if err := r.request(ctx, bmc, brief, o); err != nil {
		if r.order.Action == provision.ShutDown && redfish.KindOf(err) == redfish.KindUnsupported {
			r.deaf()
			return bmcqueue.Result{}
		}
		if redfish.KindOf(err) != redfish.KindConflict {
			result := a.failed(host, err)
			result.Changed = true // it may have been carried out all the same
			return result
		}
		// A conflict often means that it is so already: what counts is what is read back.
	}
	r.acted = a.clock.Now()
	o, err := a.observe(ctx, host, bmc)
	if err != nil {
		// The request is out; the next turn only reads.
		result := a.failed(host, err)
		result.Changed = true
		return result
	}
	return r.look(o, true)
}

// request sends the changing request of the action.
func (r *run) request(ctx context.Context, bmc redfish.BMC, brief Brief, o Observation) error {
	switch r.order.Action {
	case provision.PowerOn:
		r.actuator.expectBoot(r.order.Host, r.order.ClaimID)
		return bmc.Reset(ctx, redfish.ResetOn)
	case provision.ForceOff:
		return bmc.Reset(ctx, redfish.ResetForceOff)
	case provision.ShutDown:
		return bmc.Reset(ctx, redfish.ResetGracefulShutdown)
	case provision.Arm:
		return bmc.SetBootOnce(ctx, redfish.BootCD)
	case provision.Disarm:
		return bmc.ClearBoot(ctx)
	case provision.Eject:
		return r.eject(ctx, bmc, brief, o)
	case provision.Insert:
		return r.insert(ctx, bmc, brief, o)
	case provision.None, provision.RemoveFinalizer, provision.ClearClaim, provision.GiveUpClaim, provision.QuarantineOrphan, provision.ReleaseOrphan,
		provision.MarkBound, provision.MintGrant, provision.RevokeGrant, provision.Observe, provision.Inspect:
	}
	return fmt.Errorf("%s is not a hardware action", r.order.Action)
}

// eject empties the first slot that holds anything that is not ours, else the first that holds anything.
func (r *run) eject(ctx context.Context, bmc redfish.BMC, brief Brief, o Observation) error {
	for _, s := range o.Slots {
		if !s.Empty() && (r.slot == "" || !isOurs(s, bootmedia.Boot, brief.Hash) && !isOurs(s, bootmedia.Config, brief.Hash)) {
			r.slot = s.ID
		}
	}
	return bmc.Eject(ctx, r.slot)
}

// insert puts in the first of our media that is missing. The config drive goes before the boot medium, so that a boot medium
// that is in is never without its data.
func (r *run) insert(ctx context.Context, bmc redfish.BMC, brief Brief, o Observation) error {
	placements, err := Plan(brief.Family, o.Slots)
	if err != nil {
		return err
	}
	empty := map[string]bool{}
	for _, s := range o.Slots {
		empty[s.ID] = s.Empty()
	}
	for i := len(placements) - 1; i >= 0; i-- {
		if p := placements[i]; empty[p.SlotID] {
			r.slot, r.medium = p.SlotID, p.Medium
			return bmc.Insert(ctx, p.SlotID, brief.URLs[p.Medium])
		}
	}
	return nil
}

// look says whether the effect is there, is still awaited, or did not come.
func (r *run) look(o Observation, changed bool) bmcqueue.Result {
	if r.seen(o) {
		return bmcqueue.Result{Changed: changed}
	}
	waited := r.actuator.clock.Since(r.acted)
	if waited < r.patience() {
		return bmcqueue.Result{Changed: changed, Wait: r.pause(), Message: "waiting for the effect of " + string(r.order.Action)}
	}
	if r.order.Action == provision.ShutDown {
		r.deaf()
		return bmcqueue.Result{Changed: changed}
	}
	r.acted, r.looks = time.Time{}, 0 // the next try acts again
	return r.actuator.failed(r.order.Host, &redfish.Error{Kind: redfish.KindProtocol, Op: string(r.order.Action),
		Message: fmt.Sprintf("the BMC took the request, but %s after it the effect was not to be seen", waited.Round(time.Second))})
}

// seen says whether the effect of the action can be read.
func (r *run) seen(o Observation) bool {
	switch r.order.Action {
	case provision.PowerOn:
		return o.State.Power == redfish.PowerOn
	case provision.ForceOff, provision.ShutDown:
		return o.State.Power == redfish.PowerOff
	case provision.Arm:
		return o.State.Boot.OnceFrom(redfish.BootCD)
	case provision.Disarm:
		return !o.State.Boot.Armed()
	case provision.Eject, provision.Insert:
		for _, s := range o.Slots {
			if s.ID == r.slot {
				return s.Empty() == (r.order.Action == provision.Eject)
			}
		}
		return r.slot == ""
	case provision.None, provision.RemoveFinalizer, provision.ClearClaim, provision.GiveUpClaim, provision.QuarantineOrphan, provision.ReleaseOrphan,
		provision.MarkBound, provision.MintGrant, provision.RevokeGrant, provision.Observe, provision.Inspect:
	}
	return true
}

// deaf keeps that a graceful shutdown does not work for this claim.
func (r *run) deaf() {
	r.actuator.update(r.order.Host, func(o *Observation) {
		o.DeafSince = maps.Clone(o.DeafSince)
		if o.DeafSince == nil {
			o.DeafSince = map[string]time.Time{}
		}
		o.DeafSince[r.order.ClaimID] = r.actuator.clock.Now()
	})
	r.actuator.tell(r.order.Host)
}

func (r *run) patience() time.Duration {
	if r.order.Action == provision.ShutDown {
		return r.order.Shutdown
	}
	return r.order.Settle
}

func (r *run) pause() time.Duration {
	d := min(firstLook<<min(r.looks, 5), lastLook)
	r.looks++
	return d
}
