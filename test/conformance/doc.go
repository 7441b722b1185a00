// Command conformance drives the Redfish driver against every persona and every fault of the emulator, prints what came of it as
// tables, and writes docs/hardware.md.
//
//	go run ./conformance                          all, and docs/hardware.md
//	go run ./conformance -check                   all, without writing anything
//
// Personas are tried with every operation of redfishtest. Faults are tried on the generic persona with the operations enrol and
// power on: a driver under a fault does its work all the same, or ends in time with an error of a kind that says what is wrong.
// It ends with 1 when a cell is not as it must be.
//
// With BESKAR7_BMC_ADDRESS, BESKAR7_BMC_USERNAME and BESKAR7_BMC_PASSWORD (and BESKAR7_BMC_INSECURE=true for a certificate that nobody
// signed) it tries a real BMC instead. Only what reads is tried there: nothing is changed.
//
// Locking: none; each cell is one goroutine with a server of its own, and its result goes to its own place.
package main
