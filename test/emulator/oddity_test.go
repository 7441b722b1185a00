package emulator_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/beskar7/beskar7/test/emulator"
)

// oddity is one fact about a persona; the sources are in PersonaInfos.
type oddity struct {
	persona, what string
	check         func(t *testing.T, k *kind)
}

// fullID are the message ids as they are sent.
func (a answer) fullID() string {
	e, _ := a.body["error"].(map[string]any)
	infos, _ := e["@Message.ExtendedInfo"].([]any)
	if len(infos) == 0 {
		return ""
	}
	id, _ := infos[0].(map[string]any)["MessageId"].(string)
	return id
}

func (k *kind) resetPath() string { return k.sys + "/Actions/ComputerSystem.Reset/" }

// refused expects a status and a message id.
func (k *kind) refused(status int, id, method, path string, body any, header ...string) {
	k.t.Helper()
	a := k.want(status, method, path, body, header...)
	if !strings.HasSuffix(a.fullID(), id) {
		k.t.Errorf("%s %s: %v, want %s", method, path, a.body, id)
	}
}

func (k *kind) ok(method, path string, body any, header ...string) answer {
	k.t.Helper()
	a := k.do(method, path, body, header...)
	if a.status >= 300 {
		k.t.Fatalf("%s %s: %d %v", method, path, a.status, a.body)
	}
	return a
}

// TestOddities: with Scale 1 whatever a BMC refuses for a while is refused for
// seconds at least.
func TestOddities(t *testing.T) {
	l := newLab(t, 1)
	for _, o := range [][]oddity{dellOddities(), newDellOddities(), moreOddities(), hpeOddities(), supermicroOddities(), otherOddities(), bmcwebOddities(), capturedOddities(), sushyOddities()} {
		for _, o := range o {
			t.Run(o.persona+"/"+strings.ReplaceAll(o.what, " ", "_"), func(t *testing.T) { o.check(t, l.add(t, o.persona)) })
		}
	}
}

func dellOddities() []oddity {
	return []oddity{
		{"dell-idrac8", "ExtendedInfo is one object", func(t *testing.T, k *kind) {
			e := k.want(404, "GET", "/redfish/v1/nowhere", nil).body["error"].(obj)
			if _, ok := e["@Message.ExtendedInfo"].(obj); !ok {
				t.Errorf("%v", e)
			}
		}},
		{"dell-idrac8", "GracefulRestart is hard", func(t *testing.T, k *kind) {
			k.SetGuest(&obedient{})
			k.PressPower()
			k.until("guest", func(s emulator.State) bool { return s.GuestRunning })
			k.ok("POST", k.resetPath(), obj{"ResetType": "GracefulRestart"})
			k.until("second boot", func(s emulator.State) bool { return s.Boots == 2 })
			if n := len(k.log(emulator.EventPower)); n != 2 {
				t.Errorf("%d changes of power, want those of the start", n)
			}
		}},
		{"dell-idrac9-fw5", "Cd is the physical drive", func(t *testing.T, k *kind) {
			k.ok("POST", k.mgr+"/VirtualMedia/CD"+insertMe, obj{"Image": k.plain + "/boot.iso"})
			k.ok("PATCH", k.sys, boot("Cd"))
			k.PressPower()
			k.untilBooted("Hdd")
			equal(t, "log", len(k.log(emulator.EventBootFailed)), 1)
		}},
		{"dell-idrac9-fw5", "removable disk takes img only", func(_ *testing.T, k *kind) {
			k.want(400, "POST", k.mgr+"/VirtualMedia/RemovableDisk"+insertMe, obj{"Image": k.plain + "/boot.iso"})
			k.ok("POST", k.mgr+"/VirtualMedia/RemovableDisk"+insertMe, obj{"Image": k.plain + "/boot.img"})
		}},
		{"dell-idrac9", "eight sessions", func(_ *testing.T, k *kind) {
			for range 8 {
				k.login(201, k.Password())
			}
			k.header = http.Header{}
			k.refused(503, "IDRAC.2.8.RAC0218", "POST", loginPath, obj{"UserName": k.Username(), "Password": k.Password()})
		}},
		{"dell-idrac9", "insert after eject fails", func(_ *testing.T, k *kind) {
			k.ok("POST", k.sys+"/VirtualMedia/1"+insertMe, obj{"Image": k.plain + "/boot.iso"})
			k.ok("POST", k.sys+"/VirtualMedia/1"+ejectMe, nil)
			k.want(500, "POST", k.sys+"/VirtualMedia/1"+insertMe, obj{"Image": k.plain + "/boot.iso"})
		}},
		{"dell-idrac9", "redundant power and words of its own", func(_ *testing.T, k *kind) {
			k.want(409, "POST", k.resetPath(), obj{"ResetType": "ForceOff"})
			k.refused(500, "IDRAC.2.8.VRM0009", "POST", k.sys+"/VirtualMedia/1"+ejectMe, nil)
			k.refused(400, "IDRAC.2.8.RAC0904", "POST", k.sys+"/VirtualMedia/1"+insertMe, obj{"Image": k.plain + "/no.iso"})
			k.want(404, "GET", k.mgr+"/VirtualMedia", nil)
		}},
	}
}

