package redfish

import (
	"fmt"
	"slices"
	"testing"
)

// Inventories as captures of BMCs and reports of their users have them. Each test names its source.

// DGX H100 (libredfish nvidia_viking): Storage is there and says nothing, the drives are in SimpleStorage. X10: the Storage link is dead.
func TestDisksOfSimpleStorageBehindAnEmptyStorage(t *testing.T) {
	for name, prepare := range map[string]func(*server){
		"no members": func(s *server) {
			s.json("/redfish/v1/Systems/1/Storage", doc{"@odata.id": "/redfish/v1/Systems/1/Storage"})
		},
		"404": func(*server) {},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, plainHTTP)
			s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"Storage": ref("/redfish/v1/Systems/1/Storage"), "SimpleStorage": ref("/redfish/v1/Systems/1/SimpleStorage")}))
			prepare(s)
			s.json("/redfish/v1/Systems/1/SimpleStorage", doc{"Members": []any{ref("/redfish/v1/Systems/1/SimpleStorage/3")}, "Members@odata.count": 1})
			s.json("/redfish/v1/Systems/1/SimpleStorage/3", doc{"Devices": []any{doc{"CapacityBytes": 3840755982336, "Model": "KCM6DRUL3T84", "Name": "NVMe_Device7_NSID1", "Status": doc{"State": "Enabled"}}}})
			b, _ := connect(t, testTarget(s))
			hw, err := b.Hardware(t.Context())
			must(t, err)
			if len(hw.Disks) != 1 {
				t.Errorf("disks %+v", hw.Disks)
			}
		})
	}
}

// public-rackmount1, Lenovo SR670 V2, Supermicro X13: the host's USB port to the BMC, and VLANs, are no NICs.
func TestInterfacesThatAreNoPorts(t *testing.T) {
	s := newServer(t, plainHTTP)
	at := "/redfish/v1/Systems/1/EthernetInterfaces"
	s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"EthernetInterfaces": ref(at)}))
	s.json(at, doc{"Members": []any{ref(at + "/1"), ref(at + "/VLAN1"), ref(at + "/ToManager")}, "Members@odata.count": 3})
	s.json(at+"/1", doc{"Id": "1", "PermanentMACAddress": "12:44:6A:3B:04:11", "EthernetInterfaceType": "Physical"})
	s.json(at+"/VLAN1", doc{"Id": "VLAN1", "PermanentMACAddress": "12:44:6A:3B:04:11", "EthernetInterfaceType": "Virtual", "VLAN": doc{"VLANEnable": true, "VLANId": 1000}})
	s.json(at+"/ToManager", doc{"Id": "ToManager", "PermanentMACAddress": "BE:3A:F2:B6:05:9F", "Links": doc{"HostInterface": ref("/redfish/v1/Managers/1/HostInterfaces/1")}})
	b, _ := connect(t, testTarget(s))
	hw, err := b.Hardware(t.Context())
	must(t, err)
	if len(hw.NICs) != 1 {
		t.Errorf("NICs %+v", hw.NICs)
	}
}

// GB200 (libredfish nvidia_gb200): ProcessorSummary.Model is "ARMv9", the processors say neither architecture nor set.
func TestGraceIsArm64(t *testing.T) {
	s := newServer(t, plainHTTP)
	at := "/redfish/v1/Systems/1/Processors"
	s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"Processors": ref(at), "ProcessorSummary": doc{"CoreCount": 144, "Count": 2, "Model": "ARMv9"}}))
	s.json(at, doc{"Members": []any{ref(at + "/CPU_0")}, "Members@odata.count": 1})
	s.json(at+"/CPU_0", doc{"Id": "CPU_0", "Manufacturer": "NVIDIA", "ProcessorType": "CPU", "TotalCores": 72, "TotalThreads": 72, "Version": "Grace A02"})
	b, _ := connect(t, testTarget(s))
	hw, err := b.Hardware(t.Context())
	must(t, err)
	if hw.CPU.Architecture != "arm64" {
		t.Errorf("%+v", hw.CPU)
	}
}

const sys = "/redfish/v1/Systems/1"

func hardwareOf(t *testing.T, system doc, parts map[string]doc) Hardware {
	t.Helper()
	s, b := newBMC(t)
	s.json(sys, with(systemBody(), system))
	for path, body := range parts {
		s.json(path, body)
	}
	hw, err := b.Hardware(t.Context())
	must(t, err)
	return hw
}

// bb-Ricardo/check_redfish#48: a 64 GB PowerEdge whose iDRAC gives the sum in GB of 2^30/10^9... the modules are right.
func TestTheMemoryIsThatOfTheModulesWhereTheSummaryIsLess(t *testing.T) {
	modules := map[string]doc{sys + "/Memory": collection(sys+"/Memory", "A1", "A2", "A3", "A4")}
	for _, n := range []string{"A1", "A2", "A3", "A4"} {
		modules[sys+"/Memory/"+n] = doc{"Id": n, "CapacityMiB": 16384, "Status": doc{"State": "Enabled"}}
	}
	hw := hardwareOf(t, doc{"MemorySummary": doc{"TotalSystemMemoryGiB": 59.604645}, "Memory": ref(sys + "/Memory")}, modules)
	if hw.MemoryBytes < 64<<30 {
		t.Errorf("%d bytes: hardwareRequirements.minMemory: 64Gi refuses a server with 64 GiB as one with too little memory", hw.MemoryBytes)
	}
}

