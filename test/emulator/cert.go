package emulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"
)

// certLifetime is far beyond any test; BMC certificates are not rotated here.
const certLifetime = 10 * 365 * 24 * time.Hour

// authority signs the serving certificates of a fleet. All BMCs share one
// private key: making thousands would cost more than the servers themselves.
type authority struct {
	cert *x509.Certificate
	pem  []byte
	key  *ecdsa.PrivateKey
	leaf *ecdsa.PrivateKey
	tls  *tls.Config

	mu     sync.Mutex
	serial int64
	certs  map[string]*tls.Certificate
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	// The serial tells apart the CAs of several fleets in one trust store.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: fmt.Sprintf("Emulated BMC CA %x", serial)},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(certLifetime),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a := &authority{cert: cert, key: key, leaf: leaf, serial: 1, certs: map[string]*tls.Certificate{},
		pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	a.tls = &tls.Config{
		MinVersion: tls.VersionTLS12,
		// BMCs speak HTTP/1.1 only.
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return a.certificate(localIP(h.Conn))
		},
	}
	return a, nil
}

// certificate returns the serving certificate for an address, made on first use.
func (a *authority) certificate(ip string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.certs[ip]; c != nil {
		return c, nil
	}
	if net.ParseIP(ip) == nil {
		return nil, fmt.Errorf("no address to certify in %q", ip)
	}
	c, err := a.sign(ip, a.cert.NotAfter)
	if err != nil {
		return nil, err
	}
	a.certs[ip] = c
	return c, nil
}

// issue makes a certificate for an address that ends at a time, also in the past.
func (a *authority) issue(ip string, end time.Time) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sign(ip, end)
}

// sign makes a certificate. a.mu is held.
func (a *authority) sign(ip string, end time.Time) (*tls.Certificate, error) {
	a.serial++
	begin := a.cert.NotBefore
	if !end.After(begin) {
		begin = end.Add(-time.Hour)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial),
		Subject:      pkix.Name{CommonName: ip},
		NotBefore:    begin, NotAfter: end,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.ParseIP(ip)},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, a.leaf.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate for %s: %w", ip, err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.leaf}, nil
}
