package diskimage

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/beskar7/beskar7/pkg/agent/imagetest"
)

const mib = 1 << 20

// disk is a disk image as cloud images are.
func disk(sector int) []byte { return imagetest.Typical(4*mib, sector).Bytes() }

func sha256Of(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func sha512Of(b []byte) string {
	sum := sha512.Sum512(b)
	return "sha512:" + hex.EncodeToString(sum[:])
}

// pack packs with the program's own settings.
func pack(t testing.TB, form Form, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch form {
	case FormRaw, FormQcow2:
		return data
	case FormZstd:
		w, err = zstd.NewWriter(&out)
	case FormGzip:
		w = gzip.NewWriter(&out)
	case FormXZ:
		w, err = xz.NewWriter(&out)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// hasProgram: where a program is missing its test says so and ends. What it holds is held elsewhere by files that it made once.
func hasProgram(t testing.TB, names ...string) bool {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Logf("%s is not installed: nothing is tried here", name)
			return false
		}
	}
	return true
}

func run(t testing.TB, name string, arguments ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, arguments...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(arguments, " "), err, out)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func noise(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // the same in every run
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// origin is a server of images whose file and manners can be changed.
type origin struct {
	*httptest.Server
	mu       sync.Mutex
	file     []byte
	etag     string
	status   int
	noRange  bool
	cutAfter int // an answer ends after so many bytes; 0: never
	cuts     int // how often
	asked    []string
	sent     atomic.Int64
	hold     chan struct{} // an answer waits for it
	arrived  chan struct{} // has one for each request
}

func newOrigin(t testing.TB, file []byte) *origin {
	t.Helper()
	o := &origin{file: file, etag: `"v1"`, arrived: make(chan struct{}, 1000)}
	o.Server = httptest.NewServer(http.HandlerFunc(o.serve))
	t.Cleanup(o.Close)
	return o
}

func (o *origin) change(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

func (o *origin) requests() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.asked...)
}

func (o *origin) serve(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	file, etag, status, cut, hold := o.file, o.etag, o.status, 0, o.hold
	if o.cuts > 0 {
		o.cuts--
		cut = o.cutAfter
	}
	if o.noRange {
		r.Header.Del("Range")
	}
	o.asked = append(o.asked, r.Header.Get("Range"))
	o.mu.Unlock()
	o.arrived <- struct{}{}
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}
	if status != 0 {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("ETag", etag)
	http.ServeContent(&cutter{ResponseWriter: w, origin: o, left: cut, cut: cut > 0}, r, "", time.Time{}, bytes.NewReader(file))
}

// cutter breaks the connection after some bytes.
type cutter struct {
	http.ResponseWriter
	origin *origin
	left   int
	cut    bool
}

func (c *cutter) Write(p []byte) (int, error) {
	if c.cut && len(p) > c.left {
		n, _ := c.ResponseWriter.Write(p[:c.left])
		c.origin.sent.Add(int64(n))
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	n, err := c.ResponseWriter.Write(p)
	c.left -= n
	c.origin.sent.Add(int64(n))
	return n, err
}

func (c *cutter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// rig is a store with all around it.
type rig struct {
	*Store
	dir   string
	woken chan string
	clock atomic.Int64
}

func newRig(t testing.TB, tune ...func(*Options)) *rig {
	t.Helper()
	r := &rig{woken: make(chan string, 100)}
	o := Options{Dir: t.TempDir(), Now: func() time.Time { return time.Now().Add(time.Duration(r.clock.Load())) }}
	for _, f := range tune {
		f(&o)
	}
	r.dir = filepath.Join(o.Dir, "disks")
	r.Store = New(o)
	r.Notify(func(u string) { r.woken <- u })
	t.Cleanup(r.Close)
	return r
}

func (r *rig) forward(d time.Duration) { r.clock.Add(int64(d)) }

// prepare asks until an image is ready or has failed.
func (r *rig) prepare(t testing.TB, url, checksum string) (Ready, error) {
	t.Helper()
	for {
		ready, err := r.Prepare(t.Context(), Source{url, checksum})
		notYet, ok := err.(*NotYet) //nolint:errorlint // it is what is promised
		if !ok {
			return ready, err
		}
		select {
		case <-r.woken:
		case <-time.After(time.Minute):
			t.Fatalf("not woken: %s", notYet.Message)
		}
	}
}

// contents reads an image that is ready.
func (r *rig) contents(t testing.TB, digest string) []byte {
	t.Helper()
	f, _, err := r.Open(digest)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
