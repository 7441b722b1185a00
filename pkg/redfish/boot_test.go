package redfish

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const (
	systemPatch   = "PATCH /redfish/v1/Systems/1"
	settingsRoute = "/redfish/v1/Systems/1/Settings"
)

// settings makes the system take its override in the pending settings only.
func settings(s *server) {
	s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"@Redfish.Settings": doc{"SettingsObject": ref(settingsRoute)}}))
	s.json(settingsRoute, doc{"Boot": doc{"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None"}})
	s.on(systemPatch, func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusBadRequest, "Base.1.8.PropertyNotWritable", "The property BootSourceOverrideEnabled is read only")
	})
	s.on("PATCH "+settingsRoute, func(w http.ResponseWriter, r *http.Request) {
		var in doc
		_ = json.NewDecoder(r.Body).Decode(&in)
		s.json(settingsRoute, in)
		accept(w, r)
	})
}

// TestPendingBoot: the override goes to the settings, is read there until it is
// out again, and costs nothing after that.
func TestPendingBoot(t *testing.T) {
	s, b := newBMC(t)
	settings(s)
	must(t, b.SetBootOnce(t.Context(), BootCD))
	state, err := b.State(t.Context())
	must(t, err)
	if !state.Boot.ArmedFrom(BootCD) {
		t.Fatalf("%+v", state.Boot)
	}
	must(t, b.ClearBoot(t.Context()))
	state, err = b.State(t.Context())
	must(t, err)
	if state.Boot.Armed() {
		t.Fatalf("%+v", state.Boot)
	}
	s.requests()
	_, err = b.State(t.Context())
	must(t, err)
	if got := s.requests(); len(got) != 1 {
		t.Fatalf("a poll costs %q", got)
	}
	if got := b.Learned().BootPlace; got != "settings" {
		t.Fatalf("learned %q", got)
	}
}

// TestSettingsWithoutBoot: settings are used only where they hold the override.
func TestSettingsWithoutBoot(t *testing.T) {
	s := newServer(t, plainHTTP)
	settings(s)
	s.json(settingsRoute, doc{"Id": "Settings"})
	s.on(systemPatch, accept)
	target := testTarget(s)
	target.Vendor = "nokia"
	b, _ := connect(t, target)
	must(t, b.SetBootOnce(t.Context(), BootCD))
	if n := s.count(systemPatch); n != 1 {
		t.Fatalf("%q", s.requests())
	}
}

// TestTargetsFromSettings: iDRAC 10 lists what it allows in the settings.
func TestTargetsFromSettings(t *testing.T) {
	s := newServer(t, plainHTTP)
	settings(s)
	body := with(systemBody(), doc{"Manufacturer": "Dell Inc.", "Boot": doc{"BootSourceOverrideEnabled": "Disabled"}, "@Redfish.Settings": doc{"SettingsObject": ref(settingsRoute)}})
	s.json("/redfish/v1/Systems/1", body)
	s.json(settingsRoute, doc{"Boot": doc{"BootSourceOverrideTarget@Redfish.AllowableValues": []any{"None", "UsbCd"}}})
	s.json("/redfish/v1/Managers/1", doc{"Id": "1", "Model": "17G Monolithic", "FirmwareVersion": "1.20.50.50", "VirtualMedia": ref("/redfish/v1/Managers/1/VirtualMedia")})
	b, _ := connect(t, testTarget(s))
	id, err := b.Identify(t.Context())
	must(t, err)
	if id.Vendor != "dell-idrac10" || strings.Join(id.BootTargets, " ") != "None UsbCd" {
		t.Fatalf("%+v", id)
	}
	must(t, b.SetBootOnce(t.Context(), BootCD))
	if got := s.lastBody(); !strings.Contains(got, "UsbCd") {
		t.Fatal(got)
	}
}

