package bootmedia

import (
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/endpoint"
)

// loopback is a policy that lets tests reach their servers.
func loopback() *endpoint.Policy {
	return endpoint.NewPolicy(endpoint.PolicyOptions{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
}

// trustServer writes what signs a test server into a folder.
func trustServer(t *testing.T, dir string, web *httptest.Server) {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ours.crt"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

// TestNoRedirectToPlainHTTP: an image over https is not swapped for one over http, neither when it is looked at, nor when it is
// downloaded, nor later, in the middle of a stream.
func TestNoRedirectToPlainHTTP(t *testing.T) {
	image := testImage(200_000, 1)
	plain := newOrigin(t, image)
	honest := true
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if honest {
			plain.serve(w, r)
			return
		}
		http.Redirect(w, r, plain.URL+"/image.iso", http.StatusFound)
	}))
	t.Cleanup(secure.Close)
	r := newRig(t, image, func(o *Options) { o.Client = secure.Client() })
	pinned, err := r.prepare(t, secure.URL+"/image.iso", "")
	if err != nil {
		t.Fatal(err)
	}
	token := r.grant(t, "", func(g *Grant) { g.Content.ImageURL, g.Content.ImagePin = secure.URL+"/image.iso", pinned.Pin })
	honest = false
	if a := r.get(t, "GET", BootURL(r.web.URL, token)); a.status == http.StatusOK {
		t.Errorf("streamed over plain http: %d bytes", len(a.body))
	}
	asked := plain.count()
	r.forward(probeFresh)
	for _, sum := range []string{"", sha256Of(image)} {
		if p, err := r.prepare(t, secure.URL+"/image.iso", sum); !errors.Is(err, errDowngrade) {
			t.Errorf("checksum %q: %+v, %v", sum, p, err)
		}
	}
	if plain.count() != asked {
		t.Error("the plain server was asked")
	}
}

// TestRedirectsThatAreFollowed: a mirror's, and one that leads to more protection.
func TestRedirectsThatAreFollowed(t *testing.T) {
	image := testImage(200_000, 1)
	mirror := newOrigin(t, image)
	secure := httptest.NewTLSServer(http.HandlerFunc(mirror.serve))
	t.Cleanup(secure.Close)
	for _, to := range []string{mirror.URL, secure.URL} {
		first := newLocal(t, http.RedirectHandler(to+"/image.iso", http.StatusFound))
		r := newRig(t, image, func(o *Options) { o.Client = secure.Client() })
		if _, err := r.prepare(t, first+"/image.iso", ""); err != nil {
			t.Errorf("to %s: %v", to, err)
		}
	}
	var loop string
	loop = newLocal(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, loop+"/image.iso", http.StatusFound) }))
	if _, err := newRig(t, image).prepare(t, loop+"/image.iso", ""); !errors.Is(err, errRedirects) {
		t.Error(err)
	}
}

// TestImagesAreKeptFromForbiddenAddresses: written as they are, as a name, and behind a redirect of a server that is allowed.
func TestImagesAreKeptFromForbiddenAddresses(t *testing.T) {
	asked := 0
	inner := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	inner.Listener = listener
	inner.Start()
	t.Cleanup(inner.Close)
	allowed := endpoint.NewPolicy(endpoint.PolicyOptions{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Deny: []netip.Prefix{netip.MustParsePrefix("::1/128")}})
	r := newRig(t, nil, func(o *Options) { o.Client = NewClient(ClientOptions{Reach: allowed, Proxy: noProxy}) })
	redirect := newLocal(t, http.RedirectHandler(inner.URL+"/image.iso", http.StatusFound))
	for _, u := range []string{inner.URL, redirect, "http://169.254.169.254", "http://[::ffff:169.254.169.254]"} {
		_, err := r.prepare(t, u+"/image.iso", "")
		if forbidden := new(endpoint.ForbiddenError); !errors.As(err, &forbidden) {
			t.Errorf("%s: %v", u, err)
		}
	}
	if asked != 0 {
		t.Errorf("%d requests arrived", asked)
	}
}

