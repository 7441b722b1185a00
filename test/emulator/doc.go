// Package emulator runs emulated bare-metal servers with Redfish BMCs.
//
// Purpose: a witness. A provider is driven against servers whose power takes
// time, whose BMC fetches virtual media over HTTP when it is used, whose boot
// override is consumed by the boot, and whose event log tells what happened to
// each server and who caused it, whatever the client believes.
//
// Guarantees: one Fleet holds thousands of BMCs, each with its own loopback
// address and TLS certificate; an idle BMC costs one goroutine (its listener's
// accept loop). State read through the Go API and state read over Redfish are
// the same state, unless a fault makes the BMC lie. Names, UUIDs, serials and
// MACs are a function of Spec.Name.
//
// A persona is a kind of BMC as data (persona.go says which forms there are,
// persona_*.go are the vendors); PersonaInfos says what is odd about each, and
// where that is reported. A fault spoils one BMC while it runs (SetFault); the
// table of fault_*.go is all of them, and Faults describes it. What a fact does
// not say the generic persona decides. Both come from reports about hardware,
// none was compared with it. Fleet.Judge tells from the log how requests were
// spread. See README.md for the command.
//
// Non-goals: it imports nothing of the product it tests, has no firmware
// update, telemetry, event subscriptions or BIOS attributes, no OEM trees but
// what media and boot need, no boot but from ISO 9660 media and disk, no
// clean-up of what a Guest leaves outside its Disk.
//
// Locking: Fleet.mu guards the list of BMCs, BMC.mu all state of one endpoint:
// servers behind the same BMC share it. No lock is held during network I/O, a
// sleep or a Guest's Run. BMC.mu is never taken while another endpoint's is
// held; Fleet.mu is never taken under BMC.mu. door.mu and authority.mu are
// innermost.
package emulator
