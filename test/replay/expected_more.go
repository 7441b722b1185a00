package replay

var nvidiaDGX = Expectation{
	Capture: "nvidia-dgx-h100", System: "DGX", Server: "NVIDIA DGXH100", Row: "ami-dgx", BMC: "23.11.20", Power: "On",
	CPU: "2 sockets, 112 cores, 224 threads, amd64, unknown", MemoryMiB: 2097152,
	Disks: []string{"2 × NVMe 1920383410176 SAMSUNG MZ1L21T9HCLS-00A07", "8 × NVMe 3840755982336 KCM6DRUL3T84"},
	Ports: []string{
		"EthernetInterface0 02:00:00:00:00:12 down", "EthernetInterface1 02:00:00:00:00:15 down", "EthernetInterface2 02:00:00:00:00:14 down",
		"EthernetInterface3 02:00:00:00:00:16 down", "EthernetInterface4 02:00:00:00:00:13 up",
	},
	Slots:    []string{"CD1: CD DVD, empty, appears once remote media are switched on"},
	Targets:  []string{"None", "Pxe", "Floppy", "Cd", "Usb", "Hdd", "BiosSetup", "Utilities", "Diags", "UefiShell", "UefiTarget", "SDCard", "UefiHttp", "RemoteDrive", "UefiBootNext"},
	Override: "Disabled None -",
	Boot:     `PATCH /redfish/v1/Systems/DGX/SD {"Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideMode":"UEFI","BootSourceOverrideTarget":"Cd"}}`,
	Insert:   `POST /redfish/v1/Managers/BMC/Actions/Oem/AMIVirtualMedia.EnableRMedia {"RMediaState":"Enable"}`,
	Notes:    "two systems, the GPUs are the other's; Storage is empty, drives are in SimpleStorage beside the BMC's own virtual CDs and disk; targets are listed in the settings only; no slots",
}

var nvidiaGB200 = Expectation{
	Capture: "nvidia-gb200", System: "System_0", Server: "unknown", Row: "nvidia", BMC: "GB200Nvl-24.12-8", Power: "On",
	CPU: "2 sockets, 144 cores, 144 threads, arm64, ARMv9", MemoryMiB: 983040,
	Disks:    []string{"8 × NVMe 3840755982336 SAMSUNG MZTL23T8HCLS-00A07", "1 × NVMe 1920383410176 SAMSUNG MZ1L21T9HCLS-00A07"},
	Slots:    []string{"USB2: CD USBStick, empty, InsertMedia", "USB1: CD USBStick, empty, InsertMedia"},
	Targets:  []string{"None", "Pxe", "Hdd", "Cd", "Diags", "BiosSetup", "Usb"},
	Override: "Disabled None -",
	Boot:     `PATCH /redfish/v1/Systems/System_0 {"Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideTarget":"Cd"}}`,
	Insert:   `POST /redfish/v1/Managers/BMC_0/VirtualMedia/USB2/Actions/VirtualMedia.InsertMedia {"Image":"` + Medium + `","Password":"none","UserName":"none"}`,
	Notes:    "two systems, the GPUs are the other's; no mode, no serial number, maker or model; no interfaces and no adapters: its ports are unknown; override in the system and its settings",
}

var nvidiaBlueField = Expectation{
	Capture: "nvidia-bluefield", Server: "unknown", Row: "nvidia", BMC: "BF-23.10-4", Power: "On",
	CPU:      "unknown",
	Targets:  []string{"None", "Pxe", "UefiHttp", "UefiShell", "UefiTarget", "UefiBootNext"},
	Override: "Disabled None UEFI",
	Problems: []string{"no virtual media", "no boot override to CD"},
	Notes:    "a DPU whose BMC tells nothing of processor, memory and disks, has no media and no boot from CD; ports without addresses",
}

