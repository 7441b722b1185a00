package redfish

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"weak"

	"github.com/beskar7/beskar7/pkg/endpoint"
)

const (
	maxRedirects     = 3
	maxHeaderBytes   = 256 << 10
	maxConnsToOneBMC = 2
)

var (
	errForeignHost   = errors.New("points to another host")
	errRedirectLoop  = errors.New("redirected too often")
	errMethodChanged = errors.New("redirect changes the method")
	errOutside       = errors.New("redirect leads outside /redfish")
	errTooLarge      = errors.New("answer larger than the body cap")
)

// fingerprintError: the certificate is not the pinned one.
type fingerprintError struct{ got string }

func (e *fingerprintError) Error() string { return "certificate fingerprint is " + e.got }

// guard is the last stop before the network: a request to another origin does
// not pass, whoever made it and however it came about.
type guard struct {
	next   http.RoundTripper
	origin string
}

// RoundTrip refuses requests to other origins.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if !sameOrigin(g.origin, req.URL) {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, errForeignHost
	}
	return g.next.RoundTrip(req)
}

func sameOrigin(endpoint string, u *url.URL) bool {
	if u.User != nil {
		return false
	}
	key, err := EndpointKey(u.Scheme + "://" + u.Host)
	return err == nil && key == endpoint
}

// newTransport makes one transport for one BMC: nothing is shared with others,
// least of all TLS settings. No proxy: BMCs live on networks of their own, and
// a proxy would see the credentials of plain http ones.
func newTransport(t Target, times Timeouts, opts Options) (*http.Transport, error) {
	tlsConfig, err := t.tlsConfig(opts.MinTLSVersion)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: times.Connection, Control: opts.Reach.Control}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        tlsConfig,
		TLSHandshakeTimeout:    times.Connection,
		IdleConnTimeout:        opts.IdleTimeout,
		MaxConnsPerHost:        maxConnsToOneBMC,
		MaxIdleConnsPerHost:    maxConnsToOneBMC,
		MaxResponseHeaderBytes: maxHeaderBytes,
		// No gzip: BMCs append "-gzip" to ETags, and a bomb is not worth it.
		DisableCompression: true,
	}, nil
}

// newHTTPClient guards the transport and follows only redirects that stay on
// the BMC and keep the method (iLO 5 answers 308 to a missing trailing slash).
func newHTTPClient(endpoint string, transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: &guard{next: transport, origin: endpoint},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			switch {
			case len(via) > maxRedirects:
				return errRedirectLoop
			case !sameOrigin(endpoint, req.URL):
				return errForeignHost
			case req.Method != via[0].Method:
				return errMethodChanged
			case !strings.HasPrefix(req.URL.Path, "/redfish"):
				return errOutside // a page for people, and no place for a token
			}
			return nil
		},
	}
}

// curves leave out the post-quantum hybrids: their key shares make a first message of more than one packet, on which old TLS
// stacks hang (Go has a switch against it, GODEBUG=tlsmlkem=0), and no BMC speaks them. A handshake costs us a quarter less.
var curves = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}

// tlsConfig: a fingerprint decides alone; else CA bundle, else system roots,
// unless verification is switched off.
func (t Target) tlsConfig(minVersion uint16) (*tls.Config, error) {
	// No session cache: a resumed session would hide a certificate that was changed.
	config := &tls.Config{MinVersion: minVersion, CurvePreferences: curves}
	if t.AllowOldTLS {
		config.MinVersion = tls.VersionTLS10
		for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
			if !strings.Contains(suite.Name, "_RC4_") {
				config.CipherSuites = append(config.CipherSuites, suite.ID)
			}
		}
	}
	pinned, err := t.fingerprint()
	if err != nil {
		return nil, err
	}
	switch {
	case pinned != nil:
		config.InsecureSkipVerify = true // replaced by the exact comparison below
		config.VerifyConnection = func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return &fingerprintError{got: "none"}
			}
			sum := sha256.Sum256(state.PeerCertificates[0].Raw)
			if !slices.Equal(sum[:], pinned) {
				return &fingerprintError{got: hex.EncodeToString(sum[:])}
			}
			return nil
		}
	case len(t.CABundle) > 0:
		if config.RootCAs, err = trustedBy(t.CABundle); err != nil {
			return nil, err
		}
	case t.InsecureSkipVerify:
		config.InsecureSkipVerify = true
	}
	return config, nil
}

// pools are the CA bundles in use, as nobody changes them: a thousand BMCs that trust one bundle keep one copy of its certificates.
var pools struct {
	mu       sync.Mutex
	byBundle map[[sha256.Size]byte]weak.Pointer[x509.CertPool]
}

