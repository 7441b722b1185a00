package redfish

import "strings"

// vendor is one row of the vendor table: which of the known forms a family of
// BMCs wants. A row only lists what differs from the generic one; a form not
// here yet is code in the file of its subject and a constant below.
type vendor struct {
	name string
	// match are lower-case words looked for in the service root's Vendor and
	// Product and the system's Manufacturer.
	match []string
	// cdTargets are the boot targets that mean the virtual CD, best first.
	cdTargets []string
	bootMode  bootModeForm
	patchTag  patchTagForm
}

// bootModeForm says whether a boot override carries BootSourceOverrideMode.
type bootModeForm int

const (
	// modeOmitted: leave the firmware's mode alone (iLO has it read-only).
	modeOmitted bootModeForm = iota //nolint:unused // the zero value: what most rows have
	// modeUEFI: send UEFI with every override.
	modeUEFI
)

// patchTagForm says which If-Match a PATCH carries.
type patchTagForm int

const (
	// tagOmitted: none; strict BMCs compare only what is sent.
	tagOmitted patchTagForm = iota //nolint:unused // the zero value: what most rows have
	// tagAny: "*", for BMCs that refuse a PATCH without one.
	tagAny
)

const genericVendor = "generic"

// vendors is the table; the first match wins, the last row is the default.
var vendors = []vendor{
	// Newer Supermicro boards fall back to Legacy unless UEFI is sent each time;
	// X11 and X12 call the virtual CD UsbCd.
	{name: "supermicro", match: []string{"supermicro"}, cdTargets: []string{"UsbCd", "Cd"}, bootMode: modeUEFI},
	// MegaRAC wants target, mode and enabled together, and If-Match.
	{name: "ami", match: []string{"american megatrends", "ami redfish", "megarac", "asrockrack"}, cdTargets: cdTargets, bootMode: modeUEFI, patchTag: tagAny},
	{name: genericVendor, cdTargets: cdTargets},
}

// vendorRow finds the row: by name where one was given and is known, else by
// what the BMC says of itself.
func vendorRow(name string, said ...text) vendor {
	for _, row := range vendors {
		if name != "" && strings.EqualFold(row.name, name) {
			return row
		}
	}
	words := strings.Builder{}
	for _, s := range said {
		words.WriteString(strings.ToLower(string(s)) + "\n")
	}
	for _, row := range vendors {
		for _, m := range row.match {
			if strings.Contains(words.String(), m) {
				return row
			}
		}
	}
	return vendors[len(vendors)-1]
}

func knownVendor(name string) bool {
	for _, row := range vendors {
		if strings.EqualFold(row.name, name) {
			return true
		}
	}
	return false
}
