package bootmedia

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
)

// Overlays are bounded by what they hold, the longest unused goes first, and those of a token end with it.
func TestOverlaysAreBoundedByBytes(t *testing.T) {
	o := newOverlays(1000)
	builds := 0
	get := func(token string, n int) {
		t.Helper()
		over, err := o.get(t.Context(), token, Content{InstanceID: fmt.Sprint(n)}, func(context.Context) (*overlay, error) {
			builds++
			return &overlay{parts: []part{{data: make([]byte, n)}, {data: zeroes(1 << 20)}}}, nil
		})
		if err != nil || over.bytes() != int64(n) {
			t.Fatalf("%v, %v", over, err)
		}
	}
	is := func(n int, held int64, kept int) {
		t.Helper()
		if builds != n || o.held != held || len(o.by) != kept || len(o.order) != kept {
			t.Errorf("%d builds, %d bytes held by %d (%d in order), want %d, %d, %d", builds, o.held, len(o.by), len(o.order), n, held, kept)
		}
	}
	get("a", 400)
	get("b", 500)
	get("a", 400)
	is(2, 900, 2)
	get("c", 300) // b was not used for the longest time
	is(3, 700, 2)
	get("a", 400)
	is(3, 700, 2)
	get("d", 2000) // more than may be held: it is served, and not kept
	is(4, 0, 0)
	get("a", 400)
	get("c", 300)
	o.end("a")
	is(6, 300, 1)
	failed := errors.New("no")
	if _, err := o.get(t.Context(), "e", Content{}, func(context.Context) (*overlay, error) { return nil, failed }); !errors.Is(err, failed) {
		t.Error(err)
	}
	is(6, 300, 1)
}

// A token that ends while its overlay is built leaves nothing behind.
func TestAnOverlayEndsWhileItIsBuilt(t *testing.T) {
	o := newOverlays(1000)
	if _, err := o.get(t.Context(), "a", Content{}, func(context.Context) (*overlay, error) {
		o.end("a")
		return &overlay{parts: []part{{data: make([]byte, 10)}}}, nil
	}); err != nil {
		t.Fatal(err)
	}
	if o.held != 0 || len(o.by) != 0 || len(o.order) != 0 {
		t.Errorf("%d bytes held by %d", o.held, len(o.by))
	}
}

// An image names a large embed area; what is served of it holds no more than what is put there, and goes with its token.
func TestReleasedOverlaysFreeTheirMemory(t *testing.T) {
	image := coreOSImage(t, maxEmbedBytes)
	r := newRig(t, image)
	token := r.grant(t, sha256Of(image), asIgnition)
	u := ComposedURL(r.web.URL, token)
	if a := r.get(t, "GET", u, "Range", "bytes=0-2047"); a.status != http.StatusPartialContent {
		t.Fatalf("%d %s", a.status, a.body)
	}
	held := func() int64 {
		r.overlays.mu.Lock()
		defer r.overlays.mu.Unlock()
		return r.overlays.held
	}
	if n := held(); n == 0 || n > 64<<10 {
		t.Errorf("an overlay of a few files holds %d bytes", n)
	}
	r.registry.revoke(token.Hash())
	if a := r.get(t, "GET", u, "Range", "bytes=0-2047"); a.status != http.StatusNotFound || held() != 0 {
		t.Errorf("after its release: %d, %d bytes held", a.status, held())
	}
}
