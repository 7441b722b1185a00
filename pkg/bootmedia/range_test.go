package bootmedia

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// media are the three ways a medium is served.
func media(t *testing.T, test func(t *testing.T, r *rig, u string, whole []byte)) {
	t.Helper()
	image := testImage(300_001, 1)
	t.Run("streamed", func(t *testing.T) {
		r := newRig(t, image)
		test(t, r, BootURL(r.web.URL, r.grant(t, "")), image)
	})
	t.Run("cached", func(t *testing.T) {
		r := newRig(t, image)
		test(t, r, BootURL(r.web.URL, r.grant(t, sha256Of(image))), image)
	})
	t.Run("config", func(t *testing.T) {
		r := newRig(t, image)
		token := r.grant(t, "")
		g, err := r.registry.Grant(t.Context(), token.Hash())
		if err != nil {
			t.Fatal(err)
		}
		g.Content.PhoneHomeURL = PhoneHomeURL(g.PhoneHomeBase, token)
		d, err := ConfigDrive(g.Content)
		if err != nil {
			t.Fatal(err)
		}
		test(t, r, ConfigURL(r.web.URL, token), bytesOf(t, d))
	})
}

func TestRanges(t *testing.T) {
	media(t, func(t *testing.T, r *rig, u string, whole []byte) {
		n := len(whole)
		cr := func(a, b int) string { return fmt.Sprintf("bytes %d-%d/%d", a, b, n) }
		for _, c := range []struct {
			ask    string
			status int
			from   int
			to     int // exclusive
			cr     string
		}{
			{"", 200, 0, n, ""},
			{"bytes=0-0", 206, 0, 1, cr(0, 0)},
			{"bytes=0-", 206, 0, n, cr(0, n-1)},
			{"bytes=2048-4095", 206, 2048, 4096, cr(2048, 4095)},
			{"bytes=100000-", 206, 100000, n, cr(100000, n-1)},
			{"bytes=-1", 206, n - 1, n, cr(n-1, n-1)},
			{"bytes=-5000", 206, n - 5000, n, cr(n-5000, n-1)},
			{"bytes=-99999999", 206, 0, n, cr(0, n-1)},
			{fmt.Sprintf("bytes=%d-%d", n-10, n+10), 206, n - 10, n, cr(n-10, n-1)},
			{fmt.Sprintf("bytes=%d-", n), 416, 0, 0, fmt.Sprintf("bytes */%d", n)},
			{"bytes=5-4", 416, 0, 0, ""},
			{"bytes=a-b", 416, 0, 0, ""},
			{"pages=1-2", 416, 0, 0, ""},
		} {
			for _, method := range []string{"GET", "HEAD"} {
				a := r.get(t, method, u, "Range", c.ask)
				if a.err != nil || a.status != c.status {
					t.Fatalf("%s %q: %d, %v; want %d", method, c.ask, a.status, a.err, c.status)
				}
				if a.header.Get("Content-Range") != c.cr {
					t.Errorf("%s %q: Content-Range %q, want %q", method, c.ask, a.header.Get("Content-Range"), c.cr)
				}
				if c.status == 416 {
					continue
				}
				if got := a.header.Get("Content-Length"); got != fmt.Sprint(c.to-c.from) {
					t.Errorf("%s %q: Content-Length %s", method, c.ask, got)
				}
				if a.header.Get("Accept-Ranges") != "bytes" || a.header.Get("ETag") == "" || a.header.Get("Content-Type") != "application/octet-stream" {
					t.Errorf("%s %q: headers %v", method, c.ask, a.header)
				}
				if method == "GET" && !bytes.Equal(a.body, whole[c.from:c.to]) {
					t.Errorf("GET %q: other bytes than asked for", c.ask)
				}
			}
		}
	})
}

func TestSeveralRangesAndConditions(t *testing.T) {
	media(t, func(t *testing.T, r *rig, u string, whole []byte) {
		a := r.get(t, "GET", u, "Range", "bytes=10-19,4096-4099,-3")
		if a.status != 206 || !strings.HasPrefix(a.header.Get("Content-Type"), "multipart/byteranges") {
			t.Fatalf("several ranges: %d %v", a.status, a.header)
		}
		for _, piece := range [][]byte{whole[10:20], whole[4096:4100], whole[len(whole)-3:]} {
			if !bytes.Contains(a.body, piece) {
				t.Errorf("a piece of the multipart answer is missing")
			}
		}
		etag := a.header.Get("ETag")
		if a := r.get(t, "GET", u, "If-None-Match", etag); a.status != 304 {
			t.Errorf("If-None-Match: %d", a.status)
		}
		if a := r.get(t, "GET", u, "Range", "bytes=1-2", "If-Range", etag); a.status != 206 || !bytes.Equal(a.body, whole[1:3]) {
			t.Errorf("If-Range of the same: %d", a.status)
		}
		if a := r.get(t, "GET", u, "Range", "bytes=1-2", "If-Range", `"other"`); a.status != 200 || !bytes.Equal(a.body, whole) {
			t.Errorf("If-Range of another: %d, %d bytes", a.status, len(a.body))
		}
		if a := r.get(t, "GET", u, "If-Match", `"other"`); a.status != 412 {
			t.Errorf("If-Match of another: %d", a.status)
		}
	})
}

func TestManySmallRangesMakeTheWhole(t *testing.T) {
	media(t, func(t *testing.T, r *rig, u string, whole []byte) {
		var got []byte
		rnd := rand.New(rand.NewPCG(3, 3))
		etag := r.get(t, "HEAD", u).header.Get("ETag")
		for len(got) < len(whole) {
			n := 1 + rnd.IntN(9000)
			a := r.get(t, "GET", u, "Range", fmt.Sprintf("bytes=%d-%d", len(got), len(got)+n-1))
			if a.status != 206 || a.header.Get("ETag") != etag {
				t.Fatalf("at %d: %d, tag %s", len(got), a.status, a.header.Get("ETag"))
			}
			got = append(got, a.body...)
		}
		if !bytes.Equal(got, whole) {
			t.Fatal("the pieces do not make the whole")
		}
	})
}