func newDellOddities() []oddity {
	return []oddity{
		{"dell-idrac9", "a new task is not found, and one job runs at a time", func(_ *testing.T, k *kind) {
			path := k.mgr + "/Actions/Oem/EID_674_Manager.ImportSystemConfiguration"
			a := k.want(202, "POST", path, obj{"ImportBuffer": "<Attribute>VCD-DVD</Attribute>"})
			k.want(404, "GET", a.header.Get("Location"), nil)
			k.refused(503, "RAC0679", "POST", path, obj{"ImportBuffer": "x"})
		}},
		{"dell-idrac9", "a boot mode takes a boot", func(t *testing.T, k *kind) {
			k.ok("PATCH", k.sys, obj{"Boot": obj{uefi: "Legacy"}})
			equal(t, "mode", k.State().Override.Mode, "UEFI")
			k.PressPower()
			k.untilBooted("Hdd")
			equal(t, "mode after the boot", k.State().Override.Mode, "Legacy")
		}},
		{"dell-idrac10", "one slot, tags on actions, On after Off, settings", func(t *testing.T, k *kind) {
			equal(t, "slots", k.want(200, "GET", k.sys+"/VirtualMedia", nil).body["Members@odata.count"], 1)
			k.want(404, "GET", k.sys+"/VirtualMedia/CD", nil)
			tag := k.want(200, "GET", k.sys, nil).header.Get("ETag")
			k.want(412, "POST", k.resetPath(), obj{"ResetType": "On"}, "If-Match", tag)
			k.refused(400, "PropertyNotWritable", "PATCH", k.sys, boot("Cd"))
			shown := k.want(200, "GET", k.sys, nil).body["Boot"].(obj)
			if shown["BootSourceOverrideTarget@Redfish.AllowableValues"] != nil {
				t.Error("the list is at the system")
			}
			if k.want(200, "GET", k.sys+"/Settings", nil).body["Boot"].(obj)["BootSourceOverrideTarget@Redfish.AllowableValues"] == nil {
				t.Error("the list is not at the settings")
			}
			k.ok("POST", k.resetPath(), obj{"ResetType": "On"})
			k.untilBooted("Hdd")
			k.ok("POST", k.resetPath(), obj{"ResetType": "ForceOff"})
			k.untilPower(emulator.Off)
			k.refused(409, "ActionParameterValueConflict", "POST", k.resetPath(), obj{"ResetType": "On"})
		}},
	}
}

