package actuator

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"time"

	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// errForgotten: the host was dropped while its operation waited.
var errForgotten = errors.New("the host is not tracked any more")

// poll reads power and override: one request. Slots are read too when power or override changed, or were never read.
func (a *Actuator) poll(ctx context.Context, host string) bmcqueue.Result {
	bmc, err := a.open(host)
	if err != nil {
		return a.failed(host, err)
	}
	before, _ := a.Observed(host)
	state, err := bmc.State(ctx)
	if err != nil {
		return a.failed(host, err)
	}
	slots := before.Slots
	if slots == nil || !sameState(before.State, state) {
		if slots, err = bmc.Slots(ctx); err != nil {
			return a.failed(host, err)
		}
	}
	a.store(host, state, slots)
	return bmcqueue.Result{}
}

// observe reads power, override and slots.
func (a *Actuator) observe(ctx context.Context, host string, bmc redfish.BMC) (Observation, error) {
	state, err := bmc.State(ctx)
	if err != nil {
		return Observation{}, err
	}
	slots, err := bmc.Slots(ctx)
	if err != nil {
		return Observation{}, err
	}
	a.store(host, state, slots)
	o, ok := a.Observed(host)
	if !ok {
		return Observation{}, errForgotten
	}
	return o, nil
}

// prove records that all of a host was read for the release of a claim, and so after it was asked for: lanes do one thing at
// a time, so nothing that was begun before is still to come.
func (a *Actuator) prove(host, claimID string, o Observation) Observation {
	a.update(host, func(o *Observation) { o.Proven = claimID })
	o.Proven = claimID
	return o
}

// inspect reads the BMC's report and the inventory.
func (a *Actuator) inspect(ctx context.Context, host string, bmc redfish.BMC) error {
	identity, err := bmc.Identify(ctx)
	if err != nil {
		return err
	}
	hardware, err := bmc.Hardware(ctx)
	if err != nil {
		return err
	}
	a.update(host, func(o *Observation) { o.Identity, o.Hardware = &identity, &hardware })
	a.tell(host)
	return nil
}

// store keeps a reading and tells of a change.
func (a *Actuator) store(host string, state redfish.State, slots []redfish.Slot) {
	if slots == nil {
		slots = []redfish.Slot{} // read, and there are none
	}
	differs := false
	a.update(host, func(o *Observation) {
		differs = o.At.IsZero() || o.Failure != nil || !sameState(o.State, state) || !reflect.DeepEqual(o.Slots, slots)
		o.At, o.State, o.Slots, o.Failure = a.clock.Now(), state, slots, nil
	})
	if state.Power == redfish.PowerOn && a.sawBoot(host) {
		differs = true
	}
	if differs {
		a.tell(host)
	}
}

// expectBoot notes that an armed host is being powered on for a claim.
func (a *Actuator) expectBoot(host, claimID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t, ok := a.hosts[host]; ok {
		t.poweredOn = claimID
	}
}

// sawBoot records the boot that was expected, now that power On was read, by whichever operation or poll read it.
func (a *Actuator) sawBoot(host string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.hosts[host]
	if !ok || t.poweredOn == "" {
		return false
	}
	boots := maps.Clone(t.observation.Boots)
	if boots == nil {
		boots = map[string]time.Time{}
	}
	boots[t.poweredOn] = a.clock.Now()
	t.observation.Boots, t.poweredOn = boots, ""
	return true
}

func sameState(a, b redfish.State) bool { return a == b }

func (a *Actuator) tell(host string) {
	if a.changed != nil {
		a.changed(host)
	}
}

// failed classifies an error for the gate and keeps it for the conditions.
func (a *Actuator) failed(host string, err error) bmcqueue.Result {
	kind, late := redfish.KindOf(err), errors.Is(err, context.DeadlineExceeded)
	if late {
		kind = redfish.KindUnreachable // the operation's own time was over: the BMC hung
	}
	if errors.Is(err, errForgotten) || kind == redfish.KindCanceled {
		return bmcqueue.Result{Failure: bmcqueue.Other, Err: err} // stopped by us: says nothing of the BMC
	}
	failure := &Failure{Kind: kind, Message: err.Error(), At: a.clock.Now()}
	var typed *redfish.Error
	if errors.As(err, &typed) {
		failure.LoginFailed = typed.LoginFailed
	}
	differs := false
	a.update(host, func(o *Observation) {
		differs = o.Failure == nil || o.Failure.Kind != failure.Kind || o.Failure.Message != failure.Message
		o.Failure = failure
	})
	if differs {
		a.tell(host)
	}
	r := bmcqueue.Result{Failure: class(failure), Err: err}
	r.RetryAfter, _ = redfish.RetryAfter(err)
	return r
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
