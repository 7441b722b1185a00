package emulator

import (
	"context"
	"net/http"
	"time"
)

// cycle is one power cycle: from power-on, or a restart, to the loss of power
// or the next restart. Its fields are guarded by BMC.mu.
type cycle struct {
	ctx    context.Context
	cancel context.CancelFunc
	// by is who switched the server on.
	by cause
	// shutdown closes when a graceful shutdown was asked for, by asked; again
	// says that the server shall come back.
	shutdown   chan struct{}
	asked      cause
	shutting   bool
	again      bool
	guestUp    bool
	fetched    map[string]bool // slots whose first read is in the log
	misfetched map[string]bool
}

// sleep waits d of the power cycle; false when the power was lost.
func (c *cycle) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return c.ctx.Err() == nil
	case <-c.ctx.Done():
		return false
	}
}

// refusal is a request that the hardware turns down.
type refusal struct {
	status int
	msg    message
}

// reset performs a Redfish reset type. b.mu is held.
func (b *BMC) resetLocked(kind string, by cause) *refusal {
	act := resets[kind]
	if r := b.unreadyLocked(kind); r != nil {
		return r
	}
	if r := act.check(b); r != nil {
		return r
	}
	b.record(by, Event{Kind: EventReset, To: kind})
	form := b.kind().power
	switch {
	case kind == "PowerCycle" && form.cycleOff:
		b.switchOffLocked(by, false, "power cycle that stays off")
	case kind == "GracefulRestart" && form.hardRestart:
		b.restartLocked(by)
	case kind == "ForceRestart" && form.deadRestart:
	default:
		act.do(b, by)
	}
	return nil
}

// reset is one reset type: whether the server can do it now, and doing it.
type reset struct {
	check func(b *BMC) *refusal
	do    func(b *BMC, by cause)
}

// resets are all reset types that a persona may offer.
var resets = map[string]reset{
	"On":               {canSwitchOn, (*BMC).switchOnLocked},
	"ForceOff":         {canSwitchOff, func(b *BMC, by cause) { b.switchOffLocked(by, false, "forced") }},
	"GracefulShutdown": {mustBeOn, func(b *BMC, by cause) { b.shutdownLocked(by, false) }},
	"GracefulRestart":  {mustBeOn, func(b *BMC, by cause) { b.shutdownLocked(by, true) }},
	"ForceRestart":     {mustBeOn, (*BMC).restartLocked},
	"PowerCycle":       {mustBeOn, func(b *BMC, by cause) { b.switchOffLocked(by, true, "power cycle") }},
	"PushPowerButton":  {always, (*BMC).pressLocked},
	"ForceOn":          {canSwitchOn, (*BMC).switchOnLocked},
	// Nothing here listens to an NMI.
	"Nmi": {mustBeOn, func(*BMC, cause) {}},
}

func always(*BMC) *refusal { return nil }

func canSwitchOn(b *BMC) *refusal {
	switch b.power {
	case Off:
		return nil
	case PoweringOff:
		return &refusal{http.StatusConflict, msgPowerState("On", string(b.power))}
	default:
		return &refusal{b.kind().power.onWhileOn, msgPowerState("On", string(b.power))}
	}
}

func canSwitchOff(b *BMC) *refusal {
	if b.power == Off || b.power == PoweringOff {
		return &refusal{b.kind().power.offWhileOff, msgPowerState("ForceOff", string(b.power))}
	}
	return nil
}

// mustBeOn: a server that is off cannot be restarted or shut down.
func mustBeOn(b *BMC) *refusal {
	if b.power != On {
		return &refusal{b.kind().power.whileOff, msgPowerState("reset", string(b.power))}
	}
	return nil
}

func (b *BMC) setPowerLocked(to PowerState, by cause, detail string) {
	from := b.power
	b.power = to
	b.physics.powerWas, b.physics.powerSince = from, time.Now()
	if to == Off && b.faultLocked("override-lost") != nil {
		b.setOverrideLocked(Override{Target: "None", Enabled: "Disabled", Mode: b.override.Mode}, cause{who: ByFirmware}, "lost with the power")
	}
	b.record(by, Event{Kind: EventPower, From: string(from), To: string(to), Detail: detail})
}

// switchOnLocked starts a server that is off.
func (b *BMC) switchOnLocked(by cause) {
	b.setPowerLocked(PoweringOn, by, "")
	b.startCycleLocked(by, false)
}

