package redfish

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const (
	ejectRoute = "POST /redfish/v1/Managers/1/VirtualMedia/CD1/Actions/Eject"
	mediaPath  = "/redfish/v1/Managers/1/VirtualMedia"
)

// slotBody is the slot of the test server, changed.
func slotBody(changes doc) doc {
	return with(doc{
		"MediaTypes": []any{"CD", "DVD"}, "Inserted": false, "Image": nil, "ConnectedVia": "NotConnected",
		"Actions": doc{
			"#VirtualMedia.InsertMedia": doc{"target": strings.TrimPrefix(insertRoute, "POST ")},
			"#VirtualMedia.EjectMedia":  doc{"target": strings.TrimPrefix(ejectRoute, "POST ")},
		},
	}, changes)
}

func vendorBMC(t *testing.T, vendor string) (*server, BMC) {
	t.Helper()
	s := newServer(t, plainHTTP)
	target := testTarget(s)
	target.Vendor = vendor
	b, _ := connect(t, target)
	return s, b
}

func theSlot(t *testing.T, b BMC) Slot {
	t.Helper()
	slots, err := b.Slots(t.Context())
	must(t, err)
	if len(slots) != 1 {
		t.Fatalf("%+v", slots)
	}
	return slots[0]
}

// TestInsertLeavesOut: a member that the row gives and the BMC refuses is left
// out, at once the next time; a member that was refused is not asked for again.
func TestInsertLeavesOut(t *testing.T) {
	s, b := vendorBMC(t, "huawei-openubmc")
	s.on(insertRoute, func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		for _, name := range []string{"TransferProtocolType", "TransferMethod"} {
			if body[name] != nil {
				refuse(w, http.StatusBadRequest, "Base.1.8.ActionParameterNotSupported", "The parameter "+name+" is not supported")
				return
			}
		}
		accept(w, r)
	})
	for range 2 {
		must(t, b.Insert(t.Context(), "CD1", image))
	}
	if n, l := s.count(insertRoute), b.Learned().Insert; n != 4 || l != "none" {
		t.Fatalf("%d inserts, learned %q", n, l)
	}
	s.on(insertRoute, func(w http.ResponseWriter, r *http.Request) { // torn between two minds
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		if body["TransferMethod"] != nil {
			refuse(w, http.StatusBadRequest, "Base.1.8.ActionParameterNotSupported", "TransferMethod")
			return
		}
		refuse(w, http.StatusBadRequest, "Base.1.8.ActionParameterMissing", "TransferMethod")
	})
	s.requests()
	if err := b.Insert(t.Context(), "CD1", image); err == nil || len(s.requests()) != 3 {
		t.Fatal(err)
	}
}

// TestInsertIsNotGrownByAComplaint: naming a member is not asking for it.
func TestInsertIsNotGrownByAComplaint(t *testing.T) {
	s, b := newBMC(t)
	s.on(insertRoute, func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusBadRequest, "Base.1.8.ActionParameterNotSupported", "The parameter TransferMethod is not supported")
	})
	if err := b.Insert(t.Context(), "CD1", image); err == nil || s.count(insertRoute) != 1 {
		t.Fatalf("%v, %d inserts", err, s.count(insertRoute))
	}
}

func TestInsertOverPlainHTTPIsExplained(t *testing.T) {
	s, b := vendorBMC(t, "openbmc")
	s.on(insertRoute, func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusBadRequest, "Base.1.8.ActionParameterValueFormatError")
	})
	err := b.Insert(t.Context(), "CD1", "http://media.invalid/cAnary/a.iso")
	if e := wantKind(t, err, KindProtocol); !strings.Contains(e.Message, "https") {
		t.Fatal(e)
	}
}

