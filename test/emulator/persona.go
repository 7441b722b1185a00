package emulator

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"
)

// persona is a kind of BMC as data: each group of fields is a closed set of
// forms that the code of that topic knows. Durations are those of the real
// thing; Timings.Scale makes them short.
type persona struct {
	name, about string
	oddities    []Oddity
	// vendor and product are those of the service root.
	vendor, product, redfishVersion string
	// manufacturer and model are the server's when its Spec has none.
	manufacturer, model             string
	systemID, managerID, chassisID  string
	managerModel, firmware          string
	http                            httpForm
	login                           loginForm
	errors                          errorForm
	media                           mediaForm
	boot                            bootForm
	power                           powerForm
	tasks                           taskForm
	oem                             oemForm
	serialAsSystemID, noManagedBy   bool
	licenceID, busyID, stateErrorID string
	// uuidAsSystemID: the system's id is its UUID; byName: it is redirected to from its name.
	uuidAsSystemID, byName bool
	// baseboard is the id of another system beside the server, which is none: it has no power and no boot.
	baseboard string
	// deadMemory: the system links to memory that is not there.
	deadMemory bool
}

// Oddity is one way in which a persona differs from the generic one.
type Oddity struct {
	What string
	// Source is where the fact is reported, "inferred" when it is our reading.
	Source string
}

// PersonaInfo describes a persona for people.
type PersonaInfo struct {
	Name, About string
	// Oddities say how it differs from the generic persona, or what it does.
	Oddities []Oddity
}

// oemForm is the vendor's own tree.
type oemForm int

const (
	oemNone oemForm = iota
	oemDell
	oemHp  // iLO 4: vendor actions only
	oemHpe // iLO 5 and later: the standard's actions and the vendor's
	oemAMI
	oemSupermicro // the CfgCD resource
)

// httpForm is how the web server behaves.
type httpForm struct {
	// slash: resource URIs end in a slash, others are answered 308.
	slash bool
	etag  etagForm
	// needTag: a PATCH without If-Match is answered 428. refuseTag: an action
	// with If-Match is answered 412.
	needTag, refuseTag bool
}

type etagForm int

const (
	etagStrong etagForm = iota
	etagWeak
	etagEmpty // the header is there, and empty
	etagNone
)

// loginForm is sessions and accounts.
type loginForm struct {
	// off: basic auth only. hidden: the service root does not link to sessions.
	off, hidden bool
	// path of the session collection; empty is the usual one.
	path string
	// limit is the size of the session table, lockoutAfter the number of wrong
	// passwords in a row that locks an account.
	limit, lockoutAfter int
	// fullStatus is the answer when the table is full.
	fullStatus int
	// timeout is the idle time, if Options.Timings say none.
	timeout time.Duration
	// maxCount: the service tells the size of its table.
	maxCount bool
}

// slotSpec is one virtual media slot of a persona.
type slotSpec struct {
	id, name string
	types    []string
	// suffixes the image's name may end in; nil is those of the persona.
	suffixes []string
	// local: the slot is for a console in a browser only; without an insert
	// action, or, if listed, with one that is always refused.
	local, listed bool
}

func accepts(have []string, types ...string) bool {
	return slices.ContainsFunc(have, func(t string) bool { return slices.Contains(types, t) })
}

// mediaHome is the resource that owns the VirtualMedia collection.
type mediaHome int

const (
	mediaUnderManager mediaHome = iota
	mediaUnderSystem
	mediaUnderBoth
)

// insertForm is how an image gets into a slot.
type insertForm int

const (
	insertByAction insertForm = iota
	insertByPatch
	insertByOEM // only by the vendor's own action or resource
)

