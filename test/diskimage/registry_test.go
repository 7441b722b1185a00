// Package diskimage_test tries pkg/diskimage against registries as others wrote them.
package diskimage_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
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

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/beskar7/beskar7/pkg/agent/imagetest"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/diskimage"
	"github.com/beskar7/beskar7/pkg/endpoint"
)

// house is a registry over https, a store that trusts it, and who was asked for what.
type house struct {
	store *diskimage.Store
	web   *httptest.Server
	host  string
	woken chan string
	gate  http.HandlerFunc // if it is set, it may answer in place of the registry
}

func newHouse(t *testing.T, reach *endpoint.Policy, tune func(*diskimage.Options)) *house {
	t.Helper()
	h := &house{woken: make(chan string, 10)}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	h.web = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.gate != nil {
			kept := &keeper{ResponseWriter: w}
			if h.gate(kept, r); kept.answered {
				return
			}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(h.web.Close)
	h.host = h.web.Listener.Addr().String()
	dir := t.TempDir()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.web.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	o := diskimage.Options{Dir: t.TempDir(), Client: bootmedia.NewClient(bootmedia.ClientOptions{Reach: reach, CADir: dir,
		Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }})}
	if tune != nil {
		tune(&o)
	}
	h.store = diskimage.New(o)
	h.store.Notify(func(u string) { h.woken <- u })
	t.Cleanup(h.store.Close)
	return h
}

type keeper struct {
	http.ResponseWriter
	answered bool
}

func (k *keeper) WriteHeader(status int) {
	k.answered = true
	k.ResponseWriter.WriteHeader(status)
}

// push puts an image of layers into the registry, and gives its digest.
func (h *house) push(t *testing.T, reference string, layers ...v1.Layer) v1.Hash {
	t.Helper()
	image, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layers...)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(h.host + "/" + reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image, remote.WithTransport(h.web.Client().Transport)); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func (h *house) prepare(t *testing.T, u, sum string) (diskimage.Ready, error) {
	t.Helper()
	for {
		ready, err := h.store.Prepare(t.Context(), diskimage.Source{URL: u, Checksum: sum})
		notYet, ok := errors.AsType[*diskimage.NotYet](err)
		if !ok {
			return ready, err
		}
		select {
		case <-h.woken:
		case <-time.After(time.Minute):
			t.Fatal(notYet.Message)
		}
	}
}

