package bootmedia

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
)

// registry is a working Source and Recorder in memory.
type registry struct {
	mu      sync.Mutex
	grants  map[string]Grant
	reports map[string][]string
	down    error
}

func newRegistry() *registry {
	return &registry{grants: map[string]Grant{}, reports: map[string][]string{}}
}

func (r *registry) Grant(_ context.Context, hash string) (Grant, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g, ok := r.grants[hash]
	switch {
	case r.down != nil:
		return Grant{}, r.down
	case !ok:
		return Grant{}, ErrUnknown
	}
	return g, nil
}

func (r *registry) PhoneHome(_ context.Context, hash string, outcome Outcome, detail string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down != nil {
		return r.down
	}
	if _, ok := r.grants[hash]; !ok {
		return ErrUnknown
	}
	r.reports[hash] = append(r.reports[hash], string(outcome)+" "+detail)
	return nil
}

func (r *registry) set(hash string, g Grant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.grants[hash] = g
}

func (r *registry) revoke(hash string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.grants, hash)
}

// origin is an image server whose image and manners can be changed.
type origin struct {
	*httptest.Server
	mu       sync.Mutex
	image    []byte
	etag     string
	status   int
	noRange  bool
	cutAfter int64 // a body ends after so many bytes; 0: never
	cuts     int   // how often
	requests []string
}

func newOrigin(t testing.TB, image []byte) *origin {
	t.Helper()
	o := &origin{image: image, etag: `"v1"`}
	o.Server = httptest.NewServer(http.HandlerFunc(o.serve))
	t.Cleanup(o.Close)
	return o
}

func (o *origin) serve(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	image, etag, status, noRange := o.image, o.etag, o.status, o.noRange
	cut := int64(0)
	if o.cuts > 0 {
		o.cuts--
		cut = o.cutAfter
	}
	o.requests = append(o.requests, r.Method+" "+r.Header.Get("Range"))
	o.mu.Unlock()
	if status != 0 {
		w.WriteHeader(status)
		return
	}
	if etag != "" {
		w.Header().Set("ETag", etag)
	}
	if noRange {
		r.Header.Del("Range")
	}
	if cut > 0 {
		w = &cutter{ResponseWriter: w, left: cut}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(image))
}

// cutter breaks the connection after some bytes of body.
type cutter struct {
	http.ResponseWriter
	left int64
}

func (c *cutter) Write(p []byte) (int, error) {
	if int64(len(p)) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= int64(len(p))
	return c.ResponseWriter.Write(p)
}

func (c *cutter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (o *origin) change(f func(o *origin)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f(o)
}

func (o *origin) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.requests)
}

// testImage is an image of n bytes that is random but for its descriptor.
func testImage(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	image := make([]byte, n)
	for i := range image {
		image[i] = byte(r.Uint32())
	}
	copy(image[32768:], "\x01CD001\x01")
	copy(image[32768+40:], "my-image"+strings.Repeat(" ", 24))
	return image
}

func sha256Of(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// rig is a server with all around it.
type rig struct {
	*Server
	web      *httptest.Server
	registry *registry
	origin   *origin
	logs     *logs
	woken    chan string
	failures chan error
	clock    atomic.Int64 // offset of the clock, in nanoseconds
}

type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logs) logger() logr.Logger {
	return funcr.New(func(prefix, args string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		fmt.Fprintln(&l.text, prefix, args)
	}, funcr.Options{Verbosity: 5})
}

func newRig(t testing.TB, image []byte, tune ...func(*Options)) *rig {
	t.Helper()
	r := &rig{registry: newRegistry(), origin: newOrigin(t, image), logs: &logs{}, woken: make(chan string, 100), failures: make(chan error, 100)}
	o := Options{
		Source: r.registry, Recorder: r.registry, CacheDir: t.TempDir(), Log: r.logs.logger(),
		Now:          func() time.Time { return time.Now().Add(time.Duration(r.clock.Load())) },
		StreamFailed: func(_, _ string, err error) { r.failures <- err },
	}
	for _, f := range tune {
		f(&o)
	}
	r.Server = New(o)
	r.Notify(func(u string) { r.woken <- u })
	r.web = httptest.NewServer(r.Handler())
	t.Cleanup(func() { r.web.Close(); r.Server.Close() })
	return r
}

func (r *rig) forward(d time.Duration) { r.clock.Add(int64(d)) }

