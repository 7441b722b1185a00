package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ISO 9660 puts its primary volume descriptor into sector 16; the standard
// identifier follows the type byte.
const (
	pvdOffset = 16 * 2048
	pvdMagic  = "\x01CD001"
)

// plan is what the firmware decided to boot at the end of POST.
type plan struct {
	device string // "Cd", "Usb", "Hdd", "BiosSetup"
	slots  []planned
	media  []Medium
}

// planned is a slot with a medium as the firmware finds it.
type planned struct {
	id    string
	types []string
}

// boot is the firmware after POST: it consumes the override, chooses a device,
// and runs the guest from it until the end of the power cycle.
func (b *BMC) boot(c *cycle) {
	var p plan
	if !b.inCycle(c, func() { p = b.planLocked(c) }) {
		return
	}
	from, err := b.probe(c, &p)
	if c.ctx.Err() != nil {
		return
	}
	var g Guest
	alive := b.inCycle(c, func() {
		if err != nil {
			b.record(cause{who: ByFirmware}, Event{Kind: EventBootFailed, To: p.device, Detail: err.Error()})
			p.device = "Hdd"
		}
		b.booted = p.device
		b.boots++
		b.record(cause{who: ByFirmware}, Event{Kind: EventBoot, To: p.device, Detail: from})
		g = b.guest
		if p.device == "BiosSetup" {
			g = nil
		}
		if g != nil {
			c.guestUp = true
			b.record(cause{who: ByFirmware}, Event{Kind: EventGuestStart})
		}
	})
	if !alive || g == nil {
		return
	}
	b.finish(c, g.Run(c.ctx, Boot{Identity: b.Identity(), Device: p.device, Slot: from, Media: p.media,
		Disk: &b.disk, Shutdown: c.shutdown}))
}

// planLocked reads the override, consumes it when it is for once, and looks
// which media are in.
func (b *BMC) planLocked(c *cycle) plan {
	p := plan{device: "Hdd"}
	if o := b.override; o.Enabled != "Disabled" && o.Target != "None" && b.faultLocked("override-ignored") == nil {
		p.device = b.device(o.Target)
	}
	if d := b.oem.next; d != "" {
		b.oem.next = ""
		p.device = d
		b.record(cause{who: ByFirmware}, Event{Kind: EventOverride, From: "oem " + d, Detail: "consumed by the boot"})
	}
	if m := b.physics.laterMode; m != "" {
		b.physics.laterMode = ""
		b.setOverrideLocked(Override{Target: b.override.Target, Enabled: b.override.Enabled, Mode: m}, cause{who: ByFirmware}, "mode changed by the boot")
	}
	if b.faultLocked("medium-lost") != nil {
		b.loseMediaLocked(cause{who: ByFirmware})
	}
	if b.override.Enabled == "Once" && b.faultLocked("override-sticky") == nil {
		b.setOverrideLocked(Override{Target: "None", Enabled: "Disabled", Mode: b.override.Mode},
			cause{who: ByFirmware}, "consumed by the boot")
	}
	b.physics.shownOverride = b.override
	for _, s := range b.slots {
		if s.image == "" {
			continue
		}
		p.slots = append(p.slots, planned{id: s.id, types: s.spec.types})
		r := b.remoteLocked(s, c)
		p.media = append(p.media, Medium{Slot: s.id, URL: s.image,
			Open: func(ctx context.Context) (io.ReaderAt, int64, error) { return r.open(ctx) }})
	}
	return p
}

func (b *BMC) setOverrideLocked(o Override, by cause, detail string) {
	from := b.override
	if from == o {
		return
	}
	b.override = o
	b.record(by, Event{Kind: EventOverride, From: from.String(), To: o.String(), Detail: detail})
}

// probe checks that the planned device can be booted. It returns the slot
// booted from. Like real firmware it takes the first medium of the kind, and
// does not try the next one when that is unreadable.
func (b *BMC) probe(c *cycle, p *plan) (string, error) {
	var types []string
	switch p.device {
	case "Hdd", "BiosSetup":
		return "", nil
	case "Cd":
		types = []string{"CD", "DVD"}
	case "Usb":
		types = []string{"USBStick"}
	default:
		return "", fmt.Errorf("nothing answered on boot device %s", p.device)
	}
	i := slices.IndexFunc(p.slots, func(s planned) bool { return accepts(s.types, types...) })
	if i < 0 {
		return "", fmt.Errorf("no medium in a slot of type %v", types)
	}
	ctx, cancel := context.WithTimeout(c.ctx, b.fleet.timings.MediaTimeout)
	defer cancel()
	r, size, err := p.media[i].Open(ctx)
	if err != nil {
		return "", fmt.Errorf("slot %s: %w", p.slots[i].id, err)
	}
	buf := make([]byte, len(pvdMagic))
	if size < pvdOffset+2048 {
		return "", fmt.Errorf("slot %s: image of %d bytes is too short for ISO 9660", p.slots[i].id, size)
	}
	if _, err := r.ReadAt(buf, pvdOffset); err != nil {
		return "", fmt.Errorf("slot %s: %w", p.slots[i].id, err)
	}
	if string(buf) != pvdMagic {
		return "", fmt.Errorf("slot %s: image has no ISO 9660 primary volume descriptor", p.slots[i].id)
	}
	return p.slots[i].id, nil
}

// finish is what follows from the return of Guest.Run.
func (b *BMC) finish(c *cycle, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.guestUp = false
	detail := "returned"
	if err != nil {
		detail = err.Error()
	}
	by := cause{who: ByGuest}
	b.record(by, Event{Kind: EventGuestStop, Detail: detail})
	if b.cycle != c {
		return // the power was lost before
	}
	switch {
	case c.shutting:
		b.switchOffLocked(c.asked, c.again, "the system shut down")
	case errors.Is(err, ErrPowerOff):
		b.switchOffLocked(by, false, "the system switched off")
	case errors.Is(err, ErrReboot):
		b.record(by, Event{Kind: EventReset, To: "reboot"})
		b.restartLocked(by)
	}
}
