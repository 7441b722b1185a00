package emulator_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beskar7/beskar7/test/emulator"
)

func (x *box) login(status int, password string) answer {
	x.t.Helper()
	was := x.header
	x.header = http.Header{}
	defer func() { x.header = was }()
	return x.want(status, "POST", loginPath, obj{"UserName": x.Username(), "Password": password})
}

func TestSessions(t *testing.T) {
	timings := quick
	timings.SessionTimeout = 1500 * time.Millisecond
	x := newBox(t, newFleet(t, emulator.Options{Timings: timings}), emulator.Spec{Password: "pw"})
	a := x.login(201, "pw")
	token, location := a.header.Get("X-Auth-Token"), a.header.Get("Location")
	if token == "" || !strings.HasPrefix(location, loginPath+"/") {
		t.Fatalf("token %q, location %q", token, location)
	}
	x.header = http.Header{"X-Auth-Token": {token}}
	x.want(200, "GET", systemPath, nil)
	x.want(200, "GET", location, nil)
	x.want(204, "DELETE", location, nil)
	x.want(401, "GET", systemPath, nil)
	x.want(401, "DELETE", location, nil)

	token = x.login(201, "pw").header.Get("X-Auth-Token")
	x.header = http.Header{"X-Auth-Token": {token}}
	x.eventually("idle for too long", func() bool { return x.State().Sessions == 0 }, nil)
	equal(t, "stale", x.want(401, "GET", systemPath, nil).ids(), []string{"NoValidSession"})

	x.header = nil
	x.want(204, "PATCH", "/redfish/v1/SessionService", obj{"SessionTimeout": 60})
	for range 8 {
		token = x.login(201, "pw").header.Get("X-Auth-Token")
	}
	equal(t, "limit", x.login(503, "pw").ids(), []string{"SessionLimitExceeded"})
	equal(t, "sessions", x.State().Sessions, 8)
	equal(t, "count", x.want(200, "GET", loginPath, nil).body["Members@odata.count"], 8)
	x.SetPassword("new")
	x.header = http.Header{"X-Auth-Token": {token}}
	x.want(401, "GET", systemPath, nil)
	x.login(401, "pw")
	x.login(201, "new")
	equal(t, "log", x.log(emulator.EventLogin, emulator.EventLogout)[:3], []string{
		"session-login:redfish:>1", "session-logout:redfish:1>", "session-login:redfish:>2"})
	if n := len(x.log(emulator.EventSessionEnded)); n != 9 {
		t.Errorf("%d sessions ended, want 1 idle and 8 by the password", n)
	}
}

func TestWrongPasswordsLockTheAccount(t *testing.T) {
	timings := quick
	timings.Lockout = 1500 * time.Millisecond
	x := newBox(t, newFleet(t, emulator.Options{Timings: timings}), emulator.Spec{Password: "pw"})
	token := x.login(201, "pw").header.Get("X-Auth-Token")
	wrong := http.Header{}
	r, _ := http.NewRequest("GET", "/", nil)
	r.SetBasicAuth(x.Username(), "wrong")
	wrong.Set("Authorization", r.Header.Get("Authorization"))
	for i := range 4 {
		x.header = wrong
		if i%2 == 0 {
			x.want(401, "GET", systemPath, nil)
		} else {
			x.login(401, "wrong")
		}
	}
	if !x.State().LockedUntil.IsZero() {
		t.Fatal("locked too early")
	}
	x.login(401, "wrong")
	if x.State().LockedUntil.IsZero() {
		t.Fatal("not locked after five wrong passwords")
	}
	x.login(401, "pw") // right, and refused
	x.header = nil
	x.want(401, "GET", systemPath, nil)
	x.header = http.Header{"X-Auth-Token": {token}}
	x.want(200, "GET", systemPath, nil) // sessions live on
	x.eventually("unlocked", func() bool { return x.State().LockedUntil.IsZero() }, nil)
	x.login(201, "pw")
	equal(t, "log", []int{len(x.log(emulator.EventLoginFailed)), len(x.log(emulator.EventLockout))}, []int{7, 1})
	equal(t, "unauthorized", x.Requests().Unauthorized, 7)
}

func TestEveryLinkLeadsToAResource(t *testing.T) {
	x := newBox(t, newFleet(t, emulator.Options{}), emulator.Spec{SystemID: "System.Embedded.1"})
	x.login(201, x.Password())
	seen := map[string]bool{}
	var visit func(path string)
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if id, ok := v["@odata.id"].(string); ok {
				visit(id)
			}
			for _, m := range v {
				walk(m)
			}
		case []any:
			for _, m := range v {
				walk(m)
			}
		}
	}
	visit = func(path string) {
		key := strings.TrimSuffix(path, "/")
		if seen[key] {
			return
		}
		seen[key] = true
		a := x.want(200, "GET", path, nil)
		if a.body["@odata.id"] != path || a.body["@odata.type"] == nil || a.body["Name"] == nil || a.body["Id"] == nil && a.body["Members"] == nil {
			t.Errorf("%s: incomplete resource %v", path, a.body)
		}
		if a.header.Get("ETag") == "" || a.header.Get("OData-Version") != "4.0" {
			t.Errorf("%s: header %v", path, a.header)
		}
		walk(a.body)
	}
	visit("/redfish/v1/")
	for _, want := range []string{"/redfish/v1/Systems/System.Embedded.1/Processors/CPU2", "/redfish/v1/Managers/1/VirtualMedia/CD2",
		"/redfish/v1/Systems/System.Embedded.1/Storage/1/Drives/1", "/redfish/v1/Systems/System.Embedded.1/EthernetInterfaces/2",
		"/redfish/v1/Chassis/1", loginPath + "/1"} {
		if !seen[want] {
			t.Errorf("%s is not linked", want)
		}
	}
}