func TestHPInsert(t *testing.T) {
	for _, where := range []string{"Actions", "Oem"} {
		s, b := vendorBMC(t, "hpe-ilo4")
		action := doc{"Oem": doc{"#HpiLOVirtualMedia.InsertVirtualMedia": doc{"target": slotPath + "/Insert"}, "#HpiLOVirtualMedia.EjectVirtualMedia": doc{"target": slotPath + "/Eject"}}}
		body := slotBody(doc{"Actions": action})
		if where == "Oem" {
			body = slotBody(doc{"Actions": nil, "Oem": doc{"Hp": doc{"Actions": action["Oem"]}}})
		}
		s.json(slotPath, body)
		s.on("POST "+slotPath+"/Insert", accept)
		s.on("POST "+slotPath+"/Eject", accept)
		must(t, b.Insert(t.Context(), "CD1", image))
		if got := s.lastBody(); got != `{"Image":"`+image+`"}` {
			t.Fatal(got)
		}
		must(t, b.Eject(t.Context(), "CD1"))
		if got := s.lastBody(); got != `{}` {
			t.Fatal(got)
		}
	}
}

func TestLenovoSlots(t *testing.T) {
	s, b := vendorBMC(t, "lenovo-xcc2")
	s.json(mediaPath, doc{"Members": []any{ref(mediaPath + "/RDOC1"), ref(mediaPath + "/EXT1")}})
	for _, id := range []string{"RDOC1", "EXT1"} {
		s.json(mediaPath+"/"+id, doc{"MediaTypes": []any{"CD", "DVD"}})
	}
	tags := []string{}
	s.on("PATCH "+mediaPath+"/EXT1", func(w http.ResponseWriter, r *http.Request) {
		tags = append(tags, r.Header.Get("If-Match"))
		w.WriteHeader(http.StatusCreated) // as XCC does
	})
	slots, err := b.Slots(t.Context())
	must(t, err)
	if slots[0].CanInsert || !slots[1].CanInsert {
		t.Fatalf("%+v", slots)
	}
	must(t, b.Insert(t.Context(), "EXT1", image))
	if got := s.lastBody(); got != `{"Image":"`+image+`","Inserted":true}` {
		t.Fatal(got)
	}
	must(t, b.Eject(t.Context(), "EXT1"))
	if got := s.lastBody(); got != `{"Image":null}` || fmt.Sprint(tags) != "[* *]" {
		t.Fatal(got, tags)
	}
}

// TestIsoConfig: on boards that are known for it, and on those whose generation
// cannot be told.
func TestIsoConfig(t *testing.T) {
	for _, vendor := range []string{"supermicro-x10", "supermicro"} {
		t.Run(vendor, func(t *testing.T) { isoConfig(t, vendor) })
	}
}

func isoConfig(t *testing.T, vendor string) {
	const config = "/redfish/v1/Managers/1/VM1/CfgCD"
	s, b := vendorBMC(t, vendor)
	s.json("/redfish/v1/Managers/1", doc{"Id": "1", "VirtualMedia": ref("/redfish/v1/Managers/1/VM1")})
	s.json("/redfish/v1/Managers/1/VM1", doc{"Members": []any{}})
	s.json(config, doc{"Host": "", "Actions": doc{"#IsoConfig.Mount": doc{"target": config + "/Mount"}, "#IsoConfig.UnMount": doc{"target": config + "/UnMount"}}})
	s.on("PATCH "+config, func(w http.ResponseWriter, r *http.Request) {
		var in doc
		_ = json.NewDecoder(r.Body).Decode(&in)
		s.json(config, in)
		accept(w, r)
	})
	s.on("POST "+config+"/Mount", func(w http.ResponseWriter, r *http.Request) {
		s.json("/redfish/v1/Managers/1/VM1", doc{"Members": []any{ref("/redfish/v1/Managers/1/VM1/CD1")}})
		s.json("/redfish/v1/Managers/1/VM1/CD1", doc{"Inserted": true})
		accept(w, r)
	})
	s.on("POST "+config+"/UnMount", func(w http.ResponseWriter, r *http.Request) {
		s.json("/redfish/v1/Managers/1/VM1", doc{"Members": []any{}})
		accept(w, r)
	})
	id := theSlot(t, b).ID
	for range 2 {
		must(t, b.Insert(t.Context(), id, image))
		if slot := theSlot(t, b); !slot.Inserted || slot.Image != image || !slot.Bootable() {
			t.Fatalf("%+v", slot)
		}
		must(t, b.Eject(t.Context(), id))
		if slot := theSlot(t, b); !slot.Empty() {
			t.Fatalf("%+v", slot)
		}
	}
	if n := s.count("GET /redfish/v1/Managers/1"); n != 1 {
		t.Errorf("the manager was read %d times", n)
	}
}