// prepare asks until the image is ready or has failed.
func (r *rig) prepare(t testing.TB, imageURL, checksum string) (Prepared, error) {
	t.Helper()
	for {
		p, err := r.Prepare(t.Context(), imageURL, checksum)
		if err != nil || p.Ready {
			return p, err
		}
		select {
		case <-r.woken:
		case <-time.After(20 * time.Second):
			t.Fatalf("not woken; progress %q", p.Progress)
		}
	}
}

// grant makes an image of the origin available under a new token.
func (r *rig) grant(t testing.TB, checksum string, change ...func(*Grant)) Token {
	t.Helper()
	token := newToken(t)
	p, err := r.prepare(t, r.origin.URL+"/image.iso", checksum)
	if err != nil {
		t.Fatal(err)
	}
	g := Grant{Host: "default/host-1", PhoneHomeBase: "https://192.0.2.1", Content: Content{
		Family: FamilyGeneric, ImageURL: r.origin.URL + "/image.iso", Checksum: checksum, ImagePin: p.Pin,
		InstanceID: "i-1", Hostname: "m-1", UserData: []byte("#cloud-config\nruncmd: []\n"), UserDataFormat: FormatCloudConfig,
	}}
	for _, f := range change {
		f(&g)
	}
	r.registry.set(token.Hash(), g)
	return token
}

type answer struct {
	status int
	header http.Header
	body   []byte
	err    error
}

func (r *rig) get(t testing.TB, method, u string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, body, err}
}

// media are the three ways a medium is served.
func media(t *testing.T, test func(t *testing.T, r *rig, u string, whole []byte)) {
	t.Helper()
	image := testImage(300_001, 1)
	t.Run("streamed", func(t *testing.T) {
		r := newRig(t, image)
		test(t, r, BootURL(r.web.URL, r.grant(t, "")), image)
	})
	t.Run("cached", func(t *testing.T) {
		r := newRig(t, image)
		test(t, r, BootURL(r.web.URL, r.grant(t, sha256Of(image))), image)
	})
	t.Run("config", func(t *testing.T) {
		r := newRig(t, image)
		token := r.grant(t, "")
		g, err := r.registry.Grant(t.Context(), token.Hash())
		if err != nil {
			t.Fatal(err)
		}
		g.Content.PhoneHomeURL = PhoneHomeURL(g.PhoneHomeBase, token)
		d, err := ConfigDrive(g.Content)
		if err != nil {
			t.Fatal(err)
		}
		test(t, r, ConfigURL(r.web.URL, token), bytesOf(t, d))
	})
}

func TestRanges(t *testing.T) {
	media(t, func(t *testing.T, r *rig, u string, whole []byte) {
		n := len(whole)
		cr := func(a, b int) string { return fmt.Sprintf("bytes %d-%d/%d", a, b, n) }
		for _, c := range []struct {
			ask    string
			status int
			from   int
			to     int // exclusive
			cr     string
		}{
			{"", 200, 0, n, ""},
			{"bytes=0-0", 206, 0, 1, cr(0, 0)},
			{"bytes=0-", 206, 0, n, cr(0, n-1)},
			{"bytes=2048-4095", 206, 2048, 4096, cr(2048, 4095)},
			{"bytes=100000-", 206, 100000, n, cr(100000, n-1)},
			{"bytes=-1", 206, n - 1, n, cr(n-1, n-1)},
			{"bytes=-5000", 206, n - 5000, n, cr(n-5000, n-1)},
			{"bytes=-99999999", 206, 0, n, cr(0, n-1)},
			{fmt.Sprintf("bytes=%d-%d", n-10, n+10), 206, n - 10, n, cr(n-10, n-1)},
			{fmt.Sprintf("bytes=%d-", n), 416, 0, 0, fmt.Sprintf("bytes */%d", n)},
			{"bytes=5-4", 416, 0, 0, ""},
			{"bytes=a-b", 416, 0, 0, ""},
			{"pages=1-2", 416, 0, 0, ""},
		} {
			for _, method := range []string{"GET", "HEAD"} {
				a := r.get(t, method, u, "Range", c.ask)
				if a.err != nil || a.status != c.status {
					t.Fatalf("%s %q: %d, %v; want %d", method, c.ask, a.status, a.err, c.status)
				}
				if a.header.Get("Content-Range") != c.cr {
					t.Errorf("%s %q: Content-Range %q, want %q", method, c.ask, a.header.Get("Content-Range"), c.cr)
				}
				if c.status == 416 {
					continue
				}
				if got := a.header.Get("Content-Length"); got != fmt.Sprint(c.to-c.from) {
					t.Errorf("%s %q: Content-Length %s", method, c.ask, got)
				}
				if a.header.Get("Accept-Ranges") != "bytes" || a.header.Get("ETag") == "" || a.header.Get("Content-Type") != "application/octet-stream" {
					t.Errorf("%s %q: headers %v", method, c.ask, a.header)
				}
				if method == "GET" && !bytes.Equal(a.body, whole[c.from:c.to]) {
					t.Errorf("GET %q: other bytes than asked for", c.ask)
				}
			}
		}
	})
}

