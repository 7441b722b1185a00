package authority

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"regexp"
	"slices"
	"time"
)

const (
	// life is how long an authority lasts, and lifeOfLeaf a serving certificate. Both are renewed after two thirds.
	life, lifeOfLeaf = 10 * 365 * 24 * time.Hour, 90 * 24 * time.Hour
	// early is how far the clock of a client may be behind ours.
	early   = time.Hour
	keySize = 2048
	// ours is the subject of the authorities that are made, and renewed, here.
	ours = "Beskar7 media authority"
	// leafName is the subject of serving certificates. It differs from every authority's: OpenSSL takes a certificate whose
	// subject is its issuer for a self-signed one, and refuses it.
	leafName = "beskar7-media"
)

// dnsName is what a certificate may be made out to: no wildcard, nothing but letters of host names.
var dnsName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?$`)

// KeyPair is an authority as it is stored: PEM.
type KeyPair struct {
	// Certificate may be followed by those that lead to its root.
	Certificate, Key []byte
	// Roots are what clients trust; empty means Certificate.
	Roots []byte
}

// Authority signs serving certificates. It does not change.
type Authority struct {
	cert  *x509.Certificate
	key   crypto.Signer
	chain [][]byte // DER, to be shown behind a leaf; without a root
	roots []byte
}

// New makes the key pair of a new authority.
func New(now time.Time) (KeyPair, error) {
	key, err := rsa.GenerateKey(rand.Reader, keySize)
	if err != nil {
		return KeyPair{}, fmt.Errorf("make the key of the authority: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return KeyPair{}, fmt.Errorf("write the key of the authority: %w", err)
	}
	cert, err := selfSigned(key, now)
	if err != nil {
		return KeyPair{}, err
	}
	return KeyPair{Certificate: cert, Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), Roots: cert}, nil
}

func selfSigned(key crypto.Signer, now time.Time) ([]byte, error) {
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: ours}, NotBefore: now.Add(-early), NotAfter: now.Add(life),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of the authority: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

func serialNumber() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	return serial.Add(serial, big.NewInt(1)), nil // not zero
}

// Load reads an authority. Its errors say what is wrong with the key pair, and hold nothing of it.
func Load(pair KeyPair) (*Authority, error) {
	both, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		return nil, errors.New("certificate and key cannot be read, or do not belong together")
	}
	key, ok := both.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key cannot sign")
	}
	if !both.Leaf.IsCA || both.Leaf.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, errors.New("the certificate is not that of an authority: it may not sign others (isCA)")
	}
	a := &Authority{cert: both.Leaf, key: key, roots: pair.Roots}
	if len(bytes.TrimSpace(a.roots)) == 0 {
		a.roots = pair.Certificate
	}
	for _, der := range both.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, errors.New("a certificate of the chain cannot be read")
		}
		if !bytes.Equal(c.RawSubject, c.RawIssuer) {
			a.chain = append(a.chain, der)
		}
	}
	return a, nil
}

// Roots are the PEM certificates that clients need to trust.
func (a *Authority) Roots() []byte { return a.roots }

// Ends is when everything that it signed ends, too.
func (a *Authority) Ends() time.Time { return a.cert.NotAfter }

// Renew makes the certificate of an authority of ours anew, with the same key and name, once two thirds of its life are over: what
// trusts the old certificate trusts all that the new one signs. It is false where nothing is to be done, or the authority is
// somebody else's.
func (a *Authority) Renew(now time.Time) (certificate []byte, due bool, err error) {
	own := a.cert.Subject.CommonName == ours && bytes.Equal(a.cert.RawSubject, a.cert.RawIssuer)
	if !own || now.Before(a.cert.NotBefore.Add(a.cert.NotAfter.Sub(a.cert.NotBefore)*2/3)) {
		return nil, false, nil
	}
	certificate, err = selfSigned(a.key, now)
	return certificate, true, err
}

// Certifies tells whether a name or address can stand in a certificate.
func Certifies(name string) bool { return net.ParseIP(name) != nil || dnsName.MatchString(name) }

// NewKey makes a key for serving certificates.
func NewKey() (crypto.Signer, error) {
	key, err := rsa.GenerateKey(rand.Reader, keySize)
	if err != nil {
		return nil, fmt.Errorf("make the key of the serving certificate: %w", err)
	}
	return key, nil
}

// Issue makes a serving certificate for names and addresses; what cannot stand in one is left out.
func (a *Authority) Issue(key crypto.Signer, names []string, now time.Time) (*tls.Certificate, error) {
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	ends := now.Add(lifeOfLeaf)
	if ends.After(a.cert.NotAfter) {
		ends = a.cert.NotAfter
	}
	t := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: leafName}, NotBefore: now.Add(-early), NotAfter: ends,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		if ip := net.ParseIP(name); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else if Certifies(name) {
			t.DNSNames = append(t.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("sign the serving certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the serving certificate: %w", err)
	}
	return &tls.Certificate{Certificate: append([][]byte{der}, a.chain...), PrivateKey: key, Leaf: leaf}, nil
}

// Due is when a serving certificate is to be made anew.
func Due(leaf *x509.Certificate) time.Time {
	return leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) * 2 / 3)
}
