package emulator_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/beskar7/beskar7/test/emulator"
)

func TestInsertReadsBackAndChecksTheURL(t *testing.T) {
	files := serveImages(t, httptest.NewServer, map[string][]byte{"/m/secret-token/boot.iso": isoBytes(64 << 10)})
	x := newBox(t, newFleet(t, emulator.Options{}), emulator.Spec{})
	good := files.URL + "/m/secret-token/boot.iso"
	for name, c := range map[string]struct {
		body obj
		id   string
	}{
		"no image":       {obj{}, "ActionParameterMissing"},
		"unknown":        {obj{"Image": good, "Colour": "red"}, "ActionParameterUnknown"},
		"query":          {obj{"Image": good + "?x=.iso"}, "ActionParameterValueFormatError"},
		"ampersand":      {obj{"Image": files.URL + "/a&b.iso"}, "ActionParameterValueFormatError"},
		"suffix":         {obj{"Image": files.URL + "/boot.img"}, "ActionParameterValueFormatError"},
		"scheme":         {obj{"Image": "nfs://127.0.0.1/boot.iso"}, "ActionParameterValueFormatError"},
		"protocol":       {obj{"Image": good, "TransferProtocolType": "HTTPS"}, "ActionParameterValueNotInList"},
		"method":         {obj{"Image": good, "TransferMethod": "Upload"}, "ActionParameterValueNotInList"},
		"inserted false": {obj{"Image": good, "Inserted": false}, "ActionParameterValueNotInList"},
		"missing file":   {obj{"Image": files.URL + "/m/secret-token/no.iso"}, "CouldNotEstablishConnection"},
		"no server":      {obj{"Image": "http://127.0.0.1:1/m/secret-token/boot.iso"}, "CouldNotEstablishConnection"},
	} {
		a := x.want(400, "POST", mediaPath+"CD1/Actions/VirtualMedia.InsertMedia", c.body)
		equal(t, name, a.ids(), []string{c.id})
	}
	x.insert(204, "CD1", good)
	m := x.want(200, "GET", mediaPath+"CD1", nil).body
	equal(t, "slot", []any{m["Image"], m["ImageName"], m["Inserted"], m["ConnectedVia"], m["TransferProtocolType"]},
		[]any{good, "boot.iso", true, "URI", "HTTP"})
	x.insert(409, "CD1", good)
	x.want(204, "POST", mediaPath+"CD2/Actions/VirtualMedia.InsertMedia", obj{"Image": good, "Inserted": true,
		"WriteProtected": true, "TransferProtocolType": "HTTP", "TransferMethod": "Stream", "UserName": "none", "Password": "none"})
	x.eject(204, "CD1")
	x.eject(204, "CD1") // nothing in: harmless on this persona
	m = x.want(200, "GET", mediaPath+"CD1", nil).body
	equal(t, "empty slot", []any{m["Image"], m["ImageName"], m["Inserted"], m["ConnectedVia"]}, []any{nil, nil, false, "NotConnected"})
	equal(t, "log", x.log(emulator.EventInsert, emulator.EventEject), []string{
		"media-insert:redfish:>CD1", "media-insert:redfish:>CD2", "media-eject:redfish:CD1>"})
	for _, e := range x.Events() {
		if strings.Contains(e.Detail, "secret-token") {
			t.Errorf("the path of an image URL is in the log: %s", e.Detail)
		}
	}
}

func TestServersWithoutHEADAreAskedForOneByte(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		http.ServeContent(w, r, "a.iso", time.Time{}, bytes.NewReader(isoBytes(40000)))
	}))
	t.Cleanup(s.Close)
	x := newBox(t, newFleet(t, emulator.Options{}), emulator.Spec{})
	x.insert(204, "CD1", s.URL+"/a.iso")
}

