package emulator

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
)

// node is one URI of a BMC. A nil handler is a method that is not allowed.
type node struct {
	// view makes the resource; BMC.mu is held.
	view                func() doc
	patch, post, delete func(*call)
	// public may be read without authentication.
	public bool
	// owner is the path of the resource an action belongs to.
	owner string
	// status of a GET, if not 200.
	status int
}

const root = "/redfish/v1"

func (b *BMC) systemPath() string  { return root + "/Systems/" + b.spec.SystemID }
func (b *BMC) managerPath() string { return root + "/Managers/" + b.kind().managerID + b.suffix() }
func (b *BMC) chassisPath() string { return root + "/Chassis/" + b.kind().chassisID + b.suffix() }

// suffix makes the ids of a blade's manager and chassis its own.
func (b *BMC) suffix() string {
	if b.front == b {
		return ""
	}
	return "." + b.spec.SystemID
}

func link(path string) doc { return doc{"@odata.id": path} }

func links(paths ...string) []doc {
	ls := make([]doc, 0, len(paths))
	for _, p := range paths {
		ls = append(ls, link(p))
	}
	return ls
}

// resource starts a resource: id from its path, the rest as given.
func resource(path, typ, name string, d doc) doc {
	d["@odata.id"], d["@odata.type"], d["Name"] = path, "#"+typ, name
	if d["Id"] == nil {
		d["Id"] = path[strings.LastIndexByte(path, '/')+1:]
	}
	return d
}

func healthy() doc { return doc{"State": "Enabled", "Health": "OK"} }

// tree is all URIs of a BMC but those of single sessions.
func (b *BMC) tree() map[string]*node {
	t := map[string]*node{}
	if b.front == b {
		b.addService(t)
		b.addAccounts(t)
		b.addTasks(t)
	}
	b.addSystem(t)
	if board := b.kind().baseboard; board != "" && b.front == b {
		fixed(t, root+"/Systems/"+board, "ComputerSystem.v1_17_0.ComputerSystem", "Baseboard", doc{
			"SystemType": "Physical", "Manufacturer": "NVIDIA", "PowerState": "On", "Status": healthy(),
			"Links": doc{"Chassis": links(b.chassisPath()), "ManagedBy": links(b.managerPath())}})
	}
	b.addProcessors(t)
	b.addStorage(t)
	b.addNICs(t)
	b.addManager(t)
	b.addMedia(t)
	b.addOEM(t)
	return t
}

// fixed adds a resource that never changes.
func fixed(t map[string]*node, path, typ, name string, d doc) {
	r := resource(path, typ, name, d)
	t[path] = &node{view: func() doc { return r }}
}

func collection(t map[string]*node, path, typ, name string, members ...string) {
	fixed(t, path, typ+"Collection."+typ+"Collection", name,
		doc{"Members": links(members...), "Members@odata.count": len(members)})
}

func (b *BMC) addService(t map[string]*node) {
	p := b.kind()
	r := doc{
		"Id": "RootService", "RedfishVersion": p.redfishVersion, "UUID": derivedUUID("service " + b.spec.Name),
		"Vendor": p.vendor, "Product": p.product,
		"Systems": link(root + "/Systems"), "Managers": link(root + "/Managers"), "Chassis": link(root + "/Chassis"),
		"ProtocolFeaturesSupported": doc{
			"ExpandQuery":     doc{"ExpandAll": false, "Levels": false, "Links": false, "NoLinks": false},
			"FilterQuery":     false,
			"SelectQuery":     false,
			"OnlyMemberQuery": false, "ExcerptQuery": false,
		},
		"Tasks": link(taskService), "AccountService": link(accountService),
		"Links": doc{},
	}
	if !p.login.off {
		r["SessionService"] = link(root + "/SessionService")
		if !p.login.hidden {
			r["Links"] = doc{"Sessions": link(b.sessionsPath())}
		}
		b.addSessions(t)
	}
	r = resource(root, "ServiceRoot.v1_16_0.ServiceRoot", "Root Service", r)
	r["@odata.id"] = root + "/"
	t["/redfish"] = &node{public: true, view: func() doc { return doc{"v1": root + "/"} }}
	t[root] = &node{public: true, view: func() doc { return r }}
	t[root+"/odata"] = &node{public: true, view: func() doc {
		return doc{"@odata.context": root + "/$metadata", "value": []doc{
			{"name": "Service", "kind": "Singleton", "url": root + "/"},
			{"name": "Systems", "kind": "Singleton", "url": root + "/Systems"},
			{"name": "Managers", "kind": "Singleton", "url": root + "/Managers"},
			{"name": "Chassis", "kind": "Singleton", "url": root + "/Chassis"},
		}}
	}}
	b.collect(t, root+"/Systems", "ComputerSystem", "Systems", (*BMC).systemPath)
	b.collect(t, root+"/Managers", "Manager", "Managers", (*BMC).managerPath)
	b.collect(t, root+"/Chassis", "Chassis", "Chassis", (*BMC).chassisPath)
}

// collect adds a collection with one member for each server at this endpoint.
func (b *BMC) collect(t map[string]*node, path, typ, name string, member func(*BMC) string) {
	t[path] = &node{view: func() doc {
		var members []string
		for _, x := range b.serversLocked() {
			members = append(members, member(x))
		}
		if board := b.kind().baseboard; board != "" && path == root+"/Systems" {
			members = append(members, path+"/"+board)
		}
		return resource(path, typ+"Collection."+typ+"Collection", name,
			doc{"Members": links(members...), "Members@odata.count": len(members)})
	}}
}

