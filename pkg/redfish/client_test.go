package redfish

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestPowerIsNeverGuessed(t *testing.T) {
	s, b := newBMC(t)
	for body, want := range map[string]PowerState{
		`{"PowerState":"On"}`: PowerOn, `{"PowerState":"off"}`: PowerOff, `{"PowerState":"PoweringOn"}`: PowerPoweringOn,
		`{"PowerState":"PoweringOff"}`: PowerPoweringOff, `{"PowerState":"Paused"}`: PowerUnknown, `{"PowerState":""}`: PowerUnknown,
		`{"PowerState":null}`: PowerUnknown, `{"PowerState":{"x":1}}`: PowerUnknown, `{}`: PowerUnknown,
		`{"error":{"code":"Base.1.8.GeneralError"}}`: PowerUnknown,
		"\xef\xbb\xbf{\"PowerState\":\"On\"}":        PowerOn,
		// one wrong type anywhere must not spoil the rest
		`{"Id":7,"UUID":["x"],"Boot":[],"Status":"OK","Actions":{"#ComputerSystem.Reset":7},"Links":{"ManagedBy":{}},"PowerState":"On","MemorySummary":{"TotalSystemMemoryGiB":"x"}}`: PowerOn,
	} {
		s.raw("/redfish/v1/Systems/1", body)
		state, err := b.State(t.Context())
		if err != nil || state.Power != want {
			t.Errorf("%s: %s, %v", body, state.Power, err)
		}
	}
	for _, body := range []string{"", "null", "[]", `"Off"`, `{"PowerState":"Off"`, `{"PowerState":"Off"} garbage`, "<html>login</html>", "\x00\x01"} {
		s.raw("/redfish/v1/Systems/1", body)
		_, err := b.State(t.Context())
		_ = wantKind(t, err, KindProtocol)
	}
}

func TestSystems(t *testing.T) {
	for name, c := range map[string]struct {
		body, id string
		kind     Kind
		says     string
	}{
		"none":              {`{"Members":[]}`, "", KindProtocol, "lists no system"},
		"null members":      {`{"Members":null}`, "", KindProtocol, "lists no system"},
		"no members":        {`{}`, "", KindProtocol, "lists no system"},
		"null and empty":    {`{"Members":[null,{},{"@odata.id":null}]}`, "", KindProtocol, "lists no system"},
		"one and a gap":     {`{"Members":[{"@odata.id":"/redfish/v1/Systems/1"},null],"Members@odata.count":2}`, "", KindProtocol, "gaps"},
		"several":           {`{"Members":[{"@odata.id":"/redfish/v1/Systems/1"},{"@odata.id":"/redfish/v1/Systems/B"}]}`, "", KindNotFound, "1, B"},
		"several, absent":   {`{"Members":[{"@odata.id":"/redfish/v1/Systems/1"},{"@odata.id":"/redfish/v1/Systems/B"}]}`, "C", KindNotFound, "1, B"},
		"several, chosen":   {`{"Members":[{"@odata.id":"/redfish/v1/Systems/A"},{"@odata.id":"/redfish/v1/Systems/1/"}]}`, "1", "", ""},
		"one, named wrong":  {`{"Members":[{"@odata.id":"/redfish/v1/Systems/1"}]}`, "x", KindNotFound, "has 1"},
		"same member twice": {`{"Members":[{"@odata.id":"/redfish/v1/Systems/1"},{"@odata.id":"/redfish/v1/Systems/1"}]}`, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, plainHTTP)
			s.raw("/redfish/v1/Systems", c.body)
			s.json("/redfish/v1/Systems/1/", systemBody())
			target := testTarget(s)
			target.SystemID = c.id
			b, _ := connect(t, target)
			_, err := b.State(t.Context())
			if c.kind == "" && name != "same member twice" {
				must(t, err)
				return
			}
			if name == "same member twice" {
				return // either reading is right, but it must not ask for a choice
			}
			if e := wantKind(t, err, c.kind); !strings.Contains(e.Message, c.says) {
				t.Error(e)
			}
		})
	}
}

