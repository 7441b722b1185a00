package protocol

import "fmt"

// Report is what the agent saw on the server that it runs on.
type Report struct {
	// Agent is the version of the agent.
	Agent    string   `json:"agent"`
	Server   Server   `json:"server"`
	Firmware Firmware `json:"firmware"`
	// Ports are the Ethernet ports, by the order of their names.
	Ports []Port `json:"ports,omitempty"`
	// Disks are all block devices that are no partitions and hold no others, also those that no plan could name.
	Disks []Disk `json:"disks,omitempty"`
	// MemoryBytes and CPUs are what the kernel uses; Architecture is Go's word, such as amd64.
	MemoryBytes  int64  `json:"memoryBytes,omitempty"`
	CPUs         int    `json:"cpus,omitempty"`
	Architecture string `json:"architecture,omitempty"`
}

// Server is what SMBIOS says: it identifies the server. Values that boards ship with are passed on as they are.
type Server struct {
	UUID         string `json:"uuid,omitempty"`
	Serial       string `json:"serial,omitempty"`
	Manufacturer string `json:"manufacturer,omitempty"`
	Model        string `json:"model,omitempty"`
}

// BootMode is how the firmware started the agent.
type BootMode string

// The boot modes.
const (
	BootUEFI BootMode = "UEFI"
	BootBIOS BootMode = "BIOS"
)

// Firmware is the system's firmware.
type Firmware struct {
	Vendor   string   `json:"vendor,omitempty"`
	Version  string   `json:"version,omitempty"`
	BootMode BootMode `json:"bootMode"`
	// SecureBoot says whether the firmware checks what it boots; always false under BIOS.
	SecureBoot bool `json:"secureBoot,omitempty"`
}

// Port is an Ethernet port.
type Port struct {
	Name string `json:"name"`
	// MAC is the permanent address, in lower case with colons: ports of a bond share the other one.
	MAC     string `json:"mac"`
	Driver  string `json:"driver,omitempty"`
	PCIPath string `json:"pciPath,omitempty"`
	Carrier bool   `json:"carrier,omitempty"`
	// SpeedMbps is 0 where it is not known, as without a carrier.
	SpeedMbps int64 `json:"speedMbps,omitempty"`
	// Neighbour is what is at the other end, by LLDP; nil if nothing was heard.
	Neighbour *Neighbour `json:"neighbour,omitempty"`
}

// Neighbour is what a switch says of itself by LLDP (IEEE 802.1AB).
type Neighbour struct {
	// ChassisID and PortID are MAC addresses in lower case with colons, or texts.
	ChassisID       string `json:"chassisID"`
	PortID          string `json:"portID"`
	PortDescription string `json:"portDescription,omitempty"`
	SystemName      string `json:"systemName,omitempty"`
	// VLAN is the untagged one; 0 where it is not said.
	VLAN int `json:"vlan,omitempty"`
}

// DiskType is how a disk stores.
type DiskType string

// The disk types, in the words of PhysicalHost's status.
const (
	DiskHDD  DiskType = "HDD"
	DiskSSD  DiskType = "SSD"
	DiskNVMe DiskType = "NVMe"
)

// Transport is how a disk is attached.
type Transport string

// The transports.
const (
	TransportNVMe   Transport = "NVMe"
	TransportSAS    Transport = "SAS"
	TransportSATA   Transport = "SATA"
	TransportUSB    Transport = "USB"
	TransportVirtIO Transport = "VirtIO"
	TransportMMC    Transport = "MMC"
	TransportFC     Transport = "FC"
	TransportISCSI  Transport = "iSCSI"
	TransportOther  Transport = "Other"
)

// Disk is a block device as the kernel shows it. Serial, WWN and EUI are "" where the device has none, as behind some controllers.
type Disk struct {
	// Name is the kernel's name in this run, such as nvme0n1. It says nothing about the next run.
	Name   string `json:"name"`
	Serial string `json:"serial,omitempty"`
	// WWN is the World Wide Name as 0x and hex digits in lower case; EUI is the EUI-64 or NGUID of an NVMe namespace, as hex
	// digits in lower case.
	WWN    string `json:"wwn,omitempty"`
	EUI    string `json:"eui,omitempty"`
	Vendor string `json:"vendor,omitempty"`
	Model  string `json:"model,omitempty"`
	// Size is in bytes; BlockSize is the logical one, by which it is addressed.
	Size              int64     `json:"size"`
	BlockSize         int       `json:"blockSize"`
	PhysicalBlockSize int       `json:"physicalBlockSize,omitempty"`
	Type              DiskType  `json:"type,omitempty"`
	Transport         Transport `json:"transport,omitempty"`
	// PCIPath is the address of the controller, such as 0000:3b:00.0.
	PCIPath string `json:"pciPath,omitempty"`
	// Removable and ReadOnly are what the kernel says. VirtualMedia: it is a drive that a BMC presents, or the medium that the
	// agent was started from.
	Removable    bool `json:"removable,omitempty"`
	ReadOnly     bool `json:"readOnly,omitempty"`
	VirtualMedia bool `json:"virtualMedia,omitempty"`
	// MemberOf is the array or the map that holds the disk, such as md127; "" if it is free.
	MemberOf string `json:"memberOf,omitempty"`
}

func (r *Report) check(v *checker) {
	v.word("agent", r.Agent, true)
	v.words(map[string]string{"server.uuid": r.Server.UUID, "server.serial": r.Server.Serial,
		"server.manufacturer": r.Server.Manufacturer, "server.model": r.Server.Model,
		"firmware.vendor": r.Firmware.Vendor, "firmware.version": r.Firmware.Version, "architecture": r.Architecture})
	v.one("firmware.bootMode", string(r.Firmware.BootMode), []string{string(BootUEFI), string(BootBIOS)})
	v.count("memoryBytes", r.MemoryBytes)
	v.count("cpus", int64(r.CPUs))
	v.atMost("ports", len(r.Ports), maxPorts)
	for i := range r.Ports {
		r.Ports[i].check(v.under(fmt.Sprintf("ports[%d]", i)))
	}
	v.atMost("disks", len(r.Disks), maxDisks)
	for i := range r.Disks {
		r.Disks[i].check(v.under(fmt.Sprintf("disks[%d]", i)))
	}
}

func (p *Port) check(v *checker) {
	v.word("name", p.Name, true)
	v.words(map[string]string{"mac": p.MAC, "driver": p.Driver, "pciPath": p.PCIPath})
	v.count("speedMbps", p.SpeedMbps)
	if n := p.Neighbour; n != nil {
		v.words(map[string]string{"chassisID": n.ChassisID, "portID": n.PortID, "portDescription": n.PortDescription,
			"systemName": n.SystemName})
		v.between("vlan", int64(n.VLAN), 0, 4094)
	}
}

func (d *Disk) check(v *checker) {
	v.word("name", d.Name, true)
	v.words(map[string]string{"serial": d.Serial, "wwn": d.WWN, "eui": d.EUI, "vendor": d.Vendor, "model": d.Model,
		"pciPath": d.PCIPath, "memberOf": d.MemberOf})
	v.count("size", d.Size)
	v.count("blockSize", int64(d.BlockSize))
	v.count("physicalBlockSize", int64(d.PhysicalBlockSize))
	v.optional("type", string(d.Type), words([]DiskType{DiskHDD, DiskSSD, DiskNVMe}))
	v.optional("transport", string(d.Transport), words([]Transport{TransportNVMe, TransportSAS, TransportSATA, TransportUSB,
		TransportVirtIO,
		TransportMMC, TransportFC, TransportISCSI, TransportOther}))
}
