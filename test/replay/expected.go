package replay

// Expectation is what a person finds in a capture. Every field is read off the documents; "unknown" is what they do not say.
type Expectation struct {
	// Capture is the file's name, System the id of the system that has to be named where there are several.
	Capture, System string
	// Server is what it is, by what it calls itself.
	Server string
	// Row is that of the vendor table, BMC the manager's firmware.
	Row, BMC string
	Power    string
	// CPU is sockets, cores, threads, architecture and model.
	CPU string
	// MemoryMiB as the modules or the summary have it, the greater; 0 is unknown.
	MemoryMiB int64
	// Disks are "count × type bytes model", in the order of the documents, alike ones together.
	Disks []string
	// Ports are "name MAC up", or down, or unknown.
	Ports []string
	// Accelerators are "count × kind vendor model".
	Accelerators []string
	// Slots are "id: types, what is in, by what way an image gets in".
	Slots []string
	// Targets are what can be booted from, as the BMC lists it.
	Targets []string
	// Override is what is shown.
	Override string
	// Boot and Insert are the requests with which a boot from CD and a medium are asked for first: their place is what the
	// documents say; the words are those of the row.
	Boot, Insert string
	// Problems are the beginnings of what a person is to be told.
	Problems []string
	// Notes say what is odd about it.
	Notes string
}

// Expectations are those of all captures in testdata.
func Expectations() []Expectation {
	return []Expectation{
		supermicroX13, dellR750, hpeDL385, lenovoSR670, nvidiaDGX, nvidiaGB200, nvidiaBlueField, gigabyteH262, openbmcStock, dmtfRackmount, sushyTools,
	}
}

const smc = "CD DVD Floppy USBStick, empty, InsertMedia"

var supermicroX13 = Expectation{
	Capture: "supermicro-x13", Server: "Supermicro SYS-821GE-TNHR", Row: "supermicro", BMC: "11.01.01", Power: "On",
	CPU: "2 sockets, 64 cores, 128 threads, amd64, Intel(R) Xeon(R) Platinum 8462Y+", MemoryMiB: 2097152,
	Disks: []string{"8 × NVMe 7681501126656 MZQL27T6HBLA-00A07"},
	Ports: []string{
		"1 02:00:00:00:00:4f down", "2 02:00:00:00:00:46 down", "3 02:00:00:00:00:42 down", "4 02:00:00:00:00:4e down",
		"5 02:00:00:00:00:44 down", "6 02:00:00:00:00:48 down", "7 02:00:00:00:00:49 down", "8 02:00:00:00:00:43 down",
		"9 02:00:00:00:00:45 down", "10 02:00:00:00:00:4a down", "11 02:00:00:00:00:47 down",
	},
	Slots:    []string{"VirtualMedia1: " + smc, "VirtualMedia2: " + smc, "VirtualMedia3: " + smc},
	Targets:  []string{"None", "Pxe", "Floppy", "Cd", "Usb", "Hdd", "BiosSetup", "UsbCd", "UefiBootNext", "UefiHttp"},
	Override: "Disabled Pxe UEFI",
	Boot:     `PATCH /redfish/v1/Systems/1 {"Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideMode":"UEFI","BootSourceOverrideTarget":"UsbCd"}}`,
	Insert:   `POST /redfish/v1/Managers/1/VirtualMedia/VirtualMedia1/Actions/VirtualMedia.InsertMedia {"Image":"` + Medium + `"}`,
	Notes:    "EjectMedia is not there while a slot is empty; drives name neither kind nor bus, the path does; the port to the BMC is listed as an interface; its GPUs are not among the processors",
}

var dellR750 = Expectation{
	Capture: "dell-idrac9-7", Server: "Dell Inc. PowerEdge R750", Row: "dell-idrac9", BMC: "6.00.30.00", Power: "On",
	CPU: "2 sockets, 36 cores, 72 threads, amd64, Intel(R) Xeon(R) Gold 6354 CPU @ 3.00GHz", MemoryMiB: 524288,
	Disks: []string{"3 × NVMe 1920383410176 Dell Ent NVMe CM6 RI 1.92TB"},
	Ports: []string{
		"NIC.Embedded.1-1-1 02:00:00:00:00:04 down", "NIC.Integrated.1-2-1 02:00:00:00:00:0c down", "NIC.Integrated.1-1-1 02:00:00:00:00:0d down",
		"NIC.Embedded.2-1-1 02:00:00:00:00:05 down", "NIC.Slot.5-1 02:00:00:00:00:07 unknown",
	},
	Accelerators: []string{"1 × GPU NVIDIA Corporation NVIDIA H100 PCIe"},
	Slots:        []string{"1: CD DVD USBStick, empty, InsertMedia", "2: CD DVD USBStick, empty, InsertMedia"},
	Targets:      []string{"None", "Pxe", "Floppy", "Cd", "Hdd", "BiosSetup", "Utilities", "UefiTarget", "SDCard", "UefiHttp"},
	Override:     "Disabled None UEFI",
	Boot:         `PATCH /redfish/v1/Systems/System.Embedded.1 {"Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideTarget":"Cd"}}`,
	Insert:       `POST /redfish/v1/Systems/System.Embedded.1/VirtualMedia/1/Actions/VirtualMedia.InsertMedia {"Image":"` + Medium + `"}`,
	Notes:        "the file is called 7, the manager says 6.00.30; NVMe drives are on PCIe; the system has slots 1 and 2 beside the manager's CD and RemovableDisk; the GPU is a processor; the system names no settings",
}

