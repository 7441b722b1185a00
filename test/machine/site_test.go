package machine

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// The image server serves ranges of one image, counts them, and serves another image of the same length once it is tampered with.
func TestImageServer(t *testing.T) {
	image := bytes.Repeat([]byte("0123456789abcdef"), 3<<16) // 3 MiB
	path := filepath.Join(t.TempDir(), "live.iso")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := ServeImage(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	etag, body := read(t, s.URL(), "bytes=1048576-2097151")
	if !bytes.Equal(body, image[1<<20:2<<20]) {
		t.Error("the range is not the file's")
	}
	if got := s.Served(); got != (Served{Ranged: 1, Bytes: 1 << 20}) {
		t.Errorf("counted %+v", got)
	}
	s.Tamper(true)
	other, body := read(t, s.URL(), "")
	differ := 0
	for i := range body {
		if body[i] != image[i] {
			differ++
		}
	}
	if len(body) != len(image) || differ != 3 || other == etag {
		t.Errorf("tampered: %d bytes, %d differ, ETag %s after %s", len(body), differ, other, etag)
	}
	if got := s.Served(); got.Whole != 1 || got.Bytes != 4<<20 {
		t.Errorf("counted %+v", got)
	}
}

func read(t *testing.T, url, ranges string) (etag string, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ranges != "" {
		req.Header.Set("Range", ranges)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.Header.Get("ETag"), body
}
