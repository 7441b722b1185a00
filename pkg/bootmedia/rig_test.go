package bootmedia

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	deaf     bool  // to If-Range
	cutAfter int64 // a body ends after so many bytes; 0: never
	cuts     int   // how often
	sick     int   // so many requests are answered 503, after the cuts
	requests []string
	sent     atomic.Int64 // bytes of bodies
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
	image, etag, status, noRange, deaf := o.image, o.etag, o.status, o.noRange, o.deaf
	cut := int64(0)
	if o.cuts > 0 {
		o.cuts--
		cut = o.cutAfter
	} else if o.sick > 0 {
		o.sick--
		status = http.StatusServiceUnavailable
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
	if deaf {
		r.Header.Del("If-Range")
	}
	if cut > 0 {
		w = &cutter{ResponseWriter: w, left: cut}
	}
	http.ServeContent(&meter{w, &o.sent}, r, "", time.Time{}, bytes.NewReader(image))
}

// meter counts the bytes of a body.
type meter struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (m *meter) Write(p []byte) (int, error) {
	m.sent.Add(int64(len(p))) // before whoever asked has them
	n, err := m.ResponseWriter.Write(p)
	m.sent.Add(int64(n - len(p)))
	return n, err
}

func (o *origin) sentBytes() int64 { return o.sent.Load() }

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
	r.waits.resume = time.Millisecond
	r.waits.cold, r.waits.again, r.waits.late = 0, time.Millisecond, 0
	r.Notify(func(u string) { r.woken <- u })
	r.web = httptest.NewServer(r.Handler())
	t.Cleanup(func() { r.web.Close(); r.Close() })
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

// newLocal serves a handler until the test ends, and gives its URL.
func newLocal(t testing.TB, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}
