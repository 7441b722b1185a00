package redfish

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// stranger is a host that must never hear from us.
func stranger(t *testing.T) (*httptest.Server, *atomic.Int32) {
	var heard atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.Config.ConnState = func(net.Conn, http.ConnState) { heard.Add(1) }
	srv.Start()
	t.Cleanup(srv.Close)
	return srv, &heard
}

func TestEvilLinks(t *testing.T) {
	other, heard := stranger(t)
	host := strings.TrimPrefix(other.URL, "http://")
	for _, evil := range []string{
		"@" + host + "/redfish/v1/Systems/1", "//" + host + "/redfish/v1/x", other.URL + "/redfish/v1/x",
		"http://admin@" + host + "/redfish/v1", "\\\\" + host + "\\x", ":1/redfish", "javascript:x", "/etc/passwd", "/redfish/%zz", "?x", "\x00",
	} {
		s, b := newBMC(t)
		s.json("/redfish/v1/Systems", doc{"Members": []any{ref(evil)}})
		_, err := b.State(t.Context())
		_ = wantKind(t, err, KindProtocol)
	}
	s, b := newBMC(t)
	s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"Actions": doc{"#ComputerSystem.Reset": doc{"target": other.URL + "/redfish/v1/x"}}}))
	_ = wantKind(t, b.Reset(t.Context(), ResetOn), KindProtocol)
	if heard.Load() != 0 {
		t.Fatal("another host was contacted")
	}
}

func TestAbsoluteLinkToItself(t *testing.T) {
	s, b := newBMC(t)
	s.json("/redfish/v1/Systems", doc{"Members": []any{ref(s.URL + "/redfish/v1/Systems/1")}})
	_, err := b.State(t.Context())
	must(t, err)
}

func redirect(to string, status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(status)
	}
}

func TestRedirects(t *testing.T) {
	other, heard := stranger(t)
	s, b := newBMC(t)
	s.on("GET /redfish/v1/Systems", redirect("/redfish/v1/Systems/", http.StatusPermanentRedirect))
	s.json("/redfish/v1/Systems/", doc{"Members": []any{ref("/redfish/v1/Systems/1")}})
	_, err := b.State(t.Context())
	must(t, err)

	const action = "POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset"
	var got string
	s.on(action, redirect("/redfish/v1/Systems/1/Actions/ComputerSystem.Reset/", http.StatusPermanentRedirect))
	s.on(action+"/", func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		got = string(raw)
		w.WriteHeader(http.StatusNoContent)
	})
	must(t, b.Reset(t.Context(), ResetOn))
	if got != `{"ResetType":"On"}` {
		t.Fatalf("body after 308: %q", got)
	}
	s.on(action, redirect("/redfish/v1/", http.StatusFound))
	_ = wantKind(t, b.Reset(t.Context(), ResetOn), KindProtocol)
	s.on("GET /redfish/v1/Systems/1", redirect("/redfish/v1/Systems/1", http.StatusTemporaryRedirect))
	_, err = b.State(t.Context())
	_ = wantKind(t, err, KindProtocol)
	for _, status := range []int{301, 302, 303, 307, 308} {
		s.on("GET /redfish/v1/Systems/1", redirect(other.URL+"/redfish/v1/Systems/1", status))
		_, err = b.State(t.Context())
		_ = wantKind(t, err, KindProtocol)
		s.on(action, redirect(other.URL, status))
		_ = wantKind(t, b.Reset(t.Context(), ResetOn), KindProtocol)
	}
	if heard.Load() != 0 {
		t.Fatal("another host was contacted")
	}
}

func TestRedirectedLoginDoesNotLeakThePassword(t *testing.T) {
	other, heard := stranger(t)
	s, b := newBMC(t)
	s.on("POST /redfish/v1/SessionService/Sessions", redirect(other.URL+"/redfish/v1/x", http.StatusTemporaryRedirect))
	_, err := b.State(t.Context())
	_ = wantKind(t, err, KindProtocol)
	if heard.Load() != 0 {
		t.Fatal("the password left for another host")
	}
}

// TestHugeAnswer: 200 MiB, with and without a length, as success and as error.
func TestHugeAnswer(t *testing.T) {
	chunk := []byte(strings.Repeat("x", 1<<20))
	for name, status := range map[string]int{"200": 200, "500": 500} {
		for _, length := range []string{"", "209715200"} {
			s, b := newBMC(t)
			_, err := b.State(t.Context())
			must(t, err)
			var stopped atomic.Bool
			done := make(chan struct{})
			s.on("GET /redfish/v1/Systems/1", func(w http.ResponseWriter, _ *http.Request) {
				defer close(done)
				if length != "" {
					w.Header().Set("Content-Length", length)
				}
				w.WriteHeader(status)
				for range 200 {
					if _, err := w.Write(chunk); err != nil {
						stopped.Store(true)
						return
					}
				}
			})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err = b.State(t.Context())
			<-done
			runtime.ReadMemStats(&after)
			if KindOf(err) != KindProtocol && KindOf(err) != KindBusy {
				t.Fatalf("%s: %v", name, err)
			}
			if cost := after.TotalAlloc - before.TotalAlloc; cost > 10<<20 {
				t.Errorf("%s, length %q: %d bytes allocated", name, length, cost)
			}
			if !stopped.Load() {
				t.Errorf("%s, length %q: the whole body was read", name, length)
			}
		}
	}
}