func TestSeveralRangesAndConditions(t *testing.T) {
	media(t, func(t *testing.T, r *rig, u string, whole []byte) {
		a := r.get(t, "GET", u, "Range", "bytes=10-19,4096-4099,-3")
		if a.status != 206 || !strings.HasPrefix(a.header.Get("Content-Type"), "multipart/byteranges") {
			t.Fatalf("several ranges: %d %v", a.status, a.header)
		}
		for _, piece := range [][]byte{whole[10:20], whole[4096:4100], whole[len(whole)-3:]} {
			if !bytes.Contains(a.body, piece) {
				t.Errorf("a piece of the multipart answer is missing")
			}
		}
		etag := a.header.Get("ETag")
		if a := r.get(t, "GET", u, "If-None-Match", etag); a.status != 304 {
			t.Errorf("If-None-Match: %d", a.status)
		}
		if a := r.get(t, "GET", u, "Range", "bytes=1-2", "If-Range", etag); a.status != 206 || !bytes.Equal(a.body, whole[1:3]) {
			t.Errorf("If-Range of the same: %d", a.status)
		}
		if a := r.get(t, "GET", u, "Range", "bytes=1-2", "If-Range", `"other"`); a.status != 200 || !bytes.Equal(a.body, whole) {
			t.Errorf("If-Range of another: %d, %d bytes", a.status, len(a.body))
		}
		if a := r.get(t, "GET", u, "If-Match", `"other"`); a.status != 412 {
			t.Errorf("If-Match of another: %d", a.status)
		}
	})
}

func TestManySmallRangesMakeTheWhole(t *testing.T) {
	media(t, func(t *testing.T, r *rig, u string, whole []byte) {
		var got []byte
		rnd := rand.New(rand.NewPCG(3, 3))
		etag := r.get(t, "HEAD", u).header.Get("ETag")
		for len(got) < len(whole) {
			n := 1 + rnd.IntN(9000)
			a := r.get(t, "GET", u, "Range", fmt.Sprintf("bytes=%d-%d", len(got), len(got)+n-1))
			if a.status != 206 || a.header.Get("ETag") != etag {
				t.Fatalf("at %d: %d, tag %s", len(got), a.status, a.header.Get("ETag"))
			}
			got = append(got, a.body...)
		}
		if !bytes.Equal(got, whole) {
			t.Fatal("the pieces do not make the whole")
		}
	})
}

func TestStreamAsksOnceForWhatIsSent(t *testing.T) {
	r := newRig(t, testImage(300_000, 1))
	u := BootURL(r.web.URL, r.grant(t, ""))
	before := r.origin.count()
	r.get(t, "HEAD", u)
	if n := r.origin.count() - before; n != 0 {
		t.Errorf("HEAD made %d requests", n)
	}
	r.get(t, "GET", u, "Range", "bytes=2048-4095")
	r.get(t, "GET", u)
	r.origin.mu.Lock()
	defer r.origin.mu.Unlock()
	if got := strings.Join(r.origin.requests[before:], ","); got != "GET bytes=2048-4095,GET bytes=0-299999" {
		t.Errorf("requests upstream: %s", got)
	}
}

func TestStreamOutlivesBrokenConnections(t *testing.T) {
	image := testImage(2_000_000, 1)
	r := newRig(t, image)
	u := BootURL(r.web.URL, r.grant(t, ""))
	r.origin.change(func(o *origin) { o.cutAfter, o.cuts = 300_000, 3 })
	if a := r.get(t, "GET", u); a.err != nil || !bytes.Equal(a.body, image) {
		t.Fatalf("got %d of %d bytes, %v", len(a.body), len(image), a.err)
	}
	r.origin.change(func(o *origin) { o.cutAfter, o.cuts = 1000, 1000 })
	if a := r.get(t, "GET", u); a.err == nil && len(a.body) == len(image) {
		t.Error("a stream that breaks for ever was served")
	}
}

