package bootmedia

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// redirector sends one request after the other to another mirror.
func redirector(t *testing.T, query string, mirrors ...*origin) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	asked := new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1) - 1
		http.Redirect(w, r, mirrors[int(n)%len(mirrors)].URL+"/pub/image.iso"+query, http.StatusFound)
	}))
	t.Cleanup(s.Close)
	return s, asked
}

func TestTheMirrorThatWasChosenIsReadOn(t *testing.T) {
	image := testImage(300_000, 1)
	one, other := newOrigin(t, image), newOrigin(t, image)
	other.change(func(o *origin) { o.etag = `"another"` })
	from, asked := redirector(t, "", one, other)
	r := newRig(t, image)
	p, err := r.prepare(t, from.URL+"/image.iso", "")
	if err != nil || p.Pin.Mirror != one.URL+"/pub/image.iso" {
		t.Fatalf("pinned %+v, %v", p.Pin, err)
	}
	u := BootURL(r.web.URL, r.grant(t, "", func(g *Grant) { g.Content.ImageURL, g.Content.ImagePin = from.URL+"/image.iso", p.Pin }))
	looks := asked.Load()
	for range 3 {
		if a := r.get(t, "GET", u, "Range", "bytes=2048-99999"); a.status != http.StatusPartialContent || !bytes.Equal(a.body,
			image[2048:100_000]) {
			t.Fatalf("%d, %d bytes", a.status, len(a.body))
		}
	}
	if n := asked.Load() - looks; n != 0 || other.count() != 0 {
		t.Errorf("the redirector was asked %d times again, the other mirror %d times", n, other.count())
	}
	// The mirror is gone; the redirector names one that has the same image.
	one.change(func(o *origin) { o.status = http.StatusNotFound })
	other.change(func(o *origin) { o.etag = `"v1"` })
	asked.Store(1)
	if a := r.get(t, "GET", u, "Range", "bytes=0-4095"); a.status != http.StatusPartialContent || !bytes.Equal(a.body, image[:4096]) {
		t.Errorf("after the mirror went: %d", a.status)
	}
}

func TestASignedRedirectIsNotKept(t *testing.T) {
	image := testImage(100_000, 1)
	from, _ := redirector(t, "?signature=secret", newOrigin(t, image))
	p, err := newRig(t, image).prepare(t, from.URL+"/image.iso", "")
	if err != nil || p.Pin.Mirror != "" || !p.Ready {
		t.Errorf("pinned %+v, %v", p.Pin, err)
	}
}

// cutting is a server that answers a range with its first part only, as caches do
// whose pieces are of one size.
func cutting(t *testing.T, image []byte, most int) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var first, last int
		if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last); n == 2 {
			r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", first, min(last, first+most-1)))
		}
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(image))
	}))
	t.Cleanup(s.Close)
	return s
}

func TestAServerMayCutRanges(t *testing.T) {
	image := testImage(300_000, 1)
	from := cutting(t, image, 10_000)
	r := newRig(t, image)
	p, err := r.prepare(t, from.URL+"/image.iso", "")
	if err != nil || !p.Ready {
		t.Fatalf("%+v, %v", p, err)
	}
	u := BootURL(r.web.URL, r.grant(t, "", func(g *Grant) { g.Content.ImageURL, g.Content.ImagePin = from.URL+"/image.iso", p.Pin }))
	if a := r.get(t, "GET", u); a.err != nil || !bytes.Equal(a.body, image) {
		t.Errorf("%d bytes, %v", len(a.body), a.err)
	}
	if _, err := r.prepare(t, cutting(t, image, 1000).URL+"/image.iso", ""); err == nil || !strings.Contains(err.Error(),
		"cuts the ranges") {
		t.Errorf("pieces of 1000 bytes: %v", err)
	}
}

func TestAServerThatCompressesAnywayIsTold(t *testing.T) {
	image := testImage(100_000, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(packed(image))
	}))
	t.Cleanup(s.Close)
	for _, checksum := range []string{"", sha256Of(image)} {
		if _, err := newRig(t, image).prepare(t, s.URL+"/image.iso", checksum); err == nil || !strings.Contains(err.Error(),
			"compresses the image") {
			t.Errorf("checksum %q: %v", checksum, err)
		}
	}
}

func TestAnImageWithUDFAloneIsToldByName(t *testing.T) {
	image := testImage(100_000, 1)
	copy(image[32768:], "\x00BEA01\x01") // as mkudffs writes it
	r := newRig(t, image)
	for _, checksum := range []string{"", sha256Of(image)} {
		if _, err := r.prepare(t, r.origin.URL+"/image.iso", checksum); err == nil || !strings.Contains(err.Error(),
			"UDF file system and no ISO 9660") {
			t.Errorf("checksum %q: %v", checksum, err)
		}
	}
}