func TestHTTPRules(t *testing.T) {
	x := newBox(t, newFleet(t, emulator.Options{}), emulator.Spec{})
	x.header = http.Header{}
	for _, public := range []string{"/redfish", "/redfish/v1", "/redfish/v1/", "/redfish/v1/odata"} {
		x.want(200, "GET", public, nil)
	}
	if a := x.want(401, "GET", "/redfish/v1/Systems", nil); a.header.Get("WWW-Authenticate") == "" {
		t.Error("401 without WWW-Authenticate")
	}
	x.want(401, "GET", "/redfish/v1/nowhere", nil) // nothing is told to strangers
	x.header = nil
	x.want(404, "GET", "/redfish/v1/nowhere", nil)
	x.want(501, "GET", "/redfish/v1/Systems?$expand=.", nil)
	a := x.want(405, "DELETE", systemPath, nil)
	equal(t, "allow", a.header.Get("Allow"), "GET, HEAD, PATCH")
	a = x.want(200, "GET", systemPath+"/", nil)
	tag := a.header.Get("ETag")
	x.want(304, "GET", systemPath, nil, "If-None-Match", tag)
	boot := obj{"Boot": obj{"BootSourceOverrideTarget": "Cd", "BootSourceOverrideEnabled": "Once"}}
	newer := x.want(200, "PATCH", systemPath, boot, "If-Match", tag).header.Get("ETag")
	if newer == tag {
		t.Error("the ETag did not change with the resource")
	}
	equal(t, "stale tag", x.want(412, "PATCH", systemPath, boot, "If-Match", tag).ids(), []string{"PreconditionFailed"})
	x.want(412, "POST", resetPath, obj{"ResetType": "On"}, "If-Match", tag)
	x.want(200, "PATCH", systemPath, boot, "If-Match", "*")
	x.want(204, "POST", resetPath, obj{"ResetType": "On"}, "If-Match", newer)
	req, _ := http.NewRequest("POST", x.URL()+resetPath, strings.NewReader("{not json"))
	req.SetBasicAuth(x.Username(), x.Password())
	resp, err := x.client.Do(req)
	if err != nil || resp.StatusCode != 400 {
		t.Fatalf("malformed body: %v %v", resp, err)
	}
	resp.Body.Close()
	if resp, err := (&http.Client{}).Get(x.URL() + "/redfish/v1"); err == nil {
		resp.Body.Close()
		t.Error("the certificate is trusted without the fleet's CA")
	}
}

func TestRequestsAreCountedAndTiedToEvents(t *testing.T) {
	timings := quick
	timings.Request = 30 * time.Millisecond
	f := newFleet(t, emulator.Options{Timings: timings})
	x := newBox(t, f, emulator.Spec{})
	x.login(201, x.Password())
	x.override("Cd", "Once")
	x.override("Cd", "Once") // the same again changes nothing
	x.reset(204, "On")
	x.reset(409, "On")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { x.do("GET", systemPath, nil) })
	}
	wg.Wait()
	n := x.Requests()
	equal(t, "counts", []any{n.Total, n.ByMethod, n.ByPath["GET "+systemPath], n.Connections > 0},
		[]any{9, map[string]int{"GET": 4, "POST": 3, "PATCH": 2}, 4, true})
	if n.MaxInFlight < 2 || n.MaxInFlight > 4 || f.MaxInFlight() != n.MaxInFlight {
		t.Errorf("in flight %d, fleet %d", n.MaxInFlight, f.MaxInFlight())
	}
	var got []string
	for _, c := range n.Changes {
		if c.End.Before(c.Start.Add(timings.Request)) {
			t.Errorf("%+v took no time", c)
		}
		got = append(got, fmt.Sprintf("%s %d %t %t", c.Method, c.Status, c.Changed, c.Session))
	}
	equal(t, "changes", got, []string{"POST 201 true true", "PATCH 200 true false", "PATCH 200 false false",
		"POST 204 true false", "POST 409 false false"})
	events := x.Events()
	for i, e := range events {
		if i > 0 && (e.Seq <= events[i-1].Seq || e.Since < events[i-1].Since) {
			t.Errorf("order of %+v", e)
		}
		if e.Kind == emulator.EventReset && e.Request != n.Changes[3].ID {
			t.Errorf("reset by request %d, want %d", e.Request, n.Changes[3].ID)
		}
	}
}