func sha256Of(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func loopback() *endpoint.Policy {
	return endpoint.NewPolicy(endpoint.PolicyOptions{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
}

var (
	disk  = imagetest.Typical(6<<20, 512).Bytes()
	layer = static.NewLayer(disk, "application/vnd.example.disk.raw")
)

// TestImagesFromARegistry: by tag with the checksum of the file or of the manifest, and by digest with either and with none.
func TestImagesFromARegistry(t *testing.T) {
	h := newHouse(t, loopback(), nil)
	manifest := h.push(t, "images/node:v1", layer).String()
	tag, pinned := "oci://"+h.host+"/images/node:v1", "oci://"+h.host+"/images/node@"+manifest
	for _, c := range []struct{ url, sum string }{
		{tag, sha256Of(disk)}, {tag, manifest}, {pinned, ""}, {pinned, sha256Of(disk)}, {pinned, manifest},
	} {
		ready, err := h.prepare(t, c.url, c.sum)
		if err != nil || ready.Digest != sha256Of(disk) || ready.Format != diskimage.FormatRaw || ready.SectorSize != 512 {
			t.Errorf("%s, %q: %+v, %v", c.url, c.sum, ready, err)
			continue
		}
		f, _, err := h.store.Open(ready.Digest)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(f)
		_ = f.Close()
		if err != nil || !bytes.Equal(got, disk) {
			t.Errorf("%s: other bytes are served, %v", c.url, err)
		}
	}
}

func TestRegistriesAndImagesThatAreRefused(t *testing.T) {
	h := newHouse(t, loopback(), nil)
	other := static.NewLayer([]byte("something else"), types.OCILayer)
	h.push(t, "images/node:v1", layer)
	h.push(t, "images/two:v1", layer, other)
	h.push(t, "images/text:v1", other)
	at := "oci://" + h.host + "/images/"
	for name, c := range map[string]struct {
		url, sum, says string
		refused        bool
	}{
		"tag without a checksum": {at + "node:v1", "", "needs a checksum", true},
		"no tag":                 {at + "node", sha256Of(disk), "without a tag or a digest", true},
		"no reference":           {"oci://nothing", sha256Of(disk), "is not oci://", true},
		"two layers":             {at + "two:v1", sha256Of(disk), "has 2 layers", true},
		"another checksum":       {at + "node:v1", sha256Of(nil), "checksum mismatch", true},
		"no disk":                {at + "text:v1", sha256Of([]byte("something else")), "no partition table", true},
		"no such tag":            {at + "node:v2", sha256Of(disk), "there is no such file", false},
		"no such manifest":       {at + "node@" + sha256Of(nil), "", "there is no such file", false},
	} {
		_, err := h.prepare(t, c.url, c.sum)
		_, refused := errors.AsType[*diskimage.Refused](err)
		if err == nil || !strings.Contains(err.Error(), c.says) || refused != c.refused {
			t.Errorf("%s: %v (refused: %v)", name, err, refused)
		}
	}
}

// TestManifestThatWasTamperedWith: a registry cannot put other bytes under a digest.
func TestManifestThatWasTamperedWith(t *testing.T) {
	h := newHouse(t, loopback(), nil)
	good := h.push(t, "images/node:v1", layer)
	bad := h.push(t, "images/node:bad", static.NewLayer(imagetest.Typical(4<<20, 512).Bytes(), types.OCILayer))
	h.gate = func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/manifests/"+good.String()) {
			http.Redirect(w, r, strings.Replace(r.URL.Path, good.String(), bad.String(), 1), http.StatusFound)
		}
	}
	ready, err := h.prepare(t, "oci://"+h.host+"/images/node@"+good.String(), "")
	if err == nil {
		t.Errorf("other bytes are taken: %+v", ready)
	}
}

// TestCredentialsForARegistry: basic auth, and a token that is fetched with it, for the manifest and for the layer.
func TestCredentialsForARegistry(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.json")
	h := newHouse(t, loopback(), func(o *diskimage.Options) { o.RegistryConfig = config })
	h.push(t, "private/node:v1", layer)
	at, sum := "oci://"+h.host+"/private/node:v1", sha256Of(disk)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:secret"))
	for _, scheme := range []string{"basic", "token"} {
		want := map[string]string{"basic": basic, "token": "Bearer good"}[scheme]
		h.gate = func(w http.ResponseWriter, r *http.Request) {
			scope := r.URL.Query().Get("scope")
			switch {
			case r.URL.Path == "/token" && r.Header.Get("Authorization") == basic && strings.Contains(scope, "private/node:pull"):
				w.WriteHeader(http.StatusOK)
				_, _ = io.WriteString(w, `{"token": "good"}`)
			case r.URL.Path == "/token":
				w.WriteHeader(http.StatusUnauthorized)
			case r.Header.Get("Authorization") != want:
				challenge := `Basic realm="x"`
				if scheme == "token" {
					challenge = fmt.Sprintf(`Bearer realm="https://%s/token",service="x"`, h.host)
				}
				w.Header().Set("WWW-Authenticate", challenge)
				w.WriteHeader(http.StatusUnauthorized)
			}
		}
		for _, c := range []struct{ auths, says string }{
			{"", "cannot be read"},
			{`{"auths": {}}`, "refuses access"},
			{fmt.Sprintf(`{"auths": {%q: {"auth": "dXNlcjp3cm9uZw=="}}}`, h.host), "refuses access"},
			{fmt.Sprintf(`{"auths": {%q: {"auth": "dXNlcjpzZWNyZXQ="}}}`, h.host), ""},
		} {
			if err := os.WriteFile(config, []byte(c.auths), 0o600); err != nil {
				t.Fatal(err)
			}
			if c.auths == "" {
				if err := os.WriteFile(config, []byte("{"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			h.store.Again(at)
			_, err := h.prepare(t, at, sum)
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("%s, %s: %v", scheme, c.auths, err)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: it tells the password: %v", scheme, err)
			}
		}
		// The next scheme begins without the image.
		h = newHouse(t, loopback(), func(o *diskimage.Options) { o.RegistryConfig = config })
		h.push(t, "private/node:v1", layer)
		at = "oci://" + h.host + "/private/node:v1"
	}
}

// TestRegistriesAreKeptFromForbiddenAddresses: as they are written, for their tokens, and behind a redirect of a blob.
func TestRegistriesAreKeptFromForbiddenAddresses(t *testing.T) {
	asked := 0
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	inner := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	inner.Listener = listener
	inner.StartTLS()
	t.Cleanup(inner.Close)
	one := endpoint.NewPolicy(endpoint.PolicyOptions{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	h := newHouse(t, one, nil)
	h.push(t, "images/node:v1", layer)
	at, elsewhere := "oci://"+h.host+"/images/node:v1", inner.Listener.Addr().String()
	send := func(path string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, path) {
				http.Redirect(w, r, "https://"+elsewhere+"/x", http.StatusFound)
			}
		}
	}
	for what, c := range map[string]struct {
		url  string
		gate http.HandlerFunc
	}{
		"written":  {"oci://" + elsewhere + "/images/node:v1", nil},
		"metadata": {"oci://169.254.169.254/images/node:v1", nil},
		"manifest": {at, send("/manifests/")},
		"blob":     {at, send("/blobs/")},
		"token": {at, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/token",service="x"`, elsewhere))
			w.WriteHeader(http.StatusUnauthorized)
		}},
	} {
		h.gate = c.gate
		h.store.Again(c.url)
		if _, err := h.prepare(t, c.url, sha256Of(disk)); err == nil {
			t.Errorf("%s: it is taken", what)
		} else if forbidden := new(endpoint.ForbiddenError); !errors.As(err, &forbidden) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if asked != 0 {
		t.Errorf("%d requests arrived", asked)
	}
}

// TestNoPlainHTTPForRegistries: neither for blobs nor for tokens, with which credentials go.
func TestNoPlainHTTPForRegistries(t *testing.T) {
	asked := 0
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	t.Cleanup(plain.Close)
	h := newHouse(t, loopback(), nil)
	h.push(t, "images/node:v1", layer)
	at := "oci://" + h.host + "/images/node:v1"
	for what, gate := range map[string]http.HandlerFunc{
		"blob": func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/blobs/") {
				http.Redirect(w, r, plain.URL, http.StatusFound)
			}
		},
		"token": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="x"`, plain.URL))
			w.WriteHeader(http.StatusUnauthorized)
		},
	} {
		h.gate = gate
		h.store.Again(at)
		if _, err := h.prepare(t, at, sha256Of(disk)); err == nil {
			t.Errorf("%s: it is taken", what)
		}
	}
	if _, err := h.prepare(t, "oci://"+strings.TrimPrefix(plain.URL, "http://")+"/images/node:v1", sha256Of(disk)); err == nil {
		t.Error("a registry over plain http is read")
	}
	if asked != 0 {
		t.Errorf("%d requests came over plain http", asked)
	}
}
