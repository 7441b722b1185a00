package kubeadmhost_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/blang/semver/v4"
	"github.com/kdomanski/iso9660"
	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"
	bootstrapv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"
	"sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/cloudinit"
	kubeadmtypes "sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types"
	"sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types/upstream"
	"sigs.k8s.io/cluster-api/util/secret"

	"github.com/beskar7/beskar7/test/emulator"
	"github.com/beskar7/beskar7/test/kubeadmhost"
)

const (
	token             = "abcdef.0123456789abcdef"
	kubernetesVersion = "v1.36.3"
)

// sites counts the clusters of this test process.
var sites atomic.Uint32

// sharedCerts are made once: RSA keys take long.
var sharedCerts = sync.OnceValue(newCerts)

func newCerts() secret.Certificates {
	certificates := secret.NewCertificatesForInitialControlPlane(&bootstrapv1.ClusterConfiguration{})
	if err := certificates.Generate(); err != nil {
		panic(err)
	}
	return certificates
}

// site makes the data for the servers of one cluster, with the code of Cluster
// API's kubeadm bootstrap provider.
type site struct {
	t        *testing.T
	certs    secret.Certificates
	endpoint string
	token    string
	hashes   []string
}

func newSite(t *testing.T) *site {
	t.Helper()
	// An address of its own: nothing else takes the port between here and the boot.
	n := sites.Add(1)
	listener, err := net.Listen("tcp", fmt.Sprintf("127.90.%d.%d:0", os.Getpid()%250+1, n))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	certs := sharedCerts()
	hashes, err := certs.GetByPurpose(secret.ClusterCA).Hashes()
	if err != nil {
		t.Fatal(err)
	}
	return &site{t: t, certs: certs, endpoint: listener.Addr().String(), token: token, hashes: hashes}
}