func hpeOddities() []oddity {
	slot := func(k *kind) string { return k.mgr + "/VirtualMedia/2" }
	return []oddity{
		{"hpe-ilo5", "308 without the slash", func(t *testing.T, k *kind) {
			k.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			equal(t, "location", k.want(308, "GET", k.sys, nil).header.Get("Location"), k.sys+"/")
			a := k.want(200, "GET", k.sys+"/", nil)
			equal(t, "link", a.body["@odata.id"], k.sys+"/")
			if !strings.HasPrefix(a.header.Get("ETag"), `W/"`) {
				t.Errorf("ETag %s is not weak", a.header.Get("ETag"))
			}
		}},
		{"hpe-ilo5", "mode read only, errors without texts", func(t *testing.T, k *kind) {
			a := k.want(400, "PATCH", k.sys+"/", boot("Cd", uefi, "UEFI"))
			equal(t, "ids", a.ids(), []string{"PropertyNotWritable"})
			e := a.body["error"].(obj)
			equal(t, "code", e["code"], "iLO.0.10.ExtendedInfo")
			if e["@Message.ExtendedInfo"].([]any)[0].(obj)["Message"] != nil {
				t.Error("the error has a text")
			}
			k.ok("PATCH", k.sys+"/", boot("Cd"))
			k.ok("PATCH", k.sys+"/", obj{"Boot": obj{"BootSourceOverrideEnabled": "Disabled"}})
			equal(t, "target stays", k.State().Override.String(), "Cd/Disabled/UEFI")
		}},
		{"hpe-ilo5", "eject needs an object", func(_ *testing.T, k *kind) {
			k.ok("POST", slot(k)+insertMe+"/", obj{"Image": k.plain + "/boot.iso"})
			k.want(400, "POST", slot(k)+ejectMe+"/", nil)
			k.ok("POST", slot(k)+ejectMe+"/", obj{})
		}},
		{"hpe-ilo5", "refusals by state", func(_ *testing.T, k *kind) {
			k.refused(400, "iLO.2.15.InvalidOperationForSystemState", "POST", k.resetPath(), obj{"ResetType": "ForceRestart"})
			k.ok("POST", k.resetPath(), obj{"ResetType": "On"})
			k.refused(400, "iLO.2.15.InvalidOperationForSystemState", "POST", k.resetPath(), obj{"ResetType": "ForceOff"})
		}},
		{"hpe-ilo5", "reset types twice", func(t *testing.T, k *kind) {
			actions := k.want(200, "GET", k.sys+"/", nil).body["Actions"].(obj)
			list := actions["#ComputerSystem.Reset"].(obj)["ResetType@Redfish.AllowableValues"]
			equal(t, "types", list, []string{"On", "ForceOff", "GracefulRestart", "ForceRestart", "Nmi", "PushPowerButton", "GracefulRestart"})
		}},
		{"hpe-ilo5", "six sessions", func(_ *testing.T, k *kind) {
			for range 6 {
				k.login(201, k.Password())
			}
			k.login(400, k.Password())
		}},
		{"hpe-ilo4", "vendor actions with Image only", func(t *testing.T, k *kind) {
			if k.want(200, "GET", slot(k), nil).body["Actions"] != nil {
				t.Error("the standard's actions are there")
			}
			k.want(404, "POST", slot(k)+insertMe, obj{"Image": k.plain + "/boot.iso"})
			k.want(400, "POST", slot(k)+"/Actions/Oem/Hp/HpiLOVirtualMedia.InsertVirtualMedia", obj{"Image": k.plain + "/boot.iso", "Inserted": true})
		}},
	}
}