var hpeDL385 = Expectation{
	Capture: "hpe-dl380a-ilo6", Server: "HPE ProLiant DL385 Gen10 Plus v2", Row: "hpe-ilo5", BMC: "iLO 5 v2.72", Power: "On",
	CPU: "2 sockets, 128 cores, 256 threads, amd64, AMD EPYC 7763 64-Core Processor", MemoryMiB: 1048576,
	Disks: []string{"16 × NVMe 6401252745216 MZXLR6T4HALA-000H3", "2 × SSD 480103981056 VK000480GZXRF"},
	Ports: []string{
		"1 02:00:00:00:00:4d unknown", "2 02:00:00:00:00:4b unknown", "3 02:00:00:00:00:4a unknown", "4 02:00:00:00:00:4c unknown",
		"5 02:00:00:00:00:09 unknown", "6 02:00:00:00:00:07 unknown", "7 02:00:00:00:00:0c unknown",
	},
	Slots:    []string{"1: Floppy USBStick, empty, InsertMedia", "2: CD DVD, empty, InsertMedia"},
	Targets:  []string{"None", "Cd", "Hdd", "Usb", "SDCard", "Utilities", "Diags", "BiosSetup", "Pxe", "UefiShell", "UefiHttp", "UefiTarget"},
	Override: "Disabled None UEFI",
	Boot:     `PATCH /redfish/v1/Systems/1 {"Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideTarget":"Cd"}}`,
	Insert:   `POST /redfish/v1/Managers/1/VirtualMedia/2/Actions/VirtualMedia.InsertMedia {"Image":"` + Medium + `"}`,
	Notes:    "the file says iLO 6, the manager iLO 5; empty sockets are listed as absent modules; links end in a slash; the state of ports is null",
}

var lenovoSR670 = Expectation{
	Capture: "lenovo-sr670v2", Server: "Lenovo ThinkSystem SR670 V2", Row: "lenovo", BMC: "TGBT20E 1.40 2021-05-17", Power: "On",
	CPU: "2 sockets, 36 cores, 72 threads, amd64, Intel(R) Xeon(R) Gold 6354 CPU @ 3.00GHz", MemoryMiB: 524288,
	Disks:        []string{"2 × NVMe 1600000000000 SSDPF2KE016T9L"},
	Accelerators: []string{"2 × GPU NVIDIA Corporation"},
	Slots: []string{
		"RDOC1: CD DVD Floppy USBStick, empty, takes none", "RDOC2: CD DVD Floppy USBStick, empty, takes none",
		"EXT1: CD DVD Floppy USBStick, empty, PATCH", "EXT2: CD DVD Floppy USBStick, empty, PATCH",
		"EXT3: CD DVD Floppy USBStick, empty, PATCH", "EXT4: CD DVD Floppy USBStick, empty, PATCH",
		"Remote1: CD DVD Floppy USBStick, empty, takes none", "Remote2: CD DVD Floppy USBStick, empty, takes none",
		"Remote3: CD DVD Floppy USBStick, empty, takes none", "Remote4: CD DVD Floppy USBStick, empty, takes none",
	},
	Targets:  []string{"None", "Pxe", "Cd", "Usb", "Hdd", "BiosSetup", "Diags", "UefiTarget"},
	Override: "Disabled None UEFI",
	Boot:     `PATCH /redfish/v1/Systems/1 {"Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideTarget":"Cd"}}`,
	Insert:   `PATCH /redfish/v1/Managers/1/VirtualMedia/EXT1 {"Image":"` + Medium + `","Inserted":true}`,
	Notes:    "no slot has an action; the only interface is the one to the BMC, and the adapters list no ports: its ports are unknown; GPUs without model and state; its settings are not in the capture",
}
