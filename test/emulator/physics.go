package emulator

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// physics is what a server and its BMC remember beside their state. Guarded by
// BMC.mu.
type physics struct {
	powerWas   PowerState
	powerSince time.Time
	// flips counts readings, for power that flaps.
	flips int
	// laterMode is a boot mode to come into force at the next boot.
	laterMode string
	// shownOverride is what a system shows whose settings are pending.
	shownOverride Override
	// reboots counts restarts of the BMC, and hands at its plug.
	reboots int
}

// device is what a boot target means to this persona's firmware.
func (b *BMC) device(target string) string {
	if slices.Contains(b.kind().boot.foreign, target) {
		return "physical " + target + " drive"
	}
	if target == "UsbCd" {
		return "Cd"
	}
	return target
}

// inPOSTLocked: power is on, or comes on, and nothing has booted yet.
func (b *BMC) inPOSTLocked() bool { return b.cycle != nil && b.booted == "" }

// shownPowerLocked is the power state as the BMC tells it; nil is null.
func (b *BMC) shownPowerLocked() any {
	shown := b.power
	if a := b.faultLocked("power-lag"); a != nil && time.Since(b.physics.powerSince) < a.duration && b.physics.powerWas != "" {
		shown = b.physics.powerWas
	}
	if b.kind().power.jumps {
		switch shown {
		case PoweringOn:
			shown = Off
		case PoweringOff:
			shown = On
		default:
		}
	}
	if b.faultLocked("power-flaps") != nil {
		b.physics.flips++
		if b.physics.flips%2 == 0 {
			shown = map[PowerState]PowerState{On: Off, Off: On, PoweringOn: Off, PoweringOff: On}[shown]
		}
	}
	if a := b.faultLocked("power-unknown"); a != nil {
		if a.text == "empty" {
			return ""
		}
		return nil
	}
	return shown
}

// unreadyLocked is the refusal of a reset too soon after a change of power.
func (b *BMC) unreadyLocked(kind string) *refusal {
	form, since := b.kind().power, time.Since(b.physics.powerSince)
	unready, refused := b.scaled(form.unready), b.scaled(form.onRefused)
	if a := b.faultLocked("wrong-state"); a != nil {
		unready = a.duration
	}
	if a := b.faultLocked("on-conflict"); a != nil {
		refused = a.duration
	}
	switch {
	case b.physics.powerSince.IsZero():
	case since < unready:
		return &refusal{http.StatusBadRequest, msgUnready()}
	case kind == "On" && b.power == Off && since < refused:
		return &refusal{http.StatusConflict, msgOnConflict()}
	}
	return nil
}

// loseMediaLocked empties all slots without being asked.
func (b *BMC) loseMediaLocked(by cause) {
	for _, s := range b.slots {
		if s.image != "" {
			from := redact(s.image)
			s.clearLocked()
			b.record(by, Event{Kind: EventEject, From: s.id, Detail: "lost: " + from})
		}
	}
}

// managerResets are the types of Manager.Reset.
var managerResets = []string{"ForceRestart", "GracefulRestart"}

// resetManager restarts the BMC after its answer.
func (c *call) resetManager() {
	kind, sent := c.text("ResetType")
	if sent && !slices.Contains(managerResets, kind) {
		c.fail(http.StatusBadRequest, msgParameterValue("Manager.Reset", "ResetType", kind))
		return
	}
	c.b.mu.Lock()
	c.front.rebootLocked(c.by, 50*time.Millisecond, c.b.fleet.timings.Reboot)
	c.b.mu.Unlock()
	c.answer(http.StatusNoContent, nil)
}

// Reboot restarts the BMC itself: connections break, it is unreachable for
// Timings.Reboot, and all sessions are gone. The servers are not touched.
func (b *BMC) Reboot() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.front.rebootLocked(cause{who: ByOutside}, 0, b.fleet.timings.Reboot)
}

// rebootLocked goes down after a delay and comes up d later; a hand at the plug
// meanwhile ends it. b is a front.
func (b *BMC) rebootLocked(by cause, delay, d time.Duration) {
	if b.closed {
		return
	}
	b.physics.reboots++
	turn := b.physics.reboots
	b.record(by, Event{Kind: EventReboot, To: "down"})
	b.laterLocked(delay, turn, func() {
		_ = b.unplugLocked(true)
		b.endSessionsLocked(by, "BMC restarted")
		b.laterLocked(d, turn, func() { b.comeUpLocked(by, turn) })
	})
}

// comeUpLocked plugs in again; its port may be in use for a moment.
func (b *BMC) comeUpLocked(by cause, turn int) {
	if b.unplugLocked(false) != nil {
		b.laterLocked(20*time.Millisecond, turn, func() { b.comeUpLocked(by, turn) })
		return
	}
	b.record(by, Event{Kind: EventReboot, To: "up"})
}

func (b *BMC) laterLocked(d time.Duration, turn int, f func()) {
	time.AfterFunc(d, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if !b.closed && b.physics.reboots == turn {
			f()
		}
	})
}

// clock is the BMC's idea of the time.
func (b *BMC) clock() time.Time { return time.Now().Add(time.Duration(b.front.skew.Load())) }

// missing says whether a fault hides a path that is there.
func (b *BMC) missing(path string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.faultLocked("missing"); a != nil && strings.Contains(path, a.text) {
		return path != root && path != "/redfish"
	}
	return false
}