// trustedBy is a pool of the certificates in a bundle, for reading only.
func trustedBy(bundle []byte) (*x509.CertPool, error) {
	sum := sha256.Sum256(bundle)
	pools.mu.Lock()
	defer pools.mu.Unlock()
	if pool := pools.byBundle[sum].Value(); pool != nil {
		return pool, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bundle) {
		return nil, errors.New("CA bundle holds no PEM certificate")
	}
	if pools.byBundle == nil {
		pools.byBundle = map[[sha256.Size]byte]weak.Pointer[x509.CertPool]{}
	}
	for other, held := range pools.byBundle { // bundles are few; those that nobody uses any more are forgotten when one is added
		if held.Value() == nil {
			delete(pools.byBundle, other)
		}
	}
	pools.byBundle[sum] = weak.Make(pool)
	return pool, nil
}

// readCapped reads all of r, growing fourfold so that the cost stays below
// twice the cap, and gives up at the cap instead of draining the rest.
func readCapped(r io.Reader, contentLength, limit int64) ([]byte, error) {
	if contentLength > limit {
		return nil, errTooLarge
	}
	size := int64(4 << 10)
	if contentLength > 0 {
		size = contentLength + 1
	}
	buf := make([]byte, 0, min(size, limit+1))
	for {
		if len(buf) == cap(buf) {
			if int64(len(buf)) > limit {
				return nil, errTooLarge
			}
			grown := make([]byte, len(buf), min(4*int64(cap(buf)), limit+1))
			copy(grown, buf)
			buf = grown
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			if int64(len(buf)) > limit {
				return nil, errTooLarge
			}
			return buf, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// transportError says in words why there is no answer. ctx is the caller's.
func transportError(ctx context.Context, err error, limit time.Duration) *Error {
	e := &Error{Kind: KindUnreachable, Err: err}
	var verification *tls.CertificateVerificationError
	var pin *fingerprintError
	var dns *net.DNSError
	var alert tls.AlertError
	var record tls.RecordHeaderError
	var forbidden *endpoint.ForbiddenError
	switch {
	case ctx.Err() != nil:
		e.Kind, e.Message, e.Err = KindCanceled, "given up by the caller", ctx.Err()
	case errors.Is(err, errForeignHost):
		e.Kind, e.Message = KindProtocol, "the BMC points to another host, which is not followed"
	case errors.Is(err, errRedirectLoop), errors.Is(err, errMethodChanged), errors.Is(err, errOutside):
		e.Kind, e.Message = KindProtocol, "the BMC redirects in a way that is not followed"
	case errors.Is(err, errTooLarge):
		e.Kind, e.Message = KindProtocol, "the answer is too large to be Redfish"
	case errors.As(err, &verification):
		e.Kind, e.Message = KindCertificate, certificateMessage(verification)
	case errors.As(err, &pin):
		e.Kind = KindCertificate
		e.Message = fmt.Sprintf("the certificate's SHA-256 is %s, not the pinned one: verify it, then change certificateFingerprint", pin.got)
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		e.Kind, e.Message = KindProtocol, "no TLS at this port: check the address (http:// or another port?)"
	case errors.As(err, &alert), remoteAlert(err):
		e.Kind, e.Message = KindCertificate, "the BMC and we have no TLS version or cipher in common: it may only know TLS 1.1, or key exchange with RSA; update its firmware, or set allowOldTLS of the connection"
	case errors.As(err, &forbidden):
		e.Message = "the address is not used: " + forbidden.Error()
	case errors.As(err, &dns):
		e.Message = "the host name cannot be resolved: check the address"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Message = "connection refused: check address and port, and that the BMC is up"
	case isTimeout(err):
		e.Message = fmt.Sprintf("no answer within %s: check address, network and that the BMC is up", limit)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		e.Message = "the BMC cut the connection: it may be restarting"
	default:
		e.Message = "the connection failed: check address and network"
	}
	return e
}

// remoteAlert tells whether the other side ended the handshake with a TLS alert. Go gives such an alert no type that can be asked for;
// its net.OpError says so in its operation. The local side of a version that is not supported is an alert, too.
func remoteAlert(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return true
	}
	return err != nil && strings.Contains(err.Error(), "tls: server selected unsupported protocol version")
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

func certificateMessage(v *tls.CertificateVerificationError) string {
	sum := "unknown"
	if len(v.UnverifiedCertificates) > 0 {
		s := sha256.Sum256(v.UnverifiedCertificates[0].Raw)
		sum = hex.EncodeToString(s[:])
	}
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var reason string
	switch {
	case errors.As(v.Err, &host):
		reason = "the certificate is for another name or address"
	case errors.As(v.Err, &invalid) && invalid.Reason == x509.Expired:
		reason = "the certificate is expired or not yet valid"
	default:
		reason = "the certificate is signed by an unknown authority"
	}
	return strings.Join([]string{reason, "give its CA (caBundleSecretRef) or pin it (certificateFingerprint), its SHA-256 is " + sum}, ": ")
}