func TestBootOnceFromCDIsConsumedAndFetchedByRange(t *testing.T) {
	content := isoBytes(300 << 10)
	files := serveImages(t, httptest.NewServer, map[string][]byte{"/boot.iso": content, "/config.iso": isoBytes(50 << 10)})
	g := &obedient{ran: func(ctx context.Context, b emulator.Boot) error {
		if b.Device != "Cd" {
			return nil // the boot from the disk may end at any moment with the test
		}
		r, size, err := b.Media[0].Open(ctx)
		if err != nil {
			return err
		}
		got, err := io.ReadAll(io.NewSectionReader(r, 0, size))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("guest read %d bytes of %d: %v", len(got), len(content), err)
		}
		if n, err := r.ReadAt(make([]byte, 10), size-4); n != 4 || err != io.EOF {
			t.Errorf("read over the end: %d %v", n, err)
		}
		return nil
	}}
	x := newBox(t, newFleet(t, emulator.Options{Guest: func(id emulator.Identity) emulator.Guest {
		if id.Name != "srv" || id.UUID == "" || len(id.MACs) != 2 {
			t.Errorf("identity %+v", id)
		}
		return g
	}}), emulator.Spec{})
	x.insert(204, "CD1", files.URL+"/boot.iso")
	x.insert(204, "CD2", files.URL+"/config.iso")
	x.override("Cd", "Once")
	x.reset(204, "On")
	x.until("guest", func(s emulator.State) bool { return s.GuestRunning })
	x.reset(204, "GracefulShutdown")
	x.untilPower(emulator.Off)
	b := g.last()
	equal(t, "boot", []any{b.Device, b.Slot, len(b.Media), b.Media[0].Slot, b.Media[1].Slot, b.Media[1].URL},
		[]any{"Cd", "CD1", 2, "CD1", "CD2", files.URL + "/config.iso"})
	equal(t, "override is consumed after POST", x.log(emulator.EventOverride, emulator.EventPower)[:4], []string{
		"override:redfish:None/Disabled/UEFI>Cd/Once/UEFI", "power:redfish:Off>PoweringOn", "power:redfish:PoweringOn>On",
		"override:firmware:Cd/Once/UEFI>None/Disabled/UEFI"})
	equal(t, "overrides", len(x.log(emulator.EventOverride)), 2)
	equal(t, "fetches", x.log(emulator.EventFetch, emulator.EventFetchFailed, emulator.EventBootFailed), []string{"media-fetch:firmware:>CD1"})
	x.reset(204, "On") // the next boot is from the disk, and a new cycle
	x.untilBooted("Hdd")
	files.mu.Lock()
	defer files.mu.Unlock()
	for i, q := range files.requests {
		if strings.HasPrefix(q, "GET") && !strings.Contains(q, "bytes=") {
			t.Errorf("whole image fetched: %s", q)
		}
		if u, _ := url.Parse(x.URL()); !strings.HasPrefix(files.remotes[i], u.Hostname()+":") {
			t.Errorf("fetched from %s, BMC is %s", files.remotes[i], u.Hostname())
		}
	}
}

func TestUnreadableMediaFallBackToTheDisk(t *testing.T) {
	files := serveImages(t, httptest.NewServer, map[string][]byte{
		"/short.iso": []byte("too short"), "/noiso.iso": make([]byte, 64<<10), "/good.iso": isoBytes(40000)})
	x := newBox(t, newFleet(t, emulator.Options{}), emulator.Spec{})
	x.override("Cd", "Continuous")
	boot := func(want string) string {
		x.reset(204, "On")
		x.until("boot", func(s emulator.State) bool { return s.Booted != "" })
		equal(t, "device", x.State().Booted, want)
		detail := ""
		for _, e := range x.Events() {
			if e.Kind == emulator.EventBootFailed {
				detail = e.Detail
			}
		}
		x.reset(204, "ForceOff")
		x.untilPower(emulator.Off)
		return detail
	}
	has := func(detail, want string) {
		t.Helper()
		if !strings.Contains(detail, want) {
			t.Errorf("reason %q does not say %q", detail, want)
		}
	}
	has(boot("Hdd"), "no medium")
	x.insert(204, "CD1", files.URL+"/short.iso")
	has(boot("Hdd"), "too short")
	x.eject(204, "CD1")
	x.insert(204, "CD1", files.URL+"/noiso.iso")
	has(boot("Hdd"), "no ISO 9660")
	x.eject(204, "CD1")
	x.insert(204, "CD2", files.URL+"/good.iso")
	boot("Cd")
	boot("Cd") // Continuous is not consumed
	x.override("Usb", "Once")
	boot("Usb")
	x.override("Pxe", "Once")
	has(boot("Hdd"), "Pxe")
	x.override("BiosSetup", "Once")
	boot("BiosSetup")
	x.override("Cd", "Once")
	files.Close() // the image's server is gone when it is needed
	has(boot("Hdd"), "CD2")
	equal(t, "fetch failures", x.log(emulator.EventFetchFailed), []string{"media-fetch-failed:firmware:>CD2"})
}