func (b *BMC) addSessions(t map[string]*node) {
	path, sessionsPath := root+"/SessionService", b.sessionsPath()
	t[path] = &node{
		view: func() doc {
			d := doc{}
			if b.kind().login.maxCount {
				d["SessionMaxCount"] = b.kind().login.limit
			}
			maps.Copy(d, doc{
				"ServiceEnabled": true, "SessionTimeout": int((b.access.timeout + 999999999) / 1000000000),
				"Sessions": link(sessionsPath), "Status": healthy(),
			})
			return resource(path, "SessionService.v1_1_9.SessionService", "Session Service", d)
		},
		patch: (*call).patchSessionService,
	}
	t[sessionsPath] = &node{
		view: func() doc {
			var members []string
			for _, id := range b.sessionIDsLocked() {
				members = append(members, sessionsPath+"/"+id)
			}
			return resource(sessionsPath, "SessionCollection.SessionCollection", "Sessions",
				doc{"Members": links(members...), "Members@odata.count": len(members)})
		},
		post: (*call).login,
	}
}

func (b *BMC) addManager(t map[string]*node) {
	path, chassis := b.managerPath(), b.chassisPath()
	t[path] = &node{view: b.managerDoc}
	t[path+"/Actions/Manager.Reset"] = &node{post: (*call).resetManager, owner: path}
	t[chassis] = &node{view: func() doc {
		h := b.spec.Hardware
		return resource(chassis, "Chassis.v1_25_0.Chassis", "Computer System Chassis", doc{
			"ChassisType": "RackMount", "Manufacturer": h.Manufacturer, "Model": h.Model, "SerialNumber": h.Serial,
			"PowerState": b.shownPowerLocked(), "Status": healthy(),
			"Links": doc{"ComputerSystems": links(b.systemPath()), "ManagedBy": links(path)},
		})
	}}
}

// managerDoc is the Manager. b.mu is held.
func (b *BMC) managerDoc() doc {
	p, path := b.kind(), b.managerPath()
	d := doc{
		"ManagerType": "BMC", "Model": p.managerModel, "FirmwareVersion": p.firmware, "Status": healthy(),
		"Manufacturer": p.vendor, "UUID": derivedUUID("manager " + b.spec.Name),
		"ServiceIdentification": "", "PowerState": "On", "DateTime": b.clock().UTC().Format(time.RFC3339),
		"Links": doc{"ManagerForServers": links(b.systemPath()), "ManagerForChassis": links(b.chassisPath())},
		"Actions": doc{"#Manager.Reset": doc{"target": path + "/Actions/Manager.Reset",
			"ResetType@Redfish.AllowableValues": managerResets}},
	}
	if p.media.home != mediaUnderSystem {
		d["VirtualMedia"] = link(b.mediaPaths()[0])
	}
	b.oemManager(d)
	return resource(path, "Manager.v1_19_1.Manager", "Manager", d)
}

func (b *BMC) addProcessors(t map[string]*node) {
	h, path := b.spec.Hardware, b.systemPath()+"/Processors"
	set := map[string]string{"x86": "x86-64", "ARM": "ARM-A64"}[h.Architecture]
	var members []string
	for i := range h.Sockets {
		m := fmt.Sprintf("%s/CPU%d", path, i+1)
		members = append(members, m)
		fixed(t, m, "Processor.v1_20_0.Processor", "Processor", doc{
			"ProcessorType": "CPU", "ProcessorArchitecture": h.Architecture, "InstructionSet": set,
			"Model": h.ProcessorModel, "Manufacturer": "Emulated", "Socket": "CPU " + strconv.Itoa(i+1),
			"TotalCores": share(h.Cores, h.Sockets, i), "TotalThreads": share(h.Threads, h.Sockets, i),
			"MaxSpeedMHz": 3600, "Status": healthy(),
		})
	}
	collection(t, path, "Processor", "Processors", members...)
}

// share is the i-th of n nearly equal parts of total.
func share(total, n, i int) int {
	s := total / n
	if i < total%n {
		s++
	}
	return s
}

func (b *BMC) addStorage(t map[string]*node) {
	path := b.systemPath() + "/Storage"
	var drives []string
	for i, d := range b.spec.Hardware.Disks {
		p := fmt.Sprintf("%s/1/Drives/%d", path, i)
		drives = append(drives, p)
		fixed(t, p, "Drive.v1_20_0.Drive", d.Name, doc{
			"Model": d.Model, "SerialNumber": d.Serial, "MediaType": d.MediaType, "Protocol": d.Protocol,
			"CapacityBytes": d.Bytes, "BlockSizeBytes": 512, "Manufacturer": "Emulated", "Status": healthy(),
		})
	}
	fixed(t, path+"/1", "Storage.v1_17_0.Storage", "Local Storage", doc{
		"Drives": links(drives...), "Drives@odata.count": len(drives), "Status": healthy(),
	})
	collection(t, path, "Storage", "Storage", path+"/1")
}

func (b *BMC) addNICs(t map[string]*node) {
	path := b.systemPath() + "/EthernetInterfaces"
	var members []string
	for i, n := range b.spec.Hardware.NICs {
		p := fmt.Sprintf("%s/%d", path, i+1)
		members = append(members, p)
		d := doc{
			"MACAddress": strings.ToUpper(n.MAC), "PermanentMACAddress": strings.ToUpper(n.MAC),
			"InterfaceEnabled": true, "LinkStatus": "LinkUp", "SpeedMbps": n.SpeedMbps, "Status": healthy(),
		}
		if n.LinkDown {
			d["LinkStatus"], d["SpeedMbps"] = "LinkDown", nil
		}
		fixed(t, p, "EthernetInterface.v1_12_2.EthernetInterface", n.Name, d)
	}
	collection(t, path, "EthernetInterface", "Ethernet Interfaces", members...)
}
