package actuator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// How often an effect is looked for: at first soon, then ever less often. Power never changes at once, so the first look at it
// waits, too; whether it is settled by itself is asked with more patience.
const (
	firstLook   = time.Second
	lastLook    = 5 * time.Second
	lastObserve = time.Minute
)

// run is one operation while it is in the gate. It holds no state of its own between its turns: the gate lets a repeated wish
// run in the place of the one that waits, so what must not be forgotten is kept with the server.
type run struct {
	actuator *Actuator
	of       *tracked
	id       string
	order    Order
}

// step is one turn in the gate: check, act, read; or, while an effect is awaited, only read.
func (r *run) step(ctx context.Context) bmcqueue.Result {
	a := r.actuator
	ctx = heard(ctx)
	at, err := a.open(r.of)
	if err != nil {
		return a.failed(at, err)
	}
	if s := a.awaited(r); s != nil {
		return r.look(ctx, at, s, false)
	}
	o, whole, err := a.observe(ctx, at, r.age())
	if err != nil {
		return a.failed(at, err)
	}
	brief, err := r.order.Brief(ctx)
	if err != nil {
		return bmcqueue.Result{Failure: bmcqueue.Other, Err: err}
	}
	if whole && r.order.Class == bmcqueue.ClassRelease && brief.unproven(o) == nil {
		o = a.prove(r.of, r.order.ClaimID, o)
	}
	if brief.ClaimID != r.order.ClaimID || provision.Decide(Complete(brief, o)).Action != r.order.Action {
		a.looked(r.of, "")
		return bmcqueue.Result{} // the facts have moved on; whoever asked decides again
	}
	if r.order.Action.Reads() {
		return r.read(ctx, at)
	}
	if r.order.Action == provision.ShutDown && a.shutdownOverdue(r) {
		r.deaf()
		return bmcqueue.Result{}
	}
	return r.act(ctx, at, brief, o)
}

// age is how old the slots may be that this action is decided on.
func (r *run) age() time.Duration {
	switch r.order.Action {
	case provision.ShutDown, provision.ForceOff:
		return slotsAny
	case provision.Observe:
		return 0
	default:
		return slotsFresh
	}
}

// read carries out an action that only reads. Observing goes on while the answer is not settled.
func (r *run) read(ctx context.Context, at access) bmcqueue.Result {
	if r.order.Action == provision.Inspect {
		if err := r.actuator.inspect(ctx, at); err != nil {
			return r.actuator.failed(at, err)
		}
		return bmcqueue.Result{}
	}
	return bmcqueue.Result{Wait: pause(r.actuator.looked(r.of, r.id), lastObserve), Message: "power or media are not settled"}
}

// act makes the one changing request and reads back.
func (r *run) act(ctx context.Context, at access, brief Brief, o Observation) bmcqueue.Result {
	a := r.actuator
	if err := bmcqueue.CheckFence(ctx); err != nil {
		return bmcqueue.Result{Failure: bmcqueue.Other, Err: err}
	}
	if err := brief.unproven(o); err != nil {
		return outcome(err) // I11: every change passes here, and o was read in this turn
	}
	if f := brief.Facts; r.order.Action == provision.ForceOff && f.BootOverdue && f.Claim == provision.ClaimHeld {
		// Some BMCs show a medium that the server cannot read: booting again from what did not boot would go on for ever.
		a.update(r.of, func(o *Observation) { o.spend(func(redfish.Slot) bool { return true }) })
	}
	s := &sent{family: brief.Family}
	request, err := r.request(at, brief, o, s)
	if err != nil {
		return outcome(err)
	}
	if !a.sending(r, s, brief.Facts.Bound || o.State.Boot.ArmedFrom(redfish.BootCD)) {
		return bmcqueue.Result{}
	}
	// A conflict often means that it is so already: what counts is what is read back.
	if err := request(ctx); err != nil && redfish.KindOf(err) != redfish.KindConflict {
		return r.refused(at, s, err)
	}
	a.taken(s)
	if rest := r.rest(); rest > 0 || r.powers() {
		return bmcqueue.Result{Changed: true, Rest: rest, Wait: max(rest, firstLook), Message: r.waiting()}
	}
	return r.look(ctx, at, s, true)
}

// rest is how long the BMC is left alone after this action.
func (r *run) rest() time.Duration {
	switch {
	case r.powers():
		return r.order.Rest.AfterPower
	case r.order.Action == provision.Insert:
		return r.order.Rest.AfterInsert
	case r.order.Action == provision.Eject:
		return r.order.Rest.AfterEject
	}
	return 0
}