// switchOffLocked takes the power away and, after Timings.PowerOff, is off; if
// again, it then starts the server once more.
func (b *BMC) switchOffLocked(by cause, again bool, detail string) {
	b.endCycleLocked()
	b.setPowerLocked(PoweringOff, by, detail)
	b.fall++
	if b.faultLocked("power-stuck") == nil {
		b.fallLocked(by, again)
	}
}

// fallLocked ends the power-off that is under way.
func (b *BMC) fallLocked(by cause, again bool) {
	fall := b.fall
	time.AfterFunc(b.fleet.timings.PowerOff+b.scaled(b.kind().power.lag), func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.closed || b.fall != fall {
			return
		}
		b.setPowerLocked(Off, by, "")
		if again {
			b.switchOnLocked(by)
		}
	})
}

// unstickLocked goes on with a power-off that was stuck; a server that was to come back stays off.
func (b *BMC) unstickLocked() {
	if b.power == PoweringOff {
		b.fall++ // one that was under way before it stuck is not to end twice
		b.fallLocked(cause{who: ByOutside}, false)
	}
}

// restartLocked resets a running server: the power stays on, the system dies.
func (b *BMC) restartLocked(by cause) {
	b.endCycleLocked()
	b.startCycleLocked(by, true)
}

// shutdownLocked passes the ACPI event on: without a system that listens,
// nothing happens, and the BMC does not know.
func (b *BMC) shutdownLocked(by cause, again bool) {
	c := b.cycle
	if c == nil || !c.guestUp || c.shutting || b.faultLocked("shutdown-ignored") != nil {
		return
	}
	c.shutting, c.asked, c.again = true, by, again
	close(c.shutdown)
}

// pressLocked is a short press: on when off; a shutdown when a system listens;
// off at once when none does; nothing in between.
func (b *BMC) pressLocked(by cause) {
	switch {
	case b.power == Off:
		b.switchOnLocked(by)
	case b.power == On && b.cycle.guestUp:
		b.shutdownLocked(by, false)
	case b.power == On:
		b.switchOffLocked(by, false, "no system is up")
	}
}

// PressPower is a short press of the button on the server's front.
func (b *BMC) PressPower() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.pressLocked(cause{who: ByButton})
	}
}

// CutPower is the loss of AC: the server is off at once and stays off when AC
// returns. The BMC keeps boot override, media and sessions, and stays reachable.
func (b *BMC) CutPower() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.cutLocked("AC lost")
	}
}

func (b *BMC) cutLocked(detail string) {
	b.fall++
	b.endCycleLocked()
	if b.power != Off {
		b.setPowerLocked(Off, cause{who: ByOutside}, detail)
	}
}

// startCycleLocked begins a power cycle; warm is without PoweringOn.
func (b *BMC) startCycleLocked(by cause, warm bool) {
	if b.closed {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &cycle{ctx: ctx, cancel: cancel, by: by, shutdown: make(chan struct{}),
		fetched: map[string]bool{}, misfetched: map[string]bool{}}
	former, over := b.last, make(chan struct{})
	b.cycle, b.last = c, over
	b.fleet.running.Add(1)
	go func() {
		defer b.fleet.running.Done()
		defer close(over)
		b.live(c, warm, former)
		// A cycle is over only when all before it are, so that the next one
		// needs to wait for one channel only.
		if former != nil {
			<-former
		}
	}()
}

func (b *BMC) endCycleLocked() {
	if b.cycle == nil {
		return
	}
	b.cycle.cancel()
	b.cycle = nil
	b.booted = ""
}

// live is a power cycle from switching on to the end of the guest.
func (b *BMC) live(c *cycle, warm bool, former <-chan struct{}) {
	if !warm {
		if !c.sleep(b.fleet.timings.PowerOn+b.scaled(b.kind().power.lag)) || !b.inCycle(c, func() { b.setPowerLocked(On, c.by, "") }) {
			return
		}
	}
	if !c.sleep(b.fleet.timings.POST) {
		return
	}
	if former != nil {
		select {
		case <-former:
		case <-c.ctx.Done():
			return
		}
	}
	b.boot(c)
}

// inCycle runs f under b.mu if c is still the current power cycle.
func (b *BMC) inCycle(c *cycle, f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cycle != c {
		return false
	}
	f()
	return true
}
