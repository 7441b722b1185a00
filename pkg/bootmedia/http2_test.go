package bootmedia

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A BMC whose client speaks HTTP/2, as libcurl does where the server does, gets the same bytes: there the
// connection cannot copy by itself, and a composed medium is sent in many pieces.
func TestHTTP2ServesTheSameMedia(t *testing.T) {
	image := append(liveImage(t, "live", "linux /k quiet"), bytes.Repeat([]byte("behind "), 500_000)...)
	r := newRig(t, image)
	silent := func(g *Grant) { g.PhoneHomeBase = "" } // its capability is another for every token
	streamed, cached := r.grant(t, "", silent), r.grant(t, sha256Of(image), silent)
	web := httptest.NewUnstartedServer(r.Handler())
	web.EnableHTTP2 = true
	web.StartTLS()
	t.Cleanup(web.Close)
	read := func(client *http.Client, u string) []byte {
		resp, err := client.Get(u)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || int64(len(body)) != resp.ContentLength {
			t.Errorf("%s: %s, %d of %d bytes, %v", resp.Proto, resp.Status, len(body), resp.ContentLength, err)
		}
		if client == web.Client() && resp.ProtoMajor != 2 {
			t.Errorf("the connection speaks %s", resp.Proto)
		}
		return body
	}
	want := read(http.DefaultClient, ComposedURL(r.web.URL, cached))
	for name, u := range map[string]string{"cached": ComposedURL(web.URL, cached), "streamed": ComposedURL(web.URL, streamed)} {
		if got := read(web.Client(), u); !bytes.Equal(got, want) {
			t.Errorf("composed, %s: other bytes than over HTTP/1.1", name)
		}
	}
	for name, u := range map[string]string{"cached": BootURL(web.URL, cached), "streamed": BootURL(web.URL, streamed)} {
		if got := read(web.Client(), u); !bytes.Equal(got, image) {
			t.Errorf("boot, %s: other bytes than the image", name)
		}
	}
}