// refused is the result of a request that failed. Only an answer that says no is a refusal; after any other failure it may
// have been carried out all the same.
func (r *run) refused(at access, s *sent, err error) bmcqueue.Result {
	a := r.actuator
	if !refusal(err) {
		result := a.failed(at, err)
		result.Changed, result.Rest = true, r.rest()
		return result
	}
	a.settled(r)
	a.rested(r.of)
	if r.order.Action == provision.ShutDown {
		r.deaf()
		return bmcqueue.Result{Changed: true}
	}
	r.blame(s)
	result := outcome(err) // it answers: only the operation fails
	result.Changed = true
	return result
}

// refusal tells a no from a failure: the request was understood and not carried out.
func refusal(err error) bool {
	switch redfish.KindOf(err) {
	case redfish.KindUnsupported, redfish.KindNotFound:
		return true
	case redfish.KindProtocol:
		var e *redfish.Error
		return errors.As(err, &e) && e.Status >= 400 && e.Status < 500
	default:
		return false
	}
}

// blame lets the next try take another slot.
func (r *run) blame(s *sent) {
	switch r.order.Action {
	case provision.Insert:
		r.actuator.update(r.of, func(o *Observation) {
			o.refuse(s.family, s.slot)
			o.spend(func(slot redfish.Slot) bool { return slot.ID == s.slot }) // a mount that does not end is ended
		})
	case provision.Eject:
		r.actuator.stick(r.of, s.slot, true)
	default:
	}
}

// request is the changing request of the action, and the slot it is for.
func (r *run) request(at access, brief Brief, o Observation, s *sent) (func(context.Context) error, error) {
	reset := func(t redfish.ResetType) func(context.Context) error {
		return func(ctx context.Context) error { return at.Reset(ctx, t) }
	}
	switch r.order.Action {
	case provision.PowerOn:
		return reset(redfish.ResetOn), nil
	case provision.ForceOff:
		return reset(redfish.ResetForceOff), nil
	case provision.ShutDown:
		return reset(redfish.ResetGracefulShutdown), nil
	case provision.Arm:
		return func(ctx context.Context) error { return at.SetBootOnce(ctx, redfish.BootCD) }, nil
	case provision.Disarm:
		return at.ClearBoot, nil
	case provision.Eject:
		s.slot = r.fullSlot(brief, o)
		return func(ctx context.Context) error { return at.Eject(ctx, s.slot) }, nil
	case provision.Insert:
		return r.insert(at, brief, o, s)
	case provision.None, provision.RemoveFinalizer, provision.ClearClaim, provision.YieldClaim, provision.GiveUpClaim, provision.QuarantineOrphan, provision.ReleaseOrphan,
		provision.MarkBound, provision.MintGrant, provision.RevokeGrant, provision.Observe, provision.Inspect:
	}
	return nil, fmt.Errorf("%s is not a hardware action", r.order.Action)
}

// fullSlot is the first slot that holds anything that is not ours, else the first that holds anything. One that could not be
// emptied comes after all others, so that it does not keep ours in.
func (r *run) fullSlot(brief Brief, o Observation) string {
	best, slot := 0, ""
	for _, s := range o.Slots {
		if s.Empty() {
			continue
		}
		rank := 1
		if o.Spent[s.ID] || !isOurs(s, "", brief.Hash) {
			rank++
		}
		if !r.actuator.isStuck(r.of, s.ID) {
			rank += 2
		}
		if rank > best {
			best, slot = rank, s.ID
		}
	}
	return slot
}

// insert puts in the first of our media that is missing. The config drive goes before the boot medium, so that a boot medium
// that is in is never without its data.
func (r *run) insert(at access, brief Brief, o Observation, s *sent) (func(context.Context) error, error) {
	placements, err := Plan(brief.Family, o)
	if err != nil {
		return nil, err
	}
	empty := map[string]bool{}
	for _, s := range o.Slots {
		empty[s.ID] = s.Empty()
	}
	for i := len(placements) - 1; i >= 0; i-- {
		if p := placements[i]; empty[p.SlotID] {
			url := brief.URLs[p.Medium]
			if url == "" {
				return nil, fmt.Errorf("the URL of the %s medium is not known", p.Medium)
			}
			s.slot = p.SlotID
			return func(ctx context.Context) error { return at.Insert(ctx, s.slot, url) }, nil
		}
	}
	return nil, errors.New("no slot is empty")
}

