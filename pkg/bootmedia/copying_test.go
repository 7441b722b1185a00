package bootmedia

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// large is more than the sockets between two processes hold (10 MiB at most).
const large = 24 << 20

func TestOpenStreamOfARevokedTokenEnds(t *testing.T) {
	image := append(liveImage(t, "live", "linux /k quiet"), make([]byte, large)...)
	for _, sum := range []string{"", sha256Of(image)} {
		for name, address := range map[string]func(string, Token) string{"boot": BootURL, "composed": ComposedURL} {
			for what, end := range map[string]func(*rig, Token){
				"revoked": func(r *rig, token Token) { r.registry.revoke(token.Hash()); r.forward(grantAgain) },
				"expired": func(r *rig, _ Token) { r.forward(time.Hour) },
			} {
				r := newRig(t, image)
				token := r.grant(t, sum, func(g *Grant) { g.Expires = time.Now().Add(time.Hour) })
				resp, err := http.Get(address(r.web.URL, token))
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if _, err := io.ReadFull(resp.Body, make([]byte, 10)); err != nil {
					t.Fatal(err)
				}
				end(r, token)
				rest, err := io.Copy(io.Discard, resp.Body)
				if err == nil || rest >= int64(len(image)) {
					t.Errorf("%s, checksum %q, %s: %d more bytes were served, %v", name, sum, what, rest, err)
				}
				r.web.Close() // after which everything is logged
				if !strings.Contains(r.logs.String(), errRevoked.Error()) {
					t.Errorf("%s, checksum %q, %s: the log does not say why it ended", name, sum, what)
				}
			}
		}
	}
}

func TestOpenStreamOutlivesASourceThatCannotAnswer(t *testing.T) {
	image := testImage(large, 1)
	r := newRig(t, image)
	resp, err := http.Get(BootURL(r.web.URL, r.grant(t, sha256Of(image))))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r.registry.mu.Lock()
	r.registry.down = io.ErrClosedPipe
	r.registry.mu.Unlock()
	r.forward(grantAgain)
	if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, image) {
		t.Errorf("%d of %d bytes, %v", len(got), len(image), err)
	}
}

// Patches near each other, at the start and the end of the image, and far from
// each other: whatever way the bytes take, they are those of the medium.
func TestPiecesOfAComposedMediumAreItsBytes(t *testing.T) {
	image := testImage(5*pieceBytes/2+777, 2)
	at := func(off int64, n int) part { return part{off: off, data: bytes.Repeat([]byte{byte(off)}, n)} }
	end := int64(len(image))
	over := &overlay{base: end, size: end + 100_000, etag: `"x"`, parts: []part{
		at(0, 100), at(32768, 2048), at(40000, 50), at(pieceBytes-10, 20), at(2*pieceBytes, 200_000), at(end-3, 3), at(end+5000, 3000),
	}}
	want := append(bytes.Clone(image), make([]byte, 100_000)...)
	for _, p := range over.parts {
		copy(want[p.off:], p.data)
	}
	r := newRig(t, image)
	r.grant(t, sha256Of(image))
	web := newLocal(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		file, err := r.openCached(r.origin.URL+"/image.iso", sha256Of(image))
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = file.Close() }()
		serveISO(&recorder{ResponseWriter: w}, q, over.etag, over.size, &composed{base: file, over: over})
	}))
	for _, header := range []string{"", "bytes=5-", "bytes=32767-40100", "bytes=1048500-1048700", "bytes=2000000-", "bytes=-100003", "bytes=-99000", "bytes=0-99,40000-1048590"} {
		a := r.get(t, http.MethodGet, web, "Range", header)
		if strings.Contains(header, ",") {
			if !bytes.Contains(a.body, want[:100]) || !bytes.Contains(a.body, want[40000:1048591]) {
				t.Errorf("%q: the pieces are not in the answer", header)
			}
			continue
		}
		from, to := int64(0), int64(len(want))
		if h := askedRanges(http.Header{"Range": {header}}, "", to); len(h) == 1 {
			from, to = h[0][0], h[0][1]
		}
		if a.err != nil || !bytes.Equal(a.body, want[from:to]) {
			t.Errorf("%q: %d, %d bytes of %d, %v", header, a.status, len(a.body), to-from, a.err)
		}
	}
}
