package bootmedia

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// TestComposedMediumIsTheSameHoweverItIsRead compares whole reads, many small
// ranges and both ways to get at the image, on two servers.
func TestComposedMediumIsTheSameHoweverItIsRead(t *testing.T) {
	image := liveImage(t, "live", "linux /k quiet")
	for _, sum := range []string{"", sha256Of(image)} {
		r := newRig(t, image)
		token := r.grant(t, sum)
		u := ComposedURL(r.web.URL, token)
		whole := r.get(t, "GET", u)
		if whole.status != http.StatusOK || whole.err != nil {
			t.Fatalf("checksum %q: %d, %v", sum, whole.status, whole.err)
		}
		head := r.get(t, "HEAD", u)
		if got := head.header.Get("Content-Length"); got != fmt.Sprint(len(whole.body)) || head.header.Get("Accept-Ranges") != "bytes" || head.header.Get("ETag") != whole.header.Get("ETag") {
			t.Errorf("HEAD says %v", head.header)
		}
		files := readRockRidge(t, bytes.NewReader(whole.body))
		if string(files["user-data"]) != "#cloud-config\nruncmd: []\n" || !bytes.Equal(files["live/root.squashfs"], bytes.Repeat([]byte("root"), 50_000)) {
			t.Errorf("checksum %q: files %d", sum, len(files))
		}
		if !strings.Contains(string(files["vendor-data"]), PhoneHomeURL("https://192.0.2.1", token)) {
			t.Error("the vendor data does not name the phone-home")
		}
		other := newRig(t, image) // a cold replica
		grant, err := r.registry.Grant(t.Context(), token.Hash())
		if err != nil {
			t.Fatal(err)
		}
		if sum != "" {
			if _, err := other.prepare(t, grant.Content.ImageURL, sum); err != nil {
				t.Fatal(err)
			}
		}
		other.registry.set(token.Hash(), grant)
		rnd := rand.New(rand.NewPCG(3, 4))
		for i := range 60 {
			from := rnd.IntN(len(whole.body))
			to := min(from+1+rnd.IntN(5000), len(whole.body))
			if i%10 == 0 {
				from, to = len(image)-100, min(len(image)+100, len(whole.body)) // over the seam
			}
			base := []string{r.web.URL, other.web.URL}[i%2]
			a := r.get(t, "GET", ComposedURL(base, token), "Range", fmt.Sprintf("bytes=%d-%d", from, to-1), "If-Range", whole.header.Get("ETag"))
			if a.status != http.StatusPartialContent || !bytes.Equal(a.body, whole.body[from:to]) {
				t.Fatalf("checksum %q, bytes %d to %d: %d, %d bytes", sum, from, to, a.status, len(a.body))
			}
		}
	}
}

func TestComposedStreamAsksUpstreamForLittle(t *testing.T) {
	r := newRig(t, liveImage(t, "live", "linux /k quiet"))
	token := r.grant(t, "")
	u := ComposedURL(r.web.URL, token)
	before := r.origin.count()
	r.get(t, "GET", u, "Range", "bytes=0-4095")
	if n := r.origin.count() - before; n > 2 {
		t.Errorf("the first bytes took %d requests, want the look and the bytes", n)
	}
	before = r.origin.count()
	size := len(r.get(t, "GET", u).body)
	if n := r.origin.count() - before; n != 1 {
		t.Errorf("the whole medium took %d requests", n)
	}
	before = r.origin.count()
	r.get(t, "GET", u, "Range", fmt.Sprintf("bytes=%d-", size-4096))
	if n := r.origin.count() - before; n != 0 {
		t.Errorf("a range behind the image took %d requests", n)
	}
}

func TestComposedMediumIsBuiltOnceForManyReaders(t *testing.T) {
	r := newRig(t, liveImage(t, "live", "linux /k quiet"))
	u := ComposedURL(r.web.URL, r.grant(t, ""))
	before := r.origin.count()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if a := r.get(t, "HEAD", u); a.status != http.StatusOK {
				t.Errorf("status %d", a.status)
			}
		})
	}
	wg.Wait()
	if n := r.origin.count() - before; n != 1 {
		t.Errorf("20 readers took %d looks", n)
	}
}

func TestComposedStreamFailsWhenTheImageChanged(t *testing.T) {
	r := newRig(t, liveImage(t, "live", "linux /k quiet"))
	u := ComposedURL(r.web.URL, r.grant(t, ""))
	r.origin.change(func(o *origin) { o.image, o.etag = liveImage(t, "live", "linux /k other"), `"v2"` })
	if a := r.get(t, "GET", u); a.status != http.StatusBadGateway {
		t.Errorf("status %d", a.status)
	}
	if err := <-r.failures; !strings.Contains(err.Error(), "has changed since it was pinned") {
		t.Error(err)
	}
	r.origin.change(func(o *origin) { o.image, o.etag = liveImage(t, "live", "linux /k quiet"), `"v1"` })
	if a := r.get(t, "GET", u); a.status != http.StatusOK {
		t.Errorf("put back, it is %d", a.status)
	}
}

func TestComposedIsNotServedWhereThereIsNothingToAdd(t *testing.T) {
	r := newRig(t, liveImage(t, "live", "linux /k quiet"))
	token := r.grant(t, "", func(g *Grant) { g.Content.Family = FamilyNone })
	if a := r.get(t, "GET", ComposedURL(r.web.URL, token)); a.status != http.StatusNotFound {
		t.Errorf("status %d", a.status)
	}
	if hash, file, ok := HashFromURL(ComposedURL("https://m/x", token)); !ok || hash != token.Hash() || file != FileOf(Composed) {
		t.Errorf("read back as %q %q %v", hash, file, ok)
	}
}

func TestTalosReadsTheDriveOfItsPlatform(t *testing.T) {
	for grub, want := range map[string]string{"linux /k talos.platform=metal talos.config=metal-iso": "config.yaml", "linux /k talos.platform=nocloud": "user-data"} {
		r := newRig(t, liveImage(t, "talos", grub))
		token := r.grant(t, "", func(g *Grant) { g.Content.Family = FamilyTalos })
		a := r.get(t, "GET", ConfigURL(r.web.URL, token))
		if files := readRockRidge(t, bytes.NewReader(a.body)); a.status != http.StatusOK || files[want] == nil {
			t.Errorf("%s: %d, %d files", grub, a.status, len(files))
		}
	}
}
