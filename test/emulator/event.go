package emulator

import (
	"log/slog"
	"time"
)

// EventKind says what an Event is about.
type EventKind string

// The kinds of events.
const (
	// EventPower: the power state went From one PowerState To another.
	EventPower EventKind = "power"
	// EventReset: an accepted reset request (To is its type), before its effect.
	EventReset EventKind = "reset"
	// EventOverride: the boot override changed; by the firmware when consumed.
	EventOverride EventKind = "override"
	// EventInsert and EventEject: To, or From, is the slot.
	EventInsert EventKind = "media-insert"
	EventEject  EventKind = "media-eject"
	// EventFetch: the first bytes of a medium were read in this power cycle
	// (To is the slot); EventFetchFailed: the first read that failed in it.
	EventFetch       EventKind = "media-fetch"
	EventFetchFailed EventKind = "media-fetch-failed"
	// EventBoot: the firmware started a system from device To.
	// EventBootFailed: it could not follow the override to device To.
	EventBoot       EventKind = "boot"
	EventBootFailed EventKind = "boot-failed"
	// EventGuestStart and EventGuestStop bracket Guest.Run.
	EventGuestStart EventKind = "guest-start"
	EventGuestStop  EventKind = "guest-stop"
	// EventLogin, EventLogout: a session was made, ended by its owner.
	// EventSessionEnded: ended by the BMC (idle too long, password changed).
	EventLogin        EventKind = "session-login"
	EventLogout       EventKind = "session-logout"
	EventSessionEnded EventKind = "session-ended"
	// EventLoginFailed: wrong credentials in a session login or basic auth.
	// EventLockout: the account got locked by too many of them.
	EventLoginFailed EventKind = "login-failed"
	EventLockout     EventKind = "lockout"
	// EventReachable: To is "plugged" or "unplugged".
	EventReachable EventKind = "reachable"
	// EventCredentials: the account's password was changed at the BMC.
	EventCredentials EventKind = "credentials"
	// EventSettings: another property was written (To names it).
	EventSettings EventKind = "settings"
	// EventReboot: the BMC itself restarted (To is "down" or "up").
	EventReboot EventKind = "bmc-reboot"
	// EventFault: a fault was switched on (To) or off (From).
	EventFault EventKind = "fault"
)

// Actor says who caused an Event.
type Actor string

// The actors. A consequence carries the actor of its cause: the power that goes
// off because a guest obeyed a shutdown asked for over Redfish is ByRedfish.
const (
	ByRedfish  Actor = "redfish"
	ByButton   Actor = "button"
	ByFirmware Actor = "firmware"
	ByGuest    Actor = "guest"
	// ByOutside is a hand at the machine: AC cut, cable pulled, password
	// changed at the BMC's own console, the emulator's user.
	ByOutside Actor = "outside"
)

// Event is one entry of the log of a BMC: the witness of what happened to it.
// It never holds passwords, session tokens, or more of an image URL than its
// host and file name.
type Event struct {
	// Seq counts over the whole fleet, so logs of several BMCs merge in order.
	Seq uint64
	// BMC is the name of the BMC.
	BMC string
	// Time holds the wall and monotonic clock, Since the time since New.
	Time  time.Time
	Since time.Duration
	Kind  EventKind
	Who   Actor
	// Request is the number of the HTTP request that caused it (Change.ID), or 0.
	Request  uint64
	From, To string
	// Detail is for people.
	Detail string
}

// cause is who did something, and by which request.
type cause struct {
	who Actor
	req uint64
}

// record appends to the log and wakes WaitFor. b.mu is held.
func (b *BMC) record(by cause, e Event) {
	now := time.Now()
	e.Seq, e.BMC, e.Who, e.Request = b.fleet.eventSeq.Add(1), b.spec.Name, by.who, by.req
	e.Time, e.Since = now, now.Sub(b.fleet.started)
	b.events = append(b.events, e)
	if by.req != 0 && e.Kind != EventLoginFailed && e.Kind != EventLockout && e.Kind != EventSessionEnded {
		if t := b.front.open[by.req]; t != nil {
			t.Changed = true
			t.Session = t.Session || e.Kind == EventLogin || e.Kind == EventLogout
		}
	}
	close(b.changed)
	b.changed = make(chan struct{})
	b.fleet.log.Debug("bmc event", slog.String("bmc", e.BMC), slog.String("kind", string(e.Kind)),
		slog.String("who", string(e.Who)), slog.String("from", e.From), slog.String("to", e.To),
		slog.String("detail", e.Detail))
}

// Events returns a copy of the log since the BMC was added, oldest first.
func (b *BMC) Events() []Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Event(nil), b.events...)
}