func (s *site) must(text []byte, err error) string {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

func (s *site) mustText(text string, err error) string { return s.must([]byte(text), err) }

func registration() bootstrapv1.NodeRegistrationOptions {
	return bootstrapv1.NodeRegistrationOptions{
		Name:             "{{ ds.meta_data.local_hostname }}",
		KubeletExtraArgs: []bootstrapv1.Arg{{Name: "provider-id", Value: ptr.To("{{ ds.meta_data.provider_id }}")}},
	}
}

func (s *site) initData() string {
	s.t.Helper()
	version := semver.MustParse(strings.TrimPrefix(kubernetesVersion, "v"))
	cluster := s.mustText(kubeadmtypes.MarshalClusterConfigurationForVersion(
		&bootstrapv1.ClusterConfiguration{ControlPlaneEndpoint: s.endpoint}, version,
		&upstream.AdditionalData{KubernetesVersion: ptr.To(kubernetesVersion), ClusterName: ptr.To("demo")}))
	init := s.mustText(kubeadmtypes.MarshalInitConfigurationForVersion(&bootstrapv1.InitConfiguration{
		NodeRegistration: registration(),
		BootstrapTokens:  []bootstrapv1.BootstrapToken{{Token: bootstrapv1.BootstrapTokenString{ID: "abcdef", Secret: "0123456789abcdef"}}},
	}, version))
	return s.must(cloudinit.NewInitControlPlane(&cloudinit.ControlPlaneInput{Certificates: s.certs, ClusterConfiguration: cluster, InitConfiguration: init}))
}

func (s *site) joinConfiguration(controlPlane bool) string {
	s.t.Helper()
	join := &bootstrapv1.JoinConfiguration{
		NodeRegistration: registration(),
		Discovery: bootstrapv1.Discovery{BootstrapToken: bootstrapv1.BootstrapTokenDiscovery{
			Token: s.token, APIServerEndpoint: s.endpoint, CACertHashes: s.hashes,
		}},
	}
	if controlPlane {
		join.ControlPlane = &bootstrapv1.JoinControlPlane{}
	}
	return s.mustText(kubeadmtypes.MarshalJoinConfigurationForVersion(join, semver.MustParse(strings.TrimPrefix(kubernetesVersion, "v"))))
}

func (s *site) workerData() string {
	s.t.Helper()
	return s.must(cloudinit.NewNode(&cloudinit.NodeInput{JoinConfiguration: s.joinConfiguration(false)}))
}

func (s *site) controlPlaneData() string {
	s.t.Helper()
	input := &cloudinit.ControlPlaneJoinInput{Certificates: s.certs, JoinConfiguration: s.joinConfiguration(true)}
	return s.must(cloudinit.NewJoinControlPlane(input))
}

func metaData(name string) string {
	return fmt.Sprintf("instance-id: %s-0123456789abcdef\nlocal-hostname: %s\nprovider_id: %s\n", name, name, providerID(name))
}

func providerID(name string) string { return "beskar7://default/" + name + "/0123456789abcdef" }

// image writes an ISO 9660 image.
func image(t *testing.T, label string, files map[string]string) []byte {
	t.Helper()
	writer, err := iso9660.NewWriter()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = writer.Cleanup() }()
	for name, content := range files {
		if err := writer.AddFile(strings.NewReader(content), name); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := writer.WriteTo(&out, label); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func bootImage(t *testing.T, marker string) []byte {
	return image(t, "LIVE", map[string]string{"boot-marker": marker, "vmlinuz": strings.Repeat("kernel", 1000)})
}

func configDrive(t *testing.T, name, userData string) []byte {
	return image(t, "cidata", map[string]string{"user-data": userData, "meta-data": metaData(name)})
}

func medium(slot string, content []byte) emulator.Medium {
	return emulator.Medium{Slot: slot, Open: func(context.Context) (io.ReaderAt, int64, error) {
		if content == nil {
			return nil, 0, errors.New("the media server answered 404")
		}
		return bytes.NewReader(content), int64(len(content)), nil
	}}
}

// world is a World that is closed with the test.
func newWorld(t *testing.T) *kubeadmhost.World {
	t.Helper()
	w, err := kubeadmhost.New(kubeadmhost.Options{Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Dir: t.TempDir(), JoinTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// server stands for an emulated server: something with a disk that can be
// switched on with media in its slots.
type server struct {
	t     *testing.T
	world *kubeadmhost.World
	id    emulator.Identity
	disk  emulator.Disk
	power context.CancelFunc
	press chan struct{}
	done  chan error
}

func newServer(t *testing.T, w *kubeadmhost.World, name string) *server {
	s := &server{t: t, world: w, id: emulator.Identity{Name: "bmc-" + name, UUID: "uuid-of-" + name}}
	t.Cleanup(s.off)
	return s
}

func (s *server) on(device string, media ...emulator.Medium) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.power, s.press, s.done = cancel, make(chan struct{}), make(chan error, 1)
	boot := emulator.Boot{Identity: s.id, Device: device, Media: media, Disk: &s.disk, Shutdown: s.press}
	if device == "Cd" && len(media) > 0 {
		boot.Slot = media[0].Slot
	}
	go func() { s.done <- s.world.Guest(s.id).Run(ctx, boot) }()
}

// live switches the server on with a live image and a config drive.
func (s *server) live(name, userData string) {
	s.t.Helper()
	s.on("Cd", medium("CD1", bootImage(s.t, "")), medium("CD2", configDrive(s.t, name, userData)))
}

// install switches the server on with an image that installs itself: from then
// on it can start from its disk.
func (s *server) install(name, userData string) {
	s.t.Helper()
	s.on("Cd", medium("CD1", bootImage(s.t, "mode=install\nkubernetes="+kubernetesVersion+"\n")), medium("CD2", configDrive(s.t, name, userData)))
}

func (s *server) off() {
	if s.power != nil {
		s.power()
		<-s.done
		s.power = nil
	}
}

func (s *server) shutdown() {
	s.t.Helper()
	close(s.press)
	select {
	case err := <-s.done:
		if err != nil {
			s.t.Errorf("orderly shutdown: %v", err)
		}
	case <-time.After(10 * time.Second):
		s.t.Fatal("the system did not go down")
	}
	s.power()
	s.power = nil
}

// node finds a node of the world by name.
func node(w *kubeadmhost.World, name string) kubeadmhost.Node {
	for _, n := range w.Nodes() {
		if n.Name == name {
			return n
		}
	}
	return kubeadmhost.Node{}
}

// ready waits until a node is ready, or fails with what was refused.
func ready(t *testing.T, w *kubeadmhost.World, names ...string) {
	t.Helper()
	for _, name := range names {
		NewWithT(t).Eventually(func() bool {
			if failures := w.Failures(); len(failures) > 0 {
				t.Fatalf("refused: %+v", failures)
			}
			return node(w, name).Ready
		}, 10*time.Second, 20*time.Millisecond).Should(BeTrue(), "node %s becomes ready", name)
	}
}

// refused waits for a refused boot and returns it.
func refused(t *testing.T, w *kubeadmhost.World) kubeadmhost.Failure {
	t.Helper()
	NewWithT(t).Eventually(w.Failures, 15*time.Second, 20*time.Millisecond).ShouldNot(BeEmpty())
	return w.Failures()[0]
}