func supermicroOddities() []oddity {
	return []oddity{
		{"supermicro-x10", "no mode, http only", func(t *testing.T, k *kind) {
			k.refused(400, "PropertyUnknown", "PATCH", k.sys, boot("UsbCd", uefi, "UEFI"))
			k.ok("PATCH", k.mgr+"/VM1/CfgCD", obj{"Host": k.https, "Path": "/boot.iso"})
			k.want(400, "POST", k.mgr+"/VM1/CfgCD/Actions/IsoConfig.Mount", nil)
		}},
		{"supermicro-x11", "Image only, kept after the eject", func(t *testing.T, k *kind) {
			slot := k.mgr + "/VirtualMedia/VirtualMedia1"
			for _, name := range []string{"Inserted", "WriteProtected"} {
				k.refused(400, "ActionParameterUnknown", "POST", slot+insertMe, obj{"Image": k.plain + "/boot.iso", name: true})
			}
			k.ok("POST", slot+insertMe, obj{"Image": k.plain + "/boot.iso"})
			k.ok("POST", slot+ejectMe, nil)
			m := k.want(200, "GET", slot, nil).body
			equal(t, "slot", []any{m["Image"], m["Inserted"], m["ConnectedVia"]}, []any{k.plain + "/boot.iso", false, "NotConnected"})
			equal(t, "link", k.want(200, "GET", k.sys, nil).body["VirtualMedia"], obj{"@odata.id": k.mgr + "/VirtualMedia"})
		}},
		{"supermicro-x11", "UsbCd, Once unless said", func(t *testing.T, k *kind) {
			k.refused(400, "PropertyValueNotInList", "PATCH", k.sys, boot("Cd"))
			k.ok("PATCH", k.sys, boot("UsbCd", "BootSourceOverrideEnabled", "Continuous"))
			k.ok("PATCH", k.sys, obj{"Boot": obj{"BootSourceOverrideTarget": "UsbCd"}})
			equal(t, "override", k.State().Override.String(), "UsbCd/Once/UEFI")
		}},
		{"supermicro-x12", "no = in URLs", func(_ *testing.T, k *kind) {
			k.refused(400, "ActionParameterValueFormatError", "POST", k.mgr+"/VirtualMedia/VirtualMedia1"+insertMe, obj{"Image": k.plain + "/a=b.iso"})
		}},
		{"supermicro-x13", "mode is needed", func(_ *testing.T, k *kind) {
			k.refused(400, "PropertyMissing", "PATCH", k.sys, boot("UsbCd"))
			k.ok("PATCH", k.sys, obj{"Boot": obj{"BootSourceOverrideEnabled": "Disabled"}})
		}},
		{"supermicro-x13", "the actions come and go with the medium", func(t *testing.T, k *kind) {
			slot := k.mgr + "/VirtualMedia/VirtualMedia2"
			actions := func() (insert, eject bool) {
				have := k.want(200, "GET", slot, nil).body["Actions"].(obj)
				return have["#VirtualMedia.InsertMedia"] != nil, have["#VirtualMedia.EjectMedia"] != nil
			}
			insert, eject := actions()
			equal(t, "empty", []bool{insert, eject}, []bool{true, false})
			k.ok("POST", slot+insertMe, obj{"Image": k.plain + "/boot.iso"})
			insert, eject = actions()
			equal(t, "full", []bool{insert, eject}, []bool{false, true})
			k.ok("POST", slot+ejectMe, obj{})
			equal(t, "image", k.want(200, "GET", slot, nil).body["Image"], nil)
		}},
		{"supermicro-h13", "silent downgrade", func(t *testing.T, k *kind) {
			k.want(200, "PATCH", k.sys, boot("UsbCd"))
			equal(t, "override", k.State().Override.String(), "UsbCd/Disabled/Legacy")
			k.want(200, "PATCH", k.sys, boot("UsbCd", uefi, "UEFI"))
			equal(t, "explicit", k.State().Override.String(), "UsbCd/Once/UEFI")
		}},
		{"supermicro-h13", "licence", func(t *testing.T, k *kind) {
			if err := k.SetFault("no-licence", ""); err != nil {
				t.Fatal(err)
			}
			k.refused(403, "OemLicenseNotPassed", "POST", k.mgr+"/VirtualMedia/CD1"+insertMe, obj{"Image": k.plain + "/boot.iso"})
		}},
	}
}

