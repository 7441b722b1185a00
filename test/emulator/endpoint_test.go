package emulator_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/beskar7/beskar7/test/emulator"
)

// TestBladesShareAnEndpoint: several servers behind one address have power,
// media and logs of their own, and one BMC.
func TestBladesShareAnEndpoint(t *testing.T) {
	files := serveImages(t, httptest.NewServer, map[string][]byte{"/boot.iso": isoBytes(40 << 10)})
	f := newFleet(t, emulator.Options{})
	x := newBox(t, f, emulator.Spec{Name: "blade-1"})
	for _, s := range []emulator.Spec{{Name: "no", Behind: "nobody"}, {Name: "no", Behind: "blade-1"}, {Name: "no", Behind: "blade-1", SystemID: "1"}} {
		if _, err := f.Add(s); err == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
	two, err := f.Add(emulator.Spec{Name: "blade-2", Behind: "blade-1", SystemID: "2"})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "endpoint", []any{two.URL(), two.Password(), two.Front().Name()}, []any{x.URL(), x.Password(), "blade-1"})
	equal(t, "systems", x.want(200, "GET", "/redfish/v1/Systems", nil).body["Members"], []any{obj{"@odata.id": systemPath}, obj{"@odata.id": "/redfish/v1/Systems/2"}})
	equal(t, "identity", x.want(200, "GET", "/redfish/v1/Systems/2", nil).body["UUID"], two.Identity().UUID)
	slot := "/redfish/v1/Managers/1.2/VirtualMedia/CD1"
	x.want(204, "POST", slot+insertMe, obj{"Image": files.URL + "/boot.iso"})
	x.want(204, "POST", "/redfish/v1/Systems/2/Actions/ComputerSystem.Reset", obj{"ResetType": "On"})
	y := &box{BMC: two, t: t}
	y.untilPower(emulator.On)
	equal(t, "the other", []any{x.State().Power, x.State().Slots[0].Inserted, y.State().Slots[0].Inserted}, []any{"Off", false, true})
	if c := y.Requests().Changes; len(c) != 2 || !c[0].Changed || !c[1].Changed {
		t.Errorf("changes %+v", c)
	}
	y.fault("lie-power", "") // of one server
	x.want(204, "POST", resetPath, obj{"ResetType": "On"})
	x.untilPower(emulator.On)
	y.fault("status", "500") // of the endpoint
	x.want(500, "GET", systemPath, nil)
	y.ClearFaults()
	x.want(200, "GET", systemPath, nil)
	y.fault("async", "") // a trait of the endpoint is one of all its servers
	x.want(202, "POST", "/redfish/v1/Systems/2/Actions/ComputerSystem.Reset", obj{"ResetType": "ForceOff"})
	if err := y.Unplug(true); err != nil || !x.State().Unplugged {
		t.Errorf("unplugged at the front: %v", err)
	}
}

func TestBMCRestart(t *testing.T) {
	timings := quick
	timings.Reboot = 20 * time.Millisecond
	x := newBox(t, newFleet(t, emulator.Options{Timings: timings}), emulator.Spec{InitialPower: "On"})
	x.login(201, x.Password())
	x.want(400, "POST", "/redfish/v1/Managers/1/Actions/Manager.Reset", obj{"ResetType": "Nmi"})
	x.want(204, "POST", "/redfish/v1/Managers/1/Actions/Manager.Reset", obj{"ResetType": "ForceRestart"})
	x.until("restart", func(s emulator.State) bool { return s.Sessions == 0 && !s.Unplugged })
	x.eventually("answer", func() bool { a, err := x.try("GET", systemPath, nil); return err == nil && a.status == 200 }, nil)
	equal(t, "log", x.log(emulator.EventReboot), []string{"bmc-reboot:redfish:>down", "bmc-reboot:redfish:>up"})
	equal(t, "server", len(x.log(emulator.EventPower)), 1)
	x.Reboot()
	x.eventually("second restart", func() bool { return len(x.log(emulator.EventReboot)) == 4 }, nil)
}

