package emulator_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/beskar7/beskar7/test/emulator"
)

func (x *box) fault(name, arg string) {
	x.t.Helper()
	if err := x.SetFault(name, arg); err != nil {
		x.t.Fatal(err)
	}
}

// raw is an answer as bytes; err is set when it broke off.
func (x *box) raw(path string) (status int, header http.Header, body string, err error) {
	x.t.Helper()
	req, _ := http.NewRequest("GET", x.URL()+path, nil)
	req.SetBasicAuth(x.Username(), x.Password())
	resp, err := x.client.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(b), err
}

// brief is a client that gives up soon.
func (x *box) brief(path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", x.URL()+path, nil)
	req.SetBasicAuth(x.Username(), x.Password())
	resp, err := x.client.Do(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	return err
}

// faulty is a BMC with the fault on, and an image to insert.
type faulty struct {
	*box
	image string
}

func (x *faulty) put(status int) answer  { return x.insert(status, "CD1", x.image) }
func (x *faulty) slot(name string) any   { return x.want(200, "GET", mediaPath+"CD1", nil).body[name] }
func (x *faulty) system(name string) any { return x.want(200, "GET", systemPath, nil).body[name] }
func (x *faulty) start()                 { x.t.Helper(); x.PressPower(); x.until("boot", booted) }

func booted(s emulator.State) bool { return s.Booted != "" }

// check is what shows that a fault is there; setup runs before it is on.
type check struct {
	arg   string
	setup func(x *faulty)
	run   func(t *testing.T, x *faulty)
}

// TestEveryFault sets each fault, sees its effect, and that the BMC is well
// again once it is cleared.
func TestEveryFault(t *testing.T) {
	files := serveImages(t, httptest.NewServer, map[string][]byte{"/boot.iso": isoBytes(40 << 10)})
	checks := map[string]check{}
	for _, group := range []map[string]check{connectionChecks(), httpChecks(), sessionChecks(), bodyChecks(), mediaChecks(), bootChecks(), powerChecks(), traitChecks(), stateChecks()} {
		for name, c := range group {
			checks[name] = c
		}
	}
	f := newFleet(t, emulator.Options{})
	for _, known := range emulator.Faults() {
		c, ok := checks[known.Name]
		if !ok {
			t.Errorf("fault %s has no test", known.Name)
			continue
		}
		if known.Does == "" || known.Group == "" {
			t.Errorf("%+v is not described", known)
		}
		t.Run(known.Name, func(t *testing.T) {
			b, err := f.Add(emulator.Spec{Name: t.Name()})
			if err != nil {
				t.Fatal(err)
			}
			x := &faulty{&box{BMC: b, t: t, client: clientFor(t, f)}, files.URL + "/boot.iso"}
			x.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			if c.setup != nil {
				c.setup(x)
			}
			x.fault(known.Name, c.arg)
			c.run(t, x)
			x.ClearFaults()
			equal(t, "faults after clearing", x.ActiveFaults(), map[string]string{})
			x.until("plugged", func(s emulator.State) bool { return !s.Unplugged })
			x.client.CloseIdleConnections()
			if a := x.want(200, "GET", systemPath, nil); a.body["UUID"] != x.Identity().UUID {
				t.Errorf("not well again: %v", a.body)
			}
		})
	}
	if len(checks) != len(emulator.Faults()) {
		t.Errorf("%d checks for %d faults", len(checks), len(emulator.Faults()))
	}
}

func fails(want string) func(*testing.T, *faulty) {
	return func(t *testing.T, x *faulty) {
		x.client.CloseIdleConnections()
		if _, _, _, err := x.raw(systemPath); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func connectionChecks() map[string]check {
	gone := func(t *testing.T, x *faulty) {
		x.client.CloseIdleConnections()
		if err := x.brief(systemPath); err == nil {
			t.Error("an answer came")
		}
	}
	return map[string]check{
		"refused":      {run: fails("refused")},
		"half-open":    {run: gone},
		"hang":         {run: gone},
		"reset":        {arg: "times=9", run: fails("")},
		"cert-changed": {run: fails("certificate")},
		"cert-expired": {run: fails("expired")},
		"tls-old":      {run: fails("protocol version")},
		"slow": {arg: "1h,on=PATCH", run: func(t *testing.T, x *faulty) {
			x.want(200, "GET", systemPath, nil)
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = x.try("PATCH", systemPath, boot("Cd"))
			}()
			x.eventually("request in flight", func() bool { return len(x.Requests().Changes) == 1 }, nil)
			equal(t, "not yet", x.State().Override.Target, "None")
			x.ClearFault("slow")
			<-done
			equal(t, "acted", x.State().Override.Target, "Cd")
		}},
		"drip": {arg: "1h", run: gone},
		"idle-drop": {run: func(t *testing.T, x *faulty) {
			x.want(200, "GET", systemPath, nil)
			before := x.Requests().Connections
			x.client.CloseIdleConnections()
			x.want(200, "GET", systemPath, nil)
			if x.Requests().Connections == before {
				t.Error("the connection was kept")
			}
		}},
		"drop-reply": {arg: "on=POST", run: func(t *testing.T, x *faulty) {
			if _, err := x.try("POST", resetPath, obj{"ResetType": "On"}); err == nil {
				t.Error("a reply came")
			}
			x.untilPower(emulator.On)
		}},
	}
}

func httpChecks() map[string]check {
	return map[string]check{
		"status": {arg: "502,every=2", run: func(_ *testing.T, x *faulty) {
			x.want(200, "GET", systemPath, nil)
			x.want(502, "GET", systemPath, nil)
			x.want(200, "GET", systemPath, nil)
		}},
		"busy": {arg: "past", run: func(t *testing.T, x *faulty) {
			a := x.want(503, "POST", resetPath, obj{"ResetType": "On"})
			when, err := http.ParseTime(a.header.Get("Retry-After"))
			if err != nil || when.After(time.Now()) {
				t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
			}
			equal(t, "id", a.ids(), []string{"ServiceTemporarilyUnavailable"})
			x.fault("busy", "7")
			equal(t, "seconds", x.want(503, "GET", systemPath, nil).header.Get("Retry-After"), "7")
		}},
		"missing": {arg: "/Systems", run: func(_ *testing.T, x *faulty) {
			x.want(404, "GET", systemPath, nil)
			x.want(200, "GET", "/redfish/v1/Managers", nil)
		}},
		"identity-refused": {run: func(_ *testing.T, x *faulty) {
			x.want(406, "GET", systemPath, nil, "Accept-Encoding", "identity")
			x.want(200, "GET", systemPath, nil)
		}},
		"redirect-evil": {run: func(t *testing.T, x *faulty) {
			equal(t, "to", x.want(307, "GET", systemPath, nil).header.Get("Location"), "https://127.66.6.6:1"+systemPath)
		}},
		"redirect-loop": {run: func(t *testing.T, x *faulty) {
			equal(t, "to", x.want(308, "GET", systemPath, nil).header.Get("Location"), systemPath)
		}},
		"etag-mismatch": {run: func(_ *testing.T, x *faulty) { x.want(412, "PATCH", systemPath, boot("Cd"), "If-Match", "*") }},
		"async": {arg: "absolute", run: func(t *testing.T, x *faulty) {
			at := x.want(202, "PATCH", systemPath, boot("Cd")).header.Get("Location")
			if !strings.HasPrefix(at, x.URL()) {
				t.Errorf("Location %q", at)
			}
			equal(t, "task", x.want(200, "GET", strings.TrimPrefix(at, x.URL()), nil).body["TaskState"], "Completed")
			x.fault("async", "no-body")
			a := x.want(202, "PATCH", systemPath, boot("Usb"))
			equal(t, "nothing", []any{a.header.Get("Location"), a.body}, []any{"", nil})
		}},
		"task-404": {arg: "1h", run: func(_ *testing.T, x *faulty) {
			x.fault("async", "")
			at := x.want(202, "PATCH", systemPath, boot("Cd")).header.Get("Location")
			x.want(404, "GET", at, nil)
			x.ClearFault("task-404")
			x.want(200, "GET", at, nil)
		}},
		"task-new": {run: func(t *testing.T, x *faulty) {
			x.fault("async", "")
			equal(t, "state", x.want(202, "GET", x.want(202, "PATCH", systemPath, boot("Cd")).header.Get("Location"), nil).body["TaskState"], "New")
		}},
		"task-gone": {run: func(_ *testing.T, x *faulty) {
			x.fault("async", "")
			x.want(404, "GET", x.want(202, "PATCH", systemPath, boot("Cd")).header.Get("Location"), nil)
		}},
	}
}

func sessionChecks() map[string]check {
	link := func(x *faulty) any { return x.want(200, "GET", "/redfish/v1", nil).body["Links"] }
	withToken := func(x *faulty) {
		x.header = http.Header{"X-Auth-Token": {x.login(201, x.Password()).header.Get("X-Auth-Token")}}
	}
	refusedToken := func(_ *testing.T, x *faulty) {
		x.want(401, "GET", systemPath, nil)
		x.header = nil
		x.want(200, "GET", systemPath, nil)
	}
	return map[string]check{
		"sessions-full": {arg: "times=1", run: func(_ *testing.T, x *faulty) { x.login(503, x.Password()); x.login(201, x.Password()) }},
		"token-refused": {setup: withToken, run: refusedToken},
		"sessions-end":  {setup: withToken, run: refusedToken},
		"login-fails":   {run: func(_ *testing.T, x *faulty) { x.login(500, x.Password()); x.want(200, "GET", systemPath, nil) }},
		"no-sessions": {run: func(t *testing.T, x *faulty) {
			equal(t, "links", link(x), obj{})
			x.want(404, "GET", "/redfish/v1/SessionService", nil)
		}},
		"sessions-unlinked": {run: func(t *testing.T, x *faulty) { equal(t, "links", link(x), obj{}); x.login(201, x.Password()) }},
		"sessions-elsewhere": {run: func(t *testing.T, x *faulty) {
			equal(t, "links", link(x), obj{"Sessions": obj{"@odata.id": "/redfish/v1/Sessions"}})
			a := x.want(201, "POST", "/redfish/v1/Sessions", obj{"UserName": x.Username(), "Password": x.Password()})
			x.want(204, "DELETE", a.header.Get("Location"), nil)
			x.want(404, "GET", loginPath, nil)
		}},
		"session-no-token": {run: func(t *testing.T, x *faulty) {
			equal(t, "token", x.login(201, x.Password()).header.Get("X-Auth-Token"), "")
		}},
		"session-location": {arg: "relative", run: func(t *testing.T, x *faulty) {
			equal(t, "location", x.login(201, x.Password()).header.Get("Location"), "SessionService/Sessions/1")
			x.fault("session-location", "none")
			equal(t, "location", x.login(201, x.Password()).header.Get("Location"), "")
		}},
		"locked-out": {run: func(_ *testing.T, x *faulty) { x.login(401, x.Password()) }},
		"password-changed": {setup: withToken, run: func(_ *testing.T, x *faulty) {
			x.want(401, "GET", systemPath, nil)
			x.login(201, "Changed-at-the-BMC-1")
			x.header = nil
		}},
	}
}

func bodyChecks() map[string]check {
	body := func(want string) func(*testing.T, *faulty) {
		return func(t *testing.T, x *faulty) {
			if _, _, got, err := x.raw(systemPath); err != nil || got != want {
				t.Errorf("%q %v", got, err)
			}
		}
	}
	part := func(f func(body string) bool) func(*testing.T, *faulty) {
		return func(t *testing.T, x *faulty) {
			if _, _, got, err := x.raw(systemPath); err != nil || !f(got) {
				t.Errorf("%q %v", got, err)
			}
		}
	}
	members := func(want any) func(*testing.T, *faulty) {
		return func(t *testing.T, x *faulty) {
			equal(t, "members", x.want(200, "GET", "/redfish/v1/Systems", nil).body["Members"], want)
		}
	}
	return map[string]check{
		"truncated": {run: fails("EOF")},
		"half-json": {run: part(func(b string) bool { return strings.HasPrefix(b, "{") && !strings.HasSuffix(b, "}") })},
		"oversized": {arg: "3000000", run: part(func(b string) bool { return len(b) > 3000000 })},
		"html":      {run: part(func(b string) bool { return strings.HasPrefix(b, "<!DOCTYPE html>") })},
		"empty":     {run: body("")},
		"null-body": {run: body("null")},
		"bom":       {run: part(func(b string) bool { return strings.HasPrefix(b, "\xef\xbb\xbf{") })},
		"garbage":   {run: part(func(b string) bool { return strings.HasSuffix(b, "-->") })},
		"errors-bare": {run: func(t *testing.T, x *faulty) {
			if status, _, b, _ := x.raw("/redfish/v1/nowhere"); status != 404 || b != "" {
				t.Errorf("%d %q", status, b)
			}
		}},
		"errors-single": {run: func(t *testing.T, x *faulty) {
			if _, is := x.want(404, "GET", "/redfish/v1/nowhere", nil).body["error"].(obj)["@Message.ExtendedInfo"].(obj); !is {
				t.Error("a list")
			}
		}},
		"error-in-200": {run: func(t *testing.T, x *faulty) {
			equal(t, "ids", x.want(200, "POST", resetPath, obj{"ResetType": "On"}).ids(), []string{"InternalError"})
			equal(t, "power", x.State().Power, "Off")
		}},
		"nulls": {arg: "every=2,path=Systems", run: func(t *testing.T, x *faulty) {
			equal(t, "power", []any{x.system("PowerState"), x.system("PowerState"), x.system("PowerState")}, []any{"Off", nil, "Off"})
		}},
		"wrong-types":   {run: func(t *testing.T, x *faulty) { equal(t, "power", x.system("PowerState"), 3) }},
		"members-empty": {run: members([]any{})}, "members-missing": {run: members(nil)},
		"members-null": {run: members([]any{nil, obj{}, obj{"@odata.id": "/redfish/v1/Systems/broken"}})},
		"members-loop": {run: members([]any{obj{"@odata.id": "/redfish/v1/Systems"}})},
		"next-link-loop": {run: func(t *testing.T, x *faulty) {
			equal(t, "next", x.want(200, "GET", "/redfish/v1/Systems", nil).body["Members@odata.nextLink"], "/redfish/v1/Systems")
		}},
		"link-evil": {run: members([]any{obj{"@odata.id": "https://127.66.6.6:1" + systemPath}})},
		"link-at": {arg: "evil:1", run: func(t *testing.T, x *faulty) {
			equal(t, "action", x.system("Actions").(obj)["#ComputerSystem.Reset"].(obj)["target"], "@evil:1"+resetPath)
		}},
	}
}

func mediaChecks() map[string]check {
	in := func(x *faulty) { x.put(204) }
	return map[string]check{
		"lie-insert": {run: func(t *testing.T, x *faulty) { x.put(204); equal(t, "in", x.slot("Inserted"), false) }},
		"lie-eject":  {setup: in, run: func(t *testing.T, x *faulty) { x.eject(204, "CD1"); equal(t, "in", x.slot("Inserted"), true) }},
		"stale-inserted": {arg: "1h", setup: in, run: func(t *testing.T, x *faulty) {
			x.eject(204, "CD1")
			equal(t, "shown, true", []any{x.slot("Inserted"), x.State().Slots[0].Inserted}, []any{true, false})
			x.put(204) // takes it all the same
		}},
		"insert-unmounted": {run: func(t *testing.T, x *faulty) {
			x.put(204)
			equal(t, "shown, true", []any{x.slot("Inserted"), x.State().Slots[0].Inserted}, []any{true, false})
		}},
		"slow-mount": {arg: "10ms", run: func(t *testing.T, x *faulty) {
			x.put(204)
			x.until("in", func(s emulator.State) bool { return s.Slots[0].Inserted })
		}},
		"eject-settle": {arg: "1h", setup: in, run: func(_ *testing.T, x *faulty) { x.eject(204, "CD1"); x.put(500) }},
		"fetch-fails": {run: func(t *testing.T, x *faulty) {
			equal(t, "id", x.put(400).ids(), []string{"CouldNotEstablishConnection"})
		}},
		"medium-lost": {setup: in, run: func(t *testing.T, x *faulty) { x.start(); equal(t, "in", x.State().Slots[0].Inserted, false) }},
		"medium-gone": {setup: in, run: func(t *testing.T, x *faulty) { equal(t, "in", x.slot("Inserted"), false) }},
		"eject-crashes": {setup: in, run: func(_ *testing.T, x *faulty) {
			x.SetGuest(&obedient{})
			x.start()
			x.until("guest", func(s emulator.State) bool { return s.GuestRunning })
			x.eject(204, "CD1")
			x.until("second boot", func(s emulator.State) bool { return s.Boots == 2 })
		}},
		"first-slot-only": {run: func(_ *testing.T, x *faulty) { x.insert(400, "CD2", x.image); x.put(204) }},
	}
}

func bootChecks() map[string]check {
	armed := func(x *faulty) { x.put(204); x.override("Cd", "Once") }
	return map[string]check{
		"lie-boot": {run: func(t *testing.T, x *faulty) {
			x.override("Cd", "Once")
			equal(t, "target", x.State().Override.Target, "None")
		}},
		"override-ignored": {setup: armed, run: func(t *testing.T, x *faulty) {
			x.start()
			equal(t, "boot", []any{x.State().Booted, x.State().Override.Enabled}, []any{"Hdd", "Disabled"})
		}},
		"override-sticky": {setup: armed, run: func(t *testing.T, x *faulty) {
			x.start()
			equal(t, "boot", []any{x.State().Booted, x.State().Override.Enabled}, []any{"Cd", "Once"})
		}},
		"override-lost": {setup: (*faulty).start, run: func(_ *testing.T, x *faulty) {
			x.override("Cd", "Continuous")
			x.CutPower()
			x.until("lost", func(s emulator.State) bool { return s.Override.Enabled == "Disabled" })
		}},
		"boot-downgrade": {run: func(t *testing.T, x *faulty) {
			x.override("Cd", "Once")
			equal(t, "override", x.State().Override.String(), "Cd/Disabled/Legacy")
		}},
	}
}

func powerChecks() map[string]check {
	return map[string]check{
		"reboot": {arg: "1h", run: func(t *testing.T, x *faulty) {
			x.until("down", func(s emulator.State) bool { return s.Unplugged })
			fails("refused")(t, x)
			if err := x.Unplug(false); err != nil {
				t.Fatal(err)
			}
		}},
		"reboot-on-change": {arg: "1h", run: func(t *testing.T, x *faulty) {
			if _, err := x.try("POST", resetPath, obj{"ResetType": "On"}); err == nil {
				t.Error("a reply came")
			}
			x.until("on and down", func(s emulator.State) bool { return s.Unplugged && s.Power == emulator.On })
			if err := x.Unplug(false); err != nil {
				t.Fatal(err)
			}
		}},
		"lie-power":     {run: func(t *testing.T, x *faulty) { x.reset(204, "On"); equal(t, "power", x.State().Power, "Off") }},
		"power-lag":     {arg: "1h", run: func(t *testing.T, x *faulty) { x.start(); equal(t, "power", x.system("PowerState"), "PoweringOn") }},
		"power-unknown": {arg: "empty", run: func(t *testing.T, x *faulty) { equal(t, "power", x.system("PowerState"), "") }},
		"power-flaps": {run: func(t *testing.T, x *faulty) {
			got := []any{x.system("PowerState"), x.system("PowerState")}
			if got[0] == got[1] {
				t.Errorf("readings %v", got)
			}
		}},
		"power-stuck": {setup: (*faulty).start, run: func(t *testing.T, x *faulty) {
			x.reset(204, "ForceOff")
			x.reset(409, "On")
			equal(t, "power", x.State().Power, "PoweringOff")
		}},
		"power-trips": {setup: (*faulty).start, run: func(_ *testing.T, x *faulty) { x.untilPower(emulator.Off) }},
		"shutdown-ignored": {run: func(t *testing.T, x *faulty) {
			g := &obedient{}
			x.SetGuest(g)
			x.start()
			x.until("guest", func(s emulator.State) bool { return s.GuestRunning })
			x.reset(204, "GracefulShutdown")
			equal(t, "told", isClosed(g.last().Shutdown), false)
		}},
		"on-conflict": {arg: "1h", setup: (*faulty).start, run: func(_ *testing.T, x *faulty) { x.CutPower(); x.reset(409, "On") }},
		"wrong-state": {arg: "1h", setup: (*faulty).start, run: func(_ *testing.T, x *faulty) { x.reset(400, "ForceOff") }},
		"restart-dead": {setup: (*faulty).start, run: func(t *testing.T, x *faulty) {
			x.reset(204, "ForceRestart")
			equal(t, "booted", x.State().Booted, "Hdd")
		}},
		"cycle-stays-off": {setup: (*faulty).start, run: func(_ *testing.T, x *faulty) {
			x.reset(204, "PowerCycle")
			x.untilPower(emulator.Off)
		}},
	}
}