func bmcwebOddities() []oddity {
	slot := func(k *kind) string { return k.mgr + "/VirtualMedia/Slot_2" }
	return []oddity{
		{"openbmc", "https only, scheme in the protocol", func(_ *testing.T, k *kind) {
			k.want(400, "POST", slot(k)+insertMe, obj{"Image": k.plain + "/boot.iso"})
			bare := strings.TrimPrefix(k.https, "https://") + "/boot.iso"
			k.want(400, "POST", slot(k)+insertMe, obj{"Image": bare})
			k.want(400, "POST", slot(k)+insertMe, obj{"Image": k.https + "/boot.iso", "Inserted": false})
			k.want(400, "POST", slot(k)+insertMe, obj{"Image": k.https + "/boot.iso", "TransferProtocolType": "CIFS"})
			k.ok("POST", slot(k)+insertMe, obj{"Image": bare, "TransferProtocolType": "HTTPS"})
		}},
		{"openbmc", "slot without action, types in ActionInfo", func(t *testing.T, k *kind) {
			k.want(405, "POST", k.mgr+"/VirtualMedia/Slot_0"+insertMe, obj{"Image": k.https + "/boot.iso"})
			reset := k.want(200, "GET", k.sys, nil).body["Actions"].(obj)["#ComputerSystem.Reset"].(obj)
			if reset["ResetType@Redfish.AllowableValues"] != nil {
				t.Error("types are listed at the action")
			}
			k.want(200, "GET", reset["@Redfish.ActionInfo"].(string), nil)
			k.want(204, "POST", k.resetPath(), obj{"ResetType": "ForceOff"}) // is off
		}},
		{"nvidia-bmc", "credentials, in plain text", func(t *testing.T, k *kind) {
			a := k.want(400, "POST", slot(k)+insertMe, obj{"Image": k.https + "/boot.iso"})
			equal(t, "ids", a.ids(), []string{"GeneralError"})
			if text, _ := a.body["error"].(obj)["message"].(string); !strings.Contains(text, "UserName") {
				t.Errorf("text %q", text)
			}
		}},
		{"nvidia-bmc", "PowerCycle stays off", func(t *testing.T, k *kind) {
			k.PressPower()
			k.untilBooted("Hdd")
			k.ok("POST", k.resetPath(), obj{"ResetType": "PowerCycle"})
			k.untilPower(emulator.Off)
			equal(t, "boots", k.State().Boots, 1)
		}},
		{"nvidia-bmc", "https only", func(_ *testing.T, k *kind) {
			k.want(400, "POST", slot(k)+insertMe, obj{"Image": k.plain + "/boot.iso", "UserName": "none", "Password": "none"})
		}},
		{"huawei-openubmc", "parameters, table size, no manager", func(t *testing.T, k *kind) {
			k.want(400, "POST", k.mgr+"/VirtualMedia/CD"+insertMe, obj{"Image": k.https + "/boot.iso", "TransferProtocolType": "HTTPS"})
			equal(t, "table", k.want(200, "GET", "/redfish/v1/SessionService", nil).body["SessionMaxCount"], 8)
			if k.want(200, "GET", k.sys, nil).body["Links"].(obj)["ManagedBy"] != nil {
				t.Error("ManagedBy is there")
			}
		}},
		{"cisco-c845a", "405 without the action", func(_ *testing.T, k *kind) {
			k.want(405, "POST", k.mgr+"/VirtualMedia/Slot_0"+insertMe, obj{"Image": k.plain + "/boot.iso"})
			k.ok("POST", slot(k)+insertMe, obj{"Image": k.plain + "/boot.iso"})
		}},
	}
}