// dell/iDRAC-Redfish-Scripting#349: an iDRAC 10 that leaves the address of a physical port that is up empty.
func TestAPhysicalPortWithoutAnAddressIsAPort(t *testing.T) {
	port := doc{"Id": "NIC.Slot.4-1-1", "EthernetInterfaceType": "Physical", "LinkStatus": "LinkUp", "MACAddress": "", "PermanentMACAddress": "", "SpeedMbps": 1000, "Status": doc{"Health": "OK", "State": "Enabled"}}
	hw := hardwareOf(t, doc{"EthernetInterfaces": ref(sys + "/EthernetInterfaces")}, map[string]doc{
		sys + "/EthernetInterfaces":                collection(sys+"/EthernetInterfaces", "NIC.Slot.4-1-1", "NIC.Slot.4-2-1"),
		sys + "/EthernetInterfaces/NIC.Slot.4-1-1": port,
		sys + "/EthernetInterfaces/NIC.Slot.4-2-1": with(port, doc{"Id": "NIC.Slot.4-2-1"}),
	})
	if len(hw.NICs) != 2 {
		t.Error("minNICs refuses the server as one with too few NICs")
	}
}

// dsx-ai-factory/infra-controller#4436, lenovo/python-redfish-lenovo#368: XCC leaves Systems/1/EthernetInterfaces empty; the ports
// are below Chassis/1/NetworkAdapters.
func TestPortsAreFoundAtTheAdaptersWhereTheSystemListsNone(t *testing.T) {
	const adapter = "/redfish/v1/Chassis/1/NetworkAdapters"
	hw := hardwareOf(t, doc{"EthernetInterfaces": ref(sys + "/EthernetInterfaces"), "Links": doc{"ManagedBy": []any{ref("/redfish/v1/Managers/1")}, "Chassis": []any{ref("/redfish/v1/Chassis/1")}}}, map[string]doc{
		sys + "/EthernetInterfaces": {"Members": []any{}, "Members@odata.count": 0},
		"/redfish/v1/Chassis/1":     {"Id": "1", "NetworkAdapters": ref(adapter)},
		adapter:                     collection(adapter, "slot-1"),
		adapter + "/slot-1":         {"Id": "slot-1", "Ports": ref(adapter + "/slot-1/Ports")},
		adapter + "/slot-1/Ports":   collection(adapter+"/slot-1/Ports", "1", "2"),
		adapter + "/slot-1/Ports/1": {"Id": "1", "LinkNetworkTechnology": "Ethernet", "LinkStatus": "LinkUp", "CurrentSpeedGbps": 25, "Ethernet": doc{"AssociatedMACAddresses": []any{"02:00:00:00:00:01"}}},
		adapter + "/slot-1/Ports/2": {"Id": "2", "LinkNetworkTechnology": "Ethernet", "LinkStatus": "LinkUp", "CurrentSpeedGbps": 25, "Ethernet": doc{"AssociatedMACAddresses": []any{"02:00:00:00:00:02"}}},
	})
	if len(hw.NICs) != 2 {
		t.Error("minNICs refuses the server as one with too few NICs")
	}
}

// bb-Ricardo/check_redfish#170: an HPE server that is off lists storage without members; it has two NVMe drives when it is on.
// And boards that keep an empty Storage beside a SimpleStorage with the devices.
func TestDisksAreThoseOfSimpleStorageWhereStorageIsEmpty(t *testing.T) {
	hw := hardwareOf(t, doc{"Storage": ref(sys + "/Storage"), "SimpleStorage": ref(sys + "/SimpleStorage")}, map[string]doc{
		sys + "/Storage":         {"Members": []any{}, "Members@odata.count": 0},
		sys + "/SimpleStorage":   collection(sys+"/SimpleStorage", "1"),
		sys + "/SimpleStorage/1": {"Devices": []any{doc{"Name": "SATA Drive 0", "CapacityBytes": 1e12, "Status": doc{"State": "Enabled"}}}},
	})
	if len(hw.Disks) != 1 {
		t.Error("minDisk refuses the server as one with too small disks")
	}
}

