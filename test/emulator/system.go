package emulator

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
)

func (b *BMC) addSystem(t map[string]*node) {
	path, p := b.systemPath(), b.kind()
	action := path + "/Actions/ComputerSystem.Reset"
	t[path] = &node{view: b.systemDoc, patch: (*call).patchSystem}
	t[action] = &node{post: (*call).reset, owner: path}
	if p.power.info {
		fixed(t, path+"/ResetActionInfo", "ActionInfo.v1_4_2.ActionInfo", "Reset Action Info", doc{"Parameters": []doc{
			{"Name": "ResetType", "Required": true, "DataType": "String", "AllowableValues": p.power.types}}})
	}
	if p.boot.orderOnly != "" {
		own := path + "/" + p.boot.orderOnly
		t[own] = &node{view: func() doc {
			return resource(own, "ComputerSystem.v1_22_0.ComputerSystem", "System Settings", doc{"Boot": doc{"BootOrder": []string{}}})
		}, patch: func(c *call) { c.fail(http.StatusBadRequest, msgUnknownProperty("Boot/"+bootTarget)) }}
	}
	if p.boot.settings != "" {
		own := path + "/" + p.boot.settings
		t[own] = &node{view: func() doc {
			return resource(own, "ComputerSystem.v1_22_0.ComputerSystem", "System Settings",
				doc{"Boot": b.bootDoc(b.override, true), "@Redfish.SettingsApplyTime": doc{"ApplyTime": "OnReset"}})
		}, patch: (*call).patchSettings}
	}
}

// bootDoc is the boot override as shown. b.mu is held.
func (b *BMC) bootDoc(o Override, lists bool) doc {
	f := b.kind().boot
	d := doc{"BootSourceOverrideTarget": o.Target, "BootSourceOverrideEnabled": o.Enabled}
	if f.mode != modeAbsent {
		d["BootSourceOverrideMode"] = o.Mode
	}
	if f.uri != "" {
		d["HttpBootUri"] = f.uri
	}
	if lists {
		d["BootSourceOverrideTarget@Redfish.AllowableValues"] = f.targets
		d["BootSourceOverrideEnabled@Redfish.AllowableValues"] = f.enabled
		if f.mode != modeAbsent {
			d["BootSourceOverrideMode@Redfish.AllowableValues"] = overrideModes
		}
	}
	return d
}

// systemDoc is the ComputerSystem. b.mu is held.
func (b *BMC) systemDoc() doc {
	path, h, p := b.systemPath(), b.spec.Hardware, b.kind()
	shown := b.override
	if p.boot.pending {
		shown = b.physics.shownOverride
	}
	reset := doc{"target": path + "/Actions/ComputerSystem.Reset"}
	if p.power.info {
		reset["@Redfish.ActionInfo"] = path + "/ResetActionInfo"
	} else {
		reset["ResetType@Redfish.AllowableValues"] = p.power.types
	}
	d := doc{
		"SystemType": "Physical", "Manufacturer": h.Manufacturer, "Model": h.Model, "SerialNumber": h.Serial,
		"SKU": h.Model + "-SKU", "UUID": h.UUID, "AssetTag": b.assetTag, "PowerState": b.shownPowerLocked(),
		"BiosVersion": "2.1.4", "HostName": "",
		"Status": doc{"State": "Enabled", "Health": "OK", "HealthRollup": "OK"},
		"Boot":   b.bootDoc(shown, !p.boot.listElsewhere),
		"ProcessorSummary": doc{"Count": h.Sockets, "CoreCount": h.Cores, "LogicalProcessorCount": h.Threads,
			"Model": h.ProcessorModel, "Status": healthy()},
		"MemorySummary":      doc{"TotalSystemMemoryGiB": h.MemoryGiB, "Status": healthy()},
		"Processors":         link(path + "/Processors"),
		"Storage":            link(path + "/Storage"),
		"EthernetInterfaces": link(path + "/EthernetInterfaces"),
		"Links":              doc{"Chassis": links(b.chassisPath())},
		"Actions":            doc{"#ComputerSystem.Reset": reset},
	}
	if !p.noManagedBy {
		d["Links"] = doc{"Chassis": links(b.chassisPath()), "ManagedBy": links(b.managerPath())}
	}
	if own := cmp.Or(p.boot.settings, p.boot.orderOnly); own != "" {
		d["@Redfish.Settings"] = doc{"@odata.type": "#Settings.v1_3_5.Settings", "SettingsObject": link(path + "/" + own)}
	}
	if p.deadMemory {
		d["Memory"] = link(path + "/Memory")
	}
	if p.media.home != mediaUnderManager {
		d["VirtualMedia"] = link(path + "/VirtualMedia")
	} else if p.media.systemLink {
		d["VirtualMedia"] = link(b.mediaPaths()[0])
	}
	return resource(path, "ComputerSystem.v1_22_0.ComputerSystem", "System", d)
}

