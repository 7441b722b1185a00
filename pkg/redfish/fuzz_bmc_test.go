package redfish

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// mostRequests bounds what one answer, repeated for ever, may make a call cost.
const mostRequests = 20000

// FuzzBMC: a BMC that answers every request with pieces of the input, as bodies
// and as Location, ETag and Allow. Whatever they are: no panic, an end, and no
// request to another host.
func FuzzBMC(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), uint8(0))
	}
	f.Add([]byte(`{"Systems":{"@odata.id":"/redfish/v1/S"},"Managers":{"@odata.id":"/redfish/v1/M"},"Vendor":"AMI"}
{"Members":[{"@odata.id":"/redfish/v1/S/1"}]}
{"PowerState":"Off","Boot":{},"Links":{"ManagedBy":["/redfish/v1/M/1"]}}
{"VirtualMedia":"//evil/redfish/v1/VM","Actions":{"Oem":{"#AMIVirtualMedia.EnableRMedia":{"target":"@evil/redfish"}}}}`), uint8(1))
	f.Fuzz(func(t *testing.T, input []byte, status uint8) {
		pieces := strings.Split(string(input), "\n")
		var requests atomic.Int64
		opts := Options{MaxBodyBytes: 64 << 10}.withDefaults()
		opts.Timeouts = Timeouts{Connection: time.Second, Request: time.Second, MaxRetries: -1, RetryDelay: time.Nanosecond}
		target := Target{Address: "https://bmc.invalid", Username: "admin", Password: canary}
		conn, err := newConn(target, "https://bmc.invalid:443", opts.Timeouts, opts)
		must(t, err)
		conn.client = newHTTPClient(conn.endpoint, roundTrip(func(r *http.Request) (*http.Response, error) {
			n := int(requests.Add(1))
			if r.URL.Host != "bmc.invalid:443" || !strings.HasPrefix(r.URL.Path, "/redfish") {
				t.Errorf("a request to %s", r.URL)
			}
			piece := pieces[n%len(pieces)]
			header := http.Header{"Location": {piece}, "Etag": {piece}, "Allow": {piece}, "X-Auth-Token": {token}}
			statuses := []int{200, 202, 201, 412, 400, 404, 308, 500}
			code := 200
			if n%3 == 0 {
				code = statuses[int(status)%len(statuses)]
			}
			return answer(code, piece, header), nil
		}))
		rows := []string{genericVendor, "ami", "dell-idrac8", "supermicro-x10"} // together they use every form
		for _, target.Vendor = range rows {
			c := newClient(conn, connKey{}, target)
			callAll(t.Context(), c)
			for _, s := range []string{c.Learned().System, c.Learned().Media} {
				if s != "" {
					_, _ = conn.resolve(s)
				}
			}
		}
		if n := requests.Load(); n > int64(mostRequests*len(rows)) {
			t.Fatalf("%d requests", n)
		}
	})
}

func callAll(ctx context.Context, c *client) {
	_, _ = c.State(ctx)
	slots, _ := c.Slots(ctx)
	id := "CD1"
	if len(slots) > 0 {
		id = slots[0].ID
	}
	_ = c.Insert(ctx, id, image)
	_, _ = c.Slots(ctx)
	_, _ = c.Slot(ctx, id)
	_ = c.Eject(ctx, id)
	_ = c.SetBootOnce(ctx, BootCD)
	_ = c.ClearBoot(ctx)
	_ = c.Reset(ctx, ResetOn)
	_, _ = c.Identify(ctx)
	_, _ = c.Hardware(ctx)
}
