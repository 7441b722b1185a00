package diskimage

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
)

// served is a store with one image, behind a server.
func served(t *testing.T, tune ...func(*Options)) (r *rig, url string, image []byte) {
	t.Helper()
	image = disk(512)
	o := newOrigin(t, image)
	r = newRig(t, tune...)
	ready, err := r.prepare(t, o.URL+"/x", sha256Of(image))
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.Serve(w, q, strings.TrimPrefix(q.URL.Path, "/"))
	}))
	t.Cleanup(web.Close)
	return r, web.URL + "/" + ready.Digest, image
}

// answer of a server.
type answer struct {
	status int
	header http.Header
	length int64
}

func ask(t *testing.T, method, url string, header ...string) (answer, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, resp.ContentLength}, body
}

func TestServedWithRanges(t *testing.T) {
	_, url, image := served(t)
	whole, body := ask(t, http.MethodGet, url)
	tag := whole.header.Get("ETag")
	if whole.status != http.StatusOK || !bytes.Equal(body, image) || len(tag) != 66 || whole.length != int64(len(image)) {
		t.Errorf("%d, %d bytes, tag %s", whole.status, len(body), tag)
	}
	for name, c := range map[string]struct {
		header []string
		status int
		want   []byte
	}{
		"the rest":           {[]string{"Range", "bytes=1000000-", "If-Range", tag}, 206, image[1000000:]},
		"a piece":            {[]string{"Range", "bytes=5-700004"}, 206, image[5:700005]},
		"of another image":   {[]string{"Range", "bytes=5-", "If-Range", `"other"`}, 200, image},
		"behind the end":     {[]string{"Range", "bytes=99999999-"}, 416, nil},
		"what is there":      {[]string{"If-None-Match", tag}, 304, []byte{}},
		"of another, or not": {[]string{"If-Match", `"other"`}, 412, []byte{}},
	} {
		resp, body := ask(t, http.MethodGet, url, c.header...)
		if resp.status != c.status || c.want != nil && !bytes.Equal(body, c.want) {
			t.Errorf("%s: %d, %d bytes", name, resp.status, len(body))
		}
	}
	if resp, body := ask(t, http.MethodHead, url); resp.length != int64(len(image)) || len(body) != 0 {
		t.Errorf("HEAD: %d", resp.length)
	}
	if resp, _ := ask(t, http.MethodPost, url); resp.status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", resp.status)
	}
	if resp, _ := ask(t, http.MethodGet, url[:len(url)-1]); resp.status != http.StatusNotFound {
		t.Errorf("another digest: %d", resp.status)
	}
}

func TestServedOverHTTP2(t *testing.T) {
	r, _, image := served(t)
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { r.Serve(w, q, sha256Of(image)) }))
	web.EnableHTTP2 = true
	web.StartTLS()
	t.Cleanup(web.Close)
	resp, err := web.Client().Get(web.URL) //nolint:noctx // it ends with the server
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.ProtoMajor != 2 || !bytes.Equal(body, image) {
		t.Errorf("%s: %d bytes, %v", resp.Proto, len(body), err)
	}
}

// TestStreamsAreBounded: who comes too many is told when to come back, and a stream that ends makes room.
func TestStreamsAreBounded(t *testing.T) {
	r, url, _ := served(t, func(o *Options) { o.MaxStreams = 2 })
	r.streams <- struct{}{}
	if resp, _ := ask(t, http.MethodGet, url); resp.status != http.StatusOK {
		t.Errorf("the second: %d", resp.status)
	}
	r.streams <- struct{}{}
	if resp, _ := ask(t, http.MethodGet, url); resp.status != http.StatusServiceUnavailable || resp.header.Get("Retry-After") == "" {
		t.Errorf("the third: %d", resp.status)
	}
	<-r.streams
	if resp, _ := ask(t, http.MethodGet, url); resp.status != http.StatusOK {
		t.Errorf("when one has ended: %d", resp.status)
	}
}

// TestTheRateIsOfAll: two streams together take as long as one of all their bytes.
func TestTheRateIsOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := rate.NewLimiter(rate.Limit(mib), sendPiece)
		start := time.Now()
		done := make(chan int64, 2)
		for range 2 {
			go func() {
				p := &paced{ResponseWriter: httptest.NewRecorder(), ctx: t.Context(), rate: limit}
				n, err := p.ReadFrom(io.LimitReader(zeroReader{}, 5*mib))
				if err != nil {
					t.Error(err)
				}
				done <- n
			}()
		}
		if n := <-done + <-done; n != 10*mib {
			t.Errorf("%d bytes", n)
		}
		if took := time.Since(start); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("10 MiB at 1 MiB/s took %v", took)
		}
	})
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }
