package redfish

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// What captures of BMCs and reports of their users say, where it is not what the specification leads one to expect. Each test names its source.

// Supermicro SYS-821GE-TNHR (X13), BMC 11.01.01: libredfish tests/mockups/supermicro. An empty slot has InsertMedia only.
func TestTheEjectActionComesWithTheMedium(t *testing.T) {
	s := newServer(t, plainHTTP)
	s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"Manufacturer": "Supermicro", "Model": "SYS-821GE-TNHR"}))
	var mu sync.Mutex
	inserted := ""
	s.on("GET "+mediaPath+"/CD1", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		d := doc{"Id": "CD1", "MediaTypes": []any{"CD", "DVD"}, "Inserted": false, "Image": nil, "ConnectedVia": "NotConnected",
			"Actions": doc{"Oem": doc{}, "#VirtualMedia.InsertMedia": doc{"target": strings.TrimPrefix(insertRoute, "POST ")}}}
		if inserted != "" {
			d = doc{"Id": "CD1", "MediaTypes": []any{"CD", "DVD"}, "Inserted": true, "Image": inserted, "ConnectedVia": "URI",
				"Actions": doc{"Oem": doc{}, "#VirtualMedia.EjectMedia": doc{"target": strings.TrimPrefix(ejectRoute, "POST ")}}}
		}
		_ = json.NewEncoder(w).Encode(d)
	})
	s.on(insertRoute, func(w http.ResponseWriter, r *http.Request) { mu.Lock(); inserted = image; mu.Unlock(); accept(w, r) })
	s.on(ejectRoute, func(w http.ResponseWriter, r *http.Request) { mu.Lock(); inserted = ""; mu.Unlock(); accept(w, r) })
	s.on("PATCH "+mediaPath+"/CD1", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusMethodNotAllowed, "Base.1.8.OperationNotAllowed")
	})
	b, _ := connect(t, testTarget(s))
	if _, err := b.Slots(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(t, b.Insert(t.Context(), "CD1", image))
	if slot := theSlot(t, b); !slot.Inserted {
		t.Fatal("not in")
	}
	s.requests()
	if err := b.Eject(t.Context(), "CD1"); err != nil {
		t.Errorf("the medium stays in for ever: %v; requests %v", err, s.requests())
	}
	_ = theSlot(t, b)
	if err := b.Eject(t.Context(), "CD1"); err != nil {
		t.Errorf("also after the slot was read again: %v", err)
	}
}

// Gigabyte H262-Z63, MegaRAC 12.84.13: csm-redfish-interface-emulator mockups/Gigabyte.
func TestAnImageCalledNoneIsNone(t *testing.T) {
	s := newServer(t, plainHTTP)
	s.json("/redfish/v1/", doc{"Vendor": "AMI", "Product": "AMI Redfish Server", "Systems": ref("/redfish/v1/Systems"), "Managers": ref("/redfish/v1/Managers"), "Links": doc{"Sessions": ref(sessionsPath)}})
	s.json(mediaPath+"/CD1", doc{"@odata.type": "#VirtualMedia.v1_3_1.VirtualMedia", "Id": "CD1", "Image": "None", "ImageName": "None", "Inserted": false,
		"ConnectedVia": "NotConnected", "WriteProtected": false, "Actions": doc{
			"#VirtualMedia.InsertMedia": doc{"target": strings.TrimPrefix(insertRoute, "POST ")},
			"#VirtualMedia.EjectMedia":  doc{"target": strings.TrimPrefix(ejectRoute, "POST ")}}})
	b, _ := connect(t, testTarget(s))
	if slot := theSlot(t, b); !slot.Empty() {
		t.Errorf("an empty slot is taken for a full one: %+v", slot)
	}
	id, err := b.Identify(t.Context())
	must(t, err)
	for _, p := range id.Problems {
		if strings.Contains(p, "cannot be booted from an ISO") {
			t.Errorf("problem told, though bootmedia.Plan takes a slot without types for a CD: %s", p)
		}
	}
}

// sushy system.py, _supermicro_models_cd_vmedia: on ARS-111GL-NHR both words are offered, only Cd boots.
func TestArmBoardsOfSupermicroBootFromCd(t *testing.T) {
	s := newServer(t, plainHTTP)
	body := systemBody()
	body["Boot"] = doc{"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None", "BootSourceOverrideMode": "UEFI",
		"BootSourceOverrideTarget@Redfish.AllowableValues": []any{"None", "Pxe", "Cd", "UsbCd", "Hdd"}}
	s.json("/redfish/v1/Systems/1", with(body, doc{"Manufacturer": "Supermicro", "Model": "ARS-111GL-NHR"}))
	var sent string
	s.on(systemPatch, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		sent = string(b)
		accept(w, r)
	})
	b, _ := connect(t, testTarget(s))
	must(t, b.SetBootOnce(t.Context(), BootCD))
	if !strings.Contains(sent, `"Cd"`) {
		t.Errorf("sent %s", sent)
	}
}

