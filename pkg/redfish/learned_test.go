package redfish

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestRestartDoesNotLearnAgain: a new process that is given what was learned
// sends the form that worked at once and looks for nothing.
func TestRestartDoesNotLearnAgain(t *testing.T) {
	s := newServer(t, plainHTTP)
	settings(s)
	s.on(insertRoute, wanting("TransferProtocolType", "TransferMethod"))
	target := testTarget(s)
	first, _ := connect(t, target)
	_, err := first.Identify(t.Context())
	must(t, err)
	must(t, first.Insert(t.Context(), "CD1", image))
	must(t, first.SetBootOnce(t.Context(), BootCD))
	raw, err := json.Marshal(first.Learned())
	must(t, err)
	must(t, json.Unmarshal(raw, &target.Learned))
	if target.Learned != first.Learned() {
		t.Fatalf("%s", raw)
	}
	target.Learned.Session = ""
	s.requests()
	second, _ := connect(t, target)
	_, err = second.State(t.Context())
	must(t, err)
	must(t, second.Insert(t.Context(), "CD1", image))
	must(t, second.SetBootOnce(t.Context(), BootCD))
	got := s.requests()
	changes := slices.DeleteFunc(slices.Clone(got), func(r string) bool { return strings.HasPrefix(r, "GET") })
	if want := []string{sessionsRoute, insertRoute, "PATCH /redfish/v1/Systems/1/Settings"}; !slices.Equal(changes, want) {
		t.Fatalf("%q", changes)
	}
	for _, r := range got {
		if r == "GET /redfish/v1/Systems" || r == "GET /redfish/v1/Managers/1" {
			t.Errorf("looked for what it knew: %s", r)
		}
	}
}

// wanting is an insert action that wants the members.
func wanting(names ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		for _, name := range names {
			if body[name] == nil {
				refuse(w, http.StatusBadRequest, "Base.1.8.ActionParameterMissing", "The action needs "+name)
				return
			}
		}
		accept(w, r)
	}
}

// TestLearnedIsNotTrusted: whatever stands in it, requests go to the BMC, and
// what is not known is left out.
func TestLearnedIsNotTrusted(t *testing.T) {
	s := newServer(t, plainHTTP)
	s.on(insertRoute, accept)
	s.on("PATCH /redfish/v1/Systems/1", accept)
	target := testTarget(s)
	target.Learned = Learned{
		Vendor: "nobody", System: "https://evil/redfish/v1/Systems/1", Manager: "@evil", Media: "//evil/redfish", Insert: "Image,x",
		Eject: "x", BootTarget: "Pxe", BootMode: "x", BootPlace: "x", IfMatch: "x", Session: "https://evil/redfish/v1/S/1 2026",
	}
	b, _ := connect(t, target)
	_, err := b.Identify(t.Context())
	must(t, err)
	must(t, b.Insert(t.Context(), "CD1", image))
	must(t, b.SetBootOnce(t.Context(), BootCD))
	if got := s.lastBody(); got != `{"Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideTarget":"Cd"}}` {
		t.Fatal(got)
	}
	// Paths that are ours in form and do not exist are found anew.
	target.Learned = Learned{System: "/redfish/v1/Systems/old", Manager: "/redfish/v1/Managers/old", Media: "/redfish/v1/Managers/old/VirtualMedia"}
	b, _ = connect(t, target)
	_, err = b.State(t.Context())
	_ = wantKind(t, err, KindNotFound)
	_, err = b.State(t.Context())
	must(t, err)
	slots, err := b.Slots(t.Context())
	must(t, err)
	if len(slots) != 1 {
		t.Fatalf("%+v", slots)
	}
	target.SystemID, target.Learned = "1", Learned{System: "/redfish/v1/Systems/2"}
	b, _ = connect(t, target)
	_, err = b.State(t.Context())
	must(t, err)
}

// TestOtherFirmwareLearnsAnew: an update mends forms and moves slots.
func TestOtherFirmwareLearnsAnew(t *testing.T) {
	s := newServer(t, plainHTTP)
	s.on(insertRoute, accept)
	target := testTarget(s)
	target.Learned = Learned{Vendor: "generic", Firmware: "9.8", Insert: "TransferMethod", BootTarget: "UsbCd", Media: "/redfish/v1/Managers/1/VirtualMedia"}
	b, _ := connect(t, target)
	_, err := b.Identify(t.Context())
	must(t, err)
	must(t, b.Insert(t.Context(), "CD1", image))
	want := Learned{Vendor: "generic", Firmware: "9.9", System: "/redfish/v1/Systems/1", Manager: "/redfish/v1/Managers/1", Media: "/redfish/v1/Managers/1/VirtualMedia"}
	got := b.Learned()
	if got.Session = ""; got != want || s.lastBody() != `{"Image":"`+image+`"}` {
		t.Fatalf("%+v\n%s", got, s.lastBody())
	}
}

func TestSameBMC(t *testing.T) {
	a := Target{Address: "https://x", CABundle: []byte("a")}
	b := a
	b.Learned.Vendor = "ami"
	if !a.SameBMC(b) || b.Learned.Vendor != "ami" {
		t.Fatal("what was learned made another target")
	}
	for i := range reflect.TypeFor[Target]().NumField() {
		c := a
		switch f := reflect.ValueOf(&c).Elem().Field(i); f.Interface().(type) {
		case string, Password:
			f.SetString(f.String() + "x")
		case bool:
			f.SetBool(true)
		case []byte:
			f.SetBytes([]byte("b"))
		case Timeouts:
			c.Timeouts.Request = 1
		default:
			continue
		}
		if a.SameBMC(c) {
			t.Errorf("a change of %s is not seen", reflect.TypeFor[Target]().Field(i).Name)
		}
	}
}
