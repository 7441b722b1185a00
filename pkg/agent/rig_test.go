package agent_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/beskar7/beskar7/pkg/agent"
	"github.com/beskar7/beskar7/pkg/agent/fetch"
	"github.com/beskar7/beskar7/pkg/agent/filedisk"
	"github.com/beskar7/beskar7/pkg/agent/imagetest"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

const (
	mib        = 1 << 20
	serverUUID = "005cb4e7-0989-eb11-8000-7cc255106afe"
	capability = "capability-0123456789abcdef"
)

// authority is a CA with a certificate for 127.0.0.1, both of a year that is past.
type authority struct {
	pem    string
	digest string
	serve  tls.Certificate
}

func newAuthority(t *testing.T, year int) *authority {
	t.Helper()
	made := func(name string, ca bool, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		from := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: from,
			NotAfter: from.AddDate(0, 6, 0),
			IsCA:     ca, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
		if parent == nil {
			parent, signer = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		if c, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		return c, key
	}
	root, rootKey := made("authority", true, nil, nil)
	leaf, leafKey := made("manager", false, root, rootKey)
	sum := sha256.Sum256(root.Raw)
	return &authority{
		pem:    string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})),
		digest: "sha256:" + hex.EncodeToString(sum[:]),
		serve:  tls.Certificate{Certificate: [][]byte{leaf.Raw, root.Raw}, PrivateKey: leafKey},
	}
}

// manager plays the manager: it hands out a plan, and hears the rest.
type manager struct {
	t    *testing.T
	plan *protocol.Plan
	// answer changes an answer before it is sent; nil leaves it.
	answer func(c *protocol.Call, a *protocol.Answer)
	// status is answered in place of the first calls that it is for.
	status []int
	time   time.Time

	mu     sync.Mutex
	calls  []*protocol.Call
	images map[string]http.Handler
}

func (m *manager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if image := m.images[r.URL.Path]; image != nil {
		image.ServeHTTP(w, r)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.status) > 0 {
		status := m.status[0]
		m.status = m.status[1:]
		if status != http.StatusOK {
			w.WriteHeader(status)
			return
		}
	}
	if r.Method != http.MethodPost || r.URL.Path != protocol.Path(capability) {
		m.t.Errorf("the agent calls %s %s", r.Method, r.URL.Path)
		w.WriteHeader(http.StatusNotFound)
		return
	}
	call, err := protocol.DecodeCall(r.Body)
	if err != nil {
		m.t.Errorf("a call cannot be read: %v", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	m.calls = append(m.calls, call)
	a := &protocol.Answer{Verdict: protocol.VerdictContinue, Time: m.time, NextSeconds: 1}
	switch {
	case call.Report != nil:
		a.Plan = m.plan
	case call.Progress.Error != nil || call.Progress.Step == protocol.StepDone:
		a.Verdict = protocol.VerdictDone
	}
	if m.answer != nil {
		m.answer(call, a)
	}
	data, err := a.Encode()
	if err != nil {
		m.t.Errorf("an answer cannot be written: %v", err)
	}
	_, _ = w.Write(data)
}

func (m *manager) heard() []*protocol.Call {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]*protocol.Call(nil), m.calls...)
}

// rig is a server with two disks, a manager and an image.
type rig struct {
	t       *testing.T
	server  *filedisk.Server
	manager *manager
	options agent.Options
	image   []byte
	packed  []byte
	mu      sync.Mutex
	lines   []string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	g := &rig{t: t, server: &filedisk.Server{Folder: t.TempDir()}, image: imagetest.Typical(16*mib, 512).Bytes()}
	g.server.Seen = protocol.Report{Server: protocol.Server{UUID: serverUUID, Serial: "1001"},
		Firmware: protocol.Firmware{BootMode: protocol.BootUEFI}}
	g.disk("nvme0n1", 160*mib, protocol.DiskNVMe)
	g.disk("sda", 200*mib, protocol.DiskHDD)
	g.packed = packed(t, g.image)
	ca := newAuthority(t, 2019)
	g.manager = &manager{t: t, time: time.Now(), images: map[string]http.Handler{"/image": g.serve(g.packed)}}
	s := httptest.NewUnstartedServer(g.manager)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.serve}, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	g.manager.plan = &protocol.Plan{ID: "claim1", Generation: 1, Server: serverUUID,
		Erase: &protocol.Erase{Method: protocol.MethodDiscard},
		Deploy: &protocol.Deploy{Root: protocol.Selector{Type: protocol.DiskNVMe}, BootEntry: "beskar7 node",
			Image: protocol.Image{URLs: []string{s.URL + "/image"}, Digest: digestOf(g.packed), Format: protocol.FormatRawZstd,
				Size: int64(len(g.packed))},
			Data: &protocol.Data{Label: "cidata", Files: []protocol.File{
				{Path: "meta-data", Content: []byte("instance-id: claim1\n")}, {Path: "user-data",
					Content: []byte("#cloud-config\n# s3cr3t\n")}}}}}
	g.options = agent.Options{Hands: g.server, Version: "test", Retry: time.Millisecond, LastWord: time.Minute,
		DiskWait: 50 * time.Millisecond, Poll: time.Millisecond,
		Seed:  &protocol.Seed{Endpoint: s.URL, Capability: capability, CA: ca.pem},
		Fetch: fetch.Options{Pause: time.Millisecond, Stall: 10 * time.Second, Patience: 200 * time.Millisecond},
		Log: func(line string) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.lines = append(g.lines, line)
		}}
	return g
}

// disk adds a disk on which a tenant left something.
func (g *rig) disk(name string, size int64, kind protocol.DiskType) {
	g.t.Helper()
	d, err := filedisk.Create(g.server.Folder, name, size, 512)
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	old := imagetest.Typical(8*mib, 512)
	old.Seed = 42
	for _, at := range []int64{0, 100 * mib} {
		if _, err := d.WriteAt(old.Bytes(), at); err != nil {
			g.t.Fatal(err)
		}
	}
	g.server.Seen.Disks = append(g.server.Seen.Disks, protocol.Disk{Name: name, Serial: "S-" + name, Size: size, BlockSize: 512,
		Type: kind})
}

func (g *rig) serve(data []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	})
}

func (g *rig) run() error {
	err := agent.Run(g.t.Context(), g.options)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, line := range g.lines {
		for _, secret := range []string{capability, "s3cr3t"} {
			if strings.Contains(line, secret) {
				g.t.Errorf("a secret is logged: %s", line)
			}
		}
	}
	return err
}

// last is what the manager heard last.
func (g *rig) last() *protocol.Progress {
	g.t.Helper()
	calls := g.manager.heard()
	if len(calls) == 0 || calls[len(calls)-1].Progress == nil {
		g.t.Fatal("the manager heard nothing of a plan")
	}
	return calls[len(calls)-1].Progress
}

func (g *rig) contents(name string) []byte {
	g.t.Helper()
	d, err := filedisk.Open(g.server.Folder+"/"+name, 512)
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	p := make([]byte, d.Size())
	if _, err := d.ReadAt(p, 0); err != nil {
		g.t.Fatal(err)
	}
	return p
}

func packed(t *testing.T, image []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(image, nil)
}

func digestOf(p []byte) string {
	sum := sha256.Sum256(p)
	return "sha256:" + hex.EncodeToString(sum[:])
}