// A real X10 (X10SDV, BMC 4.0; redfish_ctl tests/supermicro_x10_fixtures): Model "Super Server", manager "ASPEED", no mode published.
// metal-operator: such boards "reject the whole PATCH when it's included".
func TestAModeIsSentWhereOneIsPublished(t *testing.T) {
	s := newServer(t, plainHTTP)
	body := systemBody()
	body["Boot"] = doc{"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None",
		"BootSourceOverrideTarget@Redfish.AllowableValues": []any{"None", "Pxe", "Hdd", "Diags", "CD/DVD", "BiosSetup", "UsbCd", "UefiCd", "UefiUsbCd"}}
	s.json("/redfish/v1/Systems/1", with(body, doc{"Manufacturer": "Supermicro", "Model": "Super Server"}))
	s.json("/redfish/v1/Managers/1", doc{"Id": "1", "Model": "ASPEED", "FirmwareVersion": "4.0", "VirtualMedia": ref(mediaPath)})
	var bodies []string
	s.on(systemPatch, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(raw))
		if strings.Contains(string(raw), "Mode") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		accept(w, r)
	})
	b, _ := connect(t, testTarget(s))
	var err error
	for range 3 {
		err = b.SetBootOnce(t.Context(), BootCD)
	}
	if err != nil {
		t.Errorf("%v; sent %v", err, bodies)
	}
	id, err := b.Identify(t.Context())
	must(t, err)
	if id.Vendor != "supermicro-x10" {
		t.Errorf("row %s", id.Vendor)
	}
}

// iDRAC 7.10.30 (libredfish dell_multi_dpu; sushy settings-body-bootsourceoverridemode-only): the settings have a Boot, without target.
func TestSettingsWithoutATargetHoldNoOverride(t *testing.T) {
	s := newServer(t, plainHTTP)
	s.json("/redfish/v1/", doc{"Vendor": "Dell", "Product": "Integrated Dell Remote Access Controller", "Systems": ref("/redfish/v1/Systems"), "Managers": ref("/redfish/v1/Managers"), "Links": doc{"Sessions": ref(sessionsPath)}})
	s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"@Redfish.Settings": doc{"SettingsObject": ref("/redfish/v1/Systems/1/Settings")}}))
	s.json("/redfish/v1/Managers/1", doc{"Id": "1", "Model": "17G Monolithic", "FirmwareVersion": "1.20.25.00", "VirtualMedia": ref(mediaPath)})
	s.json("/redfish/v1/Systems/1/Settings", doc{"Id": "1", "Boot": doc{"BootOrder": []any{}, "BootSourceOverrideMode": nil, "UefiTargetBootSourceOverride": nil, "StopBootOnFault": nil}})
	s.on("PATCH /redfish/v1/Systems/1/Settings", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusBadRequest, "Base.1.18.PropertyUnknown", "BootSourceOverrideTarget")
	})
	s.on(systemPatch, accept)
	b, _ := connect(t, testTarget(s))
	var err error
	for range 3 {
		err = b.SetBootOnce(t.Context(), BootCD)
	}
	if err != nil {
		t.Errorf("%v; requests %v", err, s.requests())
	}
}

// A full session table on a BMC whose basic auth is switched off (iDRAC, iLO, bmcweb can) is no wrong password.
func TestAFullSessionTableIsNoWrongPassword(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter){
		"RAC0218":           func(w http.ResponseWriter) { refuse(w, http.StatusServiceUnavailable, "IDRAC.2.8.RAC0218") },
		"limit":             func(w http.ResponseWriter) { refuse(w, http.StatusServiceUnavailable, "Base.1.8.SessionLimitExceeded") },
		"500 when starting": func(w http.ResponseWriter) { refuse(w, http.StatusInternalServerError, "Base.1.8.InternalError") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, plainHTTP)
			s.on("POST "+sessionsPath, func(w http.ResponseWriter, _ *http.Request) { answer(w) })
			s.password = "basic auth is off"
			b, _ := connect(t, testTarget(s))
			_, err := b.State(t.Context())
			if LoginFailed(err) || KindOf(err) != KindBusy {
				t.Errorf("kind %s, login failed %t: %v", KindOf(err), LoginFailed(err), err)
			}
		})
	}
}

// H3C HDM 3.57 (idrac_exporter #204), older iLO, iDRAC 7/8, X10: TLS 1.2 with RSA key exchange only.
func TestRSAKeyExchangeNeedsConsent(t *testing.T) {
	s := newServer(t, func(h http.Handler) *httptest.Server {
		srv := httptest.NewUnstartedServer(h)
		srv.TLS = &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_AES_128_GCM_SHA256}}
		srv.StartTLS()
		return srv
	})
	target := testTarget(s)
	target.InsecureSkipVerify = true
	b, _ := connect(t, target)
	if _, err := b.State(t.Context()); err == nil || !strings.Contains(err.Error(), "allowOldTLS") {
		t.Errorf("kind %s: %v", KindOf(err), err)
	}
	target.AllowOldTLS = true
	b, _ = connect(t, target)
	if _, err := b.State(t.Context()); err != nil {
		t.Errorf("kind %s: %v", KindOf(err), err)
	}
}

