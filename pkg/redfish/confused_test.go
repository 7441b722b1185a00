package redfish

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

const (
	sessionOne = "DELETE /redfish/v1/SessionService/Sessions/1"
	manager    = "/redfish/v1/Managers/1"
)

// TestALogOutIsRepeated: a BMC closes connections without a word; the session must not stay behind for that.
func TestALogOutIsRepeated(t *testing.T) {
	s := newServer(t, plainHTTP)
	target := testTarget(s)
	target.Timeouts.MaxRetries = 1
	b, p := connect(t, target)
	_, err := b.State(t.Context())
	must(t, err)
	var cut atomic.Bool
	s.on(sessionOne, func(w http.ResponseWriter, _ *http.Request) {
		if !cut.Swap(true) {
			panic(http.ErrAbortHandler)
		}
		s.forgetSessions()
		w.WriteHeader(http.StatusNoContent)
	})
	must(t, p.Close(t.Context()))
	if n := s.count(sessionOne); n != 2 || s.sessions() != 0 {
		t.Errorf("%d tries to log out, %d sessions left", n, s.sessions())
	}
}

// TestSessionsThatAreNotHonouredAreEnded: a BMC that stops honouring its tokens still counts the sessions. The one that worked
// before is ended, too, once a new one shows that it is the BMC and not the session's age.
func TestSessionsThatAreNotHonouredAreEnded(t *testing.T) {
	s, b := newBMC(t)
	_, err := b.State(t.Context())
	must(t, err)
	s.forgetSessions()
	s.on("POST /redfish/v1/SessionService/Sessions", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Auth-Token", "ignored")
		w.Header().Set("Location", "/redfish/v1/SessionService/Sessions/2")
		w.WriteHeader(http.StatusCreated)
	})
	for range 2 {
		_, err = b.State(t.Context())
		must(t, err)
	}
	for _, session := range []string{"1", "2"} {
		if n := s.count("DELETE /redfish/v1/SessionService/Sessions/" + session); n != 1 {
			t.Errorf("session %s was ended %d times", session, n)
		}
	}
}

// TestALicenceIsNamed: it is no matter of the account's role.
func TestALicenceIsNamed(t *testing.T) {
	for _, id := range []string{"Base.1.18.LicenseRequired", "IDRAC.2.8.LIC501", "SMC.v1_0_0.OemLicenseNotPassed", "iLO.2.14.LicenseKeyRequired"} {
		s, b := newBMC(t)
		s.on(insertRoute, func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusForbidden, id) })
		if e := wantKind(t, b.Insert(t.Context(), "CD1", image), KindUnsupported); !strings.Contains(e.Message, "licence") {
			t.Errorf("%s: %s", id, e.Message)
		}
	}
}

// TestAnOverrideThatIsElsewhereAsAWhole: the refusal names Boot, not its members.
func TestAnOverrideThatIsElsewhereAsAWhole(t *testing.T) {
	const settings = "/redfish/v1/Systems/1/Settings"
	s, b := newBMC(t)
	s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"@Redfish.Settings": doc{"SettingsObject": ref(settings)}}))
	s.json(settings, doc{"Boot": doc{}})
	s.on("PATCH /redfish/v1/Systems/1", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusBadRequest, "Base.1.18.PropertyNotWritable", "Boot")
	})
	s.on("PATCH "+settings, accept)
	must(t, b.SetBootOnce(t.Context(), BootCD))
	if n := s.count("PATCH " + settings); n != 1 || b.Learned().BootPlace != placeWords[placeSettings] {
		t.Errorf("%d changes of the pending settings, learned %+v", n, b.Learned())
	}
}

