//go:build e2emachine

package machine_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/test/emulator"
	"github.com/beskar7/beskar7/test/machine"
)

// patience is for a step of an emulated processor on a loaded machine.
const patience = 10 * time.Minute

// userData is in the form that Cluster API's kubeadm bootstrap provider writes.
const userData = `## template: jinja
#cloud-config
write_files:
- path: /run/kubeadm/kubeadm.yaml
  owner: root:root
  permissions: '0640'
  content: |
    kind: InitConfiguration
    nodeRegistration:
      name: "{{ ds.meta_data.local_hostname }}"
runcmd:
- 'kubeadm init --config /run/kubeadm/kubeadm.yaml && mkdir -p /run/cluster-api && echo success > /run/cluster-api/bootstrap-success.complete'
`

// registry grants one content and keeps the reports of its machine.
type registry struct {
	mu      sync.Mutex
	hash    string
	grant   bootmedia.Grant
	reports chan string
}

func (r *registry) Grant(_ context.Context, hash string) (bootmedia.Grant, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if hash != r.hash {
		return bootmedia.Grant{}, bootmedia.ErrUnknown
	}
	return r.grant, nil
}

func (r *registry) PhoneHome(_ context.Context, hash string, outcome bootmedia.Outcome, detail string) error {
	if _, err := r.Grant(context.Background(), hash); err != nil {
		return err
	}
	r.reports <- string(outcome) + " " + detail
	return nil
}

// rig is a BMC with a machine behind it, and a media server as the product has one.
type rig struct {
	t       *testing.T
	bmc     *emulator.BMC
	machine *machine.Machine
	media   *registry
	base    string
	token   bootmedia.Token
	client  *http.Client
	// served counts the requests for media that each replica of the media server answered.
	served []atomic.Int64
}

func repository(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "metadata.yaml")); err == nil {
			return dir
		}
	}
	t.Fatal("no repository around this test")
	return ""
}

func newRig(t *testing.T, persona string, o machine.Options) *rig {
	return newReplicated(t, persona, o, 1, false)
}

// newReplicated is a rig whose media come from several replicas in turn. Streamed, only the first was asked to prepare the image.
// Verified, by its checksum, all have it in their caches but the last, which cannot reach the image server.
func newReplicated(t *testing.T, persona string, o machine.Options, replicas int, verified bool) *rig {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(repository(t), "out", "machine", strings.ReplaceAll(t.Name(), "/", "_"))
		if err := os.RemoveAll(o.Dir); err != nil {
			t.Fatal(err)
		}
	}
	r := &rig{t: t, media: &registry{reports: make(chan string, 16)}, served: make([]atomic.Int64, replicas)}
	var err error
	if r.machine, err = machine.New(o); err != nil {
		t.Fatal(err)
	}
	trust := x509.NewCertPool()
	ca := r.serveMedia(trust, verified)
	fleet, err := emulator.New(emulator.Options{MediaTrust: trust, Timings: emulator.Timings{MediaTimeout: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fleet.Close() })
	if r.bmc, err = fleet.Add(emulator.Spec{Name: "real-0", Persona: persona}); err != nil {
		t.Fatal(err)
	}
	r.bmc.SetGuest(r.machine)
	bmcs := x509.NewCertPool()
	bmcs.AppendCertsFromPEM(fleet.CAPEM())
	r.client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: bmcs}}}
	t.Cleanup(r.client.CloseIdleConnections)
	r.media.grant.Content.PhoneHomeCA = ca
	return r
}

