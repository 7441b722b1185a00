package emulator

import (
	"encoding/json"
	"net/http"
	"slices"
)

func (b *BMC) addSystem(t map[string]*node) {
	path := b.systemPath()
	action := path + "/Actions/ComputerSystem.Reset"
	t[path] = &node{view: b.systemDoc, patch: (*call).patchSystem}
	t[action] = &node{post: (*call).reset, owner: path}
}

// systemDoc is the ComputerSystem. b.mu is held.
func (b *BMC) systemDoc() doc {
	path, h, p := b.systemPath(), b.spec.Hardware, b.persona
	d := doc{
		"SystemType": "Physical", "Manufacturer": h.Manufacturer, "Model": h.Model, "SerialNumber": h.Serial,
		"SKU": h.Model + "-SKU", "UUID": h.UUID, "AssetTag": b.assetTag, "PowerState": b.power,
		"BiosVersion": "2.1.4", "HostName": "",
		"Status": doc{"State": "Enabled", "Health": "OK", "HealthRollup": "OK"},
		"Boot": doc{
			"BootSourceOverrideTarget": b.override.Target, "BootSourceOverrideEnabled": b.override.Enabled,
			"BootSourceOverrideMode":                            b.override.Mode,
			"BootSourceOverrideTarget@Redfish.AllowableValues":  p.bootTargets,
			"BootSourceOverrideEnabled@Redfish.AllowableValues": overrideEnabled,
			"BootSourceOverrideMode@Redfish.AllowableValues":    overrideModes,
		},
		"ProcessorSummary": doc{"Count": h.Sockets, "CoreCount": h.Cores, "LogicalProcessorCount": h.Threads,
			"Model": h.ProcessorModel, "Status": healthy()},
		"MemorySummary":      doc{"TotalSystemMemoryGiB": h.MemoryGiB, "Status": healthy()},
		"Processors":         link(path + "/Processors"),
		"Storage":            link(path + "/Storage"),
		"EthernetInterfaces": link(path + "/EthernetInterfaces"),
		"Links":              doc{"Chassis": links(b.chassisPath()), "ManagedBy": links(b.managerPath())},
		"Actions": doc{"#ComputerSystem.Reset": doc{
			"target": path + "/Actions/ComputerSystem.Reset", "ResetType@Redfish.AllowableValues": p.resetTypes,
		}},
	}
	if p.media == mediaUnderSystem {
		d["VirtualMedia"] = link(b.mediaPath())
	}
	return resource(path, "ComputerSystem.v1_22_0.ComputerSystem", "System", d)
}

// The allowable values of the boot override's other two properties.
var (
	overrideEnabled = []string{"Disabled", "Once", "Continuous"}
	overrideModes   = []string{"UEFI", "Legacy"}
)

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
	if !slices.Contains(c.b.persona.resetTypes, kind) {
		c.fail(http.StatusBadRequest, msgParameterValue(action, "ResetType", kind))
		return
	}
	c.b.mu.Lock()
	var r *refusal
	if !c.b.closed {
		r = c.b.resetLocked(kind, c.by)
	}
	c.b.mu.Unlock()
	if r != nil && r.status >= http.StatusBadRequest {
		c.fail(r.status, r.msg)
		return
	}
	c.answer(http.StatusNoContent, nil)
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
	b := c.b
	b.mu.Lock()
	o := b.override
	ms = append(ms, b.patchBootLocked(c.body["Boot"], &o)...)
	if len(ms) == 0 {
		if hasTag && tag != b.assetTag {
			b.assetTag = tag
			b.record(c.by, Event{Kind: EventSettings, To: "AssetTag"})
		}
		b.setOverrideLocked(o, c.by, "")
	}
	b.mu.Unlock()
	if len(ms) > 0 {
		c.fail(http.StatusBadRequest, ms...)
		return
	}
	c.get(b.systemPath(), b.nodes()[b.systemPath()])
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
	fields := map[string]struct {
		to      *string
		allowed []string
	}{
		"BootSourceOverrideTarget":  {&o.Target, b.persona.bootTargets},
		"BootSourceOverrideEnabled": {&o.Enabled, overrideEnabled},
		"BootSourceOverrideMode":    {&o.Mode, overrideModes},
	}
	var ms []message
	for name, value := range boot {
		f, ok := fields[name]
		var s *string
		switch {
		case !ok:
			ms = append(ms, msgUnknownProperty("Boot/"+name))
		case json.Unmarshal(value, &s) != nil || s == nil:
			ms = append(ms, msgWrongType("Boot/"+name))
		case !slices.Contains(f.allowed, *s):
			ms = append(ms, msgNotInList("Boot/"+name, *s))
		default:
			*f.to = *s
		}
	}
	_, target := boot["BootSourceOverrideTarget"]
	_, enabled := boot["BootSourceOverrideEnabled"]
	if (target && o.Target == "None") || (enabled && o.Enabled == "Disabled") {
		o.Target, o.Enabled = "None", "Disabled"
	}
	return ms
}
