// Package redfishtest is the one conformance suite for implementations of
// redfish.BMC: the in-memory fake, the driver in front of an emulator, the
// driver in front of a real BMC.
//
// It judges by reading back, as the callers do: that a method returned nil
// proves nothing. It knows the interface and a Control, and nothing of the
// implementation. It holds no state and no locks.
package redfishtest