type mediaForm struct {
	home   mediaHome
	insert insertForm
	slots  []slotSpec
	// systemLink: the system links to the manager's collection.
	systemLink bool
	// hidden: no slots are shown until remote media were enabled.
	hidden bool
	// needs are parameters that must be sent, refuses those that must not.
	needs, refuses []string
	// vague: errors on parameters are plain text in a GeneralError.
	vague bool
	// schemes of image URLs; suffixes their names may end in, nil is any.
	schemes, suffixes []string
	// plainURL: no ? and no &, as many BMCs have it; strictURL: no = either.
	plainURL, strictURL bool
	// schemeless: an image URL may lack its scheme if TransferProtocolType says it.
	schemeless bool
	// prose: allowable values are a sentence for people.
	prose bool
	// insertStatus and ejectStatus are the answers to success; ejectEmpty the
	// answer to an eject of an empty slot.
	insertStatus, ejectStatus, ejectEmpty int
	// mount is spent between the answer and Inserted; the URL is checked then.
	// 0 checks and mounts before the answer.
	mount time.Duration
	// settle after an eject, inserts are answered settleStatus.
	settle       time.Duration
	settleStatus int
	// ejectObject: an eject needs a JSON object as its body.
	ejectObject bool
	// replaces: an insert into a full slot replaces the medium silently.
	replaces bool
	// ejectComes: the action EjectMedia is listed only while a medium is in, InsertMedia only while none is.
	ejectComes bool
	// none is what Image and ImageName say of an empty slot; empty is null.
	none string
	// untyped: slots name no media types.
	untyped bool
	// whole: an image is fetched whole before an insert is answered; fetchStatus is the answer when it cannot be, 0 is 400.
	whole       bool
	fetchStatus int
	// keepsImage: Image is still shown after an eject; Inserted is not.
	keepsImage bool
}

// modeRule is what a BMC does with BootSourceOverrideMode.
type modeRule int

const (
	modeWritable modeRule = iota
	modeReadOnly
	modeAbsent
	modeRequired // an override is enabled only with it
	modeLater    // accepted, and effective after the next boot
)

type bootForm struct {
	targets, enabled []string
	// foreign are targets that do not mean the virtual medium.
	foreign []string
	mode    modeRule
	// settings is the name of the resource below the system that takes the boot
	// override instead of the system; empty is the system itself.
	settings string
	// settingsID is the message to a PATCH at the wrong one of the two.
	settingsID string
	// pending: the system shows a change made there only after the next boot.
	pending bool
	// listElsewhere: the allowable values are shown there only.
	listElsewhere bool
	// full: all three properties must be sent. changedOnly: none that is not
	// to change may be sent.
	full, changedOnly bool
	// onceUnlessSaid: a change that does not send Enabled makes it Once.
	onceUnlessSaid bool
	// downgrade: without Mode UEFI in the request, success is answered and the
	// override is left Disabled and Legacy.
	downgrade bool
	// duringPOST: changes are refused during POST.
	duringPOST bool
	// keepTarget: disabling does not clear the target.
	keepTarget bool
	// lasting: every override is a continuous one, whatever was asked; it cannot be disabled.
	lasting bool
	// rest is the override of a new server; zero is none.
	rest Override
	// uri is shown as HttpBootUri.
	uri string
	// orderOnly is the name of a settings resource that holds the boot order and no override.
	orderOnly string
	status    int
}

type powerForm struct {
	types []string
	// info: the types are listed by an ActionInfo resource only.
	info bool
	// status is the answer to success; onWhileOn and offWhileOff are those to a
	// reset that changes nothing, whileOff that to a restart or shutdown while off.
	status, onWhileOn, offWhileOff, whileOff int
	// jumps: the former state is shown until the new one is reached.
	jumps bool
	// onRefused after a power-off, On is answered 409.
	onRefused time.Duration
	// unready after a power change, resets are answered 400.
	unready time.Duration
	// hardRestart: GracefulRestart does not ask the system. cycleOff: PowerCycle
	// leaves the server off. deadRestart: ForceRestart does nothing.
	hardRestart, cycleOff, deadRestart bool
	// lag is what a change of power takes beyond the server's own time.
	lag time.Duration
}