func TestEjectUnderARunningGuest(t *testing.T) {
	files := serveImages(t, httptest.NewServer, map[string][]byte{"/boot.iso": isoBytes(300 << 10)})
	opened, ejected, result := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	x := newBox(t, newFleet(t, emulator.Options{}), emulator.Spec{})
	x.SetGuest(emulator.GuestFunc(func(ctx context.Context, b emulator.Boot) error {
		r, _, err := b.Media[0].Open(ctx)
		if err != nil {
			result <- err
			return err
		}
		close(opened)
		<-ejected
		_, err = r.ReadAt(make([]byte, 8), 200<<10)
		result <- err
		return nil
	}))
	x.insert(204, "CD1", files.URL+"/boot.iso")
	x.override("Cd", "Once")
	x.reset(204, "On")
	<-opened
	x.eject(204, "CD1")
	close(ejected)
	if err := <-result; err == nil || !strings.Contains(err.Error(), "ejected") {
		t.Errorf("read after eject: %v", err)
	}
}

func TestHTTPSMediaNeedTrust(t *testing.T) {
	files := serveImages(t, httptest.NewTLSServer, map[string][]byte{"/boot.iso": isoBytes(40000)})
	f := newFleet(t, emulator.Options{})
	x := newBox(t, f, emulator.Spec{})
	x.insert(400, "CD1", files.URL+"/boot.iso")
	pool := x509.NewCertPool()
	pool.AddCert(files.Certificate())
	f.SetMediaTrust(pool)
	x.insert(204, "CD1", files.URL+"/boot.iso")
}

func TestABootWithoutRangeSupportFails(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(isoBytes(40000)) }))
	t.Cleanup(s.Close)
	x := newBox(t, newFleet(t, emulator.Options{}), emulator.Spec{})
	x.insert(400, "CD1", s.URL+"/boot.iso") // no length by HEAD, no range by GET
}

func TestPatchBoot(t *testing.T) {
	x := newBox(t, newFleet(t, emulator.Options{}), emulator.Spec{})
	patch := func(status int, boot obj) answer {
		t.Helper()
		return x.want(status, "PATCH", systemPath, obj{"Boot": boot})
	}
	equal(t, "list", patch(400, obj{"BootSourceOverrideTarget": "Floppy"}).ids(), []string{"PropertyValueNotInList"})
	equal(t, "type", patch(400, obj{"BootSourceOverrideEnabled": 1}).ids(), []string{"PropertyValueTypeError"})
	equal(t, "unknown", patch(400, obj{"BootNext": "x"}).ids(), []string{"PropertyUnknown"})
	equal(t, "all or nothing", patch(400, obj{"BootSourceOverrideTarget": "Cd", "BootSourceOverrideEnabled": "Always"}).ids(), []string{"PropertyValueNotInList"})
	equal(t, "read only", x.want(400, "PATCH", systemPath, obj{"PowerState": "On"}).ids(), []string{"PropertyNotWritable"})
	equal(t, "no such", x.want(400, "PATCH", systemPath, obj{"Colour": "red"}).ids(), []string{"PropertyUnknown"})
	x.want(400, "PATCH", systemPath, obj{})
	if n := len(x.log(emulator.EventOverride)); n != 0 {
		t.Fatalf("%d changes by refused requests", n)
	}
	patch(200, obj{"BootSourceOverrideTarget": "Cd"}) // a target alone arms nothing
	equal(t, "target only", x.State().Override.String(), "Cd/Disabled/UEFI")
	patch(200, obj{"BootSourceOverrideEnabled": "Once", "BootSourceOverrideMode": "Legacy"})
	equal(t, "armed", x.State().Override.String(), "Cd/Once/Legacy")
	patch(200, obj{"BootSourceOverrideEnabled": "Disabled"})
	equal(t, "cleared", x.State().Override.String(), "None/Disabled/Legacy")
	x.want(200, "PATCH", systemPath, obj{"AssetTag": "rack 4"})
	equal(t, "tag", x.want(200, "GET", systemPath, nil).body["AssetTag"], "rack 4")
}