func TestUpstreamChangeFailsTheStream(t *testing.T) {
	image := testImage(400_000, 1)
	for name, change := range map[string]func(o *origin){
		"other tag":           func(o *origin) { o.image, o.etag = testImage(400_000, 2), `"v2"` },
		"other length":        func(o *origin) { o.image = testImage(400_001, 1) },
		"shorter":             func(o *origin) { o.image = testImage(50_000, 1) },
		"tag and length":      func(o *origin) { o.image, o.etag = testImage(500_000, 2), `"v2"` },
		"weak tag of another": func(o *origin) { o.etag = `W/"v1"` },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, image)
			u := BootURL(r.web.URL, r.grant(t, ""))
			r.origin.change(change)
			a := r.get(t, "GET", u, "Range", "bytes=300000-300999")
			if a.status != http.StatusBadGateway {
				t.Fatalf("status %d", a.status)
			}
			if err := <-r.failures; !errors.Is(err, ErrChanged) {
				t.Errorf("hook was told %v", err)
			}
			if !strings.Contains(r.logs.String(), ErrChanged.Error()) {
				t.Error("the log does not name the change")
			}
		})
	}
	t.Run("in the middle", func(t *testing.T) {
		r := newRig(t, image)
		u := BootURL(r.web.URL, r.grant(t, ""))
		r.origin.change(func(o *origin) { o.cutAfter, o.cuts = 200_000, 1 })
		resp, err := http.Get(u)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.ReadFull(resp.Body, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		r.origin.change(func(o *origin) { o.image, o.etag = testImage(400_000, 2), `"v2"` })
		rest, err := io.ReadAll(resp.Body)
		// Where the change falls depends on buffers; what may not happen is a
		// whole body of two images.
		if err == nil && !bytes.Equal(rest, image[10:]) {
			t.Fatal("two images were mixed")
		}
	})
}

func TestGone(t *testing.T) {
	r := newRig(t, testImage(40_000, 1))
	token := r.grant(t, "", func(g *Grant) { g.Expires = time.Now().Add(time.Hour) })
	urls := []string{BootURL(r.web.URL, token), ConfigURL(r.web.URL, token)}
	for _, u := range urls {
		if a := r.get(t, "GET", u); a.status != 200 {
			t.Fatalf("granted: %d", a.status)
		}
	}
	want := r.get(t, "GET", BootURL(r.web.URL, newToken(t)))
	if want.status != 404 {
		t.Fatalf("unknown: %d", want.status)
	}
	same := func(what, u string) {
		t.Helper()
		a := r.get(t, "GET", u)
		if a.status != 404 || !bytes.Equal(a.body, want.body) {
			t.Errorf("%s: %d %q", what, a.status, a.body)
		}
	}
	r.forward(time.Hour)
	for _, u := range urls {
		same("expired", u)
	}
	r.forward(-time.Hour)
	r.registry.revoke(token.Hash())
	for _, u := range urls {
		same("revoked", u)
	}
	for _, path := range []string{"", "/", "/m/", "/m/x/boot.iso", "/p/x", "/m/../p", "/healthz", "/m/" + token.text() + "/other.iso"} {
		same(path, r.web.URL+path)
	}
	r.registry.down = errors.New("api server is away")
	if a := r.get(t, "GET", urls[0]); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("source down: %d", a.status)
	}
	if a := r.get(t, "DELETE", urls[0]); a.status != 405 {
		t.Errorf("DELETE: %d", a.status)
	}
}

func TestFloodOfMissesIsNotLoggedAndHoldsNobodyUp(t *testing.T) {
	r := newRig(t, testImage(40_000, 1))
	u := ConfigURL(r.web.URL, r.grant(t, ""))
	for range 3 * missBurst {
		if a := r.get(t, "GET", r.web.URL+"/m/"+newToken(t).text()+"/boot.iso"); a.status != 404 {
			t.Fatalf("status %d", a.status)
		}
	}
	if n := strings.Count(r.logs.String(), "no such medium"); n > missBurst+missRate*10 {
		t.Errorf("%d misses logged", n)
	}
	if a := r.get(t, "GET", u); a.status != 200 {
		t.Errorf("a valid token in the flood: %d", a.status)
	}
}

