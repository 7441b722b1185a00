package redfish

import (
	"fmt"
	"strings"
	"time"
)

// Tuning is how much rest a family of BMCs wants. Zero: no fact is known, the
// general setting holds.
type Tuning struct {
	// Cooldown between two changing operations.
	Cooldown time.Duration
	// AfterEject, AfterInsert and AfterPower are how long the BMC may need until
	// the effect can be read, or until it takes the next change. The actuator has
	// the lane of the BMC parked for that long.
	AfterEject, AfterInsert, AfterPower time.Duration
	// EjectWhileRunning: taking the medium out under a running system is known to
	// be harmless.
	EjectWhileRunning bool
}

// VendorRow is one row of the vendor table in words, for people.
type VendorRow struct {
	// Name is what spec.redfishConnection.vendor takes, Family the shorter word
	// that leaves the choice within the family to detection.
	Name, Family string
	Products     string
	// Firmware is the range of the BMC's versions, or "any".
	Firmware string
	// Media, Insert, Eject, BootTarget, BootMode, BootPlace, Power and IfMatch are
	// the forms used.
	Media, Insert, Eject, BootTarget, BootMode, BootPlace, Power, IfMatch string
	// ImageSchemes are the URL schemes that the BMC fetches images by.
	ImageSchemes string
	Licence      string
	Notes        string
	// Source of the facts. Nothing of it was measured on real hardware by us.
	Source string
	Tuning Tuning
}

// Vendors is the vendor table, in the order of detection; the last row is the
// one for every other BMC.
func Vendors() []VendorRow {
	out := make([]VendorRow, len(vendors))
	for i := range vendors {
		out[i] = vendors[i].words()
	}
	return out
}

// TuningOf is the tuning of a row, by the name that Identity.Vendor gives.
func TuningOf(vendorName string) Tuning {
	if row := rowNamed(vendorName); row != nil {
		return row.tuning
	}
	return Tuning{}
}

// vendor is one row: which of the known forms a range of BMCs wants. A form not
// here yet is a constant below and code in the file of its subject. The zero
// forms are the generic ones, so a row only lists what differs.
type vendor struct {
	name, family, products string

	// software are lower-case words of the BMC's own software: the service root's
	// Vendor, Product and Oem keys, the manager's model and firmware. maker are
	// words of the system's Manufacturer, which count only where the software
	// said nothing: one maker ships several BMCs.
	software, maker []string
	// models narrow the row within its family: words of manager and system model.
	models []string
	// from and before bound the firmware, as dotted numbers; "" is open.
	from, before string

	media mediaHome
	// usable are the ids of the slots that take an image, a * at the end stands
	// for anything; nil: every slot that has a way in.
	usable []string
	insert insertForm
	// hidden is what is looked for where no slot takes an image: insertIsoConfig or
	// insertEnable. The zero value is none.
	hidden insertForm
	// fields are what this BMC wants in an insert body beyond the image.
	fields []string
	eject  ejectForm
	// cdTargets are the boot targets that mean the virtual CD, best first; nil:
	// the generic ones.
	cdTargets []string
	bootMode  bootModeForm
	bootBody  bootBodyForm
	bootPlace bootPlace
	patchTag  patchTagForm
	power     powerForm
	// imageStays: the slot keeps Image after an eject; ConnectedVia tells.
	imageStays bool
	httpsOnly  bool
	// stick: the slot that names USBStick is a disk to the server, as the row's
	// source says. Elsewhere firmware may make a floppy of it (sushy-tools).
	stick bool

	tuning                 Tuning
	licence, notes, source string
}

// mediaHome says where the virtual media live. The other place is looked at
// where this one has none that can be used.
type mediaHome int

const (
	// mediaSystem: the system's own, else the manager's.
	mediaSystem mediaHome = iota //nolint:unused // the zero value: what most rows have
	// mediaManager: the manager's, else the system's.
	mediaManager
)

// insertForm says how a slot is filled.
type insertForm int

const (
	// insertAction: POST VirtualMedia.InsertMedia with the image alone, more only
	// on request.
	insertAction insertForm = iota
	// insertPatch: PATCH the slot, which has no action.
	insertPatch
	// insertHP: POST the InsertVirtualMedia action below Oem.
	insertHP
	// insertIsoConfig: PATCH host and path of an IsoConfig resource, POST its Mount.
	insertIsoConfig
	// insertEnable: remote media must be switched on before there are slots.
	insertEnable
	// insertNone: the slot can be fed from a browser only.
	insertNone
)

// ejectForm says how a slot without an eject action is emptied.
type ejectForm int

const (
	// ejectBoth: PATCH Image null and Inserted false.
	ejectBoth ejectForm = iota //nolint:unused // the zero value: what most rows have
	// ejectImage: PATCH Image null alone.
	ejectImage
)

// bootModeForm says whether a boot override carries BootSourceOverrideMode.
type bootModeForm int