// nvidia-dgx-h100, sushy-tools-libvirt: the BMC's virtual devices, and images in its slots, are listed beside the drives.
func TestVirtualDevicesAreNoDisks(t *testing.T) {
	device := func(name, model string, bytes int64) doc {
		return doc{"Name": name, "Model": model, "CapacityBytes": bytes, "Status": doc{"State": "Enabled"}}
	}
	hw := hardwareOf(t, doc{"Storage": ref(sys + "/Storage"), "SimpleStorage": ref(sys + "/SimpleStorage")}, map[string]doc{
		sys + "/Storage":       {"Members": []any{}, "Members@odata.count": 0},
		sys + "/SimpleStorage": collection(sys+"/SimpleStorage", "2"),
		sys + "/SimpleStorage/2": {"Devices": []any{
			device("NVMe_Device0_NSID1", "SAMSUNG MZ1L21T9HCLS-00A07", 1920383410176),
			device("USB_Device2_PortA", "Virtual Cdrom Device", 2048), device("USB_Device3_PortA", "Virtual HDisk Device", 1098907648),
			device("composed-iso.img", "", 122609664),
		}},
	})
	if len(hw.Disks) != 1 || hw.Disks[0].Type != "NVMe" {
		t.Errorf("disks %+v", hw.Disks)
	}
}

// dell-idrac9-7: the summary tells all of the CPUs, and nothing of the GPU. dmtf-rackmount1: it counts an empty socket.
func TestProcessorsTellOfAcceleratorsAndEmptySockets(t *testing.T) {
	at := sys + "/Processors"
	gpu := doc{"ProcessorType": "GPU", "Manufacturer": "NVIDIA Corporation", "Model": "NVIDIA H100 PCIe", "Status": doc{"State": "Enabled"}}
	hw := hardwareOf(t, doc{"Processors": ref(at), "ProcessorSummary": doc{"Count": 2, "CoreCount": 18, "LogicalProcessorCount": 36, "Model": "Intel(R) Xeon(R) Gold 6354"}}, map[string]doc{
		at:           collection(at, "CPU1", "CPU2", "GPU1", "GPU2", "FPGA1", "Core1"),
		at + "/CPU1": {"ProcessorType": "CPU", "TotalCores": 18, "TotalThreads": 36, "Model": "Intel(R) Xeon(R) Gold 6354"}, at + "/CPU2": {"ProcessorType": "CPU", "Status": doc{"State": "Absent"}},
		at + "/GPU1": gpu, at + "/GPU2": gpu, at + "/FPGA1": {"ProcessorType": "FPGA", "Model": "Stratix 10"}, at + "/Core1": {"ProcessorType": "Core"},
	})
	if want := (CPU{Cores: 18, Threads: 36, Sockets: 1, Architecture: "amd64", Model: "Intel(R) Xeon(R) Gold 6354"}); hw.CPU != want {
		t.Errorf("CPU %+v", hw.CPU)
	}
	want := []Accelerator{{Kind: "GPU", Vendor: "NVIDIA Corporation", Model: "NVIDIA H100 PCIe", Count: 2}, {Kind: "FPGA", Model: "Stratix 10", Count: 1}}
	if !slices.Equal(hw.Accelerators, want) {
		t.Errorf("accelerators %+v", hw.Accelerators)
	}
}

// hpe-dl380a-ilo6: names for good as EUI and NAA, the bay as a label. dell-idrac9-7 and lenovo-sr670v2 leave them empty.
func TestDrivesAreNamedForGood(t *testing.T) {
	at := sys + "/Storage/1/Drives/"
	drive := doc{"CapacityBytes": 480103981056, "MediaType": "SSD", "Protocol": "SATA"}
	parts := map[string]doc{
		sys + "/Storage":   collection(sys+"/Storage", "1"),
		sys + "/Storage/1": {"Drives": []any{ref(at + "eui"), ref(at + "naa"), ref(at + "none"), ref(at + "odd")}},
		at + "eui": with(drive, doc{"Protocol": "NVMe", "Identifiers": []any{doc{"DurableName": "0025389A210108DA", "DurableNameFormat": "EUI"}},
			"PhysicalLocation": doc{"PartLocation": doc{"ServiceLabel": "Box 2:Bay 1", "LocationOrdinalValue": "one"}}}),
		at + "naa": with(drive, doc{"BlockSizeBytes": 512, "Identifiers": []any{nil, doc{"DurableName": "0x31:40:2E:C0:18:31:63:34", "DurableNameFormat": "NAA"}}}),
		at + "none": with(drive, doc{"BlockSizeBytes": nil, "Identifiers": []any{doc{"DurableName": nil, "DurableNameFormat": nil}, doc{"DurableName": "", "DurableNameFormat": "UUID"},
			doc{"DurableName": "0000000000000000", "DurableNameFormat": "NAA"}}}),
		at + "odd": with(drive, doc{"Identifiers": "x", "PhysicalLocation": []any{"y"}}),
	}
	hw := hardwareOf(t, doc{"Storage": ref(sys + "/Storage")}, parts)
	var got []string
	for _, d := range hw.Disks {
		got = append(got, fmt.Sprint(d.WWN, " ", d.BlockBytes, " ", d.Protocol, " ", d.Location))
	}
	want := []string{"eui.0025389a210108da 0 NVMe Box 2:Bay 1", "0x31402ec018316334 512 SATA ", " 0 SATA ", " 0 SATA "}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
