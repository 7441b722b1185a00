package bootmedia

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

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
	image := testImage((2*maxResumes+1)*resumeCredit, 1)
	r := newRig(t, image)
	u := BootURL(r.web.URL, r.grant(t, ""))
	for name, c := range map[string]func(o *origin){
		"cuts":           func(o *origin) { o.cutAfter, o.cuts = 300_000, 3 },
		"a restart":      func(o *origin) { o.cutAfter, o.cuts, o.sick = 300_000, 1, maxResumes-1 },
		"often, in time": func(o *origin) { o.cutAfter, o.cuts = resumeCredit+1000, 2*maxResumes },
	} {
		r.origin.change(c)
		if a := r.get(t, "GET", u); a.err != nil || !bytes.Equal(a.body, image) {
			t.Fatalf("%s: got %d of %d bytes, %v", name, len(a.body), len(image), a.err)
		}
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
		"tag lost":            func(o *origin) { o.etag = "" },
		"tag lost, deaf":      func(o *origin) { o.etag, o.deaf = "", true },
		"other tag, deaf":     func(o *origin) { o.etag, o.deaf = `"v2"`, true },
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

// A BMC that takes nothing must not keep a stream from the others for ever.
func TestStalledReaderGivesItsStreamUp(t *testing.T) {
	image := testImage(24<<20, 1)
	r := newRig(t, image, func(o *Options) { o.MaxStreams = 1 })
	r.waits.reader = 50 * time.Millisecond
	u := BootURL(r.web.URL, r.grant(t, ""))
	stalled, err := http.Get(u)
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Body.Close()
	if a := r.get(t, "GET", u, "Range", "bytes=5-9"); a.status != http.StatusPartialContent || !bytes.Equal(a.body, image[5:10]) {
		t.Fatalf("beside a stalled reader: %d, %v", a.status, a.err)
	}
	// The deadline of the stream does not stay on the connection.
	for range 2 {
		if a := r.get(t, "GET", u, "Range", "bytes=0-999"); a.status != http.StatusPartialContent {
			t.Fatalf("afterwards: %d, %v", a.status, a.err)
		}
	}
}

// Nor may it hold an image in the cache.
func TestStalledReaderLetsACachedImageGo(t *testing.T) {
	image := append(liveImage(t, "live", "linux /k quiet"), make([]byte, 24<<20)...)
	r := newRig(t, image)
	r.waits.reader = 50 * time.Millisecond
	ended := make(chan struct{}, 2)
	web := newLocal(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.Handler().ServeHTTP(w, q)
		ended <- struct{}{}
	}))
	token := r.grant(t, sha256Of(image))
	for _, u := range []string{BootURL(web, token), ComposedURL(web, token)} {
		stalled, err := http.Get(u)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
		case <-time.After(patient):
			t.Errorf("the stream is held")
		}
		_ = stalled.Body.Close()
	}
	sum, err := parseChecksum(sha256Of(image))
	if err != nil {
		t.Fatal(err)
	}
	r.cache.mu.Lock()
	defer r.cache.mu.Unlock()
	if n := r.cache.by[sum].refs; n != 0 {
		t.Errorf("%d readers hold the image", n)
	}
}
