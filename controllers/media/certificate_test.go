package media

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/authority"
)

const mediaName = "beskar7-media.beskar7-system.svc"

// mediaReplica is the authority as one replica uses it.
func mediaReplica(t *testing.T, c client.Client, at time.Time) (*Authority, *clocktesting.FakePassiveClock) {
	t.Helper()
	now := clocktesting.NewFakePassiveClock(at)
	m := &Authority{Client: c, Secret: client.ObjectKey{Namespace: "beskar7-system", Name: "beskar7-media-ca"}, Name: mediaName,
		Names: []string{"192.0.2.5", "media.example.com"}, Clock: now}
	if err := m.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m, now
}

// trusts says whether a client that trusts roots accepts the certificate at a name.
func trusts(t *testing.T, roots []byte, c Certificate, name string, at time.Time) error {
	t.Helper()
	shown, err := c.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	_, err = shown.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name, CurrentTime: at})
	return err
}

// TestReplicasShareOneAuthority: made once, by whoever is first; any replica is trusted by who trusts any other, under every
// advertised URL, and each knows the other for a replica.
func TestReplicasShareOneAuthority(t *testing.T) {
	c, now := inMemory(), time.Now()
	first, _ := mediaReplica(t, c, now)
	second, _ := mediaReplica(t, c, now)
	for _, name := range []string{"192.0.2.5", "media.example.com", mediaName} {
		if err := trusts(t, first.Authority(), second, name, now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	shown, err := second.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.VerifyPeer([]*x509.Certificate{shown.Leaf}); err != nil {
		t.Error(err)
	}
	stranger, _ := mediaReplica(t, inMemory(), now)
	if shown, err = stranger.GetCertificate(nil); err != nil {
		t.Fatal(err)
	}
	if err := first.VerifyPeer([]*x509.Certificate{shown.Leaf}); err == nil {
		t.Error("one of another authority passes for a replica")
	}
	if err := first.VerifyPeer(nil); err == nil {
		t.Error("none passes for a replica")
	}
}

// TestCertificateFollowsHosts: a URL of a host's own is certified as soon as there is one, without a word to clients.
func TestCertificateFollowsHosts(t *testing.T) {
	now := time.Now()
	m, _ := mediaReplica(t, inMemory(), now)
	roots := m.Authority()
	host := func(media, phone string) *v1beta1.PhysicalHost {
		return &v1beta1.PhysicalHost{Spec: v1beta1.PhysicalHostSpec{MediaURL: media, PhoneHomeURL: phone}}
	}
	if trusts(t, roots, m, "10.0.0.7", now) == nil {
		t.Fatal("certified before anybody asked")
	}
	one, two := host("https://10.0.0.7:8090", "https://report.example.com"), host("https://10.0.0.7:8090", "http://plain.example.com")
	m.changed(nil, one)
	m.changed(nil, two)
	for _, name := range []string{"10.0.0.7", "report.example.com", "192.0.2.5"} {
		if err := trusts(t, roots, m, name, now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	before, _ := m.GetCertificate(nil)
	m.changed(two, two)
	if after, _ := m.GetCertificate(nil); before != after {
		t.Error("made anew for nothing")
	}
	m.changed(one, nil)
	if n := m.hosts["10.0.0.7"]; n != 1 || m.hosts["report.example.com"] != 0 {
		t.Errorf("counted %v", m.hosts)
	}
	// Whoever may write hosts cannot make the certificate as large as they like, and is told so.
	for i := range 2 * maxHostNames {
		m.changed(nil, host(fmt.Sprintf("https://zz-%04d.example.com", i), ""))
	}
	if shown, _ := m.GetCertificate(nil); len(shown.Leaf.DNSNames)+len(shown.Leaf.IPAddresses) > maxHostNames+3 {
		t.Errorf("%d names", len(shown.Leaf.DNSNames))
	}
	if err := m.Covers("https://zz-0199.example.com"); err == nil || m.Covers("https://10.0.0.7") != nil || m.Covers("https://192.0.2.5:8090") != nil {
		t.Error("what it covers is not what it says:", err)
	}
}

// TestRenewalChangesNoMedium: the certificate is made anew in time, the authority too, and a medium that carries the authority as
// it was is as good as before.
func TestRenewalChangesNoMedium(t *testing.T) {
	c, start := inMemory(), time.Now()
	m, now := mediaReplica(t, c, start)
	granted := m.Authority()
	first, _ := m.GetCertificate(nil)
	now.SetTime(start.Add(70 * 24 * time.Hour))
	second, _ := m.GetCertificate(nil)
	if first == second || first.PrivateKey == second.PrivateKey {
		t.Fatal("not made anew, or with the old key")
	}
	if string(m.Authority()) != string(granted) {
		t.Fatal("a certificate that was made anew changes what media carry")
	}
	if err := trusts(t, granted, m, "192.0.2.5", now.Now()); err != nil {
		t.Error(err)
	}
	now.SetTime(start.Add(8 * 365 * 24 * time.Hour))
	if err := m.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if string(m.Authority()) == string(granted) {
		t.Fatal("the authority was not renewed")
	}
	if err := trusts(t, granted, m, "192.0.2.5", now.Now()); err != nil {
		t.Error("who trusts the authority as it was:", err)
	}
	other, _ := mediaReplica(t, c, now.Now())
	if string(other.Authority()) != string(m.Authority()) {
		t.Error("replicas differ in their authority")
	}
}

// TestAuthorityThatCannotBeUsed: at the start it is an error that says what to do; later the last good one stays in use.
func TestAuthorityThatCannotBeUsed(t *testing.T) {
	c := inMemory()
	m, _ := mediaReplica(t, c, time.Now())
	secret := &corev1.Secret{}
	if err := c.Get(t.Context(), m.Secret, secret); err != nil {
		t.Fatal(err)
	}
	secret.Data[corev1.TLSCertKey] = []byte("scribble")
	if err := c.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if err := m.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "beskar7-media-ca") || strings.Contains(err.Error(), "scribble") {
		t.Error(err)
	}
	if err := trusts(t, m.Authority(), m, "192.0.2.5", time.Now()); err != nil {
		t.Error(err)
	}
	// Deleted, a new one is made, and used.
	if err := c.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	before := string(m.Authority())
	if err := m.Load(t.Context()); err != nil || string(m.Authority()) == before {
		t.Error("the old authority is still in use:", err)
	}
	if err := trusts(t, m.Authority(), m, "192.0.2.5", time.Now()); err != nil {
		t.Error(err)
	}
}

func pemOf(t *testing.T, kind string, der []byte) []byte {
	t.Helper()
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pemOfKey(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf(t, "PRIVATE KEY", der)
}

// folder is a certificate of somebody else's making.
func folder(t *testing.T, withCA bool, names ...string) *CertificateFolder {
	t.Helper()
	pair, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	signer, err := authority.Load(pair)
	if err != nil {
		t.Fatal(err)
	}
	key, err := authority.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := signer.Issue(key, names, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := map[string][]byte{"tls.crt": pemOf(t, "CERTIFICATE", leaf.Certificate[0]), "tls.key": pemOfKey(t, key)}
	if withCA {
		files["ca.crt"] = pair.Roots
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := NewCertificateFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestAFolderSaysWhatItsCertificateCovers in words for whoever set it up.
func TestAFolderSaysWhatItsCertificateCovers(t *testing.T) {
	good := folder(t, true, "192.0.2.5")
	for _, c := range []struct {
		certificate Certificate
		url, want   string
	}{
		{good, "https://192.0.2.5:8090", ""}, {good, "https://192.0.2.6", "is not for 192.0.2.6"}, {good, "http://192.0.2.6", ""},
		{folder(t, false, "192.0.2.5"), "https://192.0.2.5:8090", "no ca.crt"},
	} {
		if err := c.certificate.Covers(c.url); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.url, err, c.want)
		}
	}
}

// TestMediaDoorShowsTheCertificate to a client that verifies, from the first moment.
func TestMediaDoorShowsTheCertificate(t *testing.T) {
	m, _ := mediaReplica(t, inMemory(), time.Now())
	m.Names = append(m.Names, "127.0.0.1")
	listening := make(chan net.Addr, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	door := Door{Address: "127.0.0.1:0", Certificate: m, TLS: func(c *tls.Config) { c.MinVersion = tls.VersionTLS12 }, listening: listening}
	go func() {
		done <- door.Serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("media")) }))
	}()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(m.Authority())
	c := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
	resp, err := c.Get("https://" + (<-listening).String())
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
