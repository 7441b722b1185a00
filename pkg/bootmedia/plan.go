package bootmedia

import (
	"fmt"
	"slices"
	"strings"
)

// Plan says which medium goes into which slot of a BMC. Boot goes into the
// first slot that takes a CD or DVD; Config into another one that does, or into
// one that the vendor is known to present as a stick. A slot that names no types
// is taken for a CD. The result lists Boot first. Where there is no other slot,
// and for systems that read nothing but their own image, it is Composed alone:
// image and data in one medium. Check tells whether the image allows that.
// Errors are for a person.
func Plan(f Family, slots []SlotInfo) ([]Placement, error) {
	row, ok := families[f]
	if !ok {
		return nil, fmt.Errorf("unknown osFamily %q: use one of %v", f, Families())
	}
	boot := slices.IndexFunc(slots, SlotInfo.takesDisc)
	if boot < 0 {
		return nil, fmt.Errorf("the BMC has no virtual media slot for a CD or DVD (it offers: %s)", describe(slots))
	}
	if row.layout == layoutNone {
		return []Placement{{SlotID: slots[boot].ID, Medium: Boot}}, nil
	}
	config := secondSlot(slots, boot)
	if row.layout == layoutEmbed || config < 0 {
		return []Placement{{SlotID: slots[boot].ID, Medium: Composed}}, nil
	}
	return []Placement{{SlotID: slots[boot].ID, Medium: Boot}, {SlotID: slots[config].ID, Medium: Config}}, nil
}

// secondSlot is another slot for the drive, or -1: one that takes a disc, as ours
// is one, and no floppy. One for sticks is none unless the vendor is known to
// present a disk there: others make a floppy of it (sushy-tools: Floppy and
// USBStick are both fda), in which no system looks for its data, and the machine
// boots without them.
func secondSlot(slots []SlotInfo, boot int) int {
	stick := -1
	for i, s := range slots {
		switch {
		case i == boot:
		case s.takesDisc() && !s.takes("Floppy"):
			return i
		case stick < 0 && s.Stick && s.takes("USBStick"):
			stick = i
		}
	}
	return stick
}

// takesDisc: some BMCs leave MediaTypes out; their slot is a CD in practice.
func (s SlotInfo) takesDisc() bool {
	return len(s.Types) == 0 || s.takes("CD") || s.takes("DVD")
}

func (s SlotInfo) takes(kind string) bool {
	return slices.ContainsFunc(s.Types, func(t string) bool { return strings.EqualFold(t, kind) })
}

func describe(slots []SlotInfo) string {
	if len(slots) == 0 {
		return "none"
	}
	out := make([]string, len(slots))
	for i, s := range slots {
		out[i] = s.ID + " [" + strings.Join(s.Types, " ") + "]"
	}
	return strings.Join(out, ", ")
}
