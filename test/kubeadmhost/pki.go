package kubeadmhost

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"k8s.io/client-go/util/keyutil"
)

const pkiDir = "/etc/kubernetes/pki/"

// authority is a certificate authority with its key.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pem  []byte
}

// pki is the key material that Cluster API puts on a control plane server.
type pki struct {
	ca, etcd, frontProxy *authority
}

// loadPKI reads the certificates among the written files and checks that every
// pair belongs together. A control plane server needs all of them.
func loadPKI(files map[string][]byte) (*pki, error) {
	var p pki
	for _, part := range []struct {
		name string
		into **authority
	}{{"ca", &p.ca}, {"etcd/ca", &p.etcd}, {"front-proxy-ca", &p.frontProxy}} {
		loaded, err := loadAuthority(files, pkiDir+part.name+".crt", pkiDir+part.name+".key")
		if err != nil {
			return nil, err
		}
		*part.into = loaded
	}
	public, err := keyutil.ParsePublicKeysPEM(files[pkiDir+"sa.pub"])
	if err != nil {
		return nil, fmt.Errorf("%ssa.pub: no public key", pkiDir)
	}
	key, err := parseKey(files, pkiDir+"sa.key")
	if err != nil {
		return nil, err
	}
	if !samePublicKey(public[0], key.Public()) {
		return nil, fmt.Errorf("%ssa.pub and sa.key are not a pair", pkiDir)
	}
	return &p, nil
}

func loadAuthority(files map[string][]byte, certPath, keyPath string) (*authority, error) {
	block, _ := pem.Decode(files[certPath])
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s: no certificate", certPath)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certPath, err)
	}
	if !cert.IsCA {
		return nil, fmt.Errorf("%s: %s is not a certificate authority", certPath, cert.Subject)
	}
	if err := cert.CheckSignatureFrom(cert); err != nil {
		return nil, fmt.Errorf("%s: not signed by itself: %w", certPath, err)
	}
	if now := time.Now(); now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return nil, fmt.Errorf("%s: valid only from %s to %s", certPath, cert.NotBefore, cert.NotAfter)
	}
	key, err := parseKey(files, keyPath)
	if err != nil {
		return nil, err
	}
	if !samePublicKey(cert.PublicKey, key.Public()) {
		return nil, fmt.Errorf("%s and %s are not a pair", certPath, keyPath)
	}
	return &authority{cert: cert, key: key, pem: pem.EncodeToMemory(block)}, nil
}

func parseKey(files map[string][]byte, path string) (crypto.Signer, error) {
	parsed, err := keyutil.ParsePrivateKeyPEM(files[path])
	if err != nil {
		return nil, fmt.Errorf("%s: no private key", path)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: a key that cannot sign", path)
	}
	return key, nil
}

func samePublicKey(a, b any) bool {
	switch key := a.(type) {
	case *rsa.PublicKey:
		return key.Equal(b)
	case *ecdsa.PublicKey:
		return key.Equal(b)
	default:
		return false
	}
}

// publicKeyHash is the pin of the authority's public key that kubeadm join is given.
func publicKeyHash(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// request says what certificate an authority is to issue.
type request struct {
	commonName    string
	organizations []string
	names         []string
	usages        []x509.ExtKeyUsage
	validFor      time.Duration
}

// issue makes a key and a certificate for it.
func (a *authority) issue(r request) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key of %s: %w", r.commonName, err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("generate serial number: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:      pkix.Name{CommonName: r.commonName, Organization: r.organizations},
		SerialNumber: serial,
		NotBefore:    now.Add(-time.Minute),
		NotAfter:     now.Add(r.validFor),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  r.usages,
	}
	for _, name := range r.names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if name != "" {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of %s: %w", r.commonName, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// verifyClient says whether a peer presented a client certificate of a.
func (a *authority) verifyClient(chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("no client certificate")
	}
	intermediates := x509.NewCertPool()
	for _, cert := range chain[1:] {
		intermediates.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: a.pool(), Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err
}
