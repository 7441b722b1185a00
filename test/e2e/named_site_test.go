//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/blang/semver/v4"
	"github.com/kdomanski/iso9660"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"
	bootstrapv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/cloudinit"
	kubeadmtypes "sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types"
	"sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types/upstream"
	"sigs.k8s.io/cluster-api/util/certs"
	"sigs.k8s.io/cluster-api/util/kubeconfig"
	capisecret "sigs.k8s.io/cluster-api/util/secret"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/emulator"
	"github.com/beskar7/beskar7/test/lab"
)

const (
	namedCluster = "named"
	mediaSecret  = "beskar7-media-ca"
	// hostsOfLane: more than one, so that a machine could take two.
	hostsOfLane = 2
	// lifeLimit is far more than a life takes after a kill: the dead process's lease runs out (5 s), the BMCs rest (10 s), and
	// what follows takes as long as in an undisturbed life, 20 s.
	lifeLimit = 3 * time.Minute
)

// namedSite is a bare lab with one workload cluster, in which the test plays Cluster API: it makes and deletes machines.
type namedSite struct {
	*lab.Lab
	t        *testing.T
	binary   string
	workload *workload
	// trust are the media authorities of all lanes.
	trust *x509.CertPool
	lanes []*lane
}

// workload is the cluster whose nodes the machines become.
type workload struct {
	endpoint   string // host and port
	kubeconfig []byte
	worker     string // user data
}

// startNamed starts a site with lanes of these modes, and with a fault planted in each of the first ones; each has observed its hosts
// when it returns.
func startNamed(t *testing.T, modes []string, plant ...func(*lane)) *namedSite {
	t.Helper()
	s := &namedSite{t: t, Lab: newLab(t, func(o *lab.Options) { o.Bare = true }), trust: x509.NewCertPool()}
	var err error
	if s.binary, err = s.BuildManager(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.startWorkload(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, l := range s.lanes {
			if err := l.close(); err != nil {
				t.Error(err)
			}
		}
	})
	for i, mode := range modes {
		l := &lane{site: s, mode: mode, namespace: fmt.Sprintf("%s-%d", mode, i), limit: lifeLimit}
		if i < len(plant) {
			plant[i](l)
		}
		s.lanes = append(s.lanes, l)
		if err := l.open(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range s.lanes {
		if err := l.settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.Fleet.SetMediaTrust(s.trust)
	return s
}

// lanesOpened counts the lanes of this test process: each has a loopback address of its own, whose ports nobody else takes while its
// manager is down.
var lanesOpened atomic.Uint32

// open registers servers in a namespace of the lane's own and starts its manager.
func (l *lane) open(ctx context.Context) error {
	s, dir := l.site, filepath.Join(l.site.Plane.Dir(), "lanes", l.namespace)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	l.host = fmt.Sprintf("127.91.%d.%d", os.Getpid()%250+1, lanesOpened.Add(1))
	var err error
	if l.media, err = freeAt(l.host); err != nil {
		return err
	}
	if err := s.AddHosts(ctx, l.namespace, l.namespace, hostsOfLane); err != nil {
		return err
	}
	for i := range hostsOfLane {
		bmc := s.Fleet.Get(fmt.Sprintf("%s-%d", l.namespace, i))
		bmc.SetIntercept(func(w http.ResponseWriter, r *http.Request) bool { return l.passBMC(bmc, w, r) })
	}
	settings := lab.QuickSettings()
	if err := s.Client.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "beskar7-config"}, Data: settings}); err != nil {
		return err
	}
	if err := l.makeCluster(ctx); err != nil {
		return err
	}
	file, err := l.openDoor(dir)
	if err != nil {
		return err
	}
	return l.run(context.WithoutCancel(ctx), file, dir)
}

// makeCluster is what Cluster API knows of the workload cluster: that it is there, and how to reach it.
func (l *lane) makeCluster(ctx context.Context) error {
	at, err := netip.ParseAddrPort(l.site.workload.endpoint)
	if err != nil {
		return err
	}
	cluster := &clusterv1.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: namedCluster}, Spec: clusterv1.ClusterSpec{
		ControlPlaneEndpoint: clusterv1.APIEndpoint{Host: at.Addr().String(), Port: int32(at.Port())},
		InfrastructureRef:    clusterv1.ContractVersionedObjectReference{APIGroup: v1beta1.GroupVersion.Group, Kind: "Beskar7Cluster", Name: namedCluster},
	}}
	if err := l.site.Client.Create(ctx, cluster); err != nil {
		return err
	}
	cluster.Status.Initialization = clusterv1.ClusterInitializationStatus{InfrastructureProvisioned: ptr.To(true), ControlPlaneInitialized: ptr.To(true)}
	return errors.Join(l.site.Client.Status().Update(ctx, cluster), l.site.Client.Create(ctx, kubeconfig.GenerateSecret(cluster, l.site.workload.kubeconfig)))
}

// settle waits until the lane's hosts are offered, and notes whom to trust for its media.
func (l *lane) settle(ctx context.Context) error {
	if err := lab.Until(ctx, "the hosts of "+l.namespace+" to be available", l.limit, func(ctx context.Context) (bool, string, error) {
		return l.site.AllAvailable(ctx, l.namespace)
	}); err != nil {
		return err
	}
	ca, err := lab.Object(ctx, l.site.Lab, l.namespace, mediaSecret, &corev1.Secret{})
	if err == nil && !l.site.trust.AppendCertsFromPEM(ca.Data["ca.crt"]) {
		err = errors.New("the authority of media cannot be read")
	}
	return err
}

