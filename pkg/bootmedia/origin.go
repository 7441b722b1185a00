package bootmedia

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/beskar7/beskar7/pkg/endpoint"
)

const (
	// maxRedirects is what an image server may send us on; mirrors do it once or twice.
	maxRedirects = 10
	// caFresh is how long the folder of authorities is taken to be as it was: a stream asks for it with each of its requests.
	caFresh = 10 * time.Second
)

var (
	errDowngrade = errors.New("the server redirects from https to http, which is not followed: what comes over http can be anybody's")
	errRedirects = errors.New("the server redirects too often")
)

// ClientOptions say how image servers are reached.
type ClientOptions struct {
	// Reach judges each address before a connection is made to it; nil judges none.
	Reach *endpoint.Policy
	// CADir holds PEM files of authorities that are trusted besides those of the system. It may be missing, and may change.
	CADir string
	// Proxy is asked for each request; nil means the environment's (HTTP_PROXY, HTTPS_PROXY, NO_PROXY). A proxy itself may be
	// anywhere, as who runs this process chose it.
	Proxy func(*http.Request) (*url.URL, error)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// NewClient makes the client for image servers.
func NewClient(o ClientOptions) *http.Client {
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &http.Client{Transport: &originTransport{options: o}}
}

// imageClient makes of any client one for images. It has no overall time limit, which would end any large download; silence is
// limited instead. And it follows no redirect that gives up the protection of the URL that was written.
func imageClient(c *http.Client) *http.Client {
	own := *c
	own.Timeout = 0
	next := c.CheckRedirect
	own.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		switch last := via[len(via)-1]; {
		case endpoint.Secure(last.URL.String()) && !endpoint.Secure(req.URL.String()):
			return errDowngrade
		case len(via) > maxRedirects:
			return errRedirects
		case next != nil:
			return next(req, via)
		}
		return nil
	}
	return &own
}

// originTransport sends requests to image servers. What goes through a proxy is judged before, as the proxy dials it; all else is judged
// when it is dialled.
type originTransport struct {
	options ClientOptions

	mu      sync.Mutex
	read    time.Time // of the folder
	content [sha256.Size]byte
	direct  *http.Transport
	proxied *http.Transport
}

// RoundTrip sends one request.
func (o *originTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	proxy, err := o.options.Proxy(req)
	if err != nil {
		return nil, fmt.Errorf("the proxy of the environment cannot be used: %w", err)
	}
	direct, proxied := o.transports()
	if proxy == nil {
		return direct.RoundTrip(req)
	}
	if err := o.options.Reach.CheckURL(req.Context(), req.URL); err != nil {
		return nil, err
	}
	return proxied.RoundTrip(req)
}

// CloseIdleConnections is for http.Client.
func (o *originTransport) CloseIdleConnections() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closeIdle()
}

func (o *originTransport) closeIdle() {
	if o.direct != nil {
		o.direct.CloseIdleConnections()
		o.proxied.CloseIdleConnections()
	}
}

// transports are new ones when the authorities changed: a connection that was made with the old ones is not used again.
func (o *originTransport) transports() (direct, proxied *http.Transport) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.options.Now()
	if o.direct != nil && now.Sub(o.read) < caFresh {
		return o.direct, o.proxied
	}
	more := readPEMs(o.options.CADir)
	content := sha256.Sum256(more)
	o.read = now
	if o.direct != nil && content == o.content {
		return o.direct, o.proxied
	}
	o.closeIdle()
	o.content = content
	roots := rootsWith(more)
	o.direct, o.proxied = newTransport(roots, o.options.Reach, nil), newTransport(roots, nil, o.options.Proxy)
	return o.direct, o.proxied
}

// readPEMs is what the files of a folder hold, one behind the other.
func readPEMs(dir string) []byte {
	if dir == "" {
		return nil
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil // missing, or not readable: then a server's certificate is not trusted, and that is told
	}
	var all bytes.Buffer
	for _, f := range files { // sorted by name
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil || !bytes.Contains(text, []byte("-----BEGIN CERTIFICATE-----")) {
			continue // the folders of a mounted ConfigMap's earlier contents, and whatever else lies there
		}
		all.Write(text)
		all.WriteByte('\n')
	}
	return all.Bytes()
}

// rootsWith are the system's authorities and more; nil means the system's.
func rootsWith(more []byte) *x509.CertPool {
	if len(more) == 0 {
		return nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	roots.AppendCertsFromPEM(more)
	return roots
}

func newTransport(roots *x509.CertPool, reach *endpoint.Policy, proxy func(*http.Request) (*url.URL, error)) *http.Transport {
	return &http.Transport{
		Proxy:                 proxy,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Control: reach.Control}).DialContext,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: stall,
		MaxIdleConnsPerHost:   16,
		// An image is read in large pieces; the usual 4 KiB would only delay them.
		ReadBufferSize:  bufferBytes / 4,
		IdleConnTimeout: 90 * time.Second,
	}
}

// fetchError is what a person is told when an image server gives no answer. The cause is for the log of who runs this process:
// whoever writes image URLs must not find out by them what listens where in its network, nor what it says.
type fetchError struct {
	words string
	cause error
}

func (e *fetchError) Error() string { return e.words }
func (e *fetchError) Unwrap() error { return e.cause }

// causeOf is what fetchError keeps to itself, for the log: what failed on the network, if that was it. Nothing else is told there
// either, as other errors quote URLs and answers, which may be secret.
func causeOf(err error) string {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e.Error()
	}
	return ""
}

// NoAnswer says in words why there is no answer, and no more.
func NoAnswer(err error) error {
	if words, ours := told(err); ours {
		return words
	}
	_, noName := errors.AsType[*net.DNSError](err)
	_, strange := errors.AsType[x509.UnknownAuthorityError](err)
	_, otherName := errors.AsType[x509.HostnameError](err)
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	words := "the server cannot be reached, or is no image server: check the URL"
	switch {
	case noName:
		words = "the server's name cannot be resolved: check the URL"
	case strange:
		words = "the server's certificate is of an authority that is not trusted: give its certificate to the manager (--image-ca-dir)"
	case otherName:
		words = "the server's certificate is for another name or address"
	case verification:
		words = "the server's certificate is not valid: it may have expired"
	}
	return &fetchError{words: words, cause: err}
}

// told finds the errors that say what they say in words of our own, or are the caller's.
func told(err error) (error, bool) {
	if forbidden, ok := errors.AsType[*endpoint.ForbiddenError](err); ok {
		return forbidden, true
	}
	for _, own := range []error{errDowngrade, errRedirects, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, own) {
			return own, true
		}
	}
	return nil, false
}

// broken says that an answer ended early, and no more.
func broken(err error) error {
	if words, ours := told(err); ours {
		return words
	}
	return &fetchError{words: "the connection to the server broke", cause: err}
}

func noReplica(err error) error {
	return &fetchError{words: "the other replica gives no answer", cause: err}
}
