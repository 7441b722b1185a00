package bootmedia

import (
	"os"
	"strings"
	"testing"
)

// One user's wrong URL is neither shown to another who names the same image by
// the right one, nor does it delay him.
func TestFailuresArePerURL(t *testing.T) {
	image := testImage(60_000, 1)
	r := newRig(t, image)
	wrong := newOrigin(t, image)
	wrong.change(func(o *origin) { o.status = 404 })
	sum := sha256Of(image)
	if _, err := r.prepare(t, wrong.URL+"/secret-name.iso", sum); err == nil {
		t.Fatal("a 404 is ready")
	}
	if p, err := r.prepare(t, r.origin.URL+"/image.iso", sum); err != nil || !p.Ready {
		t.Fatalf("the right URL: %+v, %v", p, err)
	}
	if p, err := r.prepare(t, wrong.URL+"/secret-name.iso", sum); err != nil || !p.Ready {
		t.Errorf("the image is here, whatever its URL: %+v, %v", p, err)
	}
}

func TestRefusedFileIsNotFetchedAgainUntilItsTagChanges(t *testing.T) {
	old, image := testImage(60_000, 1), testImage(60_000, 2)
	r := newRig(t, old)
	u, sum := r.origin.URL+"/image.iso", sha256Of(image)
	for range 4 {
		if _, err := r.prepare(t, u, sum); err == nil || !strings.Contains(err.Error(), "checksum mismatch") {
			t.Fatalf("error %v", err)
		}
		r.forward(retryMost)
	}
	sum2, err := parseChecksum(sum)
	if err != nil {
		t.Fatal(err)
	}
	r.cache.mu.Lock()
	attempts, tag := r.cache.by[sum2].failures[u].attempts, r.cache.by[sum2].failures[u].refusedTag
	r.cache.mu.Unlock()
	if attempts != 4 || tag != `"v1"` || r.origin.sentBytes() != int64(len(old)) {
		t.Errorf("%d attempts under tag %s cost %d bytes", attempts, tag, r.origin.sentBytes())
	}
	r.origin.change(func(o *origin) { o.image, o.etag = image, `"v2"` })
	if p, err := r.prepare(t, u, sum); err != nil || !p.Ready {
		t.Errorf("after the file was put right: %+v, %v", p, err)
	}
}

func TestTwoProcessesShareAFolder(t *testing.T) {
	image := testImage(60_000, 1)
	r := newRig(t, image)
	u := r.origin.URL + "/image.iso"
	sum, err := parseChecksum(sha256Of(image))
	if err != nil {
		t.Fatal(err)
	}
	other := NewCache(CacheOptions{Dir: r.cache.dir, Bytes: 1 << 30, Kind: isoKind})
	part, err := other.openPart(sum)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(image[:1000]); err != nil {
		t.Fatal(err)
	}
	if _, err := r.prepare(t, u, sum.String()); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Fatalf("error %v", err)
	}
	if info, err := part.Stat(); err != nil || info.Size() != 1000 {
		t.Errorf("the other's part was touched: %v", err)
	}
	// The other process finishes.
	if _, err := part.Write(image[1000:]); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(part.Name(), other.path(sum, doneSuffix)); err != nil {
		t.Fatal(err)
	}
	if err := part.Close(); err != nil {
		t.Fatal(err)
	}
	r.forward(retryFirst)
	p, err := r.prepare(t, u, sum.String())
	if err != nil || p.Pin.Length != int64(len(image)) || p.Looks.VolumeLabel != "my-image" {
		t.Errorf("the other's image: %+v, %v", p, err)
	}
	if n := r.origin.count(); n != 0 {
		t.Errorf("%d downloads of what is there", n)
	}
}

func TestPrepareAfterClose(t *testing.T) {
	r := newRig(t, testImage(60_000, 1))
	r.Close()
	for _, sum := range []string{"", sha256Of(nil)} {
		if _, err := r.Prepare(t.Context(), r.origin.URL+"/image.iso", sum); err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("checksum %q: error %v", sum, err)
		}
	}
}
