package redfish

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/beskar7/beskar7/pkg/endpoint"
)

const redacted = "[redacted]"

// Password is a secret that no formatter, logger or encoder prints.
type Password string

// String redacts.
func (Password) String() string { return redacted }

// GoString redacts.
func (Password) GoString() string { return redacted }

// Format redacts whatever the verb.
func (Password) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue redacts.
func (Password) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON redacts.
func (Password) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText redacts.
func (Password) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Timeouts bound the talk with one BMC. A zero field takes the Pool's default.
type Timeouts struct {
	// Connection bounds TCP connect and TLS handshake, each.
	Connection time.Duration
	// Request bounds one request from first byte sent to last byte read.
	Request time.Duration
	// MaxRetries is how often an idempotent read is repeated after a transport
	// error or an answer that asks for it. Negative: never.
	MaxRetries int
	// RetryDelay is the wait before each repeat.
	RetryDelay time.Duration
}

// Target is one server: where its BMC is, how to trust it and how to log in.
type Target struct {
	// Address is https://host[:port] or http://host[:port]; a trailing slash is
	// tolerated, any other path, query or user part is refused.
	Address  string
	Username string
	Password Password
	// CABundle is PEM; empty means the system's roots.
	CABundle []byte
	// CertificateFingerprint is the SHA-256 of the serving certificate in hex,
	// colons tolerated. When given it alone decides.
	CertificateFingerprint string
	// InsecureSkipVerify switches verification off; it goes with neither of the above.
	InsecureSkipVerify bool
	// AllowOldTLS accepts TLS 1.0 and 1.1, and key exchange without forward secrecy:
	// for BMCs that can do nothing better (iLO 3 and 4, iDRAC 7 and 8, X10, H3C HDM).
	AllowOldTLS bool
	// AllowPlain is the owner's consent to an http address: the password crosses in clear.
	AllowPlain bool
	// SystemID chooses the system where the BMC has several.
	SystemID string
	// Vendor overrides detection: a name of the vendor table.
	// A name of a family leaves the row to detection.
	Vendor   string
	Timeouts Timeouts
	// Learned is what BMC.Learned gave earlier, in this process or another one.
	// It only starts a client off: a client that exists already knows better, so
	// two targets that differ in it alone are the same (see SameBMC).
	Learned Learned
}

// SameBMC tells whether two targets lead to the same system in the same way:
// whether they are equal but for what was learned.
func (t Target) SameBMC(other Target) bool {
	t.Learned, other.Learned = Learned{}, Learned{}
	return reflect.DeepEqual(t, other)
}

// ErrPlain says that a target has an http address without its owner's consent.
var ErrPlain = errors.New("address is http://, and the password would cross the network in clear")

// Validate says what is wrong with the target, without any I/O. ErrPlain is told apart from all else.
func (t Target) Validate() error {
	endpointKey, err := EndpointKey(t.Address)
	if err != nil {
		return err
	}
	if !endpoint.Secure(endpointKey) && !t.AllowPlain {
		return ErrPlain
	}
	if t.Username == "" {
		return errors.New("username is empty")
	}
	if t.Password == "" {
		return errors.New("password is empty")
	}
	if _, err := t.fingerprint(); err != nil {
		return err
	}
	if len(t.CABundle) > 0 && !x509.NewCertPool().AppendCertsFromPEM(t.CABundle) {
		return errors.New("CA bundle holds no PEM certificate")
	}
	if t.InsecureSkipVerify && (len(t.CABundle) > 0 || t.CertificateFingerprint != "") {
		return errors.New("insecureSkipVerify contradicts a CA bundle or certificate fingerprint: choose one")
	}
	return nil
}

// fingerprint decodes CertificateFingerprint; nil where there is none.
func (t Target) fingerprint() ([]byte, error) {
	if t.CertificateFingerprint == "" {
		return nil, nil
	}
	sum, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(t.CertificateFingerprint), ":", ""))
	if err != nil || len(sum) != sha256.Size {
		return nil, errors.New("certificate fingerprint is not a SHA-256 sum in hex (64 digits)")
	}
	return sum, nil
}

// EndpointKey is the canonical scheme://host:port of an address: what tells
// whether two hosts share one BMC.
func EndpointKey(address string) (string, error) {
	// url.Parse's error quotes its input, and a mistyped address can hold a password.
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil {
		return "", errors.New("address is not a URL of the form https://host[:port]")
	}
	scheme := strings.ToLower(u.Scheme)
	if scheme != "https" && scheme != "http" {
		return "", errors.New("address must start with https:// or http://")
	}
	if u.User != nil {
		return "", errors.New("address must not hold a user or password: use the Secret")
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return "", errors.New("address must not have a path: give https://host[:port] only")
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if host == "" {
		return "", errors.New("address has no host")
	}
	if ip := net.ParseIP(host); ip != nil {
		host = ip.String()
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[scheme]
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", errors.New("address has a port that is not between 1 and 65535")
	}
	// A zone in an IPv6 address must stay escaped for the key to be a URL itself.
	host = strings.ReplaceAll(host, "%", "%25")
	return scheme + "://" + net.JoinHostPort(host, strings.TrimLeft(port, "0")), nil
}