func TestAccounts(t *testing.T) {
	x := newBox(t, newFleet(t, emulator.Options{}), emulator.Spec{Password: "password", Accounts: []emulator.Account{
		{Username: "second", Password: "password-2"}, {Username: "viewer", Password: "password-3", Role: "ReadOnly"}}})
	as := func(user, password string) http.Header {
		r, _ := http.NewRequest("GET", "/", nil)
		r.SetBasicAuth(user, password)
		return r.Header
	}
	x.header = as("viewer", "password-3")
	x.want(200, "GET", systemPath, nil)
	x.want(403, "POST", resetPath, obj{"ResetType": "On"})
	x.header = as("second", "password-2")
	x.want(204, "POST", resetPath, obj{"ResetType": "On"})
	for range 5 {
		x.header = as("second", "wrong")
		x.want(401, "GET", systemPath, nil)
	}
	x.header = as("second", "password-2")
	x.want(401, "GET", systemPath, nil)
	x.header = nil // the first account is not locked
	equal(t, "locked", []any{x.want(200, "GET", "/redfish/v1/AccountService/Accounts/2", nil).body["Locked"], x.State().LockedUntil.IsZero()}, []any{true, true})
	equal(t, "threshold", x.want(200, "GET", "/redfish/v1/AccountService", nil).body["AccountLockoutThreshold"], 5)
	x.want(400, "PATCH", "/redfish/v1/AccountService/Accounts/2", obj{"Password": "short"})
	x.want(204, "PATCH", "/redfish/v1/AccountService/Accounts/2", obj{"Locked": false, "Password": "password-4"})
	x.header = as("second", "password-4")
	x.want(200, "GET", systemPath, nil)
	x.want(201, "POST", loginPath, obj{"UserName": "second", "Password": "password-4"})
	equal(t, "sessions", x.Sessions(), map[string]int{"second": 1})
	x.want(204, "PATCH", "/redfish/v1/AccountService/Accounts/1", obj{"Password": "password-5"})
	equal(t, "password", x.Password(), "password-5")
	equal(t, "sessions of the others", []any{x.Sessions(), x.PeakSessions()}, []any{map[string]int{"second": 1}, map[string]int{"second": 1}})
}

func TestJudge(t *testing.T) {
	timings := quick
	timings.Request = 20 * time.Millisecond
	f := newFleet(t, emulator.Options{Timings: timings, KeepRequests: true})
	x := newBox(t, f, emulator.Spec{Name: "one"})
	y := newBox(t, f, emulator.Spec{Name: "two"})
	equal(t, "nothing", f.Judge(time.Hour, time.Time{}), emulator.Verdict{})
	for range 3 {
		x.login(201, x.Password())
	}
	x.override("Cd", "Once")
	y.override("Cd", "Once")
	x.reset(409, "ForceOff") // changes nothing: no cooldown begins
	v := f.Judge(time.Hour, time.Time{})
	equal(t, "one change each", []any{v.Changes, v.Refused, len(v.TooClose), len(v.Overlaps), v.MaxInFlight, v.MaxPerBMC}, []any{3, 1, 0, 0, 1, 1})
	equal(t, "sessions", []any{v.MaxSessions, v.Crowded}, []any{3, "one"})
	x.reset(204, "On")
	v = f.Judge(time.Hour, time.Time{})
	if len(v.TooClose) != 1 || v.TooClose[0].BMC != "one" || v.MinGap < 20*time.Millisecond || v.MinGap > time.Minute {
		t.Errorf("%+v", v)
	}
	if v = f.Judge(time.Nanosecond, time.Time{}); len(v.TooClose) != 0 {
		t.Errorf("too close by a short cooldown: %v", v.TooClose)
	}
	start := time.Now()
	equal(t, "since", f.Judge(time.Hour, start).Changes, 0)
	// Two at once: the first is held until the second is in.
	x.fault("slow", "1h,on=PATCH")
	done := make(chan struct{})
	for _, target := range []string{"Usb", "Hdd"} {
		go func() { _, _ = x.try("PATCH", systemPath, boot(target)); done <- struct{}{} }()
	}
	x.eventually("both in flight", func() bool { return x.Requests().MaxInFlight == 2 }, nil)
	x.ClearFaults()
	<-done
	<-done
	v = f.Judge(0, start)
	equal(t, "overlap", []any{len(v.Overlaps), v.MaxPerBMC, v.Busiest, v.MaxInFlight}, []any{1, 2, "one", 2})
	if n := len(x.RequestLog()); n != 8 {
		t.Errorf("%d requests kept", n)
	}
}
