package bootmedia

import (
	"fmt"
	"slices"
	"strings"
)

// Plan says which medium goes into which slot of a BMC. Boot goes into the
// first slot that takes a CD or DVD; Config into another one, of the same kind
// if there is one, else a USB stick. A slot that names no types is taken for a
// CD. The result lists Boot first. Where there is no other slot, and for systems
// that read nothing but their own image, it is Composed alone: image and data in
// one medium. Check tells whether the image allows that. Errors are for a person.
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

func secondSlot(slots []SlotInfo, boot int) int {
	usb := -1
	for i, s := range slots {
		switch {
		case i == boot:
		case s.takesDisc():
			return i
		case usb < 0 && s.takes("USBStick"):
			usb = i
		}
	}
	return usb
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
