package media

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// +kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=list,namespace=beskar7-system

// ServiceName is the Service of the media servers of all replicas; its endpoints are how they find each other.
const ServiceName = "beskar7-media"

// peersFresh is how long the replicas are remembered: a BMC that reads from a cold replica asks many times in a second.
const peersFresh = 2 * time.Second

// Peers are the media servers of the other replicas. It is asked only while an image is not here yet, so it watches nothing.
type Peers struct {
	// Reader reads live.
	Reader    client.Reader
	Namespace string
	// Self is the address of this Pod; empty: nobody is asked, as we could not tell ourselves from others.
	Self string
	// Scheme is http or https, as this replica serves: all replicas are started alike.
	Scheme string
	Clock  clock.PassiveClock

	mu   sync.Mutex
	at   time.Time
	urls []string
}

// URLs are the base URLs of the other replicas that are ready, which they are not while they lack an image.
func (p *Peers) URLs(ctx context.Context) []string {
	if p.Self == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.Clock.Now()
	if !p.at.IsZero() && now.Sub(p.at) < peersFresh {
		return p.urls
	}
	slices := &discoveryv1.EndpointSliceList{}
	ctx, cancel := context.WithTimeout(ctx, peersFresh)
	defer cancel()
	if err := p.Reader.List(ctx, slices, client.InNamespace(p.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: ServiceName}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list the other replicas' media servers")
		p.at = now
		return p.urls
	}
	p.at, p.urls = now, nil
	for i := range slices.Items {
		p.urls = append(p.urls, p.of(&slices.Items[i])...)
	}
	return p.urls
}

func (p *Peers) of(slice *discoveryv1.EndpointSlice) (urls []string) {
	if len(slice.Ports) == 0 || slice.Ports[0].Port == nil {
		return nil
	}
	port := strconv.Itoa(int(*slice.Ports[0].Port))
	for _, e := range slice.Endpoints {
		// Unknown counts as ready, says the API.
		if ptr.Deref(e.Conditions.Ready, true) && len(e.Addresses) > 0 && e.Addresses[0] != p.Self {
			urls = append(urls, p.Scheme+"://"+net.JoinHostPort(e.Addresses[0], port))
		}
	}
	return urls
}

// PeerClient talks to the other replicas' media servers. What is sent to them opens a medium, so over https they have to show
// a certificate that this replica takes for one of theirs. nil means that media are served over http.
func PeerClient(certificate Certificate) *http.Client {
	transport := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 2 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:   3 * time.Second,
		ResponseHeaderTimeout: 5 * time.Second,
		MaxIdleConnsPerHost:   16, IdleConnTimeout: time.Minute,
	}
	if certificate != nil {
		transport.TLSClientConfig = &tls.Config{
			MinVersion:         tls.VersionTLS12,
			InsecureSkipVerify: true, //nolint:gosec // addresses are no names; VerifyConnection verifies all the same
			VerifyConnection:   func(s tls.ConnectionState) error { return certificate.VerifyPeer(s.PeerCertificates) },
		}
	}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// verifyPeer reads the files at every handshake, as they are replaced while we run.
func verifyPeer(certDir string, shown []*x509.Certificate) error {
	own, err := os.ReadFile(filepath.Join(certDir, "tls.crt"))
	if err != nil {
		return fmt.Errorf("read the own media certificate: %w", err)
	}
	block, _ := pem.Decode(own)
	if block == nil || len(shown) == 0 {
		return errors.New("there is no certificate to compare")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("read the own media certificate: %w", err)
	}
	if leaf.Equal(shown[0]) {
		return nil
	}
	// One of us has not seen the new certificate yet.
	authority, err := os.ReadFile(filepath.Join(certDir, "ca.crt"))
	if err != nil {
		return errors.New("it shows another certificate than this replica has")
	}
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	for _, c := range shown[1:] {
		others.AddCert(c)
	}
	_, err = shown[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: others, DNSName: nameOf(leaf)})
	return err
}

// nameOf is a name that a certificate of the same installation has to be for.
func nameOf(c *x509.Certificate) string {
	switch {
	case len(c.DNSNames) > 0:
		return c.DNSNames[0]
	case len(c.IPAddresses) > 0:
		return c.IPAddresses[0].String()
	}
	return "a certificate without a name" // which no certificate is for
}