func otherOddities() []oddity {
	return []oddity{
		{"lenovo-xcc", "PATCH with Inserted, no actions", func(t *testing.T, k *kind) {
			slot := k.mgr + "/VirtualMedia/EXT1"
			k.want(400, "PATCH", slot, obj{"Image": k.plain + "/boot.iso"})
			k.want(404, "POST", slot+insertMe, obj{"Image": k.plain + "/boot.iso"})
			k.want(200, "PATCH", slot, obj{"Image": k.plain + "/boot.iso", "Inserted": true}, "If-Match", "*")
			k.want(405, "PATCH", k.mgr+"/VirtualMedia/RDOC1", obj{"Image": k.plain + "/boot.iso", "Inserted": true})
			k.want(400, "POST", k.resetPath(), obj{"ResetType": "PushPowerButton"})
			equal(t, "timeout", k.want(200, "GET", "/redfish/v1/SessionService", nil).body["SessionTimeout"], 300)
		}},
		{"lenovo-xcc3", "201, and two homes of one slot", func(t *testing.T, k *kind) {
			k.want(201, "PATCH", k.mgr+"/VirtualMedia/EXT1", obj{"Image": k.plain + "/boot.iso", "Inserted": true})
			equal(t, "there", k.want(200, "GET", k.sys+"/VirtualMedia/EXT1", nil).body["Inserted"], true)
		}},
		{"ami-megarac", "hidden slots", func(t *testing.T, k *kind) {
			equal(t, "slots", k.want(200, "GET", k.mgr+"/VirtualMedia", nil).body["Members@odata.count"], 0)
			k.want(404, "POST", k.mgr+"/VirtualMedia/CD1"+insertMe, obj{"Image": k.plain + "/boot.iso", "TransferProtocolType": "HTTP"})
		}},
		{"ami-megarac", "boot at SD, all three, with a tag", func(t *testing.T, k *kind) {
			full := boot("Cd", uefi, "UEFI")
			k.refused(400, "Ami.1.0.OperationSupportedInFutureStateURI", "PATCH", k.sys, full, "If-Match", "*")
			k.refused(428, "PreconditionRequired", "PATCH", k.sys+"/SD", full)
			k.refused(400, "PropertyMissing", "PATCH", k.sys+"/SD", boot("Cd"), "If-Match", "*")
			k.ok("PATCH", k.sys+"/SD", full, "If-Match", "*")
			equal(t, "pending", k.want(200, "GET", k.sys+"/SD", nil).body["Boot"].(obj)["BootSourceOverrideTarget"], "Cd")
			equal(t, "system", k.want(200, "GET", k.sys, nil).body["Boot"].(obj)["BootSourceOverrideTarget"], "None")
		}},
		{"asrockrack", "accepted, and mounted later", func(t *testing.T, k *kind) {
			slot := k.mgr + "/VirtualMedia/CD1"
			k.want(400, "POST", slot+insertMe, obj{"Image": k.plain + "/boot.iso"})
			a := k.want(202, "POST", slot+insertMe, obj{"Image": k.plain + "/boot.iso", "TransferProtocolType": "HTTP"})
			m := k.want(200, "GET", slot, nil).body
			equal(t, "slot", []any{m["Inserted"], m["Oem"].(obj)["Ami"].(obj)["RedirectionStatus"]}, []any{false, "Connecting"})
			equal(t, "monitor", k.want(202, "GET", a.header.Get("Location"), nil).body["TaskState"], "Running")
			k.want(409, "POST", slot+insertMe, obj{"Image": k.plain + "/boot.iso", "TransferProtocolType": "HTTP"})
			k.ok("POST", slot+ejectMe, nil)
			k.want(400, "POST", k.mgr+"/VirtualMedia/HD1"+ejectMe, nil)
		}},
		{"fujitsu-irmc", "https with protocol and name, 202 without Location", func(t *testing.T, k *kind) {
			slot := k.mgr + "/VirtualMedia/0"
			k.want(400, "POST", slot+insertMe, obj{"Image": k.https + "/boot.iso"})
			k.want(400, "POST", slot+insertMe, obj{"Image": k.plain + "/boot.iso", "TransferProtocolType": "HTTP"})
			k.want(400, "POST", k.mgr+"/VirtualMedia/1"+insertMe, obj{"Image": k.https + "/boot.iso", "TransferProtocolType": "HTTPS"})
			a := k.want(202, "POST", slot+insertMe, obj{"Image": k.https + "/boot.iso", "TransferProtocolType": "HTTPS"})
			equal(t, "location", a.header.Get("Location"), "")
			equal(t, "yet", k.want(200, "GET", slot, nil).body["Inserted"], false)
		}},
	}
}

func moreOddities() []oddity {
	return []oddity{
		{"cisco-imc", "serial as id, vKVM slot, DVD, prose", func(t *testing.T, k *kind) {
			equal(t, "id", k.SystemID(), k.Identity().Serial)
			k.want(400, "POST", k.mgr+"/VirtualMedia/0"+insertMe, obj{"Image": k.plain + "/boot.iso"})
			m := k.want(200, "GET", k.mgr+"/VirtualMedia/1", nil).body
			equal(t, "types", m["MediaTypes"], []string{"DVD"})
			list := m["Actions"].(obj)["#VirtualMedia.InsertMedia"].(obj)["TransferProtocolType@Redfish.AllowableValues"].([]any)
			if len(list) != 1 || !strings.Contains(list[0].(string), " ") {
				t.Errorf("allowable values %v", list)
			}
		}},
		{"nokia", "protocol and settings", func(_ *testing.T, k *kind) {
			k.refused(400, "ActionParameterMissing", "POST", k.mgr+"/VirtualMedia/CD1"+insertMe, obj{"Image": k.plain + "/boot.iso"})
			k.refused(400, "PropertyNotWritable", "PATCH", k.sys, boot("Cd"))
		}},
	}
}
