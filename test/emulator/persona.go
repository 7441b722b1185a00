package emulator

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// slotSpec is one virtual media slot of a persona.
type slotSpec struct {
	id, name string
	types    []string
}

func (s slotSpec) accepts(types ...string) bool {
	return slices.ContainsFunc(s.types, func(t string) bool { return slices.Contains(types, t) })
}

// mediaRoot is the resource that owns the VirtualMedia collection.
type mediaRoot string

const (
	mediaUnderManager mediaRoot = "Managers"
	mediaUnderSystem  mediaRoot = "Systems"
)

// persona is a kind of BMC as data. What cannot be said as data is one of the
// hooks at its end.
type persona struct {
	name string
	// vendor and product are those of the service root.
	vendor, product, redfishVersion string
	managerID, chassisID            string
	managerModel, firmware          string
	media                           mediaRoot
	slots                           []slotSpec
	resetTypes                      []string
	bootTargets                     []string
	// onWhileOn and offWhileOff are the answers to a reset that changes
	// nothing; ejectEmpty the answer to an eject of an empty slot.
	onWhileOn, offWhileOff, ejectEmpty int
	// insertReplaces: an insert into a full slot replaces the medium silently.
	insertReplaces bool
	// sessions false: the BMC has basic auth only.
	sessions bool
	// sessionLimit is the size of the session table, lockoutAfter the number of
	// wrong passwords in a row that locks the account.
	sessionLimit, lockoutAfter int

	// view, if not nil, may change any answered resource. b.mu is held.
	view func(b *BMC, path string, d doc) doc
}

// personas by name.
var personas = map[string]*persona{
	// generic does what the standard suggests and is strict where the standard
	// leaves a choice, so that a client cannot rely on leniency.
	"generic": {
		name: "generic", vendor: "Emulated", product: "Emulated BMC", redfishVersion: "1.17.0",
		managerID: "1", chassisID: "1", managerModel: "EMC-1", firmware: "4.02.01",
		media: mediaUnderManager,
		slots: []slotSpec{
			{id: "CD1", name: "Virtual CD 1", types: []string{"CD", "DVD"}},
			{id: "CD2", name: "Virtual CD 2", types: []string{"CD", "USBStick"}},
		},
		resetTypes: []string{"On", "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart",
			"PowerCycle", "PushPowerButton"},
		bootTargets: []string{"None", "Pxe", "Cd", "Usb", "Hdd", "BiosSetup"},
		onWhileOn:   http.StatusConflict, offWhileOff: http.StatusConflict, ejectEmpty: http.StatusNoContent,
		sessions: true, sessionLimit: 8, lockoutAfter: 5,
	},
}

// Personas returns the names Spec.Persona takes, sorted.
func Personas() []string { return slices.Sorted(maps.Keys(personas)) }

func personaNamed(name string) (*persona, error) {
	p := personas[name]
	if p == nil {
		return nil, fmt.Errorf("unknown persona %q (known: %q)", name, Personas())
	}
	return p, nil
}