func TestVanishedSystemIsFoundAgain(t *testing.T) {
	s, b := newBMC(t)
	_, err := b.State(t.Context())
	must(t, err)
	delete(s.routes, "GET /redfish/v1/Systems/1")
	_, err = b.State(t.Context())
	_ = wantKind(t, err, KindNotFound)
	s.json("/redfish/v1/Systems", doc{"Members": []any{ref("/redfish/v1/Systems/System.1")}})
	s.json("/redfish/v1/Systems/System.1", systemBody())
	_, err = b.State(t.Context())
	must(t, err)
}

// lastBody is the body of the last request.
func (s *server) lastBody() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bodies[len(s.bodies)-1]
}

func accept(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

const resetRoute = "POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset"

func TestResetPicksAnAllowedType(t *testing.T) {
	for _, c := range []struct {
		reset   ResetType
		allowed []any
		want    string
	}{
		{ResetOn, []any{"On", "ForceOn"}, "On"},
		{ResetOn, []any{"ForceOn", "ForceOff"}, "ForceOn"},
		{ResetOn, nil, "On"},
		{ResetForceOff, []any{"forceoff"}, "forceoff"},
		{ResetForceOff, []any{"On", "PowerCycle", "PushPowerButton"}, ""},
		{ResetGracefulShutdown, []any{"On", "GracefulRestart", "PushPowerButton"}, ""},
	} {
		s, b := newBMC(t)
		s.on(resetRoute, accept)
		s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"Actions": doc{"#ComputerSystem.Reset": doc{"ResetType@Redfish.AllowableValues": c.allowed}}}))
		err := b.Reset(t.Context(), c.reset)
		if c.want == "" {
			_ = wantKind(t, err, KindUnsupported)
			continue
		}
		must(t, err)
		if got := s.lastBody(); got != fmt.Sprintf(`{"ResetType":%q}`, c.want) {
			t.Errorf("%v: %s", c, got)
		}
	}
}

func TestResetTypesFromActionInfo(t *testing.T) {
	s, b := newBMC(t)
	s.on(resetRoute, accept)
	s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"Actions": doc{"#ComputerSystem.Reset": doc{"@Redfish.ActionInfo": "/redfish/v1/Systems/1/ResetActionInfo"}}}))
	s.json("/redfish/v1/Systems/1/ResetActionInfo", doc{"Parameters": []any{doc{"Name": "ResetType", "AllowableValues": []any{"ForceOn"}}}})
	must(t, b.Reset(t.Context(), ResetOn))
	_, err := b.State(t.Context())
	must(t, err)
	must(t, b.Reset(t.Context(), ResetOn))
	if n := s.count("GET /redfish/v1/Systems/1/ResetActionInfo"); n != 1 || s.lastBody() != `{"ResetType":"ForceOn"}` {
		t.Fatalf("%d readings, body %s", n, s.lastBody())
	}
}

func TestKinds(t *testing.T) {
	s, b := newBMC(t)
	for _, c := range []struct {
		status int
		id     string
		kind   Kind
	}{
		{409, "", KindConflict}, {409, "Base.1.8.ActionParameterValueConflict", KindConflict},
		{400, "iLO.2.15.InvalidOperationForSystemState", KindBusy}, // it does not say that power is so already {400, "iLO.2.15.UnableToModifyDuringSystemPOST", KindBusy},
		{400, "iLO.2.15.UnableToModifyWhileKVMIPConnected", KindBusy}, {400, "IDRAC.2.8.RAC0679", KindBusy}, {400, "IDRAC.2.8.LC068", KindBusy},
		{400, "Ami.1.0.OperationSupportedInFutureStateURI", KindUnsupported},
		{400, "", KindProtocol}, {403, "", KindUnauthorized}, {403, "SMC.1.0.OemLicenseNotPassed", KindUnsupported},
		{404, "", KindNotFound}, {405, "", KindUnsupported}, {501, "", KindUnsupported}, {503, "", KindBusy}, {500, "", KindBusy},
		{429, "", KindBusy}, {418, "", KindProtocol}, {400, "Base.1.8.PropertyNotWritable", KindUnsupported}, {400, canary, KindProtocol},
		{400, "Base.1.8." + canary, KindProtocol}, {400, "Base.1.8." + token + "-1", KindProtocol}, {304, "", KindProtocol},
	} {
		s.on(resetRoute, func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, c.status, c.id, "your password is "+canary, "token "+token)
		})
		e := wantKind(t, b.Reset(t.Context(), ResetOn), c.kind)
		if e.Status != c.status || e.LoginFailed {
			t.Errorf("%v: %+v", c, e)
		}
	}
}

