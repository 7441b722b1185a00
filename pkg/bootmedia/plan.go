package bootmedia

import (
	"fmt"
	"slices"
	"strings"
)

// Plan says which medium goes into which slot of a BMC. Boot goes into the
// first slot that takes a CD or DVD; Config into another one, of the same kind
// if there is one, else a USB stick. A slot that names no types is taken for a
// CD. The result lists Boot first. looks, when the image has been looked into,
// lets Plan refuse what could never boot right. Errors are for a person.
func Plan(f Family, slots []SlotInfo, looks ...ImageLooksLike) ([]Placement, error) {
	row, ok := families[f]
	if !ok {
		return nil, fmt.Errorf("unknown osFamily %q: use one of %v", f, Families())
	}
	if row.layout == layoutEmbed {
		return nil, errEmbed(f)
	}
	if err := checkLooks(f, row, looks); err != nil {
		return nil, err
	}
	boot := slices.IndexFunc(slots, SlotInfo.takesDisc)
	if boot < 0 {
		return nil, fmt.Errorf("the BMC has no virtual media slot for a CD or DVD (it offers: %s)", describe(slots))
	}
	plan := []Placement{{SlotID: slots[boot].ID, Medium: Boot}}
	if row.layout == layoutNone {
		return plan, nil
	}
	config := secondSlot(slots, boot)
	if config < 0 {
		return nil, fmt.Errorf("osFamily %s reads its bootstrap data from a second medium, and the BMC has only one usable slot (it offers: %s); "+
			"use an image with its configuration built in and osFamily none: one medium for both comes with composed media", f, describe(slots))
	}
	return append(plan, Placement{SlotID: slots[config].ID, Medium: Config}), nil
}

func errEmbed(f Family) error {
	return fmt.Errorf("osFamily %s reads its configuration only from inside its own image, which comes with composed media; "+
		"until then use an image with its configuration built in and osFamily none", f)
}

// checkLooks refuses an image whose label is the one its system looks for: of
// two volumes with that label the system may take the wrong one.
func checkLooks(f Family, row family, looks []ImageLooksLike) error {
	for _, l := range looks {
		for _, label := range row.labels {
			if strings.EqualFold(l.VolumeLabel, label) {
				return fmt.Errorf("the image's own volume label is %q, the one under which osFamily %s looks for its bootstrap data: "+
					"the system could not tell the two apart; relabel the image, or use osFamily none if its data is built in", l.VolumeLabel, f)
			}
		}
	}
	return nil
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
