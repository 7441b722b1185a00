package controlplane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// pki is the control plane's keys and certificates; the files are those the processes read.
type pki struct {
	dir string
	// ca signs the API server and its clients, hooks the webhook servers: two authorities, so that a
	// caBundle in the wrong place cannot pass by accident.
	ca, hooks *authority
	// admin is the user of people, harness that of the stand-ins, controllers that of
	// kube-controller-manager: three, so that the audit log tells their calls apart.
	admin, harness, controllers keyPair
}

type keyPair struct{ certPEM, keyPEM []byte }

type authority struct {
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	certPEM []byte
}

// webhookCertDir holds tls.crt and tls.key, valid for 127.0.0.1 only: the router sends the API
// server there, whatever the Service was called.
func (p *pki) webhookCertDir() string  { return filepath.Join(p.dir, "webhook") }
func (p *pki) file(name string) string { return filepath.Join(p.dir, name) }

func newPKI(dir string) (*pki, error) {
	p := &pki{dir: dir}
	if err := os.MkdirAll(p.webhookCertDir(), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder for certificates: %w", err)
	}
	var err error
	if p.ca, err = newAuthority("kubernetes"); err != nil {
		return nil, err
	}
	if p.hooks, err = newAuthority("webhooks"); err != nil {
		return nil, err
	}
	loopback := []net.IP{net.IPv4(127, 0, 0, 1)}
	server, err := p.ca.issue(pkix.Name{CommonName: "kube-apiserver"}, x509.ExtKeyUsageServerAuth, loopback, "localhost", "kubernetes.default.svc")
	if err != nil {
		return nil, err
	}
	hooks, err := p.hooks.issue(pkix.Name{CommonName: "webhook server"}, x509.ExtKeyUsageServerAuth, loopback, "localhost")
	if err != nil {
		return nil, err
	}
	kubelet, err := p.ca.issue(pkix.Name{CommonName: "system:node:" + nodeName}, x509.ExtKeyUsageServerAuth, loopback, "localhost")
	if err != nil {
		return nil, err
	}
	caller, err := p.ca.issue(pkix.Name{CommonName: kubeletUser}, x509.ExtKeyUsageClientAuth, nil)
	if err != nil {
		return nil, err
	}
	masters := []string{"system:masters"}
	if p.admin, err = p.ca.issue(pkix.Name{CommonName: "admin", Organization: masters}, x509.ExtKeyUsageClientAuth, nil); err != nil {
		return nil, err
	}
	if p.harness, err = p.ca.issue(pkix.Name{CommonName: "harness", Organization: masters}, x509.ExtKeyUsageClientAuth, nil); err != nil {
		return nil, err
	}
	controllers := pkix.Name{CommonName: "system:kube-controller-manager", Organization: masters}
	if p.controllers, err = p.ca.issue(controllers, x509.ExtKeyUsageClientAuth, nil); err != nil {
		return nil, err
	}
	saKey, saPub, err := newSigningKey()
	if err != nil {
		return nil, err
	}
	return p, writeFiles(map[string][]byte{
		p.file("ca.crt"): p.ca.certPEM, p.file("webhook-ca.crt"): p.hooks.certPEM,
		p.file("apiserver.crt"): server.certPEM, p.file("apiserver.key"): server.keyPEM,
		p.file("kubelet.crt"): kubelet.certPEM, p.file("kubelet.key"): kubelet.keyPEM,
		p.file("apiserver-kubelet.crt"): caller.certPEM, p.file("apiserver-kubelet.key"): caller.keyPEM,
		p.file("sa.key"): saKey, p.file("sa.pub"): saPub,
		filepath.Join(p.webhookCertDir(), "tls.crt"): hooks.certPEM,
		filepath.Join(p.webhookCertDir(), "tls.key"): hooks.keyPEM,
	})
}

func writeFiles(files map[string][]byte) error {
	for name, data := range files {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return fmt.Errorf("writing %s: %w", filepath.Base(name), err)
		}
	}
	return nil
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the key of authority %s: %w", name, err)
	}
	t, err := template(pkix.Name{CommonName: name})
	if err != nil {
		return nil, err
	}
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing authority %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading authority %s: %w", name, err)
	}
	return &authority{cert: cert, key: key, certPEM: block("CERTIFICATE", der)}, nil
}

// issue signs a certificate. Its subject has to differ from the authority's: OpenSSL takes a certificate whose subject is its issuer
// for a self-signed one, and refuses it.
func (a *authority) issue(subject pkix.Name, use x509.ExtKeyUsage, ips []net.IP, names ...string) (keyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return keyPair{}, fmt.Errorf("making the key of %s: %w", subject.CommonName, err)
	}
	t, err := template(subject)
	if err != nil {
		return keyPair{}, err
	}
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{use}
	t.IPAddresses, t.DNSNames = ips, names
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return keyPair{}, fmt.Errorf("signing the certificate of %s: %w", subject.CommonName, err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return keyPair{}, fmt.Errorf("writing the key of %s: %w", subject.CommonName, err)
	}
	return keyPair{block("CERTIFICATE", der), block("EC PRIVATE KEY", keyDER)}, nil
}

func template(subject pkix.Name) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("drawing a serial number: %w", err)
	}
	now := time.Now()
	return &x509.Certificate{SerialNumber: serial, Subject: subject, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0)}, nil
}

// newSigningKey makes the pair with which the API server signs ServiceAccount tokens.
func newSigningKey() (private, public []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making the token key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("writing the token key: %w", err)
	}
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, nil, fmt.Errorf("writing the token's public key: %w", err)
	}
	return block("EC PRIVATE KEY", der), block("PUBLIC KEY", pub), nil
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