// TestRemoteMediaAreSwitchedOn: MegaRAC has no slots until two actions were made.
func TestRemoteMediaAreSwitchedOn(t *testing.T) {
	s, b := vendorBMC(t, "ami")
	s.json(mediaPath, doc{"Members": []any{}})
	s.json("/redfish/v1/Managers/1", doc{"Id": "1", "VirtualMedia": ref(mediaPath), "Actions": doc{"Oem": doc{
		"#AMIVirtualMedia.EnableRMedia": doc{"target": "/redfish/v1/Managers/1/Enable"}, "#AMIVirtualMedia.ConfigureCDInstance": doc{"target": "/redfish/v1/Managers/1/Configure"},
	}}})
	s.on("POST /redfish/v1/Managers/1/Enable", accept)
	s.on("POST /redfish/v1/Managers/1/Configure", func(w http.ResponseWriter, r *http.Request) {
		s.json(mediaPath, doc{"Members": []any{ref(slotPath)}})
		accept(w, r)
	})
	s.on(insertRoute, accept)
	id, err := b.Identify(t.Context())
	must(t, err)
	if len(id.MediaSlots) != 1 || !id.MediaSlots[0].CanInsert || s.count("POST /redfish/v1/Managers/1/Enable") != 0 {
		t.Fatalf("%+v", id)
	}
	slot := theSlot(t, b)
	for range 2 {
		err := b.Insert(t.Context(), slot.ID, image)
		_ = wantKind(t, err, KindBusy)
		if after, _ := RetryAfter(err); after != enablingTime {
			t.Fatal(after)
		}
	}
	must(t, b.Insert(t.Context(), theSlot(t, b).ID, image))
	if s.count("POST /redfish/v1/Managers/1/Enable") != 1 || s.count("POST /redfish/v1/Managers/1/Configure") != 1 || s.count(insertRoute) != 1 {
		t.Fatalf("%q", s.requests())
	}
}

func TestMegaRACMountsInTheBackground(t *testing.T) {
	s, b := vendorBMC(t, "ami")
	for status, inserted := range map[string]bool{"Connecting": false, "Started": true, "": true} {
		s.json(slotPath, slotBody(doc{"Inserted": true, "Image": image, "Oem": doc{"Ami": doc{"RedirectionStatus": status}}}))
		if slot := theSlot(t, b); slot.Inserted != inserted || slot.Mounting == inserted || slot.Empty() {
			t.Errorf("%q: %+v", status, slot)
		}
	}
}

// TestImageThatStays: Supermicro keeps the image's name after an eject.
func TestImageThatStays(t *testing.T) {
	for vendor, empty := range map[string]bool{"supermicro-x11": true, "generic": false} {
		s, b := vendorBMC(t, vendor)
		s.json(slotPath, slotBody(doc{"Image": image, "ImageName": "a.iso"}))
		if slot := theSlot(t, b); slot.Empty() != empty {
			t.Errorf("%s: %+v", vendor, slot)
		}
		s.json(slotPath, slotBody(doc{"Image": image, "ConnectedVia": "URI"}))
		if slot := theSlot(t, b); slot.Empty() {
			t.Errorf("%s: %+v", vendor, slot)
		}
	}
}

