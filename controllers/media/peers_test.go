package media

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func endpoints(name, service string, addresses map[string]*bool) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: ptr.To[int32](8090)}},
	}
	for a, ready := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}, Conditions: discoveryv1.EndpointConditions{Ready: ready}})
	}
	return s
}

func TestPeersAreTheOtherReadyReplicas(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := discoveryv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	api := fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		endpoints("a", ServiceName, map[string]*bool{"10.0.0.1": nil, "10.0.0.2": ptr.To(true), "10.0.0.3": ptr.To(false)}),
		endpoints("b", "beskar7-webhook-service", map[string]*bool{"10.0.0.9": nil})).Build()
	clock := clocktesting.NewFakePassiveClock(epoch)
	p := &Peers{Reader: api, Namespace: namespace, Self: "10.0.0.1", Scheme: "https", Clock: clock}
	is := func(want string) {
		t.Helper()
		if got := strings.Join(p.URLs(t.Context()), " "); got != want {
			t.Errorf("peers %q, want %q", got, want)
		}
	}
	is("https://10.0.0.2:8090")
	if err := api.DeleteAllOf(t.Context(), &discoveryv1.EndpointSlice{}, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	is("https://10.0.0.2:8090") // remembered
	clock.SetTime(epoch.Add(peersFresh))
	is("")
	p = &Peers{Reader: api, Namespace: namespace, Scheme: "https", Clock: clock}
	is("") // who does not know himself asks nobody
}

// issue makes a certificate for a name; by is nil for one that is its own authority.
func issue(t *testing.T, name string, by *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: by == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	parent, signer := template, any(key)
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}
}

func TestOnlyAReplicaIsTakenForOne(t *testing.T) {
	authority, stranger := issue(t, "ca", nil), issue(t, "ca", nil)
	own := issue(t, "media", &authority)
	dir := t.TempDir()
	write := func(file string, c tls.Certificate) {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("tls.crt", own)
	if err := os.WriteFile(filepath.Join(dir, "tls.key"), pemOfKey(t, own.PrivateKey.(crypto.Signer)), 0o600); err != nil {
		t.Fatal(err)
	}
	folder, err := NewCertificateFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		shows tls.Certificate
		ca    bool
		good  bool
	}{
		"the same":                       {own, true, true},
		"the same, of unknown authority": {own, false, true},
		"a renewed one":                  {issue(t, "media", &authority), true, true},
		"a renewed one, no authority":    {issue(t, "media", &authority), false, false},
		"one for another name":           {issue(t, "webhook", &authority), true, false},
		"one of another authority":       {issue(t, "media", &stranger), true, false},
	} {
		_ = os.Remove(filepath.Join(dir, "ca.crt"))
		if c.ca {
			write("ca.crt", authority)
		}
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "medium") }))
		server.TLS = &tls.Config{Certificates: []tls.Certificate{c.shows}, MinVersion: tls.VersionTLS12}
		server.StartTLS()
		resp, err := PeerClient(folder).Get(server.URL)
		if err == nil {
			_ = resp.Body.Close()
		}
		if (err == nil) != c.good {
			t.Errorf("%s: %v", what, err)
		}
		server.Close()
	}
}
