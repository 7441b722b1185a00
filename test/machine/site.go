package machine

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// FindImage is the live image that `make machine-image` builds below the repository's root.
func FindImage(root string) (string, error) {
	path := filepath.Join(root, ".cache", "machine", "live.iso")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("the live image is not built (make machine-image): %w", err)
	}
	return path, nil
}

// ImageServer is the user's own web server with one operating system image: ranges, a length, an ETag.
type ImageServer struct {
	server   *http.Server
	listener net.Listener
	path     string
	etag     string

	mu       sync.Mutex
	tampered bool
	served   Served
}

// Served is what an ImageServer was asked for, and gave.
type Served struct {
	// Ranged and Whole are GET requests with and without a range.
	Ranged, Whole int
	// Bytes of bodies.
	Bytes int64
}

// ServeImage serves the file under any name that ends in .iso.
func ServeImage(path string) (*ImageServer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &ImageServer{listener: listener, path: path, etag: strconv.FormatInt(info.ModTime().UnixNano(), 36) + "-" + strconv.FormatInt(info.Size(), 36)}
	s.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(s.serve)}
	go func() { _ = s.server.Serve(listener) }()
	return s, nil
}

func (s *ImageServer) serve(w http.ResponseWriter, r *http.Request) {
	file, err := os.Open(s.path)
	if err != nil || filepath.Ext(r.URL.Path) != ".iso" {
		http.NotFound(w, r)
		return
	}
	defer func() { _ = file.Close() }()
	s.mu.Lock()
	tampered := s.tampered
	if r.Method == http.MethodGet && r.Header.Get("Range") != "" {
		s.served.Ranged++
	} else if r.Method == http.MethodGet {
		s.served.Whole++
	}
	s.mu.Unlock()
	body, etag := io.ReadSeeker(file), s.etag
	if tampered {
		body, etag = &altered{File: file}, etag+"-t"
	}
	w.Header().Set("ETag", strconv.Quote(etag))
	http.ServeContent(&counter{w, s}, r, r.URL.Path, time.Time{}, body)
}

// Tamper makes the image another one of the same length, with an ETag of its own, and back again.
func (s *ImageServer) Tamper(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tampered = on
}

// Served is what was served so far.
func (s *ImageServer) Served() Served {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served
}

// counter counts the bytes of a body.
type counter struct {
	http.ResponseWriter
	server *ImageServer
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.server.mu.Lock()
	c.server.served.Bytes += int64(n)
	c.server.mu.Unlock()
	return n, err
}

// altered is a file of which one byte of each MiB is another.
type altered struct{ *os.File }

// alteredAt is where in each MiB: behind what tells an ISO 9660 image.
const alteredAt = 256 << 10

func (a *altered) Read(p []byte) (int, error) {
	at, err := a.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	n, err := a.File.Read(p)
	for i := range n {
		if (at+int64(i))%(1<<20) == alteredAt {
			p[i] ^= 0xff
		}
	}
	return n, err
}

// WriteTo is not the file's own, which would go round Read.
func (a *altered) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{a})
}

// URL of the image.
func (s *ImageServer) URL() string { return "http://" + s.listener.Addr().String() + "/live.iso" }

// Path is the file.
func (s *ImageServer) Path() string { return s.path }

// Close ends the server and its connections.
func (s *ImageServer) Close() error { return s.server.Close() }

// WriteCertificate makes a CA and a certificate of it under which a server on this machine's loopback is known to BMCs (127.0.0.1) and
// to booted systems (HostAddress). It writes tls.crt, tls.key and ca.crt into dir and returns the CA.
func WriteCertificate(dir string) (caPEM []byte, err error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	from, to := time.Now().Add(-24*time.Hour), time.Now().Add(24*time.Hour) // a booted system's clock may differ
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "site"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "media"}, NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.ParseIP("127.0.0.1"), net.ParseIP(HostAddress)}}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	write := func(name, kind string, der []byte) error {
		return os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
	}
	caPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	return caPEM, errors.Join(os.MkdirAll(dir, 0o700), write("ca.crt", "CERTIFICATE", caDER),
		write("tls.crt", "CERTIFICATE", leafDER), write("tls.key", "EC PRIVATE KEY", keyDER))
}