// TestProxies: what a proxy is asked to dial is judged before it is asked; the proxy itself is where its owner put it.
func TestProxies(t *testing.T) {
	image := testImage(200_000, 1)
	source := newOrigin(t, image)
	var through []string
	proxy := newLocal(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		through = append(through, r.URL.Host)
		source.serve(w, r)
	}))
	r := newRig(t, image, func(o *Options) {
		o.Client = NewClient(ClientOptions{Reach: endpoint.NewPolicy(endpoint.PolicyOptions{}), Proxy: func(*http.Request) (*url.URL, error) { return url.Parse(proxy) }})
	})
	if _, err := r.prepare(t, "http://images.invalid/image.iso", ""); err != nil || len(through) == 0 {
		t.Errorf("the proxy was asked for %v: %v", through, err)
	}
	through = nil
	for _, u := range []string{"http://169.254.169.254/image.iso", "http://localhost/image.iso"} {
		_, err := r.prepare(t, u, "")
		if forbidden := new(endpoint.ForbiddenError); !errors.As(err, &forbidden) || len(through) != 0 {
			t.Errorf("%s: the proxy was asked for %v: %v", u, through, err)
		}
	}
}

// TestPrivateImageServer: a server with a certificate of an authority of one's own is read once that is given, without a restart.
func TestPrivateImageServer(t *testing.T) {
	image := testImage(200_000, 1)
	source := newOrigin(t, image)
	secure := httptest.NewTLSServer(http.HandlerFunc(source.serve))
	t.Cleanup(secure.Close)
	dir := filepath.Join(t.TempDir(), "not-there-yet")
	now := time.Now()
	r := newRig(t, image, func(o *Options) {
		o.Client = NewClient(ClientOptions{Reach: loopback(), CADir: dir, Proxy: noProxy, Now: func() time.Time { return now }})
	})
	if _, err := r.prepare(t, secure.URL+"/image.iso", ""); err == nil || !strings.Contains(err.Error(), "--image-ca-dir") {
		t.Fatalf("trusted, or without a word what to do: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "..data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	trustServer(t, dir, secure)
	now = now.Add(caFresh)
	r.forward(probeRetry)
	if _, err := r.prepare(t, secure.URL+"/image.iso", ""); err != nil {
		t.Fatal(err)
	}
	// Taken away again: a connection that was made before is not used any more.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	now = now.Add(caFresh)
	r.forward(probeFresh)
	if _, err := r.prepare(t, secure.URL+"/image.iso", ""); err == nil {
		t.Error("still trusted")
	}
}

// TestImageServersAreNoOracle: what is told of an address is the same whether nobody listens there or something else does, and
// holds nothing of what that said.
func TestImageServersAreNoOracle(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	banner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = banner.Close() })
	go func() {
		for {
			conn, err := banner.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("SSH-2.0-canary\r\n"))
			_ = conn.Close()
		}
	}()
	secret := newLocal(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "canary", http.StatusTeapot) }))
	r := newRig(t, nil, func(o *Options) { o.Client = NewClient(ClientOptions{Reach: loopback(), Proxy: noProxy}) })
	words := func(u string) string {
		_, err := r.prepare(t, u+"/image.iso", "")
		if err == nil {
			t.Fatalf("%s is an image server", u)
		}
		if strings.Contains(err.Error()+r.logs.String(), "canary") {
			t.Errorf("it tells what the server said: %v\n%s", err, r.logs)
		}
		return strings.ReplaceAll(err.Error(), u, "URL")
	}
	refused, other := words("http://"+gone.Addr().String()), words("http://"+banner.Addr().String())
	if refused != other {
		t.Errorf("told apart:\n%s\n%s", refused, other)
	}
	if noTLS := words("https://" + banner.Addr().String()); noTLS != refused {
		t.Errorf("told apart:\n%s\n%s", refused, noTLS)
	}
	if said := words(secret); !strings.Contains(said, "418") {
		t.Errorf("the status is not told: %s", said)
	}
	if !strings.Contains(r.logs.String(), "connection refused") {
		t.Error("who runs the manager does not find out why")
	}
}