func TestInterceptAndLostReply(t *testing.T) {
	x := newBox(t, newFleet(t, emulator.Options{}), emulator.Spec{})
	x.SetIntercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		if r.URL.Path == resetPath {
			x.Answer(httptest.NewRecorder(), r) // it acts, and the reply is lost
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return true
			}
			conn.Close()
			return true
		}
		return false
	})
	x.want(503, "GET", systemPath, nil)
	if _, err := x.try("POST", resetPath, obj{"ResetType": "On"}); err == nil {
		t.Error("the reply was not lost")
	}
	x.untilPower(emulator.On)
	c := x.Requests().Changes
	if len(c) != 1 || c[0].Status != 204 || !c[0].Changed {
		t.Errorf("changes %+v", c)
	}
	x.SetIntercept(nil)
	x.want(200, "GET", systemPath, nil)
}

func TestUnplug(t *testing.T) {
	x := newBox(t, newFleet(t, emulator.Options{}), emulator.Spec{InitialPower: "On"})
	x.untilBooted("Hdd")
	x.want(200, "GET", systemPath, nil)
	for range 2 { // twice is the same as once
		if err := x.Unplug(true); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := x.try("GET", systemPath, nil); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("unplugged BMC: %v", err)
	}
	if s := x.State(); s.Power != emulator.On || !s.Unplugged {
		t.Errorf("state %+v", s)
	}
	if err := x.Unplug(false); err != nil {
		t.Fatal(err)
	}
	x.want(200, "GET", systemPath, nil)
}

func TestAFleetOfManyIsCheap(t *testing.T) {
	const size = 200
	f := newFleet(t, emulator.Options{})
	before := runtime.NumGoroutine()
	for i := range size {
		if _, err := f.Add(emulator.Spec{Name: fmt.Sprintf("srv-%03d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := runtime.NumGoroutine() - before; n > size+10 {
		t.Errorf("%d goroutines for %d idle BMCs", n, size)
	}
	if _, err := f.Add(emulator.Spec{Name: "srv-000"}); err == nil {
		t.Error("a name was given twice")
	}
	ids, client := map[string]bool{}, clientFor(t, f)
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, b := range f.BMCs() {
		id := b.Identity()
		for _, v := range append([]string{b.URL(), id.UUID, id.Serial, b.Password()}, id.MACs...) {
			if ids[v] {
				t.Errorf("%s is not unique", v)
			}
			ids[v] = true
		}
		wg.Go(func() {
			x := &box{BMC: b, t: t, client: client}
			if a, err := x.try("POST", resetPath, obj{"ResetType": "On"}); err != nil || a.status != 204 {
				t.Errorf("%s: %v %v", b.Name(), a, err)
			}
			if err := b.WaitFor(ctx, func(s emulator.State) bool { return s.Power == emulator.On }); err != nil {
				t.Error(err)
			}
			b.CutPower()
		})
	}
	wg.Wait()
	if f.Get("srv-007") == nil || f.Get("nobody") != nil || len(f.BMCs()) != size {
		t.Error("fleet does not know its BMCs")
	}
}

func TestSpecsAreChecked(t *testing.T) {
	f := newFleet(t, emulator.Options{})
	for _, s := range []emulator.Spec{{}, {Name: "a", IP: "192.0.2.1"}, {Name: "a", IP: "nonsense"}, {Name: "a", Persona: "toaster"},
		{Name: "a", InitialPower: "Perhaps"}} {
		if _, err := f.Add(s); err == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
	x := newBox(t, f, emulator.Spec{Name: "a", IP: "127.9.8.7", Hardware: emulator.Hardware{Cores: 6, Architecture: "ARM",
		Disks: []emulator.DiskSpec{{Bytes: 1}}, NICs: []emulator.NICSpec{{MAC: "02:00:00:00:00:0A", LinkDown: true}}}})
	if !strings.HasPrefix(x.URL(), "https://127.9.8.7:") || !slices.Equal(x.Identity().MACs, []string{"02:00:00:00:00:0a"}) {
		t.Errorf("%s %+v", x.URL(), x.Identity())
	}
	cpu := x.want(200, "GET", systemPath+"/Processors/CPU1", nil).body
	equal(t, "cpu", []any{cpu["TotalCores"], cpu["InstructionSet"]}, []any{6, "ARM-A64"})
	equal(t, "nic", x.want(200, "GET", systemPath+"/EthernetInterfaces/1", nil).body["LinkStatus"], "LinkDown")
}

func TestCloseEndsGuestsAndRefusesMore(t *testing.T) {
	f, err := emulator.New(emulator.Options{Timings: quick})
	if err != nil {
		t.Fatal(err)
	}
	x := newBox(t, f, emulator.Spec{})
	g := &obedient{}
	x.SetGuest(g)
	x.reset(204, "On")
	x.until("guest", func(s emulator.State) bool { return s.GuestRunning })
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if g.ended != 1 {
		t.Error("the guest still runs")
	}
	if _, err := f.Add(emulator.Spec{Name: "late"}); err == nil {
		t.Error("a closed fleet took a server")
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
