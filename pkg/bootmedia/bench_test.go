package bootmedia

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
)

// yard is a file server and all our media of one image, side by side.
type yard struct {
	client *http.Client
	size   int64
	urls   map[string]string
}

// The media that a BMC may stream from us, in the order of a report.
var streamed = []string{"cached", "composed", "streamed", "composed, streamed"}

// newYard serves an image of about size bytes; secure is over TLS, on both sides alike.
func newYard(t testing.TB, size int, secure bool) *yard {
	t.Helper()
	image := append(liveImage(t, "live", "linux /k quiet"), make([]byte, size)...)
	r := newRig(t, image)
	sum, err := parseChecksum(sha256Of(image))
	if err != nil {
		t.Fatal(err)
	}
	serve := httptest.NewServer
	if secure {
		serve = httptest.NewTLSServer
	}
	// Verified first, so that the origin has a file to serve as well as the plain server has.
	cached := r.grant(t, sum.String())
	plain := serve(http.FileServer(http.Dir(r.cache.dir)))
	t.Cleanup(plain.Close)
	ours := serve(r.Handler())
	t.Cleanup(ours.Close)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		http.ServeFile(w, q, r.cache.path(sum, doneSuffix))
	}))
	t.Cleanup(upstream.Close)
	r.origin.URL = upstream.URL
	behind, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := serve(httputil.NewSingleHostReverseProxy(behind))
	t.Cleanup(proxy.Close)
	streaming := r.grant(t, "")
	return &yard{client: ours.Client(), size: int64(len(image)), urls: map[string]string{
		"reverse proxy": proxy.URL + "/image.iso",
		"file server":   plain.URL + "/" + sum.name() + doneSuffix,
		"cached":        BootURL(ours.URL, cached), "composed": ComposedURL(ours.URL, cached),
		"streamed": BootURL(ours.URL, streaming), "composed, streamed": ComposedURL(ours.URL, streaming),
	}}
}

// read takes a whole medium and gives its size.
func (y *yard) read(t testing.TB, what string) int64 {
	t.Helper()
	// The certificate is the same for both servers of a yard.
	resp, err := y.client.Get(y.urls[what])
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || n < y.size {
		t.Fatalf("%s: %d, %d of %d bytes, %v", what, resp.StatusCode, n, y.size, err)
	}
	return n
}

func BenchmarkStreaming(b *testing.B) {
	for _, secure := range []bool{false, true} {
		name := map[bool]string{false: "http", true: "https"}[secure]
		y := newYard(b, 32<<20, secure)
		for _, what := range append([]string{"file server", "reverse proxy"}, streamed...) {
			b.Run(name+"/"+what, func(b *testing.B) {
				b.SetBytes(y.size)
				b.ReportAllocs()
				for b.Loop() {
					y.read(b, what)
				}
			})
		}
	}
}
