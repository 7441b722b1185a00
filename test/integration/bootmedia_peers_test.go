package integration

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/test/lab"
)

// replica is the media part of one manager, put together as main does it: its own watch of the API server, its own cache folder,
// its own door. The address that the API server knows it by is one of the documentation networks, as the API server takes no
// loopback address for an endpoint; what is dialled is on the loopback.
type replica struct {
	address string // as in its EndpointSlice
	server  *bootmedia.Server
	web     *httptest.Server
	passed  atomic.Int64 // requests that came from another replica
	fetched chan string
}

// installation is what the replicas share.
type installation struct {
	config  *rest.Config
	api     client.Client
	certs   string
	dialled map[string]string // by the address of an endpoint
	image   []byte
	origin  *httptest.Server
}

// peerPort is the port in the EndpointSlice; nobody listens there.
const peerPort = 8090

func newInstallation(t *testing.T) *installation {
	t.Helper()
	in := &installation{certs: t.TempDir(), dialled: map[string]string{}}
	in.api, in.config = apiServerAndConfig(t)
	crt, key, err := certutil.GenerateSelfSignedCertKey("beskar7-media.beskar7-system.svc", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"tls.crt": crt, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(in.certs, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in.image = bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	copy(in.image[32768:], "\x01CD001\x01")
	in.origin = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(in.image))
	}))
	t.Cleanup(in.origin.Close)
	return in
}

// gate lets no request to the image's server through until it is opened.
type gate chan struct{}

func (g gate) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-g:
		return http.DefaultTransport.RoundTrip(r)
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// watch is a client that reads from a watch of the API server, which knows the grant.
func (in *installation) watch(t *testing.T) client.Client {
	t.Helper()
	hosts, err := cache.New(in.config, cache.Options{Scheme: in.api.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	// The index that the manager makes.
	if err := hosts.IndexField(t.Context(), &v1beta1.PhysicalHost{}, "spec.claim.media.tokenHash", func(o client.Object) []string {
		if c := o.(*v1beta1.PhysicalHost).Spec.Claim; c != nil && c.Media != nil {
			return []string{c.Media.TokenHash}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		if err := hosts.Start(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-watching })
	cached, err := client.New(in.config, client.Options{Scheme: in.api.Scheme(), Cache: &client.CacheOptions{Reader: hosts}})
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Until(t.Context(), "the replica to know the grant", time.Minute, func(ctx context.Context) (bool, string, error) {
		host := &v1beta1.PhysicalHost{}
		err := cached.Get(ctx, client.ObjectKeyFromObject(newHost("h")), host)
		return err == nil && host.Spec.Claim != nil && host.Spec.Claim.Media != nil, fmt.Sprint(err), nil
	}); err != nil {
		t.Fatal(err)
	}
	return cached
}

func (in *installation) start(t *testing.T, address string, images http.RoundTripper) *replica {
	t.Helper()
	r := &replica{address: address, fetched: make(chan string, 10)}
	peers := &media.Peers{Reader: in.api, Namespace: "beskar7-system", Self: address, Scheme: "https", Clock: clock.RealClock{}}
	certificate, err := media.NewCertificateFolder(in.certs)
	if err != nil {
		t.Fatal(err)
	}
	peerClient := media.PeerClient(certificate)
	transport, _ := peerClient.Transport.(*http.Transport)
	transport.DialContext = func(ctx context.Context, network, to string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(to)
		if err != nil {
			return nil, err
		}
		return (&net.Dialer{}).DialContext(ctx, network, in.dialled[host])
	}
	r.server = bootmedia.New(bootmedia.Options{
		Source: &media.Source{Client: in.watch(t), SecretReader: in.api, Clock: clock.RealClock{}}, CacheDir: t.TempDir(),
		Client: &http.Client{Transport: images}, Peers: peers.URLs, PeerClient: peerClient,
	})
	r.server.Notify(func(imageURL string) { r.fetched <- imageURL })
	r.web = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Beskar7-Passed-On") != "" {
			r.passed.Add(1)
		}
		r.server.Handler().ServeHTTP(w, q)
	}))
	pair, err := tls.LoadX509KeyPair(filepath.Join(in.certs, "tls.crt"), filepath.Join(in.certs, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	r.web.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	r.web.StartTLS()
	in.dialled[address] = r.web.Listener.Addr().String()
	t.Cleanup(func() { r.web.Close(); r.server.Close() })
	return r
}

// endpoints says in the API which replicas are ready, as the control plane of a cluster does for the Service.
func (in *installation) endpoints(t *testing.T, ready map[string]bool) {
	t.Helper()
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "beskar7-system", Name: "media", Labels: map[string]string{discoveryv1.LabelServiceName: media.ServiceName}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: ptr.To("media"), Port: ptr.To[int32](peerPort)}}}
	for address, is := range ready {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(is)}})
	}
	if err := in.api.Create(t.Context(), slice); err != nil {
		t.Fatal(err)
	}
}

