// Package redfishfake is a server with its BMC in memory: a working model that
// implements redfish.BMC without a network.
//
// What it guarantees: it keeps the promises of the interfaces of package
// redfish (the suite in redfishtest passes on it). Power takes Step calls
// where Options.Steps says so, a boot override for one boot is used up by the
// boot, a graceful shutdown acts only when an operating system listens, media
// stay inserted until they are ejected.
//
// Faults are made by hooks: Fault is asked before each operation and may refuse
// it, wait, or change the model; Lie lets an operation report success and do
// nothing.
//
// What it does not do: HTTP, sessions, vendors. test/emulator is for that.
//
// Locking: one mutex guards the model; hooks are called without it, so they may
// use every method.
package redfishfake