// serveMedia starts the media server and an image server; the grant is of a live machine.
func (r *rig) serveMedia(trust *x509.CertPool, verified bool) []byte {
	r.t.Helper()
	image, err := machine.FindImage(repository(r.t))
	if err != nil {
		r.t.Fatal(err)
	}
	images, err := machine.ServeImage(image)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = images.Close() })
	dir := r.t.TempDir()
	ca, err := machine.WriteCertificate(dir)
	if err != nil {
		r.t.Fatal(err)
	}
	trust.AppendCertsFromPEM(ca)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if err != nil {
		r.t.Fatal(err)
	}
	replicas := r.startReplicas(trust, pair, verified)
	checksum, warm := "", replicas[:1]
	if verified {
		checksum, warm = checksumOf(r.t, image), replicas[:len(replicas)-1]
	}
	var prepared bootmedia.Prepared
	for _, media := range warm {
		if prepared, err = r.prepare(media, images.URL(), checksum); err != nil {
			r.t.Fatal(err)
		}
	}
	if r.token, err = bootmedia.NewToken(); err != nil {
		r.t.Fatal(err)
	}
	r.media.hash = r.token.Hash()
	r.media.grant = bootmedia.Grant{Host: "test/real-0", PhoneHomeBase: strings.Replace(r.base, "127.0.0.1", machine.HostAddress, 1),
		Content: bootmedia.Content{Family: bootmedia.FamilyDebian, ImageURL: images.URL(), Checksum: checksum, ImagePin: prepared.Pin, InstanceID: "claim-1",
			Hostname: "real-0", ProviderID: "beskar7://test/real-0/0123456789abcdef", UserData: []byte(userData), UserDataFormat: bootmedia.FormatCloudConfig}}
	return ca
}

// startReplicas starts them, each with the others for peers, and one server before them all.
func (r *rig) startReplicas(trust *x509.CertPool, pair tls.Certificate, verified bool) []*bootmedia.Server {
	r.t.Helper()
	serve := func(h http.Handler) string {
		server := httptest.NewUnstartedServer(h)
		server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		server.StartTLS()
		r.t.Cleanup(server.Close)
		return server.URL
	}
	var replicas []*bootmedia.Server
	var bases []string
	for i := range r.served {
		o := bootmedia.Options{Source: r.media, Recorder: r.media, CacheDir: r.t.TempDir(), PeerClient: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}}},
			Peers: func(context.Context) []string { return slices.Delete(slices.Clone(bases), i, i+1) }}
		if verified && i == len(r.served)-1 {
			o.Client = &http.Client{Transport: unreachable{}}
		}
		media := bootmedia.New(o)
		r.t.Cleanup(media.Close)
		replicas = append(replicas, media)
	}
	for _, media := range replicas {
		bases = append(bases, serve(media.Handler()))
	}
	r.base = serve(r.inTurn(replicas))
	return replicas
}

// unreachable is the way to an image server that does not answer.
type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no route to the image server")
}

func checksumOf(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		t.Fatal(err)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}

// inTurn gives each request to the next replica.
func (r *rig) inTurn(replicas []*bootmedia.Server) http.Handler {
	var handlers []http.Handler
	for _, m := range replicas {
		handlers = append(handlers, m.Handler())
	}
	var requests atomic.Uint64
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		i := int(requests.Add(1) % uint64(len(handlers)))
		r.served[i].Add(1)
		handlers[i].ServeHTTP(w, q)
	})
}

func (r *rig) prepare(media *bootmedia.Server, url, checksum string) (bootmedia.Prepared, error) {
	ready := make(chan struct{}, 1)
	media.Notify(func(string) {
		select {
		case ready <- struct{}{}:
		default:
		}
	})
	for {
		p, err := media.Prepare(r.t.Context(), url, checksum)
		if err != nil || p.Ready {
			return p, err
		}
		select {
		case <-ready:
		case <-r.t.Context().Done():
			return p, r.t.Context().Err()
		}
	}
}

// do makes a Redfish request that has to succeed, and returns the answer.
func (r *rig) do(method, path string, body any) map[string]any {
	r.t.Helper()
	var payload io.Reader
	if body != nil {
		blob, err := json.Marshal(body)
		if err != nil {
			r.t.Fatal(err)
		}
		payload = bytes.NewReader(blob)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.bmc.URL()+path, payload)
	if err != nil {
		r.t.Fatal(err)
	}
	req.SetBasicAuth(r.bmc.Username(), r.bmc.Password())
	req.Header.Set("Content-Type", "application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		r.t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, text, err)
	}
	var out map[string]any
	_ = json.Unmarshal(text, &out)
	return out
}