const (
	// modeOmitted: leave the firmware's mode alone (iLO has it read-only).
	modeOmitted bootModeForm = iota //nolint:unused // the zero value: what most rows have
	// modeUEFI: send UEFI with every override.
	modeUEFI
	// modeUnlessUEFI: send UEFI where the BMC publishes another mode.
	modeUnlessUEFI
)

// bootBodyForm says which members a boot override carries.
type bootBodyForm int

const (
	// bodyChanged: only what is to change.
	bodyChanged bootBodyForm = iota //nolint:unused // the zero value: what most rows have
	// bodyFull: target, mode and enabled together, always.
	bodyFull
)

// bootPlace says where a boot override is written, and where it can be read
// before it takes effect.
type bootPlace int

const (
	// placeSystem: the system itself.
	placeSystem bootPlace = iota
	// placeSettings: the system's pending settings, where these hold a Boot; else
	// the system.
	placeSettings
	// placeDell: attributes of the manager: FirstBootDevice VCD-DVD with BootOnce.
	// For iDRACs whose Cd is the drive in the server.
	placeDell
)

// patchTagForm says which If-Match a PATCH carries first. A 412 or 428 tries the
// others: the tag as given, as a strong tag, any, none.
type patchTagForm int

const (
	// tagOmitted: none; strict BMCs compare only what is sent.
	tagOmitted patchTagForm = iota
	// tagAny: "*", for BMCs that refuse a PATCH without one.
	tagAny
	// tagExact: the resource's own tag. Only ever learned.
	tagExact
)

// powerForm says what a refused power change means.
type powerForm int

const (
	// powerPlain: a conflict means that it is so already, or cannot be.
	powerPlain powerForm = iota //nolint:unused // the zero value: what most rows have
	// powerLateOn: On is refused as a conflict for up to a minute after an Off.
	powerLateOn
)

const genericVendor = "generic"

// cdTargets are the words for the virtual CD, in the order we try them.
var cdTargets = []string{"Cd", "UsbCd"}

func (v *vendor) targets() []string {
	if len(v.cdTargets) > 0 {
		return v.cdTargets
	}
	return cdTargets
}

// takes tells whether the slot of that id takes an image on this BMC.
func (v *vendor) takes(id string) bool {
	if v.usable == nil {
		return true
	}
	for _, u := range v.usable {
		prefix, open := strings.CutSuffix(u, "*")
		if strings.EqualFold(u, id) || open && len(id) >= len(prefix) && strings.EqualFold(id[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}

// allNotes are the notes with the settle times: who wonders why nothing happens finds them there.
func (v *vendor) allNotes() string {
	var notes []string
	if v.notes != "" {
		notes = append(notes, v.notes)
	}
	for _, rest := range []struct {
		after string
		d     time.Duration
	}{{"an eject", v.tuning.AfterEject}, {"an insert", v.tuning.AfterInsert}, {"a change of power", v.tuning.AfterPower}} {
		if rest.d > 0 {
			notes = append(notes, fmt.Sprintf("is left alone for %gs after %s", rest.d.Seconds(), rest.after))
		}
	}
	return strings.Join(notes, "; ")
}

func (v *vendor) words() VendorRow {
	out := VendorRow{
		Name: v.name, Family: v.family, Products: v.products, Firmware: "any", Tuning: v.tuning,
		Media:      [...]string{"system, else manager", "manager, else system"}[v.media],
		Insert:     [...]string{"InsertMedia action", "PATCH of the slot", "OEM InsertVirtualMedia action", "OEM IsoConfig: host and path, then Mount", "InsertMedia action, after remote media was switched on", ""}[v.insert],
		Eject:      [...]string{"EjectMedia action, else PATCH of Image and Inserted", "EjectMedia action, else PATCH of Image alone"}[v.eject],
		BootTarget: strings.Join(v.targets(), ", else "),
		BootMode:   [...]string{"left alone", "UEFI sent each time", "UEFI sent where another mode is published"}[v.bootMode],
		BootPlace:  [...]string{"system", "pending settings where they hold the override, else system", "manager attributes (VCD-DVD once), else system"}[v.bootPlace],
		IfMatch:    [...]string{"only after 412 or 428", "always *", "always the tag"}[v.patchTag],
		Power:      [...]string{"plain", "On may be refused for a minute after Off: tried again"}[v.power],

		ImageSchemes: "http, https", Licence: v.licence, Notes: v.allNotes(), Source: v.source,
	}
	if v.bootBody == bodyFull {
		out.BootMode += ", with target and enabled in one request"
	}
	if len(v.fields) > 0 {
		out.Insert += " with " + strings.Join(v.fields, ", ")
	}
	if v.usable != nil {
		out.Media += ", slots " + strings.Join(v.usable, ", ")
	}
	if v.httpsOnly {
		out.ImageSchemes = "https"
	}
	switch {
	case v.from != "" && v.before != "":
		out.Firmware = "from " + v.from + ", below " + v.before
	case v.from != "":
		out.Firmware = "from " + v.from
	case v.before != "":
		out.Firmware = "below " + v.before
	}
	return out
}
