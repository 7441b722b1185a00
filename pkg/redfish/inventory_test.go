package redfish

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func collection(path string, names ...string) doc {
	var members []any
	for _, n := range names {
		members = append(members, ref(path+"/"+n))
	}
	return doc{"Members": members}
}

// serveParts gives the server parts, some of them with wrong types.
func serveParts(s *server) {
	const sys = "/redfish/v1/Systems/1"
	s.json(sys, with(systemBody(), doc{
		"Processors": ref(sys + "/Processors"), "Storage": ref(sys + "/Storage"), "EthernetInterfaces": ref(sys + "/EthernetInterfaces"),
		"MemorySummary": doc{"TotalSystemMemoryGiB": 127.5},
	}))
	s.json(sys+"/Processors", collection(sys+"/Processors", "CPU1", "CPU2", "GPU1", "CPU3"))
	cpu := doc{"Id": "CPU1", "ProcessorType": "CPU", "InstructionSet": "x86-64", "Model": "Xeon", "TotalCores": "28", "TotalThreads": 56.0}
	s.json(sys+"/Processors/CPU1", cpu)
	s.json(sys+"/Processors/CPU2", with(cpu, doc{"Id": 2, "MaxSpeedMHz": "fast", "Status": "OK", "Links": []any{}}))
	s.json(sys+"/Processors/CPU3", with(cpu, doc{"Status": doc{"State": "Absent"}}))
	s.json(sys+"/Processors/GPU1", doc{"ProcessorType": "GPU", "TotalCores": 9999})
	s.json(sys+"/Storage", collection(sys+"/Storage", "R1", "broken"))
	s.json(sys+"/Storage/R1", doc{"Drives": []any{ref("/redfish/v1/Drives/a"), nil, ref("/redfish/v1/Drives/b"), ref("/redfish/v1/Drives/missing")}})
	s.raw(sys+"/Storage/broken", "{")
	s.json("/redfish/v1/Drives/a", doc{"Name": "Bay 1", "CapacityBytes": 9.6e11, "MediaType": "SSD", "Protocol": "NVMe", "Model": " P5510 ", "SerialNumber": 12345})
	s.json("/redfish/v1/Drives/b", doc{"Id": "b", "CapacityBytes": -1, "MediaType": "HDD", "Protocol": "SAS"})
	s.json(sys+"/EthernetInterfaces", collection(sys+"/EthernetInterfaces", "1", "2", "3"))
	s.json(sys+"/EthernetInterfaces/1", doc{"Id": "1", "MACAddress": "AA-BB-CC-00-11-22", "SpeedMbps": 25000, "LinkStatus": "LinkUp"})
	s.json(sys+"/EthernetInterfaces/2", doc{"Id": "2", "PermanentMACAddress": "AA:BB:CC:00:11:23", "MACAddress": "02:00:00:00:00:00", "SpeedMbps": nil})
	s.json(sys+"/EthernetInterfaces/3", doc{"Id": "vlan"})
}

func TestHardware(t *testing.T) {
	s, b := newBMC(t)
	serveParts(s)
	hw, err := b.Hardware(t.Context())
	must(t, err)
	up := true
	want := Hardware{
		CPU:         CPU{Cores: 56, Threads: 112, Sockets: 2, Architecture: "amd64", Model: "Xeon"},
		MemoryBytes: 127.5 * (1 << 30),
		Disks: []Disk{
			{Name: "Bay 1", Model: "P5510", Serial: "12345", Type: "NVMe", Bytes: 960e9, Protocol: "NVMe"},
			{Name: "b", Type: "HDD", Protocol: "SAS"},
		},
		Accelerators: []Accelerator{{Kind: "GPU", Count: 1}},
		NICs:         []NIC{{Name: "1", MAC: "aa:bb:cc:00:11:22", SpeedMbps: 25000, LinkUp: &up}, {Name: "2", MAC: "aa:bb:cc:00:11:23"}},
	}
	if !reflect.DeepEqual(hw, want) {
		t.Fatalf("got  %+v\nwant %+v", hw, want)
	}
}