// TestDellVirtualCD: on older iDRACs Cd is the drive in the server.
func TestDellVirtualCD(t *testing.T) {
	const attributes = "/redfish/v1/Managers/1/Attributes"
	s := newServer(t, plainHTTP)
	s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"Manufacturer": "Dell Inc."}))
	s.json("/redfish/v1/Managers/1", doc{"Id": "1", "Model": "14G Monolithic", "FirmwareVersion": "5.10.00.00", "VirtualMedia": ref("/redfish/v1/Managers/1/VirtualMedia")})
	s.json(attributes, doc{"Attributes": doc{dellDevice: "Normal", dellOnce: "Disabled"}})
	s.on("PATCH "+attributes, func(w http.ResponseWriter, r *http.Request) {
		var in doc
		_ = json.NewDecoder(r.Body).Decode(&in)
		s.json(attributes, in)
		accept(w, r)
	})
	b, _ := connect(t, testTarget(s))
	must(t, b.SetBootOnce(t.Context(), BootCD))
	state, err := b.State(t.Context())
	must(t, err)
	if s.count(systemPatch) != 0 || !state.Boot.ArmedFrom(BootCD) {
		t.Fatalf("%+v", state.Boot)
	}
	must(t, b.ClearBoot(t.Context()))
	if state, err = b.State(t.Context()); err != nil || state.Boot.Armed() {
		t.Fatalf("%+v, %v", state.Boot, err)
	}
	// An override on the system itself is cleared there.
	s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"Manufacturer": "Dell Inc.", "Boot": doc{"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe"}}))
	s.on(systemPatch, accept)
	_, err = b.State(t.Context())
	must(t, err)
	must(t, b.ClearBoot(t.Context()))
	if s.count(systemPatch) != 1 {
		t.Fatalf("%q", s.requests())
	}
}

// TestDellWithoutAttributes: what is not there is not insisted on.
func TestDellWithoutAttributes(t *testing.T) {
	s := newServer(t, plainHTTP)
	s.on(systemPatch, accept)
	target := testTarget(s)
	target.Vendor = "dell-idrac8"
	b, _ := connect(t, target)
	must(t, b.SetBootOnce(t.Context(), BootCD))
	if got := b.Learned().BootPlace; s.count(systemPatch) != 1 || got != "system" {
		t.Fatalf("%q, learned %q", s.requests(), got)
	}
}

func TestFullBootBody(t *testing.T) {
	s := newServer(t, plainHTTP)
	s.json("/redfish/v1/Systems/1/SD", doc{"Boot": doc{"BootSourceOverrideTarget": "None"}})
	s.on("PATCH /redfish/v1/Systems/1/SD", accept)
	target := testTarget(s)
	target.Vendor = "asrockrack"
	b, _ := connect(t, target)
	must(t, b.SetBootOnce(t.Context(), BootCD))
	if got := s.lastBody(); got != `{"Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideMode":"UEFI","BootSourceOverrideTarget":"Cd"}}` {
		t.Fatal(got)
	}
	must(t, b.ClearBoot(t.Context()))
	if got := s.lastBody(); got != `{"Boot":{"BootSourceOverrideEnabled":"Disabled","BootSourceOverrideMode":"UEFI","BootSourceOverrideTarget":"None"}}` {
		t.Fatal(got)
	}
}

// TestRefusedMode: a BMC that does not let the mode be set gets none, now and
// later; one that misses it gets it.
func TestRefusedMode(t *testing.T) {
	for vendor, c := range map[string]struct{ id, want string }{
		"supermicro": {"Base.1.8.PropertyNotWritable", "omitted"},
		"generic":    {"Base.1.8.PropertyMissing", "UEFI"},
	} {
		s := newServer(t, plainHTTP)
		refused := 0
		s.on(systemPatch, func(w http.ResponseWriter, r *http.Request) {
			var in struct{ Boot map[string]string }
			_ = json.NewDecoder(r.Body).Decode(&in)
			if (in.Boot["BootSourceOverrideMode"] == "") != (c.want == "omitted") {
				refused++
				refuse(w, http.StatusBadRequest, c.id, "BootSourceOverrideMode")
				return
			}
			accept(w, r)
		})
		target := testTarget(s)
		target.Vendor = vendor
		b, _ := connect(t, target)
		for range 2 {
			must(t, b.SetBootOnce(t.Context(), BootCD))
			s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"Boot": doc{"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Cd", "BootSourceOverrideMode": "UEFI"}}))
			_, err := b.State(t.Context())
			must(t, err)
		}
		if got := b.Learned().BootMode; refused != 1 || got != c.want {
			t.Errorf("%s: refused %d times, learned %q", vendor, refused, got)
		}
	}
}

