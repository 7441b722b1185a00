// Package redfishtest is the one conformance suite for implementations of
// redfish.BMC: the in-memory fake, the driver in front of an emulator, the
// driver in front of a real BMC.
//
// It has two parts. Run is for Go tests: what every method promises, one subtest
// each, and every operation. Operations lists the operations of a server's life by
// name (enrol, insert, boot once, power on, graceful off, forced off, eject,
// release); each can be conducted alone against a Harness and returns its outcome
// in words, so that a program can print BMCs and operations as a table. With
// Harness.DryRun nothing is changed: for BMCs in use.
//
// It judges by reading back, as the callers do: that a method returned nil
// proves nothing. It knows the interface and a Control, and nothing of the
// implementation. It holds no state and no locks.
package redfishtest