// The boot modes that a BMC which has any allows.
var overrideModes = []string{"UEFI", "Legacy"}

// reset is the action ComputerSystem.Reset.
func (c *call) reset() {
	const action = "ComputerSystem.Reset"
	for name := range c.body {
		if name != "ResetType" {
			c.fail(http.StatusBadRequest, msgParameterUnknown(action, name))
			return
		}
	}
	kind, ok := c.text("ResetType")
	if !ok {
		c.fail(http.StatusBadRequest, msgParameterMissing(action, "ResetType"))
		return
	}
	p := c.b.kind()
	if !slices.Contains(p.power.types, kind) {
		c.fail(http.StatusBadRequest, msgParameterValue(action, "ResetType", kind))
		return
	}
	c.b.mu.Lock()
	var r *refusal
	if !c.b.closed && !c.b.useLocked("lie-power", c.r) {
		r = c.b.resetLocked(kind, c.by)
	}
	c.b.mu.Unlock()
	if r != nil && r.status >= http.StatusBadRequest {
		c.fail(r.status, r.msg)
		return
	}
	c.done(p.power.status, "Reset")
}

// patchSystem writes the boot override and the asset tag; all or nothing.
func (c *call) patchSystem() {
	var ms []message
	for name := range c.body {
		if name != "Boot" && name != "AssetTag" {
			ms = append(ms, c.refuseProperty(name))
		}
	}
	tag, hasTag := c.text("AssetTag")
	if _, sent := c.body["AssetTag"]; sent && !hasTag {
		ms = append(ms, msgWrongType("AssetTag"))
	}
	if len(c.body) == 0 {
		ms = append(ms, msgNothing())
	}
	b, f := c.b, c.b.kind().boot
	if c.body["Boot"] != nil && f.settings != "" {
		ms = append(ms, msgElsewhere(f.settingsID, "Boot"))
	}
	c.writeBoot(ms, func() {
		if hasTag && tag != b.assetTag {
			b.assetTag = tag
			b.record(c.by, Event{Kind: EventSettings, To: "AssetTag"})
		}
	})
}

// patchSettings writes the boot override where the persona has it elsewhere.
func (c *call) patchSettings() {
	if c.only("Boot", "@Redfish.SettingsApplyTime") {
		c.writeBoot(nil, func() {})
	}
}

// writeBoot answers a PATCH: ms are what was wrong with it so far, then what
// else happens under the lock when nothing is.
func (c *call) writeBoot(ms []message, then func()) {
	b, f, path := c.b, c.b.kind().boot, cleanPath(c.r.URL.Path)
	b.mu.Lock()
	o := b.override
	if c.body["Boot"] != nil && f.duringPOST && b.inPOSTLocked() {
		ms = append(ms, msgPOST())
	}
	ms = append(ms, b.patchBootLocked(c.body["Boot"], &o)...)
	if len(ms) == 0 {
		then()
		if c.body["Boot"] == nil || !b.useLocked("lie-boot", c.r) {
			b.setOverrideLocked(o, c.by, "")
		}
	}
	b.mu.Unlock()
	switch {
	case len(ms) > 0:
		c.fail(http.StatusBadRequest, ms...)
	case f.status == http.StatusOK:
		c.get(path, b.nodes()[path])
	default:
		c.done(f.status, "Boot")
	}
}

