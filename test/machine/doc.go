// Package machine puts a real machine behind an emulated BMC: QEMU, with firmware from Debian's packages, boots what the BMC's
// virtual media hold.
//
// Purpose: what a simulated guest only plays is done here: firmware finds a loader on the medium, the loader a kernel, cloud-init its
// data. A Machine is an emulator.Guest, so power, boot override and media stay the BMC's, and one power cycle is one QEMU process.
//
// Guarantees: a medium is an NBD export whose reads go through the BMC's own ranged reads; nothing of it is copied before. The boot
// order is what the firmware of the BMC decided. A graceful shutdown is the ACPI power button. Reset and power-off by the system are
// told to the BMC. QEMU ends with its power cycle, and with this process. The serial console of all power cycles is in one file, the
// disk and the UEFI variables outlive a power cycle.
//
// Non-goals: speed (processors are emulated), media changed under a running system (an ejected one fails its reads, as a pulled
// one), sensors, networks other than QEMU's user network, in which 10.0.2.2 is this machine's loopback.
//
// Locking: none in a Machine: the BMC never runs two power cycles at once. A monitor's pending commands have a mutex.
//
// The folder image builds the live system that the stories boot; see image/build.sh.
package machine
