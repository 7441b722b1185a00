package emulator

import (
	"context"
	"errors"
	"io"
)

// What a Guest returns from Run to act on its own server.
var (
	// ErrPowerOff: the system switched the server off by itself.
	ErrPowerOff = errors.New("guest powered the server off")
	// ErrReboot: the system restarted the server by itself (an installer that
	// is done): the firmware boots again, from the disk unless an override says
	// otherwise.
	ErrReboot = errors.New("guest restarted the server")
)

// Identity is what a server knows about itself: what SMBIOS tells the booted
// system and what the BMC tells a Redfish client are the same values.
type Identity struct {
	// Name is the Spec.Name of the BMC. It never leaves the emulator over the wire.
	Name string
	// UUID is the SMBIOS system UUID, lower case with dashes.
	UUID         string
	Serial       string
	Manufacturer string
	Model        string
	// MACs are those of the NICs in order, lower case with colons.
	MACs []string
}

// Guest is the software of a server: what runs between a successful boot and
// the loss of power. A value may be started again after Run returned, never
// twice at the same time for one BMC.
type Guest interface {
	// Run plays the booted system. ctx is cancelled on power loss (a forced
	// power-off, a restart, an AC cut): Run should return soon, its error is
	// then only logged. boot.Shutdown closes on a graceful shutdown request;
	// returning from Run after that powers the server off. Returning before
	// either happened leaves the server on with no system up (a halted or
	// crashed OS), and graceful shutdown then has no effect, unless the error
	// is ErrPowerOff or ErrReboot. The next boot of this server waits until
	// the Run of the former power cycle has returned.
	Run(ctx context.Context, boot Boot) error
}

// GuestFunc is a function that is a Guest.
type GuestFunc func(ctx context.Context, boot Boot) error

// Run calls f.
func (f GuestFunc) Run(ctx context.Context, boot Boot) error { return f(ctx, boot) }

// Boot is what the firmware hands to the system it starts.
type Boot struct {
	Identity
	// Device is what the firmware booted from, in the words of Redfish boot
	// targets: "Cd", "Usb" or "Hdd" ("Hdd" also when an override was asked for
	// that could not be followed).
	Device string
	// Slot is the id of the virtual media slot booted from; empty for "Hdd".
	Slot string
	// Media is all inserted media in slot order, whichever was booted from,
	// as they were when the server started.
	Media []Medium
	// Disk is this server's own storage; it survives power cycles.
	Disk *Disk
	// Shutdown closes when a graceful shutdown was requested. Never nil.
	Shutdown <-chan struct{}
}

// Medium is one inserted virtual medium.
type Medium struct {
	// Slot is the id of the virtual media slot, URL the image inserted there.
	Slot, URL string
	// Open makes the BMC fetch the image: it asks the server for the length
	// and returns a reader that fetches by HTTP Range requests, and the length
	// in bytes. ctx bounds all reads. Reads fail once the medium was ejected
	// or replaced. Nothing is cached but one read-ahead block per reader; the
	// reader is safe for concurrent use.
	Open func(ctx context.Context) (io.ReaderAt, int64, error)
}
