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
// the same state. Names, UUIDs, serials and MACs are a function of Spec.Name.
//
// Non-goals: it imports nothing of the product it tests, has no firmware
// update, telemetry, event subscriptions, tasks, BIOS or OEM trees, one system and
// one account for each BMC, no boot but from ISO 9660 media and disk, no clean-up
// of what a Guest leaves outside its Disk.
//
// Locking: Fleet.mu guards the list of BMCs, BMC.mu all state of one BMC. No
// lock is held during network I/O, a sleep or a Guest's Run. BMC.mu is never
// taken while another BMC's is held; Fleet.mu is never taken under BMC.mu.
package emulator