func TestNextLinkLoop(t *testing.T) {
	s, b := newBMC(t)
	s.json("/redfish/v1/Systems", doc{"Members": []any{ref("/redfish/v1/Systems/1")}, "Members@odata.nextLink": "/redfish/v1/Systems"})
	_, err := b.State(t.Context())
	must(t, err)
	if n := s.count("GET /redfish/v1/Systems"); n != 1 {
		t.Fatalf("%d readings of one page", n)
	}
}

func TestReadsAreRepeatedAndChangesAreNot(t *testing.T) {
	s := newServer(t, plainHTTP)
	target := testTarget(s)
	target.Timeouts.MaxRetries = 3
	b, _ := connect(t, target)
	_, err := b.State(t.Context())
	must(t, err)
	fail, cut := 2, func(w http.ResponseWriter) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		_ = conn.Close()
	}
	ok := s.routes["GET /redfish/v1/Systems/1"]
	s.on("GET /redfish/v1/Systems/1", func(w http.ResponseWriter, r *http.Request) {
		if fail--; fail >= 0 {
			cut(w)
			return
		}
		ok(w, r)
	})
	_, err = b.State(t.Context())
	must(t, err)
	const action = "POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset"
	s.on(action, func(w http.ResponseWriter, _ *http.Request) { cut(w) })
	s.requests()
	_ = wantKind(t, b.Reset(t.Context(), ResetOn), KindUnreachable)
	if n := s.count(action); n != 1 {
		t.Fatalf("a changing request was sent %d times", n)
	}
	s.on("GET /redfish/v1/Systems/1", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	s.requests()
	_, err = b.State(t.Context())
	_ = wantKind(t, err, KindBusy)
	if n := len(s.requests()); n != 1 {
		t.Fatalf("a busy BMC was asked %d times", n)
	}
}