// TestWhatABMCSaidOfItsSlotsInItsConfusionIsForgotten: a link to another host, or slots without a way in, are looked for again.
func TestWhatABMCSaidOfItsSlotsInItsConfusionIsForgotten(t *testing.T) {
	for name, confuse := range map[string]func(s *server){
		"foreign link": func(s *server) {
			s.json(manager, doc{"Id": "1", "VirtualMedia": ref("https://192.0.2.9/redfish/v1/Managers/1/VirtualMedia")})
		},
		"slots without a way in": func(s *server) {
			s.json(manager, doc{"Id": "1", "VirtualMedia": ref(manager + "/Odd")})
			s.json(manager+"/Odd", doc{"Members": []any{ref(manager + "/Odd")}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, b := newBMC(t)
			confuse(s)
			if slots, err := b.Slots(t.Context()); err == nil && usable(slots) {
				t.Fatalf("slots %+v", slots)
			}
			s.json(manager, doc{"Id": "1", "VirtualMedia": ref(manager + "/VirtualMedia")})
			slots, err := b.Slots(t.Context())
			must(t, err)
			if !usable(slots) {
				t.Errorf("slots %+v", slots)
			}
		})
	}
}

// TestABrokenListOfMountedMediaIsNotEmpty: boards with an IsoConfig show a medium that is in as a member, and nothing else.
func TestABrokenListOfMountedMediaIsNotEmpty(t *testing.T) {
	const folder = manager + "/VM1"
	s, b := vendorBMC(t, "supermicro-x10")
	s.json(manager, doc{"Id": "1", "VirtualMedia": ref(folder)})
	s.json(folder, doc{"Members": []any{}})
	s.json(folder+"/CfgCD", doc{"Host": "", "Actions": doc{"#IsoConfig.Mount": doc{"target": folder + "/CfgCD/Mount"}}})
	if slot := theSlot(t, b); !slot.Empty() {
		t.Fatalf("%+v", slot)
	}
	for name, members := range map[string]any{"null": []any{nil, doc{}}, "itself": []any{ref(folder)}, "page": nil} {
		s.json(folder, doc{"Members": members, "Members@odata.count": 1})
		if name == "page" {
			s.raw(folder, "<html>")
		}
		if slots, err := b.Slots(t.Context()); err == nil {
			t.Errorf("%s: %+v", name, slots)
		}
	}
}

// TestASlotThatSaysNothingIsNotEmpty: intermittent nulls hide a medium that is in.
func TestASlotThatSaysNothingIsNotEmpty(t *testing.T) {
	const slot = manager + "/VirtualMedia/CD1"
	s, b := newBMC(t)
	_ = theSlot(t, b)
	s.json(slot, doc{"@odata.id": slot, "Id": nil, "MediaTypes": nil, "Inserted": nil, "Image": nil, "ConnectedVia": nil, "Actions": nil})
	_, err := b.Slots(t.Context())
	_ = wantKind(t, err, KindProtocol)
	s.json(slot, slotBody(nil))
	if slot := theSlot(t, b); !slot.Empty() || !slot.CanInsert {
		t.Errorf("%+v", slot)
	}
}

// TestSlotsThatVanishAreNotEmpty: a list that is empty all of a sudden hides what was in the slots it had.
func TestSlotsThatVanishAreNotEmpty(t *testing.T) {
	const slot = manager + "/VirtualMedia/CD1"
	s, b := newBMC(t)
	_ = theSlot(t, b)
	s.raw(slot, "null")
	s.json(manager+"/VirtualMedia", doc{"Members": nil})
	for range 3 {
		_, err := b.Slots(t.Context())
		_ = wantKind(t, err, KindProtocol)
	}
	s.json(slot, slotBody(nil))
	s.json(manager+"/VirtualMedia", doc{"Members": []any{ref(slot)}})
	if slot := theSlot(t, b); !slot.Empty() || !slot.CanInsert {
		t.Errorf("%+v", slot)
	}
}

func TestSessionPath(t *testing.T) {
	const want = "/redfish/v1/SessionService/Sessions/1"
	for _, given := range [][2]string{{want, ""}, {"", want}, {"redfish/v1/SessionService/Sessions/1", ""}, {"SessionService/Sessions/1", ""}, {"Sessions/1", want}} {
		if got := sessionPath(given[0], given[1]); got != want {
			t.Errorf("%q: %s", given, got)
		}
	}
}

// TestCredentialsAskedForInProse: the error of some BMCs has no key that tells, only words.
func TestCredentialsAskedForInProse(t *testing.T) {
	s, b := newBMC(t)
	s.on(insertRoute, func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		if body["UserName"] == nil || body["Password"] == nil {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":{"code":"Base.1.0.GeneralError","message":"Invalid request: UserName and Password must not be empty"}}`))
			return
		}
		accept(w, r)
	})
	must(t, b.Insert(t.Context(), "CD1", image))
	if n := s.count(insertRoute); n != 2 {
		t.Errorf("%d inserts", n)
	}
}

// TestAnOverrideIsClearedAsAWholeWhereThatIsWanted: a BMC of no known row that wants target, mode and enabled together.
func TestAnOverrideIsClearedAsAWholeWhereThatIsWanted(t *testing.T) {
	s, b := newBMC(t)
	s.on("PATCH /redfish/v1/Systems/1", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Boot map[string]string }
		_ = json.NewDecoder(r.Body).Decode(&body)
		for _, name := range []string{"BootSourceOverrideTarget", "BootSourceOverrideMode", "BootSourceOverrideEnabled"} {
			if body.Boot[name] == "" {
				refuse(w, http.StatusBadRequest, "Base.1.18.PropertyMissing", "Boot/"+name)
				return
			}
		}
		accept(w, r)
	})
	must(t, b.ClearBoot(t.Context()))
	if got := s.lastBody(); got != `{"Boot":{"BootSourceOverrideEnabled":"Disabled","BootSourceOverrideMode":"UEFI","BootSourceOverrideTarget":"None"}}` {
		t.Error(got)
	}
	must(t, b.SetBootOnce(t.Context(), BootCD))
}
