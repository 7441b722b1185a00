package diskimage

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/agent/block"
	"github.com/beskar7/beskar7/pkg/agent/fetch"
	"github.com/beskar7/beskar7/pkg/agent/image"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// TestWhatIsServedBecomesTheDisk: the real agent downloads from two replicas, of which one lacks the image and the other one's
// connection breaks again and again, and writes what comes onto a disk.
func TestWhatIsServedBecomesTheDisk(t *testing.T) {
	raw := fixture(t, "disk.raw")
	for name, file := range map[string][]byte{
		"raw": raw, "zstd": pack(t, FormZstd, raw), "gzip": pack(t, FormGzip, raw), "xz": pack(t, FormXZ, raw),
		"qcow2": fixture(t, "v3.qcow2"), "packed qcow2": fixture(t, "extended-packed.qcow2"),
	} {
		published := newOrigin(t, file)
		r, lacking := newRig(t), newRig(t)
		ready, err := r.prepare(t, published.URL+"/x", sha256Of(file))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var broken atomic.Int64
		has := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if broken.Add(1) <= 3 {
				w = &cutter{ResponseWriter: w, origin: published, left: int(ready.Size / 5), cut: true}
			}
			r.Serve(w, q, ready.Digest)
		}))
		t.Cleanup(has.Close)
		has404 := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { lacking.Serve(w, q, ready.Digest) }))
		t.Cleanup(has404.Close)
		path := filepath.Join(t.TempDir(), "disk")
		if err := os.WriteFile(path, bytes.Repeat([]byte("a former tenant "), 3*mib/16), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := block.OpenFile(path, 512)
		if err != nil {
			t.Fatal(err)
		}
		written, err := image.Write(t.Context(), d, image.Source{
			Format: protocol.Format(ready.Format), Digest: ready.Digest, UnpackedSize: ready.UnpackedSize,
			Open: func(ctx context.Context) io.ReadCloser {
				return fetch.Open(ctx, fetch.Options{Client: &http.Client{}, URLs: []string{has404.URL, has.URL}, Size: ready.Size,
					Pause: time.Millisecond})
			},
		}, func(int64) {})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := block.Stage(d, written.Head).Commit(); err != nil {
			t.Fatal(err)
		}
		_ = d.Close()
		if got := read(t, path); !bytes.Equal(got[:len(raw)], raw) || broken.Load() < 4 {
			t.Errorf("%s: another disk, after %d requests", name, broken.Load())
		}
	}
}
