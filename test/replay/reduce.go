package replay

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// usable are the resources that a driver can use, kept by their paths.
var usable = regexp.MustCompile(`^/redfish/v1(` +
	`|/(Systems|Managers|Chassis)(/[^/]+)?` +
	`|/Systems/[^/]+/(SD|Settings|Pending|ResetActionInfo)` +
	`|/Systems/[^/]+/(Processors|Memory|Storage|SimpleStorage|EthernetInterfaces|VirtualMedia)(/[^/]+)?` +
	`|/Systems/[^/]+/Storage/.*/Drives/[^/]+` +
	`|/Managers/[^/]+/VirtualMedia(/[^/]+)?` +
	`|/Chassis/[^/]+/Drives/[^/]+` +
	`|/Chassis/[^/]+/NetworkAdapters(/[^/]+(/(Ports|NetworkPorts)(/[^/]+)?)?)?` +
	`)$`)

// properties are kept at whatever depth they are.
var properties = []string{
	"@odata.id", "@Redfish.Settings", "@Redfish.ActionInfo", "SettingsObject", "target", "Members", "Members@odata.count", "Members@odata.nextLink",
	"Id", "Name", "Manufacturer", "Model", "Version", "SerialNumber", "UUID", "Status", "State", "Health",
	"Vendor", "Product", "RedfishVersion", "ProtocolFeaturesSupported", "ExpandQuery", "NoLinks",
	"Links", "Sessions", "SessionService", "Systems", "Managers", "Chassis", "ManagedBy", "ManagerForServers", "HostInterface",
	"Processors", "Memory", "Storage", "SimpleStorage", "EthernetInterfaces", "VirtualMedia", "NetworkAdapters", "Ports", "NetworkPorts", "Drives", "Devices",
	"PowerState", "Boot", "BootSourceOverrideTarget", "BootSourceOverrideEnabled", "BootSourceOverrideMode",
	"BootSourceOverrideTarget@Redfish.AllowableValues", "BootSourceOverrideEnabled@Redfish.AllowableValues", "BootSourceOverrideMode@Redfish.AllowableValues",
	"Actions", "ResetType@Redfish.AllowableValues", "Parameters", "AllowableValues",
	"ProcessorSummary", "MemorySummary", "Count", "CoreCount", "LogicalProcessorCount", "TotalSystemMemoryGiB",
	"ProcessorType", "InstructionSet", "ProcessorArchitecture", "TotalCores", "TotalThreads", "CapacityMiB",
	"MediaType", "Protocol", "CapacityBytes", "BlockSizeBytes", "Identifiers", "DurableName", "DurableNameFormat", "PhysicalLocation", "PartLocation", "ServiceLabel",
	"MACAddress", "PermanentMACAddress", "EthernetInterfaceType", "LinkStatus", "SpeedMbps", "VLAN", "VLANEnable",
	"LinkNetworkTechnology", "ActiveLinkTechnology", "CurrentSpeedGbps", "CurrentLinkSpeedMbps", "AssociatedNetworkAddresses", "AssociatedMACAddresses", "Ethernet",
	"FirmwareVersion", "MediaTypes", "Image", "ImageName", "Inserted", "ConnectedVia", "RedirectionStatus", "Oem",
}

// Reduce keeps what a driver can use, as one document on a line, in the order of their paths.
func Reduce(whole Capture) ([]byte, error) {
	keep := map[string]bool{}
	for _, name := range properties {
		keep[name] = true
	}
	out := bytes.NewBufferString("{\n")
	first := true
	for _, path := range slices.Sorted(maps.Keys(whole)) {
		if !usable.MatchString(path) || !named(whole, path) {
			continue
		}
		var doc any
		if err := json.Unmarshal(whole[path], &doc); err != nil {
			return nil, err
		}
		line, err := json.Marshal(map[string]any{path: prune(doc, keep)})
		if err != nil {
			return nil, err
		}
		if !first {
			out.WriteString(",\n")
		}
		first = false
		out.Write(line[1 : len(line)-1])
	}
	out.WriteString("\n}\n")
	return out.Bytes(), nil
}

// chassis is the path of a chassis, and what is in it.
var chassis = regexp.MustCompile(`^/redfish/v1/Chassis/[^/]+`)

// baseboard is what lies in the other system of boards with GPUs, which is no server.
var baseboard = regexp.MustCompile(`^/redfish/v1/Systems/HGX_[^/]+/`)

// named tells whether a path that lies in a chassis lies in one that a system names, or is a drive: boards with GPUs have
// dozens of others.
func named(whole Capture, path string) bool {
	if baseboard.MatchString(path) {
		return false
	}
	in := chassis.FindString(path)
	if in == "" || strings.Contains(path, "/Drives/") {
		return true
	}
	for at, doc := range whole {
		if strings.HasPrefix(at, "/redfish/v1/Systems/") && strings.Count(at, "/") == 4 && bytes.Contains(doc, []byte(`"`+in+`"`)) {
			return true
		}
	}
	return false
}

// named for good: identifiers of one piece of hardware in the world.
var worldwide = map[string]bool{"DurableName": true, "AssociatedNetworkAddresses": true}

// masked keeps the maker's part of an identifier and replaces the rest, the same each time.
func masked(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = masked(v[i])
		}
	case string:
		if len(v) >= 16 && strings.Trim(v, "0:") != "" {
			sum := sha256.Sum256([]byte(v))
			return v[:6] + hex.EncodeToString(sum[:])[:len(v)-6]
		}
	}
	return v
}

// prune drops the properties that nobody reads. Names of actions and of vendors stay, and so does what these hold.
func prune(v any, keep map[string]bool) any {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			if !keep[name] && !strings.HasPrefix(name, "#") && !vendors[name] {
				delete(v, name)
				continue
			}
			if v[name] = prune(inner, keep); worldwide[name] {
				v[name] = masked(v[name])
			}
		}
	case []any:
		for i := range v {
			v[i] = prune(v[i], keep)
		}
	}
	return v
}

// vendors are names below Oem: they tell whose BMC it is, or hold actions.
var vendors = map[string]bool{"Ami": true, "Dell": true, "Hpe": true, "Lenovo": true, "Nvidia": true, "OpenBMC": true, "Supermicro": true}
