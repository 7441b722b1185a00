package emulator_test

import (
	"net/http"
	"net/url"
	"testing"
)

func capturedOddities() []oddity {
	return []oddity{
		{"ami-megarac-12", "None is none", func(t *testing.T, k *kind) {
			slot := k.want(200, "GET", k.mgr+"/VirtualMedia/CD1", nil).body
			equal(t, "slot", []any{slot["Image"], slot["ImageName"], slot["Inserted"], slot["MediaTypes"]}, []any{"None", "None", false, nil})
		}},
		{"nvidia-dgx", "targets in the settings, a board beside the system", func(t *testing.T, k *kind) {
			const list = "BootSourceOverrideTarget@Redfish.AllowableValues"
			if k.want(200, "GET", k.sys, nil).body["Boot"].(obj)[list] != nil {
				t.Error("the system lists targets")
			}
			if k.want(200, "GET", k.sys+"/SD", nil).body["Boot"].(obj)[list] == nil {
				t.Error("the settings list no targets")
			}
			equal(t, "systems", k.want(200, "GET", "/redfish/v1/Systems", nil).body["Members@odata.count"], 2)
		}},
		{"dell-idrac9", "settings without an override", func(t *testing.T, k *kind) {
			settings := k.want(200, "GET", k.sys, nil).body["@Redfish.Settings"].(obj)["SettingsObject"].(obj)["@odata.id"].(string)
			equal(t, "boot", k.want(200, "GET", settings, nil).body["Boot"], obj{"BootOrder": []any{}})
			k.refused(400, "PropertyUnknown", "PATCH", settings, boot("Cd"))
			k.ok("PATCH", k.sys, boot("Cd"))
		}},
		{"hpe-ilo4", "a slot takes its own part only", func(_ *testing.T, k *kind) {
			k.refused(400, "PropertyUnknown", "PATCH", k.mgr+"/VirtualMedia/2", obj{"Image": k.plain + "/boot.iso"})
			k.refused(400, "NoVirtualMediaConnectionAvailable", "PATCH", k.mgr+"/VirtualMedia/2", obj{})
		}},
		{"nvidia-gb200", "a board beside the system, no mode", func(t *testing.T, k *kind) {
			equal(t, "systems", k.want(200, "GET", "/redfish/v1/Systems", nil).body["Members@odata.count"], 2)
			k.want(200, "GET", "/redfish/v1/Systems/HGX_Baseboard_0", nil)
			if _, there := k.want(200, "GET", k.sys, nil).body["Boot"].(obj)[uefi]; there {
				t.Error("a mode is shown")
			}
		}},
		{"nvidia-gh200", "rest", func(t *testing.T, k *kind) {
			equal(t, "override", k.State().Override.String(), "Hdd/Continuous/UEFI")
			k.ok("PATCH", k.sys, boot("Cd"))
			equal(t, "override", k.State().Override.String(), "Cd/Once/UEFI")
		}},
	}
}

func sushyOddities() []oddity {
	return []oddity{
		{"sushy-tools", "an override lasts", func(t *testing.T, k *kind) {
			equal(t, "rest", k.State().Override.String(), "Hdd/Continuous/UEFI")
			k.want(400, "PATCH", k.sys, obj{"Boot": obj{"BootSourceOverrideEnabled": "Disabled"}})
			k.want(400, "PATCH", k.sys, boot("None"))
			k.want(204, "PATCH", k.sys, boot("Cd"))
			equal(t, "asked for once", k.State().Override.String(), "Cd/Continuous/UEFI")
			equal(t, "URI", k.want(200, "GET", k.sys, nil).body["Boot"].(obj)["HttpBootUri"], "None")
		}},
		{"sushy-tools", "images are fetched at the insert, and replaced", func(t *testing.T, k *kind) {
			slot := k.sys + "/VirtualMedia/Cd"
			k.want(502, "POST", slot+insertMe, obj{"Image": k.plain + "/missing.iso"})
			k.want(204, "POST", slot+insertMe, obj{"Image": k.plain + "/boot.img"})
			k.want(204, "POST", slot+insertMe, obj{"Image": k.plain + "/boot.iso"})
			equal(t, "image", k.State().Slots[0].Image, k.plain+"/boot.iso")
			k.want(204, "POST", slot+ejectMe, obj{})
			k.want(204, "POST", slot+ejectMe, obj{})
		}},
		{"sushy-tools", "no sessions, systems by name", func(t *testing.T, k *kind) {
			k.want(404, "GET", "/redfish/v1/SessionService", nil)
			k.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			a := k.want(307, "GET", "/redfish/v1/Systems/"+url.PathEscape(k.Name()), nil)
			equal(t, "Location", a.header.Get("Location"), k.sys)
			k.want(404, "GET", "/redfish/v1/Systems/another", nil)
		}},
	}
}
