package bootmedia

import (
	"os"
	"testing"
)

// A cache that was allowed more before is within its limit as soon as it is used, the longest unused images gone first.
func TestTheCacheIsWithinItsLimitFromTheStart(t *testing.T) {
	dir := t.TempDir()
	size := func() (total int64) {
		t.Helper()
		names, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			info, err := n.Info()
			if err != nil {
				t.Fatal(err)
			}
			total += info.Size()
		}
		return total
	}
	var last string
	for seed := range uint64(3) {
		image := testImage(300_000, seed)
		last = sha256Of(image)
		r := newRig(t, image, func(o *Options) { o.CacheDir = dir })
		if _, err := r.prepare(t, r.origin.URL+"/image.iso", last); err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	if size() < 900_000 {
		t.Fatalf("%d bytes are cached", size())
	}
	r := newRig(t, nil, func(o *Options) { o.CacheDir, o.CacheBytes = dir, 350_000 })
	p, err := r.Prepare(t.Context(), r.origin.URL+"/image.iso", last)
	if err != nil || !p.Ready {
		t.Errorf("the image that was used last is gone: %+v, %v", p, err)
	}
	if size() > 350_000 {
		t.Errorf("%d bytes are cached", size())
	}
}
