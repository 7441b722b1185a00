package redfishfake

import (
	"context"
	"maps"
	"slices"

	"github.com/beskar7/beskar7/pkg/redfish"
)

// Step lets one unit of time pass for a power transition.
func (b *BMC) Step() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.power != redfish.PowerPoweringOn && b.power != redfish.PowerPoweringOff {
		return
	}
	if b.left--; b.left <= 0 {
		b.finish()
	}
}

// PressPower is somebody at the machine: on when it is off and off when it is on, at once.
func (b *BMC) PressPower() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.power == redfish.PowerOff {
		b.power = redfish.PowerPoweringOn
	} else {
		b.power = redfish.PowerPoweringOff
	}
	b.finish()
}

// CutPower is the loss of mains: off at once, override and media kept.
func (b *BMC) CutPower() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.power, b.left, b.osUp, b.booted = redfish.PowerOff, 0, false, ""
}

// SetPowerState puts any state into the model, PowerUnknown too.
func (b *BMC) SetPowerState(p redfish.PowerState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.power, b.left = p, b.steps
}

// SetBoot puts a boot override into the model.
func (b *BMC) SetBoot(o redfish.BootOverride) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.boot = o
}

// SetSlot replaces the slot of the same ID, or adds one.
func (b *BMC) SetSlot(s redfish.Slot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.IndexFunc(b.slots, func(o redfish.Slot) bool { return o.ID == s.ID }); i >= 0 {
		b.slots[i] = s
		return
	}
	b.slots = append(b.slots, s)
}

// SetIdentity replaces what Identify returns: a swapped mainboard.
func (b *BMC) SetIdentity(id redfish.Identity) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.identity = id
}

// SetLearned sets what Learned returns.
func (b *BMC) SetLearned(l redfish.Learned) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.learned = l
}

// SetOSUp says whether an operating system listens to a graceful shutdown. It
// goes down with the power.
func (b *BMC) SetOSUp(up bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.osUp = up
}

// Booted is what the running server booted from: the image's URL, "disk", or ""
// when it is off.
func (b *BMC) Booted() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.booted
}

// SetFault installs a hook asked before each operation; its error is returned
// instead. It may also wait for ctx, or use the other methods of this type to
// change the model under the caller. nil removes it.
func (b *BMC) SetFault(fault func(ctx context.Context, op Op) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = fault
}

// SetLie installs a hook: a changing operation for which it is true reports
// success and does nothing. nil removes it.
func (b *BMC) SetLie(lie func(Op) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lie = lie
}

// Calls counts the calls of each operation, refused ones included.
func (b *BMC) Calls() map[Op]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.calls)
}

// Changes lists the operations that changed the model, in order.
func (b *BMC) Changes() []Op {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.changes)
}