// look reads back, and says whether the effect is there, is still awaited, or did not come.
func (r *run) look(ctx context.Context, at access, s *sent, changed bool) bmcqueue.Result {
	a := r.actuator
	o, err := r.readBack(ctx, at, s.slot)
	if err != nil {
		// The request is out; the next turn only reads.
		result := a.failed(at, err)
		result.Changed = changed
		return result
	}
	now := a.clock.Now()
	if a.elsewhere(r.of) {
		if now.Before(s.until) {
			return bmcqueue.Result{Changed: changed, Wait: lastLook, Message: "another server answers"}
		}
		a.settled(r)
		return bmcqueue.Result{Changed: changed}
	}
	if r.seen(o, s.slot) {
		a.settled(r)
		if r.order.Action == provision.Eject {
			a.stick(r.of, s.slot, false)
		}
		return bmcqueue.Result{Changed: changed}
	}
	if problem := mountProblem(o, s.slot); problem != "" {
		a.settled(r)
		r.blame(s)
		return outcome(&redfish.Error{Kind: redfish.KindProtocol, Op: string(r.order.Action), Message: problem})
	}
	if now.Before(s.until) {
		s.looks++
		return bmcqueue.Result{Changed: changed, Wait: min(pause(s.looks, lastLook), max(s.until.Sub(now), firstLook)), Message: r.waiting()}
	}
	a.settled(r) // the next try acts again
	if r.order.Action == provision.ShutDown {
		r.deaf()
		return bmcqueue.Result{Changed: changed}
	}
	r.blame(s)
	return outcome(&redfish.Error{Kind: redfish.KindProtocol, Op: string(r.order.Action),
		Message: fmt.Sprintf("the BMC took the request, but %s after it the effect was not to be seen", s.until.Sub(s.at).Round(time.Second))})
}

// readBack reads what the action changes, and nothing else.
func (r *run) readBack(ctx context.Context, at access, slot string) (Observation, error) {
	if slot != "" {
		return r.actuator.observeSlot(ctx, at, slot)
	}
	return r.actuator.observeState(ctx, at)
}

// seen says whether the effect of the action can be read.
func (r *run) seen(o Observation, slot string) bool {
	switch r.order.Action {
	case provision.PowerOn, provision.ForceOff, provision.ShutDown:
		return powered(r.order.Action, o.State.Power)
	case provision.Arm:
		return o.State.Boot.ArmedFrom(redfish.BootCD)
	case provision.Disarm:
		return !o.State.Boot.Armed()
	case provision.Eject, provision.Insert:
		for _, s := range o.Slots {
			if s.ID == slot {
				if r.order.Action == provision.Eject {
					return s.Empty()
				}
				return !s.Empty() && !s.Mounting
			}
		}
		return false
	case provision.None, provision.RemoveFinalizer, provision.ClearClaim, provision.YieldClaim, provision.GiveUpClaim, provision.QuarantineOrphan, provision.ReleaseOrphan,
		provision.MarkBound, provision.MintGrant, provision.RevokeGrant, provision.Observe, provision.Inspect:
	}
	return true
}

// deaf keeps that a graceful shutdown does not work for this claim: the decision that follows cuts power.
func (r *run) deaf() {
	a := r.actuator
	a.update(r.of, func(o *Observation) {
		o.DeafSince = maps.Clone(o.DeafSince)
		if o.DeafSince == nil {
			o.DeafSince = map[string]time.Time{}
		}
		o.DeafSince[r.order.ClaimID] = a.clock.Now()
	})
	a.tell(r.of.host)
}

// powers says whether the action changes power.
func (r *run) powers() bool { return changesPower(r.order.Action) }

func changesPower(action provision.Action) bool {
	return action == provision.PowerOn || action == provision.ForceOff || action == provision.ShutDown
}

func (r *run) waiting() string { return "waiting for the effect of " + string(r.order.Action) }

// pause is how long to wait before the next look.
func pause(looks int, longest time.Duration) time.Duration {
	return min(firstLook<<min(looks, 10), longest)
}

// mountProblem is why the BMC gave up an image that it had taken, in its words.
func mountProblem(o Observation, slot string) string {
	for _, s := range o.Slots {
		if s.ID == slot {
			return s.Problem
		}
	}
	return ""
}