var gigabyteH262 = Expectation{
	Capture: "gigabyte-h262", Server: "GIGABYTE H262-Z63-00", Row: "ami", BMC: "12.84.13", Power: "On",
	CPU: "2 sockets, 128 cores, 256 threads, amd64, AMD EPYC 7702 64-Core Processor", MemoryMiB: 250000,
	Disks:    []string{"1 × unknown 2013667524608 SAMSUNG MZ7LH1T9HMLT-00005"},
	Ports:    []string{"3 02:00:00:00:00:17 unknown", "1 02:00:00:00:00:18 unknown"},
	Slots:    []string{"CD1: unknown, empty, InsertMedia"},
	Targets:  []string{"None", "Pxe", "Floppy", "Cd", "Usb", "Hdd", "BiosSetup", "Utilities", "UefiShell", "UefiTarget", "SDCard", "UefiHttp", "RemoteDrive", "UefiBootNext"},
	Override: "Disabled None Legacy",
	Boot:     `PATCH /redfish/v1/Systems/Self {"Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideMode":"UEFI","BootSourceOverrideTarget":"Cd"}}`,
	Insert:   `POST /redfish/v1/Managers/Self/VirtualMedia/CD1/Actions/VirtualMedia.InsertMedia {"Image":"` + Medium + `","TransferProtocolType":"HTTPS"}`,
	Notes:    "an empty slot has the image None, and no media types; modules of 16 GiB call themselves 15625 MiB; two interfaces have one address; the disk names neither kind nor bus; no pending settings",
}

var openbmcStock = Expectation{
	Capture: "openbmc-stock", Server: "unknown", Row: "openbmc", BMC: "2.15.0-dev-686-g100c36de90", Power: "Off",
	CPU:      "unknown",
	Targets:  []string{"None", "Pxe", "Hdd", "Cd", "Diags", "BiosSetup", "Usb"},
	Override: "Disabled None UEFI",
	Boot:     `PATCH /redfish/v1/Systems/system {"Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideTarget":"Cd"}}`,
	Problems: []string{"no virtual media", "neither system UUID nor serial number"},
	Notes:    "a build without a server: nothing is known of one",
}

var dmtfRackmount = Expectation{
	Capture: "dmtf-rackmount1", Server: "Contoso 3500", Row: "generic", BMC: "1.45.455b66-rev4", Power: "On",
	CPU: "1 sockets, 8 cores, 16 threads, amd64, Multi-Core Intel(R) Xeon(R) processor 7xxx Series", MemoryMiB: 98304,
	Disks:        []string{"1 × unknown 8000000000000 3000GT8", "1 × unknown 4000000000000 3000GT7"},
	Ports:        []string{"12446A3B0411 02:00:00:00:00:06 up", "12446A3B8890 02:00:00:00:00:0a up"},
	Accelerators: []string{"1 × FPGA Intel(R) Corporation Stratix 10"},
	Slots: []string{
		"Floppy1: Floppy USBStick, https://www.dmtf.org/freeImages/Sardine.img, takes none",
		"CD1: CD DVD, redfish.dmtf.org/freeImages/freeOS.1.1.iso, takes none",
	},
	Targets:  []string{"None", "Pxe", "Cd", "Usb", "Hdd", "BiosSetup", "Utilities", "Diags", "SDCard", "UefiTarget"},
	Override: "Once Pxe UEFI",
	Boot:     `PATCH /redfish/v1/Systems/437XR1138R2 {"Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideTarget":"Cd"}}`,
	Problems: []string{"the virtual CD takes no image over Redfish"},
	Notes:    "a socket is empty, though the summary counts two; a VLAN and the port to the BMC are listed as interfaces; drives are in SimpleStorage, bays without a drive too; slots without actions",
}

var sushyTools = Expectation{
	Capture: "sushy-tools-libvirt", System: "7d2f1a10-5c7b-4a53-9b7d-3f8a10c2e001", Server: "Sushy Emulator", Row: "generic", BMC: "1.00", Power: "On",
	CPU: "2 sockets, 2 cores, 2 threads, amd64, qemu64", MemoryMiB: 2048,
	Ports:    []string{"52:54:00:aa:00:01 52:54:00:aa:00:01 unknown"},
	Slots:    []string{"Cd: CD DVD, empty, InsertMedia", "Floppy: Floppy USBStick, empty, InsertMedia"},
	Targets:  []string{"Pxe", "Cd", "Hdd", "UefiHttp"},
	Override: "Continuous Cd UEFI",
	Boot:     `PATCH /redfish/v1/Systems/7d2f1a10-5c7b-4a53-9b7d-3f8a10c2e001 {"Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideTarget":"Cd"}}`,
	Insert:   `POST /redfish/v1/Systems/7d2f1a10-5c7b-4a53-9b7d-3f8a10c2e001/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia {"Image":"` + Medium + `"}`,
	Notes:    "the emulator of OpenStack's developers: the override is always lasting; counts are strings; links to modules lead nowhere; the only device of SimpleStorage is the image in a slot; no sessions",
}
