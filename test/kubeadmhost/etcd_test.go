package kubeadmhost_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/server/proxy"
	"sigs.k8s.io/cluster-api/util/certs"
	"sigs.k8s.io/cluster-api/util/secret"
)

// patience is how long a call may take that should succeed.
const patience = 10 * time.Second

// clientCertificate issues one from an authority of the site.
func clientCertificate(t *testing.T, s *site, purpose secret.Purpose) tls.Certificate {
	t.Helper()
	pair := s.certs.GetByPurpose(purpose).KeyPair
	ca, err := certs.DecodeCertPEM(pair.Cert)
	if err != nil {
		t.Fatal(err)
	}
	caKey, err := certs.DecodePrivateKeyPEM(pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "apiserver-etcd-client"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// noDeadlines hides deadlines from a port-forwarded connection, which only
// stores them, and not safely.
type noDeadlines struct{ net.Conn }

func (noDeadlines) SetDeadline(time.Time) error      { return nil }
func (noDeadlines) SetReadDeadline(time.Time) error  { return nil }
func (noDeadlines) SetWriteDeadline(time.Time) error { return nil }

// dialEtcd opens an etcd client the way the kubeadm control plane provider does:
// through a port-forward of the API server, with the status as the first call.
// (Its own dialer shares one transport between dials, which the race detector
// reports; the copy in the in-memory provider does not.)
func dialEtcd(t *testing.T, s *site, config *rest.Config, node string, certificate tls.Certificate, timeout time.Duration) (*clientv3.Client, uint64, error) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.certs.GetByPurpose(secret.EtcdCA).KeyPair.Cert)
	dialer, err := proxy.NewDialer(proxy.Proxy{Kind: "pods", Namespace: metav1.NamespaceSystem, KubeConfig: rest.CopyConfig(config), Port: 2379})
	if err != nil {
		t.Fatal(err)
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"etcd-" + node}, DialTimeout: timeout, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := dialer.DialContextWithAddr(ctx, address)
			return noDeadlines{conn}, err
		})},
		TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{certificate}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	status, err := client.Status(ctx, "etcd-"+node)
	if err != nil {
		return nil, 0, err
	}
	return client, status.Leader, nil
}

func TestEtcdThroughPortForward(t *testing.T) {
	g := NewWithT(t)
	w, s := newWorld(t), newSite(t)
	cp1, cp2, cp3 := newServer(t, w, "cp1"), newServer(t, w, "cp2"), newServer(t, w, "cp3")
	cp1.install("cp1", s.initData())
	ready(t, w, "cp1")
	cp2.live("cp2", s.controlPlaneData())
	cp3.live("cp3", s.controlPlaneData())
	ready(t, w, "cp2", "cp3")
	config := admin(t, w, s.endpoint)
	certificate := clientCertificate(t, s, secret.EtcdCA)

	client, leader, err := dialEtcd(t, s, config, "cp2", certificate, patience)
	g.Expect(err).NotTo(HaveOccurred())
	members, err := client.MemberList(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	ids := map[string]uint64{}
	for _, m := range members.Members {
		ids[m.Name] = m.ID
	}
	g.Expect(ids).To(HaveLen(3))
	g.Expect(leader).To(Equal(ids["cp1"]))
	alarms, err := client.AlarmList(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(alarms.Alarms).To(BeEmpty())

	_, _, err = dialEtcd(t, s, config, "cp2", clientCertificate(t, s, secret.ClusterCA), time.Second)
	g.Expect(err).To(HaveOccurred(), "a client certificate of another authority")

	_, err = client.MoveLeader(t.Context(), ids["cp2"])
	g.Expect(err).NotTo(HaveOccurred())
	cp1.off()
	_, _, err = dialEtcd(t, s, config, "cp1", certificate, time.Second)
	g.Expect(err).To(HaveOccurred(), "a member whose server is off")
	client2, leader, err := dialEtcd(t, s, config, "cp3", certificate, patience)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(leader).To(Equal(ids["cp2"]))

	_, err = client2.MemberRemove(t.Context(), ids["cp1"])
	g.Expect(err).NotTo(HaveOccurred())
	g.Eventually(func() []string { return w.Clusters()[0].EtcdMembers }, 5*time.Second, 20*time.Millisecond).Should(Equal([]string{"cp2", "cp3"}))
	cp1.on("Hdd")
	g.Expect(refused(t, w).Reason).To(ContainSubstring("member was removed"))
}

func TestLeaderIsElectedAgain(t *testing.T) {
	g := NewWithT(t)
	w, s := newWorld(t), newSite(t)
	cp1 := newServer(t, w, "cp1")
	cp1.live("cp1", s.initData())
	ready(t, w, "cp1")
	newServer(t, w, "cp2").live("cp2", s.controlPlaneData())
	newServer(t, w, "cp3").live("cp3", s.controlPlaneData())
	ready(t, w, "cp2", "cp3")
	cp1.off()
	client, leader, err := dialEtcd(t, s, admin(t, w, s.endpoint), "cp3", clientCertificate(t, s, secret.EtcdCA), patience)
	g.Expect(err).NotTo(HaveOccurred())
	members, err := client.MemberList(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	for _, m := range members.Members {
		if m.ID == leader {
			g.Expect(m.Name).To(Equal("cp2"))
		}
	}
}

func TestAPIServerCertificateThroughPortForward(t *testing.T) {
	g := NewWithT(t)
	w, s := newWorld(t), newSite(t)
	newServer(t, w, "cp1").live("cp1", s.initData())
	ready(t, w, "cp1")
	dialer, err := proxy.NewDialer(proxy.Proxy{Kind: "pods", Namespace: metav1.NamespaceSystem, KubeConfig: admin(t, w, s.endpoint), Port: 6443})
	g.Expect(err).NotTo(HaveOccurred())
	raw, err := dialer.DialContextWithAddr(t.Context(), "kube-apiserver-cp1")
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = raw.Close() }()
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	g.Expect(conn.HandshakeContext(t.Context())).To(Succeed())
	peer := conn.ConnectionState().PeerCertificates[0]
	g.Expect(peer.Subject.CommonName).To(Equal("kube-apiserver"))
	g.Expect(peer.DNSNames).To(ContainElement("cp1"))
	g.Expect(peer.NotAfter).To(BeTemporally("~", time.Now().Add(365*24*time.Hour), time.Hour))
}