// claimedHost is a host whose medium is granted for the token, with its image under a checksum.
func (in *installation) claimedHost(t *testing.T, token bootmedia.Token, checksum string) {
	t.Helper()
	host := newHost("h")
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "beskar7-system"}}, host,
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "b"}, Data: map[string][]byte{"value": []byte("#cloud-config\n"), "format": []byte("cloud-config")}},
	} {
		if err := in.api.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	claim(host, firstClaim, "m")
	host.Spec.Boot.ImageURL, host.Spec.Boot.Checksum = in.origin.URL+"/image.iso", checksum
	if err := in.api.Update(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	// Bound, so that no machine is needed: a system that lives on its image reads it.
	host.Spec.Claim.Bound, host.Spec.Claim.Media = true, &v1beta1.MediaGrant{TokenHash: token.Hash()}
	if err := in.api.Update(t.Context(), host); err != nil {
		t.Fatal(err)
	}
}

// read asks a replica for a range, as a BMC does.
func (in *installation) read(t *testing.T, r *replica, token bootmedia.Token, from, to int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, bootmedia.BootURL(r.web.URL, token), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to-1))
	resp, err := r.web.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusPartialContent || !bytes.Equal(body, in.image[from:to]) {
		t.Fatalf("bytes %d to %d through %s: %s, %d bytes, %v", from, to, r.address, resp.Status, len(body), err)
	}
}

// TestAColdReplicaFindsAWarmOneThroughTheAPI: two replicas on a real API server, of which one cannot reach the image's server. It
// finds the other in the endpoints of the Service and passes the BMC's ranges on to it, until it has the image itself.
func TestAColdReplicaFindsAWarmOneThroughTheAPI(t *testing.T) {
	in := newInstallation(t)
	token, err := bootmedia.NewToken()
	if err != nil {
		t.Fatal(err)
	}
	checksum := fmt.Sprintf("sha256:%x", sha256.Sum256(in.image))
	in.claimedHost(t, token, checksum)
	open := make(gate)
	warm, cold := in.start(t, "192.0.2.11", http.DefaultTransport), in.start(t, "192.0.2.12", open)
	in.endpoints(t, map[string]bool{warm.address: true, cold.address: true, "192.0.2.13": false})
	for _, r := range []*replica{warm, cold} {
		if _, err := r.server.Prepare(t.Context(), in.origin.URL+"/image.iso", checksum); err != nil {
			t.Fatal(err)
		}
	}
	<-warm.fetched
	for at := 0; at < len(in.image); at += len(in.image) / 4 {
		in.read(t, cold, token, at, at+2048)
	}
	if n := warm.passed.Load(); n != 4 {
		t.Errorf("%d requests were passed on, want 4", n)
	}
	in.read(t, warm, token, 0, 2048)
	close(open)
	<-cold.fetched
	in.read(t, cold, token, 4096, 8192)
	if n := warm.passed.Load(); n != 4 {
		t.Errorf("%d requests were passed on after the image was here", n)
	}
	if n := cold.passed.Load(); n != 0 {
		t.Errorf("the cold replica was asked %d times", n)
	}
}
