package emulator

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// PowerState is the power of a server in the words of Redfish.
type PowerState string

// The power states. PoweringOn and PoweringOff take Timings.PowerOn and PowerOff.
const (
	Off         PowerState = "Off"
	PoweringOn  PowerState = "PoweringOn"
	On          PowerState = "On"
	PoweringOff PowerState = "PoweringOff"
)

// Override is the boot override in the words of Redfish.
type Override struct {
	// Target is one of the persona's boot targets, Enabled is Disabled, Once or
	// Continuous, Mode is UEFI or Legacy.
	Target, Enabled, Mode string
}

func (o Override) String() string { return o.Target + "/" + o.Enabled + "/" + o.Mode }

// State is one consistent snapshot of a server and its BMC.
type State struct {
	Power    PowerState
	Override Override
	// OnceOEM is the device that a vendor's own attribute has the next boot take, in the words of Booted; empty for none.
	OnceOEM string
	Slots   []SlotState
	// Booted is the device of the current power cycle's boot ("Cd", "Usb",
	// "Hdd", "BiosSetup"); empty before the boot and while off.
	Booted string
	// Boots counts boots since the BMC was added.
	Boots int
	// GuestRunning is true while Guest.Run runs and was not told to stop.
	GuestRunning bool
	// Sessions is the number of live sessions.
	Sessions int
	// LockedUntil is the end of the account's lock-out; zero if not locked.
	LockedUntil time.Time
	// Unplugged is true while the BMC is unreachable.
	Unplugged bool
}

// SlotState is one virtual media slot.
type SlotState struct {
	ID       string
	Types    []string
	Inserted bool
	// Image is the URL inserted; it may be a capability: do not log it.
	Image string
	// Bytes is how much was fetched of it since it was inserted.
	Bytes int64
}

// BMC is one emulated server with its management controller. All methods are
// safe for concurrent use.
type BMC struct {
	fleet *Fleet
	// front is the BMC at whose endpoint this server is managed: itself, but
	// for the blades of a chassis, which share the front's mu.
	front    *BMC
	face     atomic.Pointer[face]
	identity Identity
	disk     Disk
	addr     string
	inFlight meter
	door     door
	// skew is by how much the clock is wrong, in nanoseconds.
	skew atomic.Int64

	mu        *sync.Mutex
	closed    bool
	blades    []*BMC // those behind this front
	faults    map[string]*active
	tasks     tasks
	physics   physics
	oem       oemState
	spec      Spec
	server    *http.Server // nil while unplugged
	listener  net.Listener
	intercept func(http.ResponseWriter, *http.Request) bool
	guest     Guest
	power     PowerState
	override  Override
	assetTag  string
	slots     []*slot
	cycle     *cycle          // the current power cycle; nil unless PoweringOn or On
	last      <-chan struct{} // closed when the newest power cycle is over
	fall      int             // counts power-offs begun or cut short, so that an old timer does nothing
	booted    string
	boots     int
	access    access
	events    []Event
	changed   chan struct{} // closed and replaced at every event
	open      map[uint64]*Change
	count     RequestCount
	changes   []*Change
	reads     []*Change // the other requests, if they are kept
	fetcher   *fetcher
}

func newBMC(f *Fleet, spec Spec, front *BMC) (*BMC, error) {
	if front != nil {
		spec.Persona = front.kind().name
	}
	p, err := personaNamed(cmp.Or(spec.Persona, "generic"))
	if err != nil {
		return nil, err
	}
	spec = spec.withDefaults(p)
	if spec.InitialPower != string(On) && spec.InitialPower != string(Off) {
		return nil, fmt.Errorf("initial power %q is neither On nor Off", spec.InitialPower)
	}
	b := &BMC{
		fleet: f, spec: spec, identity: spec.identity(), power: Off, faults: map[string]*active{},
		override: Override{Target: "None", Enabled: "Disabled", Mode: "UEFI"},
		access:   newAccess(cmp.Or(f.sessionTimeout, p.login.timeout, f.timings.SessionTimeout)), changed: make(chan struct{}),
		open: map[uint64]*Change{}, count: newRequestCount(),
	}
	for _, s := range p.media.slots {
		b.slots = append(b.slots, &slot{id: s.id, name: s.name, spec: s})
	}
	b.front, b.mu = b, &sync.Mutex{}
	if front != nil {
		b.front, b.mu, b.addr = front, front.mu, front.addr
	}
	b.setFace(p)
	if p.boot.rest != (Override{}) {
		b.override = p.boot.rest
	}
	b.physics.shownOverride = b.override
	if f.guest != nil {
		b.guest = f.guest(b.Identity())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if front != nil {
		if err := front.adoptLocked(b); err != nil {
			return nil, err
		}
	} else if err := b.listenLocked(net.JoinHostPort(spec.IP, strconv.Itoa(spec.Port))); err != nil {
		return nil, err
	}
	if spec.InitialPower == string(On) {
		b.setPowerLocked(On, cause{who: ByOutside}, "was on")
		b.startCycleLocked(cause{who: ByOutside}, true)
	}
	return b, nil
}

// Name returns Spec.Name.
func (b *BMC) Name() string { return b.spec.Name }

// URL is the address a Redfish client connects to: https://ip:port. It stays
// the same when the BMC is unplugged and plugged in again.
func (b *BMC) URL() string { return "https://" + b.addr }

// Identity returns what the server knows about itself.
func (b *BMC) Identity() Identity {
	id := b.identity
	id.MACs = append([]string(nil), id.MACs...)
	return id
}

// SystemID is the id of the server in the Systems collection.
func (b *BMC) SystemID() string { return b.spec.SystemID }

// Disk is the server's own storage.
func (b *BMC) Disk() *Disk { return &b.disk }

// Persona returns Spec.Persona.
func (b *BMC) Persona() string { return b.kind().name }

// Front is the BMC whose endpoint serves this server: b itself but for the
// servers of a chassis that share one (Spec.Behind).
func (b *BMC) Front() *BMC { return b.front }

// Username returns the name of the BMC's first account.
func (b *BMC) Username() string { return b.front.spec.Username }

// Password returns the first account's current password.
func (b *BMC) Password() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.front.spec.Password
}

