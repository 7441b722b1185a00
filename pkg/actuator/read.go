package actuator

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/serverid"
)

// errForgotten: the host was dropped, or has another address by now, while its operation waited.
var errForgotten = errors.New("the host is not tracked any more")

// How old a reading of the slots may be. Slots cost a request each, power and override together one, so these are always read.
const (
	// slotsFresh is for deciding: what an operation of the same lane read back so recently still holds, unless power or
	// override changed meanwhile.
	slotsFresh = 45 * time.Second
	// slotsAny is for cutting power: whether that is right does not depend on what is in the slots.
	slotsAny = time.Duration(1<<63 - 1)
	// slotsIdle is for polls, so that a medium that a person inserted, or the BMC lost, is noticed at all.
	slotsIdle = 30 * time.Minute
)

// poll reads power and override: one request. Slots are read too when power or override changed, or were not read for long.
func (a *Actuator) poll(ctx context.Context, t *tracked) bmcqueue.Result {
	at, err := a.open(t)
	if err != nil {
		return a.failed(at, err)
	}
	if _, _, err := a.observe(ctx, at, slotsIdle); err != nil {
		return a.failed(at, err)
	}
	return bmcqueue.Result{}
}

// observe reads power and override, and the slots if they were last read longer than age ago or if something changed. whole
// says that it read them, too.
func (a *Actuator) observe(ctx context.Context, at access, age time.Duration) (o Observation, whole bool, err error) {
	before, err := a.seen(at.of)
	if err != nil {
		return Observation{}, false, err
	}
	state, err := at.State(ctx)
	if err != nil {
		return Observation{}, false, err
	}
	if before.Slots != nil && (age == slotsAny || a.resting(at.of) || sameState(before.State, state) && a.slotsHold(at.of, age)) {
		o, err = a.store(at, &state, nil, "")
		return o, false, err
	}
	slots, err := at.Slots(ctx)
	if err != nil {
		return Observation{}, false, err
	}
	o, err = a.store(at, &state, known(slots), "")
	return o, true, err
}

// slotsHold says whether the slots were all read less than age ago, and nothing was sent for one of them that was not read back.
func (a *Actuator) slotsHold(t *tracked, age time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return t.unread == "" && a.clock.Since(t.observation.SlotsAt) < age
}

// observeSlot reads one slot alone, or all of them if it is not there any more.
func (a *Actuator) observeSlot(ctx context.Context, at access, id string) (Observation, error) {
	slot, err := at.Slot(ctx, id)
	switch {
	case redfish.KindOf(err) == redfish.KindNotFound:
		return a.observeSlots(ctx, at)
	case err != nil:
		return Observation{}, err
	}
	seen, err := a.seen(at.of)
	if err != nil {
		return Observation{}, err
	}
	i := slices.IndexFunc(seen.Slots, func(s redfish.Slot) bool { return s.ID == id })
	if i < 0 {
		return a.observeSlots(ctx, at)
	}
	seen.Slots[i] = slot
	return a.store(at, nil, seen.Slots, id)
}

// observeSlots reads the slots alone.
func (a *Actuator) observeSlots(ctx context.Context, at access) (Observation, error) {
	slots, err := at.Slots(ctx)
	if err != nil {
		return Observation{}, err
	}
	return a.store(at, nil, known(slots), "")
}

// observeState reads power and override alone.
func (a *Actuator) observeState(ctx context.Context, at access) (Observation, error) {
	state, err := at.State(ctx)
	if err != nil {
		return Observation{}, err
	}
	return a.store(at, &state, nil, "")
}

// proofReadings is how many readings of power in a row have to agree before a release is proven, or a bound system is off.
const proofReadings = 2

// steadyAfter is how long power has to read the same before a running system is given up, or a stranger's is believed: a BMC that
// restarts can say for seconds that its server is off.
const steadyAfter = 10 * time.Second

// known tells slots that were read, and are none, from slots that were not read.
func known(slots []redfish.Slot) []redfish.Slot {
	if slots == nil {
		return []redfish.Slot{}
	}
	return slots
}

// seen is the newest observation of a server, or errForgotten.
func (a *Actuator) seen(t *tracked) (o Observation, err error) {
	err = errForgotten
	a.update(t, func(have *Observation) { o, err = have.clone(), nil })
	return o, err
}

// prove records that all of a server was read for the release of a claim, and so after it was asked for: lanes do one thing at
// a time, so nothing that was begun before is still to come. Only what a BMC took and has not shown yet could be: while there
// is such, nothing is proven. Nor is anything by one reading of power that the one before contradicts: some BMCs say now this,
// now that.
func (a *Actuator) prove(t *tracked, claimID string, o Observation) Observation {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.hosts[t.host] == t && t.steady >= proofReadings && !t.outstanding(a.clock.Now()) {
		t.observation.Proven, o.Proven = claimID, claimID
	}
	return o
}

// inspect reads the BMC's report and the inventory.
func (a *Actuator) inspect(ctx context.Context, at access) error {
	identity, err := at.Identify(ctx)
	if err != nil {
		return err
	}
	hardware, err := at.Hardware(ctx)
	if err != nil {
		return err
	}
	if a.update(at.of, func(o *Observation) {
		o.Identity, o.Hardware, o.InspectedAt, o.Stale = &identity, &hardware, a.clock.Now(), false
	}) {
		a.tell(at.of.host)
	}
	return nil
}

