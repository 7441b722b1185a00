// Command conformance drives the Redfish driver against every persona and every fault of the emulator, prints what came of it as
// tables, and writes docs/hardware.md.
//
//	go run ./conformance                          all, and docs/hardware.md
//	go run ./conformance -check                   all, without writing anything
//	go run ./conformance -facts                   none: writes what is known of BMCs and from where, in a moment
//
//	go run ./conformance -fault nulls             the lives under one fault (or -persona, or both)
//
// Three matrices: every persona with every operation of redfishtest; every fault with every operation, on the generic persona; and
// every persona under every fault through a whole life, provisioned and released by actuator, gate and driver. Under a fault the
// work is done all the same, or ends in time with an error of a kind that says what is wrong: expect.go says which. What was
// claimed is held against the emulator's own truth, and its log against what no BMC may be done: two requests at a time, a change
// within the cooldown, a locked account, sessions left over. Once a fault has ended the host must find its way.
// It ends with 1 when a cell is not as it must be.
//
// A busy machine makes it slower, not wrong: what is expected to be done is waited for as long as it takes, within minutes.
//
// With BESKAR7_BMC_ADDRESS, BESKAR7_BMC_USERNAME and BESKAR7_BMC_PASSWORD (and BESKAR7_BMC_INSECURE=true for a certificate that nobody
// signed) it tries a real BMC instead. Only what reads is tried there: nothing is changed.
//
// Locking: none; each cell is one goroutine with a server of its own, and its result goes to its own place.
package main
