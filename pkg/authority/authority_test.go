package authority

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func load(t *testing.T, pair KeyPair) *Authority {
	t.Helper()
	a, err := Load(pair)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func made(t *testing.T, now time.Time) KeyPair {
	t.Helper()
	pair, err := New(now)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func issued(t *testing.T, a *Authority, now time.Time, names ...string) *tls.Certificate {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := a.Issue(key, names, now)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func verify(roots []byte, leaf *tls.Certificate, name string, at time.Time) error {
	pool, others := x509.NewCertPool(), x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	for _, der := range leaf.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			others.AddCert(c)
		}
	}
	_, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: others, DNSName: name, CurrentTime: at})
	return err
}

// TestNames: what it is asked for is certified, addresses and names alike, and nothing that would be more than one name.
func TestNames(t *testing.T) {
	now := time.Now()
	a := load(t, made(t, now))
	leaf := issued(t, a, now, "192.0.2.5", "media.example.com", "fd00::5", "*.example.org", "a b", "", "media.example.com")
	for name, want := range map[string]bool{"192.0.2.5": true, "media.example.com": true, "fd00::5": true, "192.0.2.6": false, "x.example.org": false} {
		if err := verify(a.Roots(), leaf, name, now); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(leaf.Leaf.DNSNames); n != 1 {
		t.Errorf("names %q", leaf.Leaf.DNSNames)
	}
}

// TestRenewal: what trusted the authority before it was renewed trusts what is signed afterwards, and nothing outlives the authority.
func TestRenewal(t *testing.T) {
	now := time.Now()
	pair := made(t, now)
	a := load(t, pair)
	if _, due, _ := a.Renew(now.Add(life / 2)); due {
		t.Error("renewed too soon")
	}
	later := now.Add(life * 3 / 4)
	certificate, due, err := a.Renew(later)
	if err != nil || !due {
		t.Fatal(due, err)
	}
	renewed := load(t, KeyPair{Certificate: certificate, Key: pair.Key})
	if !renewed.Ends().After(a.Ends()) {
		t.Error("it ends no later")
	}
	for roots, signer := range map[string]*Authority{string(pair.Roots): renewed, string(renewed.Roots()): a} {
		if err := verify([]byte(roots), issued(t, signer, later, "media.example.com"), "media.example.com", later); err != nil {
			t.Error(err)
		}
	}
	last := a.Ends().Add(-time.Hour)
	if leaf := issued(t, a, last, "x"); leaf.Leaf.NotAfter.After(a.Ends()) {
		t.Error("a serving certificate outlives its authority")
	}
	leaf := issued(t, a, now, "x")
	if d := Due(leaf.Leaf).Sub(now); d < lifeOfLeaf/2 || d > lifeOfLeaf*3/4 {
		t.Errorf("made anew after %v", d)
	}
}

// TestSomebodyElsesAuthority: one below a root of an organisation signs too, shows its chain, and is never renewed here.
func TestSomebodyElsesAuthority(t *testing.T) {
	now := time.Now()
	root := load(t, made(t, now))
	pair := intermediate(t, root, now)
	a := load(t, pair)
	leaf := issued(t, a, now, "media.example.com")
	if err := verify(root.Roots(), leaf, "media.example.com", now); err != nil {
		t.Error(err)
	}
	if string(a.Roots()) != string(root.Roots()) {
		t.Error("clients are given another root")
	}
	if _, due, _ := a.Renew(a.Ends()); due {
		t.Error("renewed")
	}
	if err := dial(t, leaf, root.Roots()); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoAuthority(t *testing.T) {
	now := time.Now()
	pair, other := made(t, now), made(t, now)
	for name, bad := range map[string]KeyPair{
		"empty": {}, "another's key": {Certificate: pair.Certificate, Key: other.Key}, "no certificate": {Certificate: pair.Key, Key: pair.Key}, "a serving certificate": servingPair(t, load(t, pair), now),
	} {
		if _, err := Load(bad); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// dial connects as a client does that trusts the roots.
func dial(t *testing.T, leaf *tls.Certificate, roots []byte) error {
	t.Helper()
	web := httptest.NewUnstartedServer(http.NotFoundHandler())
	web.TLS = &tls.Config{Certificates: []tls.Certificate{*leaf}, MinVersion: tls.VersionTLS12}
	web.StartTLS()
	defer web.Close()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	conn, err := tls.Dial("tcp", web.Listener.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "media.example.com", MinVersion: tls.VersionTLS12})
	if err != nil {
		return err
	}
	return conn.Close()
}

// TestOpenSSLTrustsIt: with the eyes of the program that reports from booted systems. Newer ones are strict by themselves; older
// ones are made so.
func TestOpenSSLTrustsIt(t *testing.T) {
	now := time.Now()
	pair := made(t, now)
	leaf := issued(t, load(t, pair), now, "127.0.0.1", "localhost")
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("heard")) }))
	web.TLS = &tls.Config{Certificates: []tls.Certificate{*leaf}, MinVersion: tls.VersionTLS12}
	web.StartTLS()
	t.Cleanup(web.Close)
	u, err := url.Parse(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost"} {
		const program = `
import ssl, sys, urllib.request
context = ssl.create_default_context(cadata=sys.stdin.read())
context.verify_flags |= ssl.VERIFY_X509_STRICT
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
print(opener.open(sys.argv[1], timeout=20).read().decode())
`
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		command := exec.CommandContext(ctx, "python3", "-c", program, "https://"+host+":"+u.Port())
		command.Stdin = strings.NewReader(string(pair.Roots))
		out, err := command.CombinedOutput()
		cancel()
		if err != nil || strings.TrimSpace(string(out)) != "heard" {
			t.Errorf("%s: %v\n%s", host, err, out)
		}
	}
}