func TestHardwareEndsWhenTheBMCIsBusy(t *testing.T) {
	s, b := newBMC(t)
	serveParts(s)
	s.on("GET /redfish/v1/Drives/a", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	_, err := b.Hardware(t.Context())
	_ = wantKind(t, err, KindBusy)
}

func TestHardwareFromSummaries(t *testing.T) {
	s, b := newBMC(t)
	const sys = "/redfish/v1/Systems/1"
	s.json(sys, with(systemBody(), doc{
		"ProcessorSummary": doc{"Count": 2, "CoreCount": 64, "Model": "Ampere Altra"}, "Memory": ref(sys + "/Memory"),
		"SimpleStorage": ref(sys + "/SimpleStorage"),
	}))
	s.json(sys+"/Memory", collection(sys+"/Memory", "1", "2"))
	s.json(sys+"/Memory/1", doc{"CapacityMiB": 32768})
	s.json(sys+"/Memory/2", doc{"CapacityMiB": 32768, "Status": doc{"State": "Absent"}})
	s.json(sys+"/SimpleStorage", collection(sys+"/SimpleStorage", "1"))
	s.json(sys+"/SimpleStorage/1", doc{"Devices": []any{doc{"Name": "sda", "CapacityBytes": 1e12}, doc{"Name": "empty"}}})
	hw, err := b.Hardware(t.Context())
	must(t, err)
	want := Hardware{
		CPU: CPU{Cores: 64, Threads: 64, Sockets: 2, Architecture: "arm64", Model: "Ampere Altra"}, MemoryBytes: 32 << 30,
		Disks: []Disk{{Name: "sda", Bytes: 1e12}},
	}
	if !reflect.DeepEqual(hw, want) {
		t.Fatalf("got  %+v\nwant %+v", hw, want)
	}
}

func TestIdentify(t *testing.T) {
	_, b := newBMC(t)
	id, err := b.Identify(t.Context())
	must(t, err)
	want := Identity{
		Vendor: "generic", Product: "Test BMC", FirmwareVersion: "9.9", RedfishVersion: "1.15.0", Manufacturer: "Acme", Model: "M1",
		SerialNumber: "SN1", SystemUUID: "u-1", SystemID: "1", ManagerID: "1", ResetTypes: []string{"On", "ForceOff", "GracefulShutdown"},
		BootTargets:  []string{"None", "Pxe", "Cd"},
		MediaSlots:   []Slot{{ID: "CD1", Types: []string{"CD", "DVD"}, ConnectedVia: "NotConnected", CanInsert: true}},
		Capabilities: []string{CapabilityBootOnceCD, CapabilityGracefulShutdown, CapabilityInsertMediaAction, CapabilitySessions},
		Problems:     []string{"plain http: user name and password travel unencrypted; use https if the BMC can"},
	}
	if !reflect.DeepEqual(id, want) {
		t.Fatalf("got  %+v\nwant %+v", id, want)
	}
}

func TestIdentifyNamesWhatIsMissing(t *testing.T) {
	s := newServer(t, plainHTTP)
	s.json("/redfish/v1/Managers/1/VirtualMedia", doc{"Members": []any{}})
	s.json("/redfish/v1/Systems/1", doc{
		"PowerState": "Off", "Links": doc{"ManagedBy": []any{ref("/redfish/v1/Managers/1")}},
		"Boot":    doc{"BootSourceOverrideTarget@Redfish.AllowableValues": []any{"Pxe"}},
		"Actions": doc{"#ComputerSystem.Reset": doc{"ResetType@Redfish.AllowableValues": []any{"PowerCycle"}}},
	})
	target := testTarget(s)
	target.Vendor = "no-such"
	b, _ := connect(t, target)
	id, err := b.Identify(t.Context())
	must(t, err)
	for _, want := range []string{"no virtual media", "only Pxe", "type On", "type ForceOff", "duplicates", "no-such"} {
		if !slices.ContainsFunc(id.Problems, func(p string) bool { return strings.Contains(p, want) }) {
			t.Errorf("no problem says %q: %q", want, id.Problems)
		}
	}
}

// TestHardwareGoesOn: an inventory that was interrupted is not begun again.
func TestHardwareGoesOn(t *testing.T) {
	s, b := newBMC(t)
	serveParts(s)
	whole, err := b.Hardware(t.Context())
	must(t, err)
	cost := len(s.requests())
	const nics = "GET /redfish/v1/Systems/1/EthernetInterfaces"
	serve := s.routes[nics]
	s.on(nics, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	s.requests()
	_, err = b.Hardware(t.Context())
	_ = wantKind(t, err, KindBusy)
	before := s.requests()
	s.on(nics, serve)
	again, err := b.Hardware(t.Context())
	must(t, err)
	after := s.requests()
	if !reflect.DeepEqual(whole, again) {
		t.Fatalf("got  %+v\nwant %+v", again, whole)
	}
	for _, r := range after {
		if r != "GET /redfish/v1/Systems/1" && r != nics && slices.Contains(before, r) {
			t.Errorf("read twice: %s", r)
		}
	}
	// A finished one leaves nothing behind: the next one reads everything.
	_, err = b.Hardware(t.Context())
	must(t, err)
	if n := len(s.requests()); n != cost-3 { // root, log-in and the list of systems are known
		t.Fatalf("%d requests after a finished inventory", n)
	}
}

// TestHardwareExpanded: one request for each collection where the BMC can; one
// for each part where it only says so.
func TestHardwareExpanded(t *testing.T) {
	for _, name := range []string{"expands", "says so only", "leaves some out"} {
		lies := name != "expands"
		s, b := newBMC(t)
		serveParts(s)
		want, err := b.Hardware(t.Context())
		must(t, err)
		plain := len(s.requests())
		s.json("/redfish/v1/", doc{
			"Systems": ref("/redfish/v1/Systems"), "Links": doc{"Sessions": ref(sessionsPath)}, "ProtocolFeaturesSupported": doc{"ExpandQuery": doc{"NoLinks": true}},
		})
		for route, handler := range s.routes {
			path, isGet := strings.CutPrefix(route, "GET ")
			if !isGet || name == "says so only" {
				continue
			}
			s.on(route, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.RawQuery == "" {
					handler(w, r)
					return
				}
				_, _ = w.Write(inlined(s, path, lies))
			})
		}
		b, _ = connect(t, testTarget(s))
		s.requests()
		got, err := b.Hardware(t.Context())
		must(t, err)
		if !reflect.DeepEqual(want, got) {
			t.Fatalf("%s: got  %+v\nwant %+v", name, got, want)
		}
		if n := len(s.requests()); (n < plain) == lies {
			t.Errorf("%s: %d requests, %d without", name, n, plain)
		}
	}
}

// inlined is the collection with its members in it, or all but the first.
func inlined(s *server, path string, short bool) []byte {
	get := func(path string) []byte {
		w := httptest.NewRecorder()
		s.routes["GET "+path](w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Body.Bytes()
	}
	var list struct {
		Members []doc
		Count   int `json:"Members@odata.count"`
	}
	_ = json.Unmarshal(get(path), &list)
	members := []json.RawMessage{}
	for _, m := range list.Members {
		link, _ := m["@odata.id"].(string)
		if s.routes["GET "+link] == nil {
			continue
		}
		if body := get(link); json.Valid(body) {
			members = append(members, body)
		}
	}
	count := len(members)
	if short && count > 0 {
		members = members[1:]
	}
	raw, _ := json.Marshal(doc{"Members": members, "Members@odata.count": count})
	return raw
}

// TestTheSummaryFillsWhatProcessorsLeaveOut: it is all there is where they cannot be read.
func TestTheSummaryFillsWhatProcessorsLeaveOut(t *testing.T) {
	s, b := newBMC(t)
	serveParts(s)
	summed := doc{
		"Processors":       ref("/redfish/v1/Systems/1/Processors"),
		"ProcessorSummary": doc{"Count": 3, "CoreCount": 48, "LogicalProcessorCount": 128, "Model": "Intel(R) Xeon(R) Gold"},
	}
	s.json("/redfish/v1/Systems/1", with(systemBody(), summed))
	hw, err := b.Hardware(t.Context())
	must(t, err)
	if want := (CPU{Cores: 56, Threads: 128, Sockets: 2, Architecture: "amd64", Model: "Xeon"}); hw.CPU != want {
		t.Errorf("%+v", hw.CPU)
	}
	delete(summed, "Processors")
	s.json("/redfish/v1/Systems/1", with(systemBody(), summed))
	hw, err = b.Hardware(t.Context())
	must(t, err)
	if want := (CPU{Cores: 48, Threads: 128, Sockets: 3, Architecture: "amd64", Model: "Intel(R) Xeon(R) Gold"}); hw.CPU != want {
		t.Errorf("%+v", hw.CPU)
	}
}
