package redfish

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stmcginnis/gofish/schemas"
)

// seeds are what BMCs were seen to answer, and what they might.
var seeds = []string{
	`{}`, `null`, `[]`, ``, `{"Members":[null,{"@odata.id":"/redfish/v1/x"},"x"],"Members@odata.nextLink":7}`,
	`{"PowerState":"On","Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideTarget@Redfish.AllowableValues":["Cd",1]}}`,
	`{"Actions":{"#ComputerSystem.Reset":{"target":"/redfish/v1/x","ResetType@Redfish.AllowableValues":"On"}}}`,
	`{"Inserted":"yes","Image":null,"MediaTypes":{"a":1},"Actions":{"#VirtualMedia.InsertMedia":[]}}`,
	`{"error":{"@Message.ExtendedInfo":{"MessageId":"Base.1.8.X","MessageArgs":["30",null]}}}`,
	`{"TotalCores":"28","CapacityBytes":1e400,"SpeedMbps":-1,"Status":{"State":7},"MACAddress":"x"}`,
	"\xef\xbb\xbf{\"Id\":1}", `{"Id":"` + "\u0000" + `"}`, `{"a":` + strings.Repeat("[", 2000),
}

func fuzzBody(f *testing.F, check func(t *testing.T, body []byte)) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(check)
}

func FuzzSystem(f *testing.F) {
	fuzzBody(f, func(t *testing.T, body []byte) {
		var d systemDoc
		err := decode(body, &d)
		state := d.state()
		if state.Power == "" || state.Boot.Enabled == "" {
			t.Fatal("empty state")
		}
		if err != nil && len(err.Error()) > 100 {
			t.Fatal("the error quotes the body")
		}
	})
}

func FuzzCollection(f *testing.F) {
	fuzzBody(f, func(_ *testing.T, body []byte) {
		var d collectionDoc
		_ = decode(body, &d)
		_ = d.Count.count()
	})
}

func FuzzMedia(f *testing.F) {
	fuzzBody(f, func(t *testing.T, body []byte) {
		var d mediaDoc
		_ = decode(body, &d)
		for i := range vendors {
			slot := d.slot(d.ref("/redfish/v1/x/CD", http.Header{}, &vendors[i]), &vendors[i])
			if slot.ID != "CD" || slot.Inserted && slot.Empty() {
				t.Fatalf("%+v", slot)
			}
		}
	})
}

func FuzzRootManagerActionInfo(f *testing.F) {
	fuzzBody(f, func(_ *testing.T, body []byte) {
		var root rootDoc
		var manager managerDoc
		var info actionInfoDoc
		_, _, _ = decode(body, &root), decode(body, &manager), decode(body, &info)
		_ = root.sessions()
	})
}

func FuzzTask(f *testing.F) {
	fuzzBody(f, func(t *testing.T, body []byte) {
		var d taskDoc
		_ = decode(body, &d)
		after := mount{task: "/redfish/v1/t"}.after(http.StatusOK, &d)
		if after.task != "" && after.problem != "" {
			t.Fatalf("%+v goes on and has failed", after)
		}
	})
}

func FuzzPendingBoot(f *testing.F) {
	fuzzBody(f, func(t *testing.T, body []byte) {
		var pending pendingDoc
		var attributes attributesDoc
		var config isoConfigDoc
		_, _, _ = decode(body, &pending), decode(body, &attributes), decode(body, &config)
		set := attributes.Attributes.v
		if o := dellOverride(string(set.Device), string(set.Once)); o.Enabled == "" {
			t.Fatalf("%+v", o)
		}
	})
}

func FuzzSession(f *testing.F) {
	fuzzBody(f, func(t *testing.T, body []byte) {
		var d sessionDoc
		_ = decode(body, &d)
		if r := makeRecord(string(d.Path), string(d.Created)); r != "" && !strings.Contains(r, " ") {
			t.Fatalf("%q", r)
		}
	})
}

// FuzzLearned: what is kept may come back changed.
func FuzzLearned(f *testing.F) {
	f.Add("generic", "/redfish/v1/Systems/1", "none", "UEFI", "/redfish/v1/S/1 2026")
	f.Fuzz(func(t *testing.T, vendor, path, fields, word, session string) {
		l := recall(Target{Learned: Learned{Vendor: vendor, System: path, Manager: path, Media: path, Insert: fields,
			Eject: word, BootTarget: word, BootMode: word, BootPlace: word, IfMatch: word, Session: session}})
		if l.System != "" && !strings.HasPrefix(l.System, "/redfish") || l.Session != "" {
			t.Fatalf("%+v", l.Learned)
		}
		if row := chooseRow("", l.Vendor, told{}); row == nil {
			t.Fatal("no row")
		}
	})
}

func FuzzRefusal(f *testing.F) {
	fuzzBody(f, func(t *testing.T, body []byte) {
		e := classify(&response{status: http.StatusServiceUnavailable, header: http.Header{}, body: body})
		if e.Kind == "" || e.After < 0 || e.After > maxRetryAfter || len(e.refusal.shownID()) > 500 {
			t.Fatalf("%+v", e)
		}
	})
}

func FuzzParts(f *testing.F) {
	fuzzBody(f, func(t *testing.T, body []byte) {
		if decode(body, &map[string]any{}) != nil {
			return
		}
		if _, err := decodePart[schemas.Processor](body, processorShape); err != nil {
			t.Fatal(err)
		}
		if _, err := decodePart[schemas.Memory](body, memoryShape); err != nil {
			t.Fatal(err)
		}
		if _, err := decodePart[schemas.Drive](body, driveShape); err != nil {
			t.Fatal(err)
		}
		if _, err := own[ethernetDoc](body); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzLink: whatever the BMC writes as a link, the request goes to the BMC.
func FuzzLink(f *testing.F) {
	for _, s := range []string{"/redfish/v1/x", "@evil/x", "//evil/redfish", "https://evil/redfish", "https://bmc:443/redfish", "/redfish@evil", "/redfish/../..", "/redfish/%2f%2fevil", "\\\\evil"} {
		f.Add(s)
	}
	c := &conn{endpoint: "https://bmc:443", base: url.URL{Scheme: "https", Host: "bmc:443"}}
	f.Fuzz(func(t *testing.T, link string) {
		u, err := c.resolve(link)
		if err != nil {
			return
		}
		req, newErr := http.NewRequest(http.MethodGet, u.String(), nil)
		if newErr != nil {
			return
		}
		if !sameOrigin(c.endpoint, req.URL) || req.URL.Host != "bmc:443" || !strings.HasPrefix(req.URL.Path, "/redfish") {
			t.Fatalf("%q goes to %s", link, req.URL)
		}
	})
}