func (r *rig) reset(kind string) {
	r.t.Helper()
	r.do(http.MethodPost, "/redfish/v1/Systems/"+r.bmc.SystemID()+"/Actions/ComputerSystem.Reset", map[string]any{"ResetType": kind})
}

// bootOnce inserts the media into the generic persona's slots and starts the server from the first.
func (r *rig) bootOnce(urls ...string) {
	r.t.Helper()
	for i, url := range urls {
		slot := "/redfish/v1/Managers/1/VirtualMedia/" + r.bmc.State().Slots[i].ID
		r.do(http.MethodPost, slot+"/Actions/VirtualMedia.InsertMedia", map[string]any{"Image": url})
	}
	r.do(http.MethodPatch, "/redfish/v1/Systems/"+r.bmc.SystemID(), map[string]any{"Boot": map[string]any{"BootSourceOverrideTarget": "Cd", "BootSourceOverrideEnabled": "Once"}})
	r.reset("On")
}

func (r *rig) await(cycle int, words ...string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	start := time.Now()
	if err := r.machine.Serial().Await(ctx, cycle, words...); err != nil {
		r.t.Fatalf("%v\nBMC: %+v", err, r.bmc.Events())
	}
	r.t.Logf("cycle %d, %q after %s", cycle, words[len(words)-1], time.Since(start).Round(time.Second))
}

func (r *rig) report() string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	select {
	case got := <-r.media.reports:
		return got
	case <-ctx.Done():
		r.t.Fatalf("the machine never reported; its console ends with:\n%s", tail(r.machine.Serial().Text()))
		return ""
	}
}

func tail(s string) string { return s[max(0, len(s)-2000):] }

func (r *rig) untilPower(want emulator.PowerState) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	if err := r.bmc.WaitFor(ctx, func(s emulator.State) bool { return s.Power == want }); err != nil {
		r.t.Fatalf("never %s: %v", want, err)
	}
}

// One composed medium in one slot: firmware, loader, kernel and cloud-init find everything on it. The graceful shutdown is the
// system's own.
func TestAMachineBootsFromOneComposedMedium(t *testing.T) {
	for _, firmware := range []machine.Firmware{machine.UEFI, machine.BIOS} {
		t.Run(string(firmware), func(t *testing.T) {
			r := newRig(t, "generic", machine.Options{Firmware: firmware})
			r.bootOnce(bootmedia.ComposedURL(r.base, r.token))
			r.await(1, "kubeadm-record: called: init --config /run/kubeadm/kubeadm.yaml", `name: "real-0"`, "kubeadm-record: done")
			if got := r.report(); got != "Succeeded " {
				t.Errorf("reported %q", got)
			}
			r.reset("GracefulShutdown")
			r.untilPower(emulator.Off)
		})
	}
}

// Each range of the medium comes from another of three replicas. Streamed, two of them hear of it for the first time; verified, one
// has no image and no way to it, and passes on what it is asked for.
func TestAMachineBootsOverThreeReplicas(t *testing.T) {
	for name, verified := range map[string]bool{"Streamed": false, "VerifiedOneCold": true} {
		t.Run(name, func(t *testing.T) {
			r := newReplicated(t, "generic", machine.Options{}, 3, verified)
			r.bootOnce(bootmedia.ComposedURL(r.base, r.token))
			r.await(1, "kubeadm-record: done")
			if got := r.report(); got != "Succeeded " {
				t.Errorf("reported %q", got)
			}
			for i := range r.served {
				n := r.served[i].Load()
				t.Logf("replica %d answered %d requests", i, n)
				if n < 10 {
					t.Errorf("replica %d answered only %d requests", i, n)
				}
			}
		})
	}
}