// TestSilentNoOp: a form that was taken and did nothing is not sent again before
// the others; the one that works is kept.
func TestSilentNoOp(t *testing.T) {
	s := newServer(t, plainHTTP)
	var seen []string
	s.on(systemPatch, func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Boot map[string]string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		seen = append(seen, in.Boot["BootSourceOverrideTarget"]+"/"+in.Boot["BootSourceOverrideMode"])
		if in.Boot["BootSourceOverrideTarget"] == "Cd" && in.Boot["BootSourceOverrideMode"] == "" {
			s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"Boot": in.Boot}))
		}
		accept(w, r)
	})
	s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"Boot": doc{"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideMode": "UEFI"}}))
	target := testTarget(s)
	target.Vendor = "supermicro"
	b, _ := connect(t, target)
	for try := 0; ; try++ {
		must(t, b.SetBootOnce(t.Context(), BootCD))
		state, err := b.State(t.Context())
		must(t, err)
		if state.Boot.ArmedFrom(BootCD) {
			break
		}
		if try > 5 {
			t.Fatalf("%q", seen)
		}
	}
	if got := fmt.Sprint(seen); got != "[UsbCd/UEFI Cd/UEFI UsbCd/ Cd/]" {
		t.Fatal(got)
	}
	must(t, b.SetBootOnce(t.Context(), BootCD))
	if l := b.Learned(); seen[len(seen)-1] != "Cd/" || l.BootTarget != "Cd" || l.BootMode != "omitted" {
		t.Fatalf("%q, %+v", seen, l)
	}
}

// TestSilentDowngrade: UEFI was asked for, Legacy came: not what was ordered.
func TestSilentDowngrade(t *testing.T) {
	s := newServer(t, plainHTTP)
	s.on(systemPatch, func(w http.ResponseWriter, r *http.Request) {
		s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"Boot": doc{"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "UsbCd", "BootSourceOverrideMode": "Legacy"}}))
		accept(w, r)
	})
	target := testTarget(s)
	target.Vendor = "supermicro-x12"
	b, _ := connect(t, target)
	must(t, b.SetBootOnce(t.Context(), BootCD))
	for range 2 {
		state, err := b.State(t.Context())
		must(t, err)
		if !state.Boot.Downgraded || state.Boot.ArmedFrom(BootCD) || !state.Boot.Armed() {
			t.Fatalf("%+v", state.Boot)
		}
	}
	var modes []bool
	for range 4 { // Legacy it is, in the end: there is no other way to boot
		must(t, b.SetBootOnce(t.Context(), BootCD))
		modes = append(modes, strings.Contains(s.lastBody(), "UEFI"))
		state, err := b.State(t.Context())
		must(t, err)
		if state.Boot.ArmedFrom(BootCD) {
			if modes[len(modes)-1] {
				t.Fatal("a downgrade was taken for what was asked")
			}
			return
		}
	}
	t.Fatalf("never without a mode: %v", modes)
}

// TestTargetNotInList: the word is refused, the next one is taken.
func TestTargetNotInList(t *testing.T) {
	s, b := newBMC(t)
	s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"Boot": doc{}}))
	s.on(systemPatch, func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Boot map[string]string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		if in.Boot["BootSourceOverrideTarget"] != "UsbCd" {
			refuse(w, http.StatusBadRequest, "Base.1.8.PropertyValueNotInList", "The value Cd for BootSourceOverrideTarget is not in the list")
			return
		}
		accept(w, r)
	})
	must(t, b.SetBootOnce(t.Context(), BootCD))
	if n := s.count(systemPatch); n != 2 {
		t.Fatalf("%d requests", n)
	}
}