func TestBootBodies(t *testing.T) {
	for _, c := range []struct {
		vendor  string
		targets []any
		want    string
	}{
		{"", []any{"None", "Cd", "UsbCd"}, `{"Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideTarget":"Cd"}}`},
		{"", []any{"None", "UsbCd"}, `{"Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideTarget":"UsbCd"}}`},
		{"", nil, `{"Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideTarget":"Cd"}}`},
		{"supermicro", nil, `{"Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideMode":"UEFI","BootSourceOverrideTarget":"UsbCd"}}`},
		{"", []any{"Pxe", "Hdd"}, ""},
	} {
		s := newServer(t, plainHTTP)
		s.on("PATCH /redfish/v1/Systems/1", accept)
		s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"Boot": doc{"BootSourceOverrideMode": "UEFI", "BootSourceOverrideTarget@Redfish.AllowableValues": c.targets}}))
		target := testTarget(s)
		target.Vendor = c.vendor
		b, _ := connect(t, target)
		err := b.SetBootOnce(t.Context(), BootCD)
		if c.want == "" {
			_ = wantKind(t, err, KindUnsupported)
			continue
		}
		must(t, err)
		if got := s.lastBody(); got != c.want {
			t.Errorf("%v: %s", c, got)
		}
		must(t, b.ClearBoot(t.Context()))
		if got := s.lastBody(); got != `{"Boot":{"BootSourceOverrideEnabled":"Disabled"}}` {
			t.Errorf("clear: %s", got)
		}
	}
}

func TestAMIWantsIfMatch(t *testing.T) {
	s, b := newBMC(t)
	var tag string
	s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"Manufacturer": "ASRockRack"}))
	s.on("PATCH /redfish/v1/Systems/1", func(w http.ResponseWriter, r *http.Request) { tag = r.Header.Get("If-Match"); accept(w, r) })
	must(t, b.SetBootOnce(t.Context(), BootCD))
	if tag != "*" {
		t.Fatalf("If-Match %q", tag)
	}
}

const (
	insertRoute = "POST /redfish/v1/Managers/1/VirtualMedia/CD1/Actions/Insert"
	slotPath    = "/redfish/v1/Managers/1/VirtualMedia/CD1"
	image       = "https://media.invalid/cAnary-token/a.iso"
)

// TestInsertGrows: a BMC that wants protocol, method and credentials gets them
// one after the other, and at once the next time.
func TestInsertGrows(t *testing.T) {
	s, b := newBMC(t)
	s.on(insertRoute, func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		for _, need := range []string{"TransferProtocolType", "TransferMethod", "UserName"} {
			if body[need] == nil {
				refuse(w, http.StatusBadRequest, "Base.1.8.ActionParameterMissing", "The action needs "+need, image)
				return
			}
		}
		accept(w, r)
	})
	must(t, b.Insert(t.Context(), "CD1", image))
	if n := s.count(insertRoute); n != 4 {
		t.Fatalf("%d inserts", n)
	}
	want := `{"Image":"` + image + `","Password":"none","TransferMethod":"Stream","TransferProtocolType":"HTTPS","UserName":"none"}`
	if got := s.lastBody(); got != want {
		t.Fatal(got)
	}
	must(t, b.Insert(t.Context(), "CD1", image))
	if n := s.count(insertRoute); n != 5 {
		t.Fatalf("the body was not remembered: %d inserts", n)
	}
}

func TestInsertStartsSmallAndStaysSo(t *testing.T) {
	s, b := newBMC(t)
	s.on(insertRoute, accept)
	must(t, b.Insert(t.Context(), "CD1", image))
	if got := s.lastBody(); got != `{"Image":"`+image+`"}` {
		t.Fatal(got)
	}
	for _, status := range []int{400, 409, 500, 503} {
		s.on(insertRoute, func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, status, "Base.1.8.GeneralError", "the medium cannot be inserted", image)
		})
		s.requests()
		if err := b.Insert(t.Context(), "CD1", image); err == nil || strings.Contains(err.Error(), "cAnary") || len(s.requests()) != 1 {
			t.Fatalf("%d: %v", status, err)
		}
	}
}