// store keeps a reading, of the server it was made at, and tells of a change. What was not read is nil; only is the one slot that
// was read, if it was not all of them.
func (a *Actuator) store(at access, state *redfish.State, slots []redfish.Slot, only string) (Observation, error) {
	now, differs, stored := a.clock.Now(), false, Observation{}
	tracked := a.update(at.of, func(o *Observation) {
		differs = o.Failure != nil
		if state != nil {
			differs = differs || o.At.IsZero() || !sameState(o.State, *state)
			at.of.steady++
			switch {
			case o.Answering.Compare(identityOf(*state)) == serverid.Other:
				at.of.steady, at.of.steadyFrom, o.SlotsAt, o.Proven = 1, now, time.Time{}, "" // what was read of another server proves nothing
			case o.State.Power != state.Power:
				at.of.steady, at.of.steadyFrom = 1, now
				o.SlotsAt = time.Time{} // firmware lets media go, and people change them, when power changes
			}
			steady := at.of.steady >= proofReadings && now.Sub(at.of.steadyFrom) >= steadyAfter && !at.of.powering(now)
			differs = differs || steady != o.Steady
			o.At, o.State, o.Steady = now, *state, steady
			if told := identityOf(*state); told.Known() {
				o.Answering = told
			}
			if !at.of.elsewhere() {
				at.of.sawPower()
				differs = at.of.sawBoot(now) || differs
			}
		}
		if slots != nil {
			differs = differs || !reflect.DeepEqual(o.Slots, slots)
			if o.Slots = slots; only == "" {
				o.SlotsAt = now
			}
			if only == "" || only == at.of.unread {
				at.of.unread = ""
			}
			o.unspend()
		}
		differs = at.of.learn(at.Learned()) || differs
		o.Failure = nil
		stored = o.clone()
	})
	if !tracked {
		return Observation{}, errForgotten
	}
	if differs {
		a.tell(at.of.host)
	}
	return stored, nil
}

// learn takes in what the driver learned, and says whether that is new. Another firmware may have other slots, or have mended
// them. a.mu is held.
func (t *tracked) learn(l redfish.Learned) bool {
	o := &t.observation
	before := o.Learned
	if t.firmware != "" && l.Firmware != "" && t.firmware != l.Firmware {
		o.Refused = nil
	}
	if l.Firmware != "" {
		t.firmware = l.Firmware
	}
	o.Learned = l
	o.setRefused(o.Refused)
	return o.Learned != before
}

// sawBoot records the boot that was expected once power On was read, by whichever operation or poll read it. a.mu is held.
func (t *tracked) sawBoot(now time.Time) bool {
	if t.poweredOn == "" || t.observation.State.Power != redfish.PowerOn {
		return false
	}
	boots := maps.Clone(t.observation.Boots)
	if boots == nil {
		boots = map[string]time.Time{}
	}
	boots[t.poweredOn] = now
	t.observation.Boots, t.poweredOn = boots, ""
	return true
}

func sameState(a, b redfish.State) bool { return a == b }

func (a *Actuator) tell(host string) {
	if a.changed != nil {
		a.changed(host)
	}
}

// failed classifies an error for the gate and keeps it for the conditions, unless what it was met with has changed since.
func (a *Actuator) failed(at access, err error) bmcqueue.Result {
	if errors.Is(err, errForgotten) {
		return bmcqueue.Result{} // nobody waits for this any more
	}
	failure := failureOf(err)
	if failure.Kind == redfish.KindCanceled {
		return bmcqueue.Result{Failure: bmcqueue.Other, Err: err} // stopped by us: says nothing of the BMC
	}
	failure.At = a.clock.Now()
	differs := false
	a.update(at.of, func(o *Observation) {
		if at.version != at.of.version {
			return
		}
		if failure.Count = 1; o.Failure != nil && !o.Failure.Outdated {
			failure.Count += o.Failure.Count
		}
		differs = o.Failure == nil || o.Failure.Kind != failure.Kind || o.Failure.Message != failure.Message || o.Failure.Outdated
		o.Failure = failure
	})
	if differs {
		a.tell(at.of.host)
	}
	return outcome(err)
}

// outcome classifies an error for the gate.
func outcome(err error) bmcqueue.Result {
	r := bmcqueue.Result{Failure: class(failureOf(err)), Err: err}
	r.RetryAfter, _ = redfish.RetryAfter(err)
	return r
}

func failureOf(err error) *Failure {
	f := &Failure{Kind: redfish.KindOf(err), Message: err.Error(), LoginFailed: redfish.LoginFailed(err)}
	if errors.Is(err, context.DeadlineExceeded) {
		f.Kind = redfish.KindUnreachable // the operation's own time was over: the BMC hung
	}
	return f
}

func class(f *Failure) bmcqueue.Failure {
	switch {
	case f.LoginFailed:
		return bmcqueue.LoginFailed
	case f.Kind == redfish.KindUnreachable || f.Kind == redfish.KindCertificate:
		return bmcqueue.Unreachable
	case f.Kind == redfish.KindBusy:
		return bmcqueue.Busy
	}
	return bmcqueue.Other
}