func TestEjectBodies(t *testing.T) {
	s, b := newBMC(t)
	picky := func(want string, status int) {
		s.on(ejectRoute, func(w http.ResponseWriter, r *http.Request) {
			if s.lastBody() != want {
				w.WriteHeader(status)
				return
			}
			accept(w, r)
		})
	}
	for _, status := range []int{400, 415} {
		picky("", status)
		must(t, b.Eject(t.Context(), "CD1"))
	}
	if n := s.count(ejectRoute); n != 3 || b.Learned().Eject != "bare" { // the first time both, then the one
		t.Fatalf("%d ejects, learned %q", n, b.Learned().Eject)
	}
	picky("{}", 400)
	must(t, b.Eject(t.Context(), "CD1"))
	if b.Learned().Eject != "" {
		t.Fatal("a body was not learned again")
	}
	for status, id := range map[int]string{409: "Base.1.8.ResourceInUse", 400: "Base.1.8.PropertyValueConflict", 500: "Base.1.8.InternalError"} {
		s.on(ejectRoute, func(w http.ResponseWriter, _ *http.Request) { refuse(w, status, id) })
		s.requests()
		if err := b.Eject(t.Context(), "CD1"); err == nil || len(s.requests()) != 1 {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// accepted is the answer of an insert that goes on in the background.
func accepted(location, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if location != "" {
			w.Header().Set("Location", location)
		}
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte(body))
	}
}

// TestMountTask: an accepted insert is followed by its task, in every way that
// tasks are answered.
func TestMountTask(t *testing.T) {
	const task = "/redfish/v1/TaskService/Tasks/7"
	for name, c := range map[string]struct {
		insert   http.HandlerFunc
		status   int
		body     string
		mounting bool
		problem  bool
	}{
		"no location":        {accepted("", ""), 0, "", false, false},
		"foreign location":   {accepted("https://evil/redfish/v1/t", ""), 0, "", false, false},
		"running":            {accepted(task, ""), 200, `{"TaskState":"Running"}`, true, false},
		"named in the body":  {accepted("", `{"@odata.id":"`+task+`"}`), 200, `{"TaskState":"New"}`, true, false},
		"monitor":            {accepted(task, ""), 202, ``, true, false},
		"monitor has ended":  {accepted(task, ""), 204, ``, false, false},
		"completed":          {accepted(task, ""), 200, `{"TaskState":"Completed","TaskStatus":"OK"}`, false, false},
		"completed, badly":   {accepted(task, ""), 200, `{"TaskState":"Completed","TaskStatus":"Critical"}`, false, true},
		"exception":          {accepted(task, ""), 200, `{"TaskState":"Exception"}`, false, true},
		"not there yet":      {accepted(task, ""), 404, ``, true, false},
		"answers nonsense":   {accepted(task, ""), 400, `<html>`, false, false},
		"success, no task":   {accept, 0, "", false, false},
		"answers a web page": {accepted(task, ""), 200, `<html>`, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, b := newBMC(t)
			s.on(insertRoute, c.insert)
			s.on("GET "+task, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			})
			must(t, b.Insert(t.Context(), "CD1", image))
			for range 2 {
				if slot := theSlot(t, b); slot.Mounting != c.mounting || (slot.Problem != "") != c.problem {
					t.Fatalf("%+v", slot)
				}
			}
			if c.problem { // until the next try
				s.on(insertRoute, accept)
				must(t, b.Insert(t.Context(), "CD1", image))
				if slot := theSlot(t, b); slot.Problem != "" {
					t.Fatalf("%+v", slot)
				}
			}
			s.json(slotPath, slotBody(doc{"Inserted": true, "Image": image}))
			if slot := theSlot(t, b); slot.Mounting || slot.Problem != "" || !slot.Inserted {
				t.Fatalf("%+v", slot)
			}
			s.requests()
			_ = theSlot(t, b)
			if got := s.requests(); len(got) != 1 {
				t.Fatalf("the task is still followed: %q", got)
			}
		})
	}
}

// TestVanishedTask: a task that is missing soon after it was named is not there
// yet; later it is over.
func TestVanishedTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		tasks := 0
		conn := clockConn(t, func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case strings.HasSuffix(r.URL.Path, "/task"):
				tasks++
				return answer(404, "", nil), nil
			case r.URL.Path == rootPath:
				return answer(200, `{"Systems":{"@odata.id":"/redfish/v1/Systems"}}`, nil), nil
			}
			return answer(200, `{"MediaTypes":["CD"],"Actions":{"#VirtualMedia.InsertMedia":{"target":"/redfish/v1/x"}}}`, nil), nil
		})
		c := newClient(conn, connKey{}, Target{})
		c.noteMount("CD", &response{status: 202, header: http.Header{"Location": {"/redfish/v1/task"}}})
		look := func() Slot {
			slots, _, err := c.slotsAt(t.Context(), "read media", []string{"/redfish/v1/CD"})
			must(t, err)
			return slots[0]
		}
		for range 3 {
			if !look().Mounting {
				t.Fatal("given up too soon")
			}
			<-time.After(9 * time.Second)
		}
		<-time.After(9 * time.Second)
		if over, still := look(), look(); over.Mounting || still.Mounting || tasks != 4 {
			t.Fatalf("still followed after %d readings", tasks)
		}
	})
}
