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
		if _, err := decodePart[schemas.EthernetInterface](body, nicShape); err != nil {
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
