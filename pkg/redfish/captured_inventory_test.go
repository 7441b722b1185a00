package redfish

import (
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
