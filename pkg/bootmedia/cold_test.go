package bootmedia

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// patient is longer than any of these tests: what a BMC waits for has to come.
const patient = time.Minute

// gated is a way to the image server that is shut until it is opened.
type gated struct{ open chan struct{} }

func (g *gated) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-g.open:
		return http.DefaultTransport.RoundTrip(r)
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// replicas are servers of one installation behind one address that takes turns.
type replicas struct {
	all  []*rig
	turn atomic.Int64
	url  string
}

// newReplicas starts n replicas that share what is stored: the grants of the first.
func newReplicas(t *testing.T, image []byte, n int, tune func(i int, o *Options)) *replicas {
	t.Helper()
	rs := &replicas{}
	for i := range n {
		r := newRig(t, image, func(o *Options) {
			if i > 0 {
				o.Source = rs.all[0].registry
			}
			o.Peers = func(context.Context) []string { return rs.others(i) }
			tune(i, o)
		})
		r.waits.cold = patient
		rs.all = append(rs.all, r)
	}
	rs.url = newLocal(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rs.all[int(rs.turn.Add(1))%len(rs.all)].Handler().ServeHTTP(w, r)
	}))
	return rs
}

func (rs *replicas) others(i int) (urls []string) {
	for j, r := range rs.all {
		if j != i {
			urls = append(urls, r.web.URL)
		}
	}
	return urls
}

// read takes a medium in pieces, as a BMC does: every one a request of its own.
func (rs *replicas) read(t *testing.T, u string, size int, meanwhile func(at int)) []byte {
	t.Helper()
	r := rs.all[0]
	etag := r.get(t, http.MethodHead, u).header.Get("ETag")
	var got []byte
	for len(got) < size {
		meanwhile(len(got))
		a := r.get(t, http.MethodGet, u, "Range", fmt.Sprintf("bytes=%d-%d", len(got), len(got)+65535), "If-Range", etag)
		if a.status != http.StatusPartialContent || a.header.Get("ETag") != etag {
			t.Fatalf("at %d: %d %q, tag %s", len(got), a.status, a.body, a.header.Get("ETag"))
		}
		got = append(got, a.body...)
	}
	return got
}

func TestMediumIsReadThroughThreeReplicasOneOfThemCold(t *testing.T) {
	image := append(liveImage(t, "live", "linux /k quiet"), testImage(1<<20, 3)...)
	for _, sum := range []string{sha256Of(image), ""} {
		for name, address := range map[string]func(string, Token) string{"boot": BootURL, "composed": ComposedURL} {
			shut := &gated{open: make(chan struct{})}
			rs := newReplicas(t, image, 3, func(i int, o *Options) {
				if i == 2 && sum != "" {
					o.Client = &http.Client{Transport: shut} // it never gets the image by itself
				}
			})
			token := rs.all[0].grant(t, sum)
			if _, err := rs.all[1].prepare(t, rs.all[0].origin.URL+"/image.iso", sum); err != nil {
				t.Fatal(err)
			}
			whole := rs.all[0].get(t, http.MethodGet, address(rs.all[0].web.URL, token)).body
			var cold *rig
			got := rs.read(t, address(rs.url, token), len(whole), func(at int) {
				// The third one joins, as cold as can be, in the middle.
				if at == 0 {
					cold, rs.all = rs.all[2], rs.all[:2]
				} else if len(rs.all) == 2 {
					rs.all = append(rs.all, cold)
				}
			})
			if !bytes.Equal(got, whole) {
				t.Errorf("%s, checksum %q: the pieces of three replicas do not make the medium", name, sum)
			}
		}
	}
}

func TestColdReplicaServesByItselfOnceItHasTheImage(t *testing.T) {
	image := testImage(300_000, 1)
	shut := &gated{open: make(chan struct{})}
	rs := newReplicas(t, image, 2, func(i int, o *Options) {
		if i == 1 {
			o.Client = &http.Client{Transport: shut}
		}
	})
	warm, cold := rs.all[0], rs.all[1]
	u := BootURL(cold.web.URL, warm.grant(t, sha256Of(image)))
	if a := warm.get(t, http.MethodGet, u, "Range", "bytes=100000-100999"); a.status != http.StatusPartialContent || !bytes.Equal(a.body, image[100_000:101_000]) {
		t.Fatalf("cold: %d %q", a.status, a.body)
	}
	close(shut.open)
	<-cold.woken
	warm.web.Close()
	if a := warm.get(t, http.MethodGet, u); a.status != http.StatusOK || !bytes.Equal(a.body, image) {
		t.Errorf("alone: %d", a.status)
	}
}

