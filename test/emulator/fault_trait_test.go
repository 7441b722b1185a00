package emulator_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/beskar7/beskar7/test/emulator"
)

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func traitChecks() map[string]check {
	post := mediaPath + "CD1" + insertMe
	refuses := func(id, method, path string, body any, header ...string) check {
		return check{run: func(t *testing.T, x *faulty) {
			equal(t, "ids", x.want(400, method, path, body, header...).ids(), []string{id})
		}}
	}
	return map[string]check{
		"etag": {arg: "none", run: func(t *testing.T, x *faulty) {
			equal(t, "tag", x.want(200, "GET", systemPath, nil).header.Values("ETag"), nil)
			x.fault("etag", "weak")
			if tag := x.want(200, "GET", systemPath, nil).header.Get("ETag"); !strings.HasPrefix(tag, "W/") {
				t.Errorf("tag %q", tag)
			}
		}},
		"etag-needed": {run: func(_ *testing.T, x *faulty) { x.want(428, "PATCH", systemPath, boot("Cd")) }},
		"etag-refused": {run: func(_ *testing.T, x *faulty) {
			tag := x.want(200, "GET", systemPath, nil).header.Get("ETag")
			x.want(412, "POST", resetPath, obj{"ResetType": "On"}, "If-Match", tag)
		}},
		"media-under-system": {run: func(_ *testing.T, x *faulty) {
			x.want(404, "GET", mediaPath, nil)
			x.want(200, "GET", systemPath+"/VirtualMedia/CD1", nil)
		}},
		"slot-no-action": {run: func(_ *testing.T, x *faulty) { x.put(405); x.insert(204, "CD2", x.image) }},
		"dvd-only":       {run: func(t *testing.T, x *faulty) { equal(t, "types", x.slot("MediaTypes"), []string{"DVD"}) }},
		"insert-minimal": refuses("ActionParameterUnknown", "POST", post, obj{"Image": "http://h/a.iso", "Inserted": true}),
		"insert-patch": {run: func(_ *testing.T, x *faulty) {
			x.put(404)
			x.want(204, "PATCH", mediaPath+"CD1", obj{"Image": x.image, "Inserted": true})
		}},
		"insert-protocol":    refuses("ActionParameterMissing", "POST", post, obj{"Image": "http://h/a.iso"}),
		"insert-credentials": refuses("GeneralError", "POST", post, obj{"Image": "http://h/a.iso"}),
		"eject-object": {setup: func(x *faulty) { x.put(204) }, run: func(_ *testing.T, x *faulty) {
			x.eject(400, "CD1")
			x.want(204, "POST", mediaPath+"CD1"+ejectMe, obj{})
		}},
		"url-strict":          refuses("ActionParameterValueFormatError", "POST", post, obj{"Image": "http://h/a=b.iso"}),
		"https-only":          refuses("ActionParameterValueFormatError", "POST", post, obj{"Image": "http://h/a.iso"}),
		"target-usbcd":        refuses("PropertyValueNotInList", "PATCH", systemPath, boot("Cd")),
		"boot-changed-only":   refuses("PropertyValueConflict", "PATCH", systemPath, boot("Cd", uefi, "UEFI")),
		"boot-mode-read-only": refuses("PropertyNotWritable", "PATCH", systemPath, boot("Cd", uefi, "UEFI")),
		"boot-full":           refuses("PropertyMissing", "PATCH", systemPath, boot("Cd")),
		"boot-once-only":      refuses("PropertyValueNotInList", "PATCH", systemPath, boot("Cd", "BootSourceOverrideEnabled", "Continuous")),
	}
}

func stateChecks() map[string]check {
	return map[string]check{
		"errors-message-id": {run: func(t *testing.T, x *faulty) {
			e := x.want(404, "GET", "/redfish/v1/nowhere", nil).body["error"].(obj)["@Message.ExtendedInfo"].([]any)[0].(obj)
			if e["MessageID"] == nil || e["MessageId"] != nil {
				t.Errorf("%v", e)
			}
		}},
		"clock": {arg: "-24h", run: func(t *testing.T, x *faulty) {
			_, header, body, _ := x.raw("/redfish/v1/Managers/1")
			when, err := http.ParseTime(header.Get("Date"))
			if err != nil || time.Since(when) < 23*time.Hour || !strings.Contains(body, `"DateTime":"`+when.Format("2006-01-02T")) {
				t.Errorf("Date %q, %s", header.Get("Date"), body)
			}
		}},
		"no-licence": {run: func(t *testing.T, x *faulty) { equal(t, "id", x.put(403).ids(), []string{"LicenseRequired"}) }},
		"boot-settings": {run: func(t *testing.T, x *faulty) {
			equal(t, "ids", x.want(400, "PATCH", systemPath, boot("Cd")).ids(), []string{"PropertyNotWritable"})
			x.want(200, "PATCH", systemPath+"/Settings", boot("Cd"))
		}},
		"post-lock": {run: func(t *testing.T, x *faulty) {
			b := x.State().Boots
			x.reset(204, "On")
			a := x.do("PATCH", systemPath, boot("Cd"))
			if x.State().Boots == b && a.status != 400 {
				t.Errorf("during POST: %d", a.status)
			}
			x.until("boot", booted)
			x.want(200, "PATCH", systemPath, boot("Cd"))
		}},
		"no-managed-by":   {run: func(t *testing.T, x *faulty) { equal(t, "manager", x.system("Links").(obj)["ManagedBy"], nil) }},
		"no-graceful":     {run: func(_ *testing.T, x *faulty) { x.start(); x.reset(400, "GracefulShutdown") }},
		"insert-replaces": {setup: func(x *faulty) { x.put(204) }, run: func(_ *testing.T, x *faulty) { x.put(204) }},
		"eject-empty":     {arg: "409", run: func(_ *testing.T, x *faulty) { x.eject(409, "CD1") }},
		"slots-hidden": {run: func(t *testing.T, x *faulty) {
			equal(t, "slots", x.want(200, "GET", mediaPath, nil).body["Members"], []any{})
		}},
	}
}

func TestFaultArguments(t *testing.T) {
	x := newBox(t, newFleet(t, emulator.Options{}), emulator.Spec{})
	for name, arg := range map[string]string{"nonsense": "", "slow": "soon", "status": "-1", "etag": "strong", "html": "x", "power-lag": "1s,times=2",
		"hang": "on=SOMETIMES", "reset": "times=0"} {
		if err := x.SetFault(name, arg); err == nil {
			t.Errorf("%s=%s was accepted", name, arg)
		}
	}
	x.fault("status", "503,on=change,path=Actions,every=2,times=1")
	equal(t, "active", x.ActiveFaults(), map[string]string{"status": "503,on=change,path=Actions,every=2,times=1"})
	var got []int
	for range 4 {
		got = append(got, x.do("POST", resetPath, obj{"ResetType": "Nonsense"}).status)
	}
	equal(t, "every second, once", got, []int{400, 503, 400, 400})
	x.want(200, "PATCH", systemPath, boot("Cd"))
	kinds := x.log(emulator.EventFault)
	equal(t, "log", kinds, []string{"fault:outside:>status"})
	groups := map[string]bool{}
	for _, f := range emulator.Faults() {
		groups[f.Group] = true
	}
	if len(groups) < 8 || slices.ContainsFunc(emulator.Faults(), func(f emulator.Fault) bool { return strings.ContainsAny(f.Name, " =,") }) {
		t.Errorf("groups %v", groups)
	}
}