// location is the header of an answer 202.
type location int

const (
	locationMonitor location = iota
	locationTask
	locationAbsolute
	locationNone
)

type taskForm struct {
	location location
	noBody   bool
	// hidden after its creation a task is answered 404; gone after its end, too
	// (0 keeps it).
	hidden, gone time.Duration
}

// family is the personas of one vendor; each file makes one.
var personas = collect(genericPersonas(), dellPersonas(), hpePersonas(), supermicroPersonas(), lenovoPersonas(),
	openbmcPersonas(), amiPersonas(), otherPersonas(), sushyPersonas())

func collect(families ...[]persona) map[string]*persona {
	all := map[string]*persona{}
	for _, f := range families {
		for i := range f {
			all[f[i].name] = &f[i]
		}
	}
	return all
}

// generic does what the standard suggests and is strict where the standard
// leaves a choice, so that a client cannot rely on leniency.
func generic() persona {
	return persona{
		name: "generic", about: "what the standard suggests, strict where it leaves a choice",
		vendor: "Emulated", product: "Emulated BMC", redfishVersion: "1.17.0",
		manufacturer: "Emulated Systems", model: "ES-2200",
		systemID: "1", managerID: "1", chassisID: "1", managerModel: "EMC-1", firmware: "4.02.01",
		login:  loginForm{limit: 8, lockoutAfter: 5, fullStatus: http.StatusServiceUnavailable},
		errors: errorForm{base: "Base.1.18."},
		media: mediaForm{
			slots: []slotSpec{
				{id: "CD1", name: "Virtual CD 1", types: []string{"CD", "DVD"}},
				{id: "CD2", name: "Virtual CD 2", types: []string{"CD", "USBStick"}},
			},
			schemes: []string{"http", "https"}, suffixes: []string{".iso"}, plainURL: true,
			insertStatus: http.StatusNoContent, ejectStatus: http.StatusNoContent, ejectEmpty: http.StatusNoContent,
			settleStatus: http.StatusInternalServerError,
		},
		boot: bootForm{
			targets: []string{"None", "Pxe", "Cd", "Usb", "Hdd", "BiosSetup"},
			enabled: []string{"Disabled", "Once", "Continuous"}, status: http.StatusOK,
		},
		power: powerForm{
			types: []string{"On", "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart",
				"PowerCycle", "PushPowerButton"},
			status: http.StatusNoContent, onWhileOn: http.StatusConflict, offWhileOff: http.StatusConflict,
			whileOff: http.StatusConflict,
		},
		licenceID: "LicenseRequired", busyID: "ServiceTemporarilyUnavailable", stateErrorID: "InvalidOperationForSystemState",
	}
}

func genericPersonas() []persona { return []persona{generic()} }

// vary derives a persona from another one.
func vary(from persona, name, about string, change func(p *persona), oddities ...Oddity) persona {
	from.name, from.about = name, about
	from.oddities = append(slices.Clone(from.oddities), oddities...)
	change(&from)
	return from
}

// clone is a copy whose slots may be changed.
func (p *persona) clone() *persona {
	c := *p
	c.media.slots = slices.Clone(p.media.slots)
	return &c
}

// Personas returns the names Spec.Persona takes, sorted.
func Personas() []string { return slices.Sorted(maps.Keys(personas)) }

// PersonaInfos describes all personas, sorted by name.
func PersonaInfos() []PersonaInfo {
	var all []PersonaInfo
	for _, name := range Personas() {
		p := personas[name]
		all = append(all, PersonaInfo{Name: p.name, About: p.about, Oddities: slices.Clone(p.oddities)})
	}
	return all
}

func personaNamed(name string) (*persona, error) {
	p := personas[name]
	if p == nil {
		return nil, fmt.Errorf("unknown persona %q (known: %q)", name, Personas())
	}
	return p, nil
}