func TestEveryReplicaServesTheSame(t *testing.T) {
	image := testImage(100_000, 1)
	a := newRig(t, image)
	token := a.grant(t, sha256Of(image))
	b := newRig(t, nil)
	g, err := a.registry.Grant(t.Context(), token.Hash())
	if err != nil {
		t.Fatal(err)
	}
	b.registry.set(token.Hash(), g)
	b.forward(48 * time.Hour)
	if a := b.get(t, "GET", BootURL(b.web.URL, token)); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("a cold replica answers %d", a.status)
	}
	<-b.woken
	for _, url := range []func(string, Token) string{BootURL, ConfigURL} {
		x, y := a.get(t, "GET", url(a.web.URL, token)), b.get(t, "GET", url(b.web.URL, token))
		if x.status != 200 || y.status != 200 || !bytes.Equal(x.body, y.body) || x.header.Get("ETag") != y.header.Get("ETag") {
			t.Errorf("replicas differ: %d %d", x.status, y.status)
		}
	}
}

func TestFamilyNoneHasNoConfig(t *testing.T) {
	r := newRig(t, testImage(40_000, 1))
	token := r.grant(t, "", func(g *Grant) { g.Content.Family = FamilyNone })
	if a := r.get(t, "GET", ConfigURL(r.web.URL, token)); a.status != 404 {
		t.Errorf("config.iso: %d", a.status)
	}
	if a := r.get(t, "GET", BootURL(r.web.URL, token)); a.status != 200 {
		t.Errorf("boot.iso: %d", a.status)
	}
	token = r.grant(t, "", func(g *Grant) { g.Content.Hostname = "not a name" })
	if a := r.get(t, "GET", ConfigURL(r.web.URL, token)); a.status != 500 || bytes.Contains(a.body, []byte("not a name")) {
		t.Errorf("a drive that cannot be built: %d %q", a.status, a.body)
	}
}

func FuzzRange(f *testing.F) {
	image := testImage(70_000, 1)
	r := newRig(f, image)
	streamed, cached := BootURL("", r.grant(f, "")), BootURL("", r.grant(f, sha256Of(image)))
	for _, h := range []string{"bytes=0-1", "bytes=-5", "bytes=1-2,3-4", "bytes=70000-", "bytes=0-18446744073709551616", "bytes= 1 - 2", "bytes=--1", "bytes=1-2,,4-"} {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, header string) {
		var got [2]*httptest.ResponseRecorder
		for i, path := range []string{streamed, cached} {
			req := httptest.NewRequest("GET", path, nil)
			req.Header["Range"] = []string{header}
			got[i] = httptest.NewRecorder()
			r.Handler().ServeHTTP(got[i], req)
		}
		a, b := got[0], got[1]
		if a.Code != b.Code || a.Header().Get("Content-Range") != b.Header().Get("Content-Range") {
			t.Fatalf("%q: streamed %d %s, cached %d %s", header, a.Code, a.Header().Get("Content-Range"), b.Code, b.Header().Get("Content-Range"))
		}
		if !strings.HasPrefix(a.Header().Get("Content-Type"), "multipart/") && !bytes.Equal(a.Body.Bytes(), b.Body.Bytes()) {
			t.Fatalf("%q: bodies differ", header)
		}
	})
}

func BenchmarkStreaming(b *testing.B) {
	image := testImage(32<<20, 1)
	r := newRig(b, image)
	files := httptest.NewServer(http.FileServer(http.Dir(r.cache.dir)))
	b.Cleanup(files.Close)
	cached, streamed := BootURL(r.web.URL, r.grant(b, sha256Of(image))), BootURL(r.web.URL, r.grant(b, ""))
	sum, err := parseChecksum(sha256Of(image))
	if err != nil {
		b.Fatal(err)
	}
	for name, u := range map[string]string{"fileserver": files.URL + "/" + sum.name() + doneSuffix, "cached": cached, "streamed": streamed} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(image)))
			b.ReportAllocs()
			for b.Loop() {
				resp, err := http.Get(u)
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if err != nil || n != int64(len(image)) {
					b.Fatalf("%d bytes, %v", n, err)
				}
			}
		})
	}
}