func TestBMCWaitsForAnImageThatNoReplicaHas(t *testing.T) {
	image := testImage(300_000, 1)
	shut := &gated{open: make(chan struct{})}
	rs := newReplicas(t, image, 2, func(_ int, o *Options) { o.Client = &http.Client{Transport: shut} })
	source := newOrigin(t, image)
	token := newToken(t)
	rs.all[0].registry.set(token.Hash(), Grant{Host: "default/h", Content: Content{Family: FamilyNone, ImageURL: source.URL, Checksum: sha256Of(image), InstanceID: "i"}})
	got := make(chan answer, 1)
	go func() { got <- rs.all[0].get(t, http.MethodGet, BootURL(rs.all[0].web.URL, token)) }()
	close(shut.open)
	if a := <-got; a.status != http.StatusOK || !bytes.Equal(a.body, image) {
		t.Errorf("after it came: %d %q", a.status, clip(string(a.body), 80))
	}
}

// What a cold replica has on its disk, or is offered by its image server, is not
// the image before it was verified: not a byte of it is served.
func TestColdReplicaServesNothingUnverified(t *testing.T) {
	image, other := testImage(300_000, 1), testImage(300_000, 2)
	rs := newReplicas(t, image, 2, func(int, *Options) {})
	warm, cold := rs.all[0], rs.all[1]
	token := warm.grant(t, sha256Of(image))
	warm.origin.change(func(o *origin) { o.image, o.etag = other, `"v2"` })
	if _, err := cold.prepare(t, warm.origin.URL+"/image.iso", sha256Of(image)); err == nil {
		t.Fatal("another file is taken for the image")
	}
	u := BootURL(cold.web.URL, token)
	if a := warm.get(t, http.MethodGet, u, "Range", "bytes=5000-5999"); a.status != http.StatusPartialContent || !bytes.Equal(a.body, image[5000:6000]) {
		t.Errorf("with a warm peer: %d", a.status)
	}
	warm.web.Close()
	cold.waits.cold = 0
	if a := warm.get(t, http.MethodGet, u, "Range", "bytes=5000-5999"); a.status != http.StatusServiceUnavailable {
		t.Errorf("with none: %d", a.status)
	}
}

func TestRequestsArePassedOnOnce(t *testing.T) {
	image := testImage(300_000, 1)
	rs := newReplicas(t, image, 3, func(_ int, o *Options) { o.Client = &http.Client{Transport: failing{}} })
	for _, r := range rs.all {
		r.waits.cold = 0
	}
	token := newToken(t)
	rs.all[0].registry.set(token.Hash(), Grant{Host: "default/h", Content: Content{Family: FamilyNone, ImageURL: "http://192.0.2.1/i", Checksum: sha256Of(image), InstanceID: "i"}})
	a := rs.all[0].get(t, http.MethodGet, BootURL(rs.url, token))
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("all cold: %d", a.status)
	}
}

type failing struct{}

func (failing) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no way there")
}

// An answer that a peer breaks off may not look whole.
func TestPeerThatBreaksOffBreaksTheAnswer(t *testing.T) {
	image := testImage(300_000, 1)
	broken := newLocal(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(passedOn) == "" {
			t.Error("not marked")
		}
		w.Header().Set("Content-Length", "300000")
		_, _ = w.Write(image[:100_000])
		panic(http.ErrAbortHandler)
	}))
	r := newRig(t, image, func(o *Options) {
		o.Client, o.Peers = &http.Client{Transport: failing{}}, func(context.Context) []string { return []string{broken} }
	})
	token := newToken(t)
	r.registry.set(token.Hash(), Grant{Host: "default/h", Content: Content{Family: FamilyNone, ImageURL: "http://192.0.2.1/i", Checksum: sha256Of(image), InstanceID: "i"}})
	if a := r.get(t, http.MethodGet, BootURL(r.web.URL, token)); a.err == nil {
		t.Errorf("%d, %d bytes without an error", a.status, len(a.body))
	}
}