// refuseProperty tells a read-only property from an unknown one.
func (c *call) refuseProperty(name string) message {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if _, known := c.b.systemDoc()[name]; known {
		return msgReadOnly(name)
	}
	return msgUnknownProperty(name)
}

// patchBootLocked merges the Boot object into o. A target alone does not
// enable the override; the target None, or Disabled, clears both.
func (b *BMC) patchBootLocked(raw json.RawMessage, o *Override) []message {
	if raw == nil {
		return nil
	}
	var boot map[string]json.RawMessage
	if json.Unmarshal(raw, &boot) != nil || boot == nil {
		return []message{msgWrongType("Boot")}
	}
	f, was := b.kind().boot, *o
	fields := map[string]struct {
		to      *string
		allowed []string
	}{
		bootTarget:  {&o.Target, f.targets},
		bootEnabled: {&o.Enabled, f.enabled},
		bootMode:    {&o.Mode, overrideModes},
	}
	var ms []message
	for name, value := range boot {
		to, ok := fields[name]
		var s *string
		switch {
		case !ok, name == bootMode && f.mode == modeAbsent:
			ms = append(ms, msgUnknownProperty("Boot/"+name))
		case name == bootMode && f.mode == modeReadOnly:
			ms = append(ms, msgReadOnly("Boot/"+name))
		case json.Unmarshal(value, &s) != nil || s == nil:
			ms = append(ms, msgWrongType("Boot/"+name))
		case !slices.Contains(to.allowed, *s):
			ms = append(ms, msgNotInList("Boot/"+name, *s))
		case f.changedOnly && *s == *to.to:
			ms = append(ms, msgUnchanged("Boot/"+name))
		default:
			*to.to = *s
		}
	}
	return append(ms, b.completeBootLocked(boot, o, was)...)
}

// The properties of a boot override.
const (
	bootTarget  = "BootSourceOverrideTarget"
	bootEnabled = "BootSourceOverrideEnabled"
	bootMode    = "BootSourceOverrideMode"
)

// settle makes o whole: which of its properties follow from those sent.
func (f bootForm) settle(o *Override, target, enabled bool) {
	if f.onceUnlessSaid && target && !enabled {
		o.Enabled = "Once"
	}
	if (target && o.Target == "None") || (enabled && o.Enabled == "Disabled") {
		o.Enabled = "Disabled"
		if !f.keepTarget || target {
			o.Target = "None"
		}
	}
}

// completeBootLocked is what the persona makes of a boot change as a whole.
func (b *BMC) completeBootLocked(boot map[string]json.RawMessage, o *Override, was Override) (ms []message) {
	f := b.kind().boot
	_, target := boot[bootTarget]
	_, enabled := boot[bootEnabled]
	_, mode := boot[bootMode]
	for name, sent := range map[string]bool{bootTarget: target, bootEnabled: enabled, bootMode: mode} {
		if f.full && !sent {
			ms = append(ms, msgPropertyMissing("Boot/"+name))
		}
	}
	if f.lasting {
		if enabled && !target && o.Enabled == "Disabled" {
			return []message{msgNotInList("Boot/"+bootEnabled, o.Enabled)}
		}
		o.Enabled = "Continuous"
	} else {
		f.settle(o, target, enabled)
	}
	arms := o.Enabled != "Disabled"
	if arms && f.mode == modeRequired && !mode {
		ms = append(ms, msgPropertyMissing("Boot/"+bootMode))
	}
	if arms && (f.downgrade && (!mode || o.Mode != "UEFI") || b.faultLocked("boot-downgrade") != nil) {
		o.Enabled, o.Mode = "Disabled", "Legacy"
	}
	if f.mode == modeLater && o.Mode != was.Mode {
		b.physics.laterMode, o.Mode = o.Mode, was.Mode
	}
	return ms
}
