package agent

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// trust is the authority whose servers are believed. The dates of its certificates are left out: the clock of a server with a dead
// battery is years behind, and is set from the first answer of a server that was believed.
type trust struct {
	// certificates are those of the authority; without any, the one with the digest that a server sends along.
	certificates []*x509.Certificate
	digest       string
}

func newTrust(text, digest string) (*trust, error) {
	t := &trust{digest: digest}
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read the authority's certificate: %w", err)
		}
		t.certificates = append(t.certificates, c)
	}
	if len(t.certificates) == 0 && digest == "" {
		return nil, errors.New("there is no authority to believe")
	}
	return t, nil
}

// transport dials by itself, since only the dialled address says whose name a certificate has to have: for IP addresses, what a
// handshake knows of it is empty. It uses no proxy of the environment, of which PID 1 has none.
func (t *trust) transport() *http.Transport {
	dialer := &net.Dialer{Timeout: 15 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		DialContext:           dialer.DialContext,
		ResponseHeaderTimeout: callTimeout,
		IdleConnTimeout:       90 * time.Second,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			raw, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			conn := tls.Client(raw, t.config(host))
			ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
			defer cancel()
			if err := conn.HandshakeContext(ctx); err != nil {
				_ = raw.Close()
				return nil, err
			}
			return conn, nil
		},
	}
}

// config puts a check without dates in the place of Go's own.
func (t *trust) config(host string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         host,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection verifies
		VerifyConnection:   func(state tls.ConnectionState) error { return t.verify(host, state.PeerCertificates) },
	}
}

// verify verifies a chain at a moment at which all of it was valid, if there ever was one: certificates are made later than those
// that they are signed by, so that it is the beginning of one of them.
func (t *trust) verify(host string, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("the server shows no certificate")
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range t.certificates {
		roots.AddCert(c)
	}
	for _, c := range chain[1:] {
		between.AddCert(c)
		if sum := sha256.Sum256(c.Raw); c.IsCA && "sha256:"+hex.EncodeToString(sum[:]) == t.digest {
			roots.AddCert(c)
		}
	}
	var first error
	for _, c := range append(append([]*x509.Certificate{}, chain...), t.certificates...) {
		_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: host, CurrentTime: c.NotBefore})
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return fmt.Errorf("the server's certificate is not one of the authority that the medium names: %w", first)
}