// What guard.go has words for never comes: a remote alert is no tls.AlertError.
func TestOldTLSIsToldAsSuch(t *testing.T) {
	s := newServer(t, func(h http.Handler) *httptest.Server {
		srv := httptest.NewUnstartedServer(h)
		srv.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		srv.StartTLS()
		return srv
	})
	target := testTarget(s)
	target.InsecureSkipVerify = true
	b, _ := connect(t, target)
	_, err := b.State(t.Context())
	if err == nil || !strings.Contains(err.Error(), "TLS") {
		t.Errorf("kind %s: %v", KindOf(err), err)
	}
}

// kubevirtbmc/kubevirtbmc#176: the actions are there, and their targets are not.
func TestAMediaActionWithoutATargetIsFoundWhereTheSpecificationHasIt(t *testing.T) {
	s, b := newBMC(t)
	const slot = "/redfish/v1/Managers/1/VirtualMedia/CD1"
	s.json(slot, doc{"Id": "CD1", "MediaTypes": []any{"CD", "DVD"}, "Inserted": false, "ConnectedVia": "NotConnected",
		"Actions": doc{"#VirtualMedia.InsertMedia": doc{}, "#VirtualMedia.EjectMedia": doc{}}})
	s.on("POST "+slot+"/Actions/VirtualMedia.InsertMedia", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	err := b.Insert(t.Context(), "CD1", "https://192.0.2.1/m/x/boot.iso")
	if err != nil {
		t.Errorf("%v: the specification says where the action is", err)
	}
}

// Nothing runs beside the gate: what a rotation of credentials leaves behind is ended by the next call itself.
func TestTheOldSessionEndsWithinTheFirstCallOfTheNewOne(t *testing.T) {
	s := newServer(t, plainHTTP)
	pool := NewPool(Options{})
	t.Cleanup(func() { _ = pool.Close(t.Context()) })
	target := testTarget(s)
	call := func() {
		b, err := pool.BMC(target)
		must(t, err)
		_, err = b.State(t.Context())
		must(t, err)
	}
	call()
	s.mu.Lock()
	s.password = "other"
	s.mu.Unlock()
	target.Password = "other"
	s.requests()
	call()
	ended := slices.ContainsFunc(s.requests(), func(r string) bool { return strings.HasPrefix(r, "DELETE "+sessionsPath) })
	if !ended {
		t.Error("the old session was not ended by the time that the call with the new credentials returned")
	}
}

// sushy-tools (capture sushy-tools-libvirt) knows no override but a lasting one: Continuous is shown whatever was asked, and what is
// only to be disabled is answered with 500. It rests at the disk.
func TestALastingOverrideRestsAtTheDisk(t *testing.T) {
	s := newServer(t, plainHTTP)
	show := func(target string) {
		s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"Boot": doc{"BootSourceOverrideEnabled": "Continuous", "BootSourceOverrideTarget": target,
			"BootSourceOverrideMode": "UEFI", "BootSourceOverrideTarget@Redfish.AllowableValues": []any{"Pxe", "Cd", "Hdd", "UefiHttp"}}}))
	}
	show("Hdd")
	s.on(systemPatch, func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Boot map[string]string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		target := in.Boot["BootSourceOverrideTarget"]
		if target == "" || target == "None" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		show(target)
		accept(w, r)
	})
	b, _ := connect(t, testTarget(s))
	boot := func() BootOverride {
		t.Helper()
		state, err := b.State(t.Context())
		must(t, err)
		return state.Boot
	}
	if boot().Armed() {
		t.Fatalf("at rest, and armed: %+v", boot())
	}
	must(t, b.SetBootOnce(t.Context(), BootCD))
	if o := boot(); !o.ArmedFrom(BootCD) || !o.Lasting() {
		t.Fatalf("armed: %+v", o)
	}
	must(t, b.ClearBoot(t.Context()))
	if o := boot(); o.Armed() {
		t.Fatalf("cleared: %+v", o)
	}
	must(t, b.SetBootOnce(t.Context(), BootCD))
	_ = boot()
	s.requests()
	must(t, b.ClearBoot(t.Context()))
	if n := s.count(systemPatch); n != 1 {
		t.Errorf("%d requests to clear what is known to be cleared by its target", n)
	}
}

// sushy-tools-libvirt: the image is fetched before the insert is answered, and 502 says that it could not be.
func TestAnInsertThatFailsWithinSaysWhatToReach(t *testing.T) {
	for _, status := range []int{http.StatusInternalServerError, http.StatusBadGateway} {
		s, b := newBMC(t)
		s.on(insertRoute, func(w http.ResponseWriter, _ *http.Request) { refuse(w, status, "Base.1.0.GeneralError") })
		err := b.Insert(t.Context(), "CD1", image)
		if KindOf(err) != KindBusy || !strings.Contains(err.Error(), "reaches the media URL and trusts its certificate") {
			t.Errorf("%d: %v", status, err)
		}
	}
}