// State returns a snapshot.
func (b *BMC) State() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stateLocked()
}

func (b *BMC) stateLocked() State {
	b.front.expireSessionsLocked()
	first := b.front.access.trouble(b.front.spec.Username)
	s := State{
		Power: b.power, Override: b.override, OnceOEM: b.oem.next, Booted: b.booted, Boots: b.boots,
		GuestRunning: b.cycle != nil && b.cycle.guestUp,
		Sessions:     len(b.front.access.sessions), Unplugged: b.front.server == nil,
	}
	if time.Now().Before(first.lockedUntil) {
		s.LockedUntil = first.lockedUntil
	}
	for _, l := range b.slots {
		s.Slots = append(s.Slots, SlotState{ID: l.id, Types: append([]string(nil), l.spec.types...),
			Inserted: l.image != "", Image: l.image, Bytes: l.bytes})
	}
	return s
}

// WaitFor returns nil as soon as ok holds of the state. It looks after every
// event, so a state that no event leads to (time passing in a session or
// lock-out) is not noticed by itself. ok must not call methods of b.
func (b *BMC) WaitFor(ctx context.Context, ok func(State) bool) error {
	for {
		b.mu.Lock()
		s, changed := b.stateLocked(), b.changed
		b.mu.Unlock()
		if ok(s) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s (power %s, booted %q): %w", b.spec.Name, s.Power, s.Booted, ctx.Err())
		}
	}
}

// SetGuest replaces the server's software from the next boot on; nil for none.
func (b *BMC) SetGuest(g Guest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.guest = g
}

// SetPassword changes the first account's password at the BMC: its sessions end.
func (b *BMC) SetPassword(password string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.front.setPasswordLocked(b.front.spec.Username, password, cause{who: ByOutside})
}

// SetIntercept installs a fault hook that sees every request after it was
// counted and before it is authenticated; nil removes it. When it returns true
// it has answered (it may hijack the connection, or call Answer with a writer
// of its own to let the request act and then spoil the reply).
func (b *BMC) SetIntercept(f func(http.ResponseWriter, *http.Request) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.front.intercept = f
}

// Unplug makes the BMC unreachable (its port refuses connections, open ones
// break) or reachable again. The server itself is not touched. It fails when
// the port was taken meanwhile.
func (b *BMC) Unplug(out bool) error {
	b = b.front
	b.mu.Lock()
	defer b.mu.Unlock()
	b.physics.reboots++ // an unplugged BMC is not brought back by an older restart
	return b.unplugLocked(out)
}

func (b *BMC) unplugLocked(out bool) error {
	if out == (b.server == nil) || b.closed {
		return nil
	}
	if out {
		b.unlistenLocked()
		b.record(cause{who: ByOutside}, Event{Kind: EventReachable, From: "plugged", To: "unplugged"})
		return nil
	}
	if err := b.listenLocked(b.addr); err != nil {
		return err
	}
	b.record(cause{who: ByOutside}, Event{Kind: EventReachable, From: "unplugged", To: "plugged"})
	return nil
}

// close ends the server for good.
func (b *BMC) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.cutLocked("emulator closed")
	b.closed = true
	b.clearFaultsLocked()
	b.unlistenLocked()
	if b.fetcher != nil {
		b.fetcher.client.CloseIdleConnections()
	}
}
