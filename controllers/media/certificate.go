package media

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/certwatcher"

	"github.com/beskar7/beskar7/pkg/endpoint"
)

// Certificate is what the media door shows to BMCs and booted systems.
type Certificate interface {
	// GetCertificate is for tls.Config.
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Authority is what booted systems are told to trust, as PEM; nil: nothing but what they trust anyway.
	Authority() []byte
	// Covers says why a client that verifies certificates does not trust the media door at the URL; nil if it does.
	Covers(url string) error
	// VerifyPeer says why a certificate is not one of another replica.
	VerifyPeer(shown []*x509.Certificate) error
	// Run keeps it fresh until the context ends.
	Run(ctx context.Context) error
}

// CertificateFolder is a certificate that somebody else makes and renews: tls.crt, tls.key and, if clients do not trust its
// authority anyway, ca.crt.
type CertificateFolder struct {
	dir     string
	watcher *certwatcher.CertWatcher
	// judged is what is known of URLs, for as long as certificate and authority stay as they are.
	judged judgements
}

// NewCertificateFolder reads the folder.
func NewCertificateFolder(dir string) (*CertificateFolder, error) {
	watcher, err := certwatcher.New(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if err != nil {
		return nil, fmt.Errorf("read the media certificate: %w", err)
	}
	return &CertificateFolder{dir: dir, watcher: watcher}, nil
}

// GetCertificate gives the certificate as it is in the folder now.
func (f *CertificateFolder) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return f.watcher.GetCertificate(hello)
}

// Authority is ca.crt as it is now.
func (f *CertificateFolder) Authority() []byte {
	text, _ := os.ReadFile(filepath.Join(f.dir, "ca.crt"))
	return text
}

// Run follows changes of the folder.
func (f *CertificateFolder) Run(ctx context.Context) error { return f.watcher.Start(ctx) }

// Covers verifies the certificate as a client does that has ca.crt, or, without that, what the system trusts.
func (f *CertificateFolder) Covers(url string) error {
	shown, err := f.watcher.GetCertificate(nil)
	if err != nil {
		return fmt.Errorf("the media certificate cannot be read: %w", err)
	}
	return f.judged.of(shown, f.Authority(), url)
}

// VerifyPeer wants the same certificate, or one of the same authority and for the same name: one of us may not have seen the new
// one yet.
func (f *CertificateFolder) VerifyPeer(shown []*x509.Certificate) error {
	return verifyPeer(f.dir, shown)
}

// judgements remember what was found out of URLs: a host is looked at often, and a certificate is verified slowly.
type judgements struct {
	mu        sync.Mutex
	leaf      *x509.Certificate
	authority []byte
	at        time.Time
	byURL     map[string]error
}

// judgedFor is how long a judgement holds: certificates end without being changed.
const judgedFor = time.Hour

func (j *judgements) of(shown *tls.Certificate, authority []byte, url string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if now := time.Now(); j.leaf != shown.Leaf || !bytes.Equal(j.authority, authority) || now.Sub(j.at) > judgedFor {
		j.leaf, j.authority, j.at, j.byURL = shown.Leaf, authority, now, map[string]error{}
	}
	err, known := j.byURL[url]
	if !known {
		err = covers(shown, authority, url)
		j.byURL[url] = err
	}
	return err
}

// covers verifies a certificate for a URL. Over plain http there is none, which is no fault of it.
func covers(shown *tls.Certificate, authority []byte, url string) error {
	u, err := endpoint.Parse(url)
	if err != nil || u.Scheme != "https" {
		return nil //nolint:nilerr // others say what is wrong with the URL
	}
	leaf, others := shown.Leaf, x509.NewCertPool()
	for _, der := range shown.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			others.AddCert(c)
		}
	}
	var roots *x509.CertPool // the system's
	if len(authority) > 0 {
		roots = x509.NewCertPool()
		roots.AppendCertsFromPEM(authority)
	}
	if leaf.VerifyHostname(u.Hostname()) != nil {
		return fmt.Errorf("it is not for %s", u.Hostname())
	}
	if bytes.Equal(leaf.RawSubject, leaf.RawIssuer) && leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) != nil {
		return errors.New("it has the name of its authority, and OpenSSL takes it for self-signed: give it another subject")
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: others})
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return errors.New("it is expired, or not yet valid")
	case err != nil && roots == nil:
		return errors.New("its authority is not one that systems trust by themselves, and there is no ca.crt beside it to give them")
	case err != nil:
		return errors.New("it is not of the authority in ca.crt beside it")
	}
	return nil
}