// TestBootIsNotRepeatedBlindly: whatever does not say that nothing was done, and
// what to do instead, is an answer.
func TestBootIsNotRepeatedBlindly(t *testing.T) {
	for _, c := range []struct {
		status int
		id     string
	}{{500, "Base.1.8.InternalError"}, {503, "Base.1.8.PropertyNotWritable"}, {400, "iLO.2.15.UnableToModifyDuringSystemPOST"}, {409, "Base.1.8.ResourceInUse"}, {400, "Base.1.8.GeneralError"}} {
		s := newServer(t, plainHTTP)
		settings(s)
		s.on(systemPatch, func(w http.ResponseWriter, _ *http.Request) { refuse(w, c.status, c.id, "BootSourceOverrideMode") })
		b, _ := connect(t, testTarget(s))
		if err := b.SetBootOnce(t.Context(), BootCD); err == nil || s.count(systemPatch) != 1 {
			t.Errorf("%v: %v, %q", c, err, s.requests())
		}
	}
}

// TestBusyComesFirst: a BMC in self-test that also complains of a member is asked
// again later, not otherwise.
func TestBusyComesFirst(t *testing.T) {
	s, b := newBMC(t)
	settings(s)
	s.on(systemPatch, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":{"@Message.ExtendedInfo":[{"MessageId":"iLO.2.15.UnableToModifyDuringSystemPOST"},` +
			`{"MessageId":"Base.1.8.PropertyNotWritable","MessageArgs":["BootSourceOverrideEnabled"]}]}}`))
	})
	_ = wantKind(t, b.SetBootOnce(t.Context(), BootCD), KindBusy)
	if s.count("PATCH "+settingsRoute) != 0 {
		t.Fatalf("%q", s.requests())
	}
}

// TestOnComesTooSoon: a conflict with a server that is off means later, with one
// that is on it means already.
func TestOnComesTooSoon(t *testing.T) {
	for power, kind := range map[string]Kind{"Off": KindBusy, "On": KindConflict} {
		s := newServer(t, plainHTTP)
		s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"PowerState": power}))
		s.on(resetRoute, func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, http.StatusConflict, "Base.1.18.ActionParameterValueConflict")
		})
		target := testTarget(s)
		target.Vendor = "dell-idrac10"
		b, _ := connect(t, target)
		_, err := b.State(t.Context())
		must(t, err)
		err = b.Reset(t.Context(), ResetOn)
		_ = wantKind(t, err, kind)
		if after, asked := RetryAfter(err); asked != (kind == KindBusy) || asked && after != lateOn {
			t.Errorf("%s: come back in %s", power, after)
		}
		_ = wantKind(t, b.Reset(t.Context(), ResetForceOff), KindConflict)
	}
}

// TestModeWhereAnotherIsPublished: bmcweb gets UEFI only where it shows Legacy,
// and none where it refuses it.
func TestModeWhereAnotherIsPublished(t *testing.T) {
	for published, want := range map[string]bool{"Legacy": true, "UEFI": false, "": false} {
		s, b := vendorBMC(t, "openbmc")
		s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"Boot": doc{"BootSourceOverrideMode": published}}))
		s.on(systemPatch, func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(s.lastBody(), "Mode") {
				refuse(w, http.StatusBadRequest, "Base.1.8.PropertyNotWritable", "BootSourceOverrideMode")
				return
			}
			accept(w, r)
		})
		_, err := b.State(t.Context())
		must(t, err)
		must(t, b.SetBootOnce(t.Context(), BootCD))
		if n := s.count(systemPatch); (n == 2) != want {
			t.Errorf("%q: %d requests", published, n)
		}
	}
}

// TestNotReadyForPower: the same message says that power is so already, and that
// the BMC is not ready.
func TestNotReadyForPower(t *testing.T) {
	for words, kind := range map[string]Kind{"Power is off": KindConflict, "Not ready": KindBusy, "": KindBusy} {
		s, b := newBMC(t)
		s.on(resetRoute, func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, http.StatusBadRequest, "iLO.2.15.InvalidOperationForSystemState", words)
		})
		for _, reset := range []ResetType{ResetOn, ResetForceOff, ResetGracefulShutdown} {
			err := b.Reset(t.Context(), reset)
			_ = wantKind(t, err, kind)
			if after, _ := RetryAfter(err); (after == notReady) != (kind == KindBusy) {
				t.Errorf("%s, %s: come back in %s", words, reset, after)
			}
		}
	}
}
