package emulator

// Spec describes one server and its BMC. Every empty field but Name has a
// default.
type Spec struct {
	// Name is unique in the fleet. UUID, serial numbers and MACs are derived
	// from it, so the same name is the same machine in every run.
	Name string
	// IP is the BMC's own address; default the next free one from 127.77.0.1.
	IP string
	// Port 0 takes a free one.
	Port int
	// Persona is the kind of BMC; default "generic".
	Persona string
	// Username and Password default to "admin" and a password derived from Name.
	Username, Password string
	Hardware           Hardware
	// InitialPower is "On" or "Off"; default "Off". A server that is on from
	// the start runs its Guest from its disk.
	InitialPower string
	// SystemID is the member of the Systems collection; default the persona's,
	// "1" for generic.
	SystemID string
	// Behind names a server added before: this one is managed at the same
	// endpoint, with the same persona, accounts and sessions, as are the blades
	// of a chassis. It needs a SystemID of its own; IP, Port, Persona, Username,
	// Password and Accounts are ignored.
	Behind string
	// Accounts are further accounts of the BMC.
	Accounts []Account
}

// Account is a user of a BMC.
type Account struct {
	Username, Password string
	// Role is "Administrator" (the default), "Operator" or "ReadOnly": the last
	// one's changing requests are answered 403.
	Role string
}

// Hardware is what the inventory shows. Empty fields get the defaults of a
// plain two-socket server with two disks and two NICs.
type Hardware struct {
	Manufacturer, Model string
	// Serial and UUID default to values derived from Spec.Name.
	Serial, UUID string
	// Sockets, and Cores and Threads in total over all sockets.
	Sockets, Cores, Threads int
	// Architecture is "x86" (the instruction set x86-64) or "ARM" (ARM-A64).
	Architecture   string
	ProcessorModel string
	MemoryGiB      int
	Disks          []DiskSpec
	NICs           []NICSpec
}

// DiskSpec is one physical drive.
type DiskSpec struct {
	Name, Model, Serial string
	// MediaType is "SSD" or "HDD", Protocol "NVMe", "SATA" or "SAS".
	MediaType, Protocol string
	Bytes               int64
}

// NICSpec is one host network interface.
type NICSpec struct {
	Name string
	// MAC is lower case with colons; default derived from Spec.Name.
	MAC       string
	SpeedMbps int
	// LinkDown is true when no cable is in.
	LinkDown bool
}
