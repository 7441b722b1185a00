package emulator

import (
	"encoding/json"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// oemState is what vendors' own resources remember. Guarded by BMC.mu.
type oemState struct {
	// next is the device of the next boot, set by other means than the override.
	next string
	// enabled: remote media were enabled (AMI).
	enabled bool
	// attributes are the iDRAC's.
	attributes map[string]string
	// host and path are those of a CfgCD.
	host, path string
}

// addOEM adds the vendor's own tree.
func (b *BMC) addOEM(t map[string]*node) {
	manager := b.managerPath()
	switch b.kind().oem {
	case oemDell:
		for _, at := range []string{manager + "/Attributes", manager + "/Oem/Dell/DellAttributes/" + b.kind().managerID} {
			t[at] = &node{view: func() doc {
				return resource(at, "DellAttributes.v1_0_0.DellAttributes", "Attributes", doc{"Attributes": b.dellAttributesLocked()})
			}, patch: (*call).patchDellAttributes}
		}
		t[manager+"/Actions/Oem/EID_674_Manager.ImportSystemConfiguration"] = &node{post: (*call).importConfiguration}
	case oemAMI:
		t[manager+"/Actions/Oem/AMIVirtualMedia.EnableRMedia"] = &node{post: (*call).enableMedia}
		t[manager+"/Actions/Oem/AMIVirtualMedia.ConfigureCDInstance"] = &node{post: (*call).configureMedia}
	case oemSupermicro:
		b.addCfgCD(t, b.mediaPaths()[0]+"/CfgCD")
	case oemNone, oemHp, oemHpe:
	}
}

// oemManager adds the vendor's actions to the Manager. b.mu is held.
func (b *BMC) oemManager(d doc) {
	at := b.managerPath() + "/Actions/Oem/"
	actions := d["Actions"].(doc)
	switch b.kind().oem {
	case oemDell:
		actions["Oem"] = doc{"#OemManager.v1_0_0#OemManager.ImportSystemConfiguration": doc{"target": at + "EID_674_Manager.ImportSystemConfiguration"}}
		d["Links"].(doc)["Oem"] = doc{"Dell": doc{"DellAttributes": links(b.managerPath() + "/Oem/Dell/DellAttributes/" + b.kind().managerID)}}
	case oemAMI:
		actions["Oem"] = doc{"#AMIVirtualMedia.EnableRMedia": doc{"target": at + "AMIVirtualMedia.EnableRMedia"},
			"#AMIVirtualMedia.ConfigureCDInstance": doc{"target": at + "AMIVirtualMedia.ConfigureCDInstance"}}
	case oemHpe:
		d["Oem"] = doc{"Hpe": doc{"License": doc{"LicenseString": "iLO Advanced"}}}
	case oemHp:
		d["Oem"] = doc{"Hp": doc{"License": doc{"LicenseString": "iLO Advanced"}}}
	case oemSupermicro:
		d["Oem"] = doc{"Supermicro": doc{"CfgCD": link(b.mediaPaths()[0] + "/CfgCD")}}
	case oemNone:
	}
}

// The virtual CD in the words of an iDRAC's attributes.
const (
	dellFirst = "ServerBoot.1.FirstBootDevice"
	dellOnce  = "ServerBoot.1.BootOnce"
	dellCD    = "VCD-DVD"
)

func (b *BMC) dellAttributesLocked() map[string]string {
	if b.oem.attributes == nil {
		b.oem.attributes = map[string]string{dellFirst: "Normal", dellOnce: "Disabled", "VirtualMedia.1.Attached": "AutoAttach"}
	}
	b.oem.attributes[dellFirst] = "Normal"
	if b.oem.next == "Cd" {
		b.oem.attributes[dellFirst] = dellCD
	}
	return b.oem.attributes
}

// patchDellAttributes sets attributes; the boot device is used by the next boot.
func (c *call) patchDellAttributes() {
	var set map[string]string
	if json.Unmarshal(c.body["Attributes"], &set) != nil || set == nil {
		c.fail(http.StatusBadRequest, msgWrongType("Attributes"))
		return
	}
	if ms := c.setDellAttributes(set); len(ms) > 0 {
		c.fail(http.StatusBadRequest, ms...)
		return
	}
	c.answer(http.StatusOK, c.b.kind().errors.body(msgSuccess()))
}

func (c *call) setDellAttributes(set map[string]string) (ms []message) {
	b := c.b
	b.mu.Lock()
	defer b.mu.Unlock()
	have := b.dellAttributesLocked()
	for name := range set {
		if _, known := have[name]; !known {
			ms = append(ms, msgUnknownProperty("Attributes/"+name))
		}
	}
	if len(ms) > 0 {
		return ms
	}
	for name, value := range set {
		have[name] = value
	}
	if first, sent := set[dellFirst]; sent {
		b.setNextLocked(map[string]string{dellCD: "Cd", "PXE": "Pxe", "HDD": "Hdd", "BIOS": "BiosSetup"}[first], c.by)
	}
	return nil
}

func (b *BMC) setNextLocked(device string, by cause) {
	if b.oem.next != device {
		was := b.oem.next
		b.oem.next = device
		b.record(by, Event{Kind: EventOverride, From: "oem " + was, To: "oem " + device})
	}
}

// importConfiguration takes the boot device out of a configuration profile; one
// job at a time.
func (c *call) importConfiguration() {
	buffer, ok := c.text("ImportBuffer")
	if !ok {
		c.fail(http.StatusBadRequest, msgParameterMissing("ImportSystemConfiguration", "ImportBuffer"))
		return
	}
	b := c.b
	b.mu.Lock()
	for _, t := range b.front.tasks.all {
		if t.ended.IsZero() {
			b.mu.Unlock()
			c.fail(http.StatusServiceUnavailable, msgJobRunning())
			return
		}
	}
	t := b.newTaskLocked("Import configuration")
	if b.front.open[c.by.req] != nil {
		b.front.open[c.by.req].Changed = true
	}
	time.AfterFunc(b.scaled(20*time.Second), func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.closed {
			return
		}
		if strings.Contains(buffer, dellCD) {
			b.setNextLocked("Cd", c.by)
		}
		t.endLocked(nil)
	})
	b.mu.Unlock()
	c.accepted(t)
}