// freeAt is a port at an address that nobody else uses.
func freeAt(host string) (string, error) {
	listener, err := net.Listen("tcp", host+":0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// startWorkload boots the control plane of the workload cluster, which is none of our hosts.
func (s *namedSite) startWorkload() error {
	made := capisecret.NewCertificatesForInitialControlPlane(&bootstrapv1.ClusterConfiguration{})
	if err := made.Generate(); err != nil {
		return err
	}
	endpoint, err := freeAt(fmt.Sprintf("127.91.%d.%d", os.Getpid()%250+1, lanesOpened.Add(1)))
	if err != nil {
		return err
	}
	s.workload = &workload{endpoint: endpoint}
	if err := s.workload.write(made); err != nil {
		return err
	}
	seed, err := s.workload.seed(made)
	if err != nil {
		return err
	}
	id := emulator.Identity{Name: "control-plane", UUID: "the-control-plane"}
	medium := emulator.Medium{Slot: "CD", Open: func(context.Context) (io.ReaderAt, int64, error) { return bytes.NewReader(seed), int64(len(seed)), nil }}
	up, down := context.WithCancel(context.WithoutCancel(s.t.Context()))
	ended := make(chan error, 1)
	go func() {
		ended <- s.World.Guest(id).Run(up, emulator.Boot{Identity: id, Device: "Cd", Slot: "CD", Media: []emulator.Medium{medium}, Disk: &emulator.Disk{}})
	}()
	s.t.Cleanup(func() { down(); <-ended })
	return lab.Until(s.t.Context(), "the workload cluster", time.Minute, func(context.Context) (bool, string, error) {
		nodes := s.World.Nodes()
		return len(nodes) == 1 && nodes[0].Ready, fmt.Sprint(s.World.Failures()), nil
	})
}

const joinToken = "abcdef.0123456789abcdef" //nolint:gosec // of a cluster in memory

// registration of a node, as the release's templates have it.
func registration() bootstrapv1.NodeRegistrationOptions {
	return bootstrapv1.NodeRegistrationOptions{Name: "{{ ds.meta_data.local_hostname }}",
		KubeletExtraArgs: []bootstrapv1.Arg{{Name: "provider-id", Value: ptr.To("{{ ds.meta_data.provider_id }}")}}}
}

// write makes the data of a worker, with the code of Cluster API's bootstrap provider, and an administrator's kubeconfig.
func (w *workload) write(made capisecret.Certificates) error {
	ca := made.GetByPurpose(capisecret.ClusterCA)
	hashes, err := ca.Hashes()
	if err != nil {
		return err
	}
	join, err := kubeadmtypes.MarshalJoinConfigurationForVersion(&bootstrapv1.JoinConfiguration{NodeRegistration: registration(),
		Discovery: bootstrapv1.Discovery{BootstrapToken: bootstrapv1.BootstrapTokenDiscovery{Token: joinToken, APIServerEndpoint: w.endpoint, CACertHashes: hashes}},
	}, semver.MustParse(strings.TrimPrefix(lab.KubernetesVersion, "v")))
	if err != nil {
		return err
	}
	worker, err := cloudinit.NewNode(&cloudinit.NodeInput{JoinConfiguration: join})
	if err != nil {
		return err
	}
	w.worker = string(worker)
	cert, err := certs.DecodeCertPEM(ca.KeyPair.Cert)
	if err != nil {
		return err
	}
	key, err := certs.DecodePrivateKeyPEM(ca.KeyPair.Key)
	if err != nil {
		return err
	}
	file, err := kubeconfig.New(namedCluster, "https://"+w.endpoint, cert, key)
	if err != nil {
		return err
	}
	w.kubeconfig, err = clientcmd.Write(*file)
	return err
}

// seed is the medium of the first control plane.
func (w *workload) seed(made capisecret.Certificates) ([]byte, error) {
	version := semver.MustParse(strings.TrimPrefix(lab.KubernetesVersion, "v"))
	cluster, err := kubeadmtypes.MarshalClusterConfigurationForVersion(&bootstrapv1.ClusterConfiguration{ControlPlaneEndpoint: w.endpoint}, version,
		&upstream.AdditionalData{KubernetesVersion: ptr.To(lab.KubernetesVersion), ClusterName: ptr.To(namedCluster)})
	if err != nil {
		return nil, err
	}
	id, word, _ := strings.Cut(joinToken, ".")
	initial, err := kubeadmtypes.MarshalInitConfigurationForVersion(&bootstrapv1.InitConfiguration{NodeRegistration: registration(),
		BootstrapTokens: []bootstrapv1.BootstrapToken{{Token: bootstrapv1.BootstrapTokenString{ID: id, Secret: word}}}}, version)
	if err != nil {
		return nil, err
	}
	data, err := cloudinit.NewInitControlPlane(&cloudinit.ControlPlaneInput{Certificates: made, ClusterConfiguration: cluster, InitConfiguration: initial})
	if err != nil {
		return nil, err
	}
	writer, err := iso9660.NewWriter()
	if err != nil {
		return nil, err
	}
	defer func() { _ = writer.Cleanup() }()
	meta := "instance-id: control-plane-0123456789abcdef\nlocal-hostname: control-plane\nprovider_id: elsewhere://control-plane\n"
	for name, text := range map[string]string{"user-data": string(data), "meta-data": meta} {
		if err := writer.AddFile(strings.NewReader(text), name); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	err = writer.WriteTo(&out, "cidata")
	return out.Bytes(), err
}