func TestSlotWithoutAction(t *testing.T) {
	s, b := newBMC(t)
	serve := func(allow string) {
		s.on("GET "+slotPath, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", allow)
			_ = json.NewEncoder(w).Encode(doc{"MediaTypes": []any{"CD", nil, 7}, "Inserted": "true", "Actions": nil})
		})
	}
	serve("GET, HEAD")
	slots, err := b.Slots(t.Context())
	must(t, err)
	if len(slots) != 1 || slots[0].CanInsert || !slots[0].Inserted || slots[0].Empty() || !slots[0].Bootable() {
		t.Fatalf("%+v", slots)
	}
	_ = wantKind(t, b.Insert(t.Context(), "CD1", image), KindUnsupported)
	serve("GET, PATCH")
	_, err = b.Slots(t.Context())
	must(t, err)
	s.on("PATCH "+slotPath, accept)
	// The second reading changed the slot's form: a new client sees it.
	b, _ = connect(t, testTarget(s))
	must(t, b.Insert(t.Context(), "CD1", image))
	if got := s.lastBody(); got != `{"Image":"`+image+`","Inserted":true}` {
		t.Fatal(got)
	}
	must(t, b.Eject(t.Context(), "CD1"))
	if got := s.lastBody(); got != `{"Image":null,"Inserted":false}` {
		t.Fatal(got)
	}
}

func TestSlotsCostOneReadEach(t *testing.T) {
	s, b := newBMC(t)
	_, err := b.Slots(t.Context())
	must(t, err)
	s.requests()
	_, err = b.Slots(t.Context())
	must(t, err)
	if got := s.requests(); !slices.Equal(got, []string{"GET " + slotPath}) {
		t.Fatalf("%q", got)
	}
}

func TestSystemSlotsComeFirst(t *testing.T) {
	s, b := newBMC(t)
	s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"VirtualMedia": ref("/redfish/v1/Systems/1/VirtualMedia")}))
	s.json("/redfish/v1/Systems/1/VirtualMedia", doc{"Members": []any{ref("/redfish/v1/Systems/1/VirtualMedia/9")}})
	s.json("/redfish/v1/Systems/1/VirtualMedia/9", doc{"MediaTypes": []any{"DVD"}, "Actions": doc{"#VirtualMedia.InsertMedia": doc{"target": "/redfish/v1/x"}}})
	slots, err := b.Slots(t.Context())
	must(t, err)
	if len(slots) != 1 || slots[0].ID != "9" {
		t.Fatalf("%+v", slots)
	}
	s.json("/redfish/v1/Systems/1/VirtualMedia", doc{"Members": []any{}})
	b, _ = connect(t, testTarget(s))
	slots, err = b.Slots(t.Context())
	must(t, err)
	if len(slots) != 1 || slots[0].ID != "CD1" {
		t.Fatalf("%+v", slots)
	}
}

func TestMovedSlotsAreFoundAgain(t *testing.T) {
	s, b := newBMC(t)
	_, err := b.Slots(t.Context())
	must(t, err)
	s.json("/redfish/v1/Managers/1/VirtualMedia", doc{"Members": []any{ref("/redfish/v1/Managers/1/VirtualMedia/2")}})
	s.json("/redfish/v1/Managers/1/VirtualMedia/2", doc{"MediaTypes": []any{"CD"}})
	delete(s.routes, "GET "+slotPath)
	_, err = b.Slots(t.Context())
	_ = wantKind(t, err, KindNotFound)
	slots, err := b.Slots(t.Context())
	must(t, err)
	if slots[0].ID != "2" {
		t.Fatalf("%+v", slots)
	}
}

func TestEndedContext(t *testing.T) {
	s, b := newBMC(t)
	_, err := b.State(t.Context())
	must(t, err)
	entered, release := make(chan struct{}), make(chan struct{})
	s.on("GET /redfish/v1/Systems/1", func(http.ResponseWriter, *http.Request) { close(entered); <-release })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	_, err = b.State(ctx)
	_ = wantKind(t, err, KindCanceled)
	close(release)
}