// enableMedia makes AMI's slots appear after a while.
func (c *call) enableMedia() {
	if v, _ := c.text("RMediaState"); v != "Enable" && v != "Disable" {
		c.fail(http.StatusBadRequest, msgParameterMissing("AMIVirtualMedia.EnableRMedia", "RMediaState"))
		return
	}
	v, _ := c.text("RMediaState")
	b := c.b
	time.AfterFunc(b.scaled(5*time.Second), func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if !b.closed && b.oem.enabled != (v == "Enable") {
			b.oem.enabled = v == "Enable"
			b.record(c.by, Event{Kind: EventSettings, To: "RMedia", Detail: v})
		}
	})
	c.done(http.StatusAccepted, "Enable remote media")
}

func (c *call) configureMedia() {
	if n, ok := c.number("CDInstance"); !ok || n < 0 || n > 4 {
		c.fail(http.StatusBadRequest, msgParameterMissing("AMIVirtualMedia.ConfigureCDInstance", "CDInstance"))
		return
	}
	c.done(http.StatusAccepted, "Configure instances")
}

// addCfgCD is how old Supermicro boards take an image.
func (b *BMC) addCfgCD(t map[string]*node, at string) {
	s := b.slots[0]
	t[at] = &node{view: func() doc {
		return resource(at, "IsoConfig.v1_0_0.IsoConfig", "CfgCD", doc{"Host": b.oem.host, "Path": b.oem.path, "Username": "", "Password": "",
			"Actions": doc{"#IsoConfig.Mount": doc{"target": at + "/Actions/IsoConfig.Mount"},
				"#IsoConfig.UnMount": doc{"target": at + "/Actions/IsoConfig.UnMount"}}})
	}, patch: func(c *call) {
		if !c.only("Host", "Path", "Username", "Password") {
			return
		}
		host, ok1 := c.text("Host")
		file, ok2 := c.text("Path")
		if !ok1 || !ok2 {
			c.fail(http.StatusBadRequest, msgPropertyMissing("Host"), msgPropertyMissing("Path"))
			return
		}
		b.mu.Lock()
		b.oem.host, b.oem.path = host, file
		b.record(c.by, Event{Kind: EventSettings, To: "CfgCD"})
		b.mu.Unlock()
		c.done(http.StatusOK, "CfgCD")
	}}
	t[at+"/Actions/IsoConfig.Mount"] = &node{owner: at, post: func(c *call) {
		b.mu.Lock()
		url := strings.TrimSuffix(b.oem.host, "/") + "/" + strings.TrimPrefix(strings.ReplaceAll(b.oem.path, `\`, "/"), "/")
		b.mu.Unlock()
		if !strings.Contains(url, "://") {
			url = "http://" + url
		}
		c.body = map[string]json.RawMessage{"Image": quoted(url)}
		c.insert(s)
	}}
	t[at+"/Actions/IsoConfig.UnMount"] = &node{owner: at, post: func(c *call) { c.take(s) }}
}

func quoted(s string) json.RawMessage {
	raw, err := json.Marshal(s)
	if err != nil {
		panic("emulator: a string cannot be marshalled: " + err.Error())
	}
	return raw
}

// oemName is the vendor's name below Oem.
func (o oemForm) hpName() string {
	if o == oemHp {
		return "Hp"
	}
	return "Hpe"
}

// hpActions are the targets of iLO's own actions on a slot.
func hpActions(o oemForm, at string) (insert, eject string) {
	base := at + "/Actions/Oem/" + o.hpName() + "/"
	vendor := map[oemForm]string{oemHp: "HpiLOVirtualMedia.", oemHpe: "HpeiLOVirtualMedia."}[o]
	return base + vendor + "InsertVirtualMedia", base + vendor + "EjectVirtualMedia"
}

// oemSlot adds the vendor's actions on a slot.
func (b *BMC) oemSlot(t map[string]*node, n *node, at string, s *slot) {
	o := b.kind().oem
	if o != oemHp && o != oemHpe {
		return
	}
	insert, eject := hpActions(o, at)
	t[insert] = &node{post: func(c *call) { c.insert(s) }, owner: at}
	t[eject] = &node{post: func(c *call) { c.eject(s) }, owner: at}
	n.patch = func(c *call) { c.patchHpSlot(s) }
}

// oemSlotDoc adds the vendor's part of a slot. b.mu is held.
func (b *BMC) oemSlotDoc(at string, s *slot, d doc) {
	switch o := b.kind().oem; o {
	case oemHp, oemHpe:
		insert, eject := hpActions(o, at)
		prefix := map[oemForm]string{oemHp: "#HpiLOVirtualMedia.", oemHpe: "#HpeiLOVirtualMedia."}[o]
		d["Oem"] = doc{o.hpName(): doc{
			"Actions":               doc{prefix + "InsertVirtualMedia": doc{"target": insert}, prefix + "EjectVirtualMedia": doc{"target": eject}},
			"BootOnNextServerReset": b.oem.next != "" && b.oem.next == slotDevice(s),
		}}
	case oemAMI:
		status := "Stopped"
		switch {
		case s.pending != nil:
			status = "Connecting"
		case s.image != "":
			status = "Started"
		}
		d["Oem"] = doc{"Ami": doc{"RedirectionStatus": status}}
	case oemNone, oemDell, oemSupermicro:
	}
}

// slotDevice is what the firmware boots from with a medium of this slot.
func slotDevice(s *slot) string {
	if accepts(s.spec.types, "CD", "DVD") {
		return "Cd"
	}
	return "Usb"
}

// patchHpSlot sets BootOnNextServerReset; it works during POST, too.
func (c *call) patchHpSlot(s *slot) {
	var vendors map[string]struct {
		BootOnNextServerReset *bool
	}
	switch {
	case len(c.body) == 0:
		c.fail(http.StatusBadRequest, msgNothing())
		return
	case !c.only("Oem"):
		return
	case json.Unmarshal(c.body["Oem"], &vendors) != nil:
		c.fail(http.StatusBadRequest, msgWrongType("Oem"))
		return
	}
	v, ok := vendors[c.b.kind().oem.hpName()]
	if !ok || v.BootOnNextServerReset == nil {
		c.fail(http.StatusBadRequest, msgPropertyMissing("Oem"))
		return
	}
	c.b.mu.Lock()
	next := ""
	if *v.BootOnNextServerReset {
		next = slotDevice(s)
	}
	c.b.setNextLocked(next, c.by)
	c.b.mu.Unlock()
	c.done(http.StatusOK, "BootOnNextServerReset")
}

// trailing puts the slash at the end of all links in v, for personas that want it.
func trailing(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			s, isText := x.(string)
			if isText && (k == "@odata.id" || k == "target" || k == "@Redfish.ActionInfo") && strings.HasPrefix(s, root) && path.Ext(s) != ".json" {
				v[k] = strings.TrimSuffix(s, "/") + "/"
				continue
			}
			v[k] = trailing(x)
		}
	case []any:
		return slices.Collect(func(yield func(any) bool) {
			for _, x := range v {
				if !yield(trailing(x)) {
					return
				}
			}
		})
	}
	return v
}
