package emulator_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beskar7/beskar7/test/emulator"
)

// quick are timings for tests: long enough to see the states in between.
var quick = emulator.Timings{PowerOn: 30 * time.Millisecond, PowerOff: 30 * time.Millisecond,
	POST: 30 * time.Millisecond, Request: time.Microsecond}

func newFleet(t *testing.T, o emulator.Options) *emulator.Fleet {
	t.Helper()
	if o.Timings == (emulator.Timings{}) {
		o.Timings = quick
	}
	f, err := emulator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// box is one BMC with a Redfish client that logs in by basic auth.
type box struct {
	*emulator.BMC
	t      *testing.T
	client *http.Client
	header http.Header // sent with every request; nil = basic auth
}

func newBox(t *testing.T, f *emulator.Fleet, spec emulator.Spec) *box {
	t.Helper()
	if spec.Name == "" {
		spec.Name = "srv"
	}
	b, err := f.Add(spec)
	if err != nil {
		t.Fatal(err)
	}
	return &box{BMC: b, t: t, client: clientFor(t, f)}
}

func clientFor(t *testing.T, f *emulator.Fleet) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(f.CAPEM()) {
		t.Fatal("no CA")
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

type answer struct {
	status int
	header http.Header
	body   map[string]any
}

// ids are the message ids of an error answer without registry and version.
func (a answer) ids() []string {
	var ids []string
	e, _ := a.body["error"].(map[string]any)
	infos, _ := e["@Message.ExtendedInfo"].([]any)
	for _, i := range infos {
		id, _ := i.(map[string]any)["MessageId"].(string)
		ids = append(ids, id[strings.LastIndexByte(id, '.')+1:])
	}
	return ids
}

func (x *box) do(method, path string, body any, header ...string) answer {
	x.t.Helper()
	a, err := x.try(method, path, body, header...)
	if err != nil {
		x.t.Fatal(err)
	}
	return a
}

func (x *box) try(method, path string, body any, header ...string) (answer, error) {
	var rd io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		rd = bytes.NewReader(raw)
	}
	req, err := http.NewRequest(method, x.URL()+path, rd)
	if err != nil {
		return answer{}, err
	}
	if x.header != nil {
		req.Header = x.header.Clone()
	} else {
		req.SetBasicAuth(x.Username(), x.Password())
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := x.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	raw, err := io.ReadAll(resp.Body)
	if err == nil && len(raw) > 0 {
		err = json.Unmarshal(raw, &a.body)
	}
	return a, err
}

func (x *box) want(status int, method, path string, body any, header ...string) answer {
	x.t.Helper()
	a := x.do(method, path, body, header...)
	if a.status != status {
		x.t.Fatalf("%s %s: status %d %v, want %d", method, path, a.status, a.body, status)
	}
	return a
}

type obj = map[string]any

const (
	systemPath = "/redfish/v1/Systems/1"
	resetPath  = systemPath + "/Actions/ComputerSystem.Reset"
	mediaPath  = "/redfish/v1/Managers/1/VirtualMedia/"
	loginPath  = "/redfish/v1/SessionService/Sessions"
)

func (x *box) reset(status int, kind string) answer {
	x.t.Helper()
	return x.want(status, "POST", resetPath, obj{"ResetType": kind})
}

func (x *box) insert(status int, slot, url string) answer {
	x.t.Helper()
	return x.want(status, "POST", mediaPath+slot+"/Actions/VirtualMedia.InsertMedia", obj{"Image": url})
}

func (x *box) eject(status int, slot string) answer {
	x.t.Helper()
	return x.want(status, "POST", mediaPath+slot+"/Actions/VirtualMedia.EjectMedia", nil)
}

func (x *box) override(target, enabled string) {
	x.t.Helper()
	x.want(200, "PATCH", systemPath, obj{"Boot": obj{"BootSourceOverrideTarget": target, "BootSourceOverrideEnabled": enabled}})
}

// until waits for a state.
func (x *box) until(what string, ok func(emulator.State) bool) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := x.WaitFor(ctx, ok); err != nil {
		x.t.Fatalf("%s: %v; log %+v", what, err, x.Events())
	}
}

func (x *box) untilPower(p emulator.PowerState) {
	x.t.Helper()
	x.until(string(p), func(s emulator.State) bool { return s.Power == p })
}

func (x *box) untilBooted(device string) {
	x.t.Helper()
	x.until("boot from "+device, func(s emulator.State) bool { return s.Booted == device })
}

// log is the events of some kinds as short strings: kind:who:from>to.
func (x *box) log(kinds ...emulator.EventKind) []string {
	var out []string
	for _, e := range x.Events() {
		if slices.Contains(kinds, e.Kind) {
			out = append(out, string(e.Kind)+":"+string(e.Who)+":"+e.From+">"+e.To)
		}
	}
	return out
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if !bytes.Equal(g, w) {
		t.Errorf("%s:\n got %s\nwant %s", what, g, w)
	}
}

// images serves ISO images and notes the requests.
type images struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string // "METHOD path range"
	remotes  []string
}

// isoBytes is the smallest thing a firmware takes for an ISO, followed by a pattern.
func isoBytes(n int) []byte {
	raw := make([]byte, n)
	for i := range raw {
		raw[i] = byte(i * 7)
	}
	copy(raw[32768:], "\x01CD001\x01")
	return raw
}

func serveImages(t *testing.T, start func(http.Handler) *httptest.Server, files map[string][]byte) *images {
	t.Helper()
	s := &images{}
	s.Server = start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.Method+" "+r.URL.Path+" "+r.Header.Get("Range"))
		s.remotes = append(s.remotes, r.RemoteAddr)
		s.mu.Unlock()
		raw, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(raw))
	}))
	t.Cleanup(s.Close)
	return s
}

// obedient is a guest that comes up, notes its boots and obeys a shutdown.
type obedient struct {
	mu    sync.Mutex
	boots []emulator.Boot
	ran   func(ctx context.Context, b emulator.Boot) error // before it listens
	ended int
}

func (g *obedient) Run(ctx context.Context, b emulator.Boot) error {
	g.mu.Lock()
	g.boots = append(g.boots, b)
	ran := g.ran
	g.mu.Unlock()
	defer func() { g.mu.Lock(); g.ended++; g.mu.Unlock() }()
	if ran != nil {
		if err := ran(ctx, b); err != nil {
			return err
		}
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-b.Shutdown:
		return nil
	}
}

func (g *obedient) last() emulator.Boot {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.boots[len(g.boots)-1]
}