func TestRetryAfter(t *testing.T) {
	s, b := newBMC(t)
	for _, c := range []struct {
		retry, date, id, arg string
		want                 time.Duration
	}{
		{retry: "7", want: 7 * time.Second},
		{retry: "0", want: time.Second},
		{retry: "-5", want: time.Second},
		{retry: "999999", want: 5 * time.Minute},
		{retry: "Mon, 02 Jan 2006 15:05:05 GMT", date: "Mon, 02 Jan 2006 15:04:05 GMT", want: time.Minute},
		{retry: "Mon, 02 Jan 2006 15:04:05 GMT", date: "Mon, 02 Jan 2026 15:04:05 GMT", want: time.Second},
		{retry: "soon"},
		{id: "IDRAC.2.8.SYS518", arg: "30", want: 30 * time.Second},
		{},
	} {
		s.on("GET /redfish/v1/Systems/1", func(w http.ResponseWriter, _ *http.Request) {
			if c.retry != "" {
				w.Header().Set("Retry-After", c.retry)
			}
			if c.date != "" {
				w.Header().Set("Date", c.date)
			}
			refuse(w, http.StatusServiceUnavailable, c.id, c.arg)
		})
		_, err := b.State(t.Context())
		_ = wantKind(t, err, KindBusy)
		if got, ok := RetryAfter(err); got != c.want || ok != (c.want > 0) {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestTimeouts(t *testing.T) {
	s := newServer(t, plainHTTP)
	target := testTarget(s)
	target.Timeouts.Request = 100 * time.Millisecond
	b, _ := connect(t, target)
	_, err := b.State(t.Context())
	must(t, err)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	for name, send := range map[string]func(http.ResponseWriter){
		"no headers": func(http.ResponseWriter) {},
		"half a body": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, `{"PowerState":`)
			w.(http.Flusher).Flush()
		},
	} {
		s.on("GET /redfish/v1/Systems/1", func(w http.ResponseWriter, _ *http.Request) { send(w); <-release })
		_, err = b.State(t.Context())
		if e := wantKind(t, err, KindUnreachable); !strings.Contains(e.Message, "100ms") {
			t.Errorf("%s: %s", name, e)
		}
	}
}

func TestUnreachable(t *testing.T) {
	s, b := newBMC(t)
	s.Close()
	_, err := b.State(t.Context())
	if e := wantKind(t, err, KindUnreachable); !strings.Contains(e.Message, "refused") {
		t.Error(e)
	}
}

func TestTLSModes(t *testing.T) {
	s := newServer(t, func(h http.Handler) *httptest.Server {
		srv := httptest.NewUnstartedServer(h)
		srv.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are the point
		srv.StartTLS()
		return srv
	})
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	sum := sha256.Sum256(s.Certificate().Raw)
	pin := strings.ToUpper(hex.EncodeToString(sum[:]))
	var colons string
	for i := 0; i < len(pin); i += 2 {
		colons += pin[i:i+2] + ":"
	}
	for name, c := range map[string]struct {
		change func(*Target)
		kind   Kind
		says   string
	}{
		"system roots":  {func(*Target) {}, KindCertificate, strings.ToLower(pin)},
		"CA bundle":     {func(t *Target) { t.CABundle = ca }, "", ""},
		"fingerprint":   {func(t *Target) { t.CertificateFingerprint = strings.TrimSuffix(colons, ":") }, "", ""},
		"skip":          {func(t *Target) { t.InsecureSkipVerify = true }, "", ""},
		"wrong pin":     {func(t *Target) { t.CertificateFingerprint = strings.Repeat("ab", 32) }, KindCertificate, strings.ToLower(pin)},
		"wrong name":    {func(t *Target) { t.CABundle = ca; t.Address = strings.Replace(t.Address, "127.0.0.1", "127.0.0.2", 1) }, KindUnreachable, "refused"},
		"http on https": {func(t *Target) { t.Address = strings.Replace(t.Address, "https", "http", 1) }, KindProtocol, ""},
	} {
		target := testTarget(s)
		c.change(&target)
		b, _ := connect(t, target)
		_, err := b.State(t.Context())
		if c.kind == "" {
			must(t, err)
			continue
		}
		if e := wantKind(t, err, c.kind); !strings.Contains(e.Error(), c.says) {
			t.Errorf("%s: %s", name, e)
		}
	}
	plain := newServer(t, plainHTTP)
	target := testTarget(plain)
	target.Address = strings.Replace(target.Address, "http", "https", 1)
	b, _ := connect(t, target)
	_, err := b.State(t.Context())
	_ = wantKind(t, err, KindProtocol)
}

func TestOneSkippedVerificationDoesNotSpread(t *testing.T) {
	s := newServer(t, func(h http.Handler) *httptest.Server {
		srv := httptest.NewUnstartedServer(h)
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.StartTLS()
		return srv
	})
	target := testTarget(s)
	target.InsecureSkipVerify = true
	loose, p := connect(t, target)
	_, err := loose.State(t.Context())
	must(t, err)
	target.InsecureSkipVerify = false
	target.SystemID = "1"
	strict, err := p.BMC(target)
	must(t, err)
	_, err = strict.State(t.Context())
	_ = wantKind(t, err, KindCertificate)
}

// TestGuardAlone: a request that was made past every other check stays here.
func TestGuardAlone(t *testing.T) {
	other, heard := stranger(t)
	client := newHTTPClient("https://bmc.invalid:443", http.DefaultTransport)
	resp, err := client.Post(other.URL+"/redfish/v1/", "application/json", strings.NewReader("{}"))
	if err == nil {
		_ = resp.Body.Close()
	}
	if !errors.Is(err, errForeignHost) || heard.Load() != 0 {
		t.Fatalf("%v, %d contacts", err, heard.Load())
	}
}

// A thousand BMCs that trust one bundle keep one copy of its certificates; another bundle is another trust.
func TestOneBundleIsKeptOnce(t *testing.T) {
	one := httptest.NewTLSServer(nil)
	defer one.Close()
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: one.Certificate().Raw})
	pools := make([]*x509.CertPool, 2)
	for i := range pools {
		config, err := Target{Address: "https://192.0.2.1", CABundle: slices.Clone(bundle)}.tlsConfig(tls.VersionTLS12)
		if err != nil {
			t.Fatal(err)
		}
		pools[i] = config.RootCAs
	}
	if pools[0] == nil || pools[0] != pools[1] {
		t.Error("the same bundle is kept twice")
	}
	config, err := Target{Address: "https://192.0.2.1", CABundle: append(bundle, bundle...)}.tlsConfig(tls.VersionTLS12)
	if err != nil || config.RootCAs == pools[0] {
		t.Errorf("another bundle has the same trust (%v)", err)
	}
	if _, err := (Target{Address: "https://192.0.2.1", CABundle: []byte("none")}).tlsConfig(tls.VersionTLS12); err == nil {
		t.Error("a bundle without a certificate is taken")
	}
}
