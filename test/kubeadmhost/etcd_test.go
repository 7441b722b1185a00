package kubeadmhost_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/cluster-api/controlplane/kubeadm/pkg/etcd"
	"sigs.k8s.io/cluster-api/controlplane/kubeadm/pkg/proxy"
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

// dialEtcd opens an etcd client the way the kubeadm control plane provider does:
// through a port-forward of the API server.
func dialEtcd(t *testing.T, s *site, config *rest.Config, node string, certificate tls.Certificate, timeout time.Duration) (*etcd.Client, error) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.certs.GetByPurpose(secret.EtcdCA).KeyPair.Cert)
	return etcd.NewClient(t.Context(), etcd.ClientConfiguration{
		Endpoint:    "etcd-" + node,
		Proxy:       proxy.Proxy{Kind: "pods", Namespace: metav1.NamespaceSystem, KubeConfig: rest.CopyConfig(config), Port: 2379},
		TLSConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{certificate}},
		DialTimeout: timeout, CallTimeout: timeout, Logger: zap.NewNop(),
	})
}

func TestEtcdThroughPortForward(t *testing.T) {
	g := NewWithT(t)
	w, s := newWorld(t), newSite(t)
	cp1, cp2, cp3 := newServer(t, w, "cp1"), newServer(t, w, "cp2"), newServer(t, w, "cp3")
	cp1.live("cp1", s.initData())
	ready(t, w, "cp1")
	cp2.live("cp2", s.controlPlaneData())
	cp3.live("cp3", s.controlPlaneData())
	ready(t, w, "cp2", "cp3")
	config := admin(t, w, s.endpoint)
	certificate := clientCertificate(t, s, secret.EtcdCA)

	client, err := dialEtcd(t, s, config, "cp2", certificate, patience)
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = client.Close() }()
	members, err := client.Members(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	ids := map[string]uint64{}
	for _, m := range members {
		ids[m.Name] = m.ID
	}
	g.Expect(ids).To(HaveLen(3))
	g.Expect(client.LeaderID).To(Equal(ids["cp1"]))
	alarms, err := client.Alarms(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(alarms).To(BeEmpty())

	_, err = dialEtcd(t, s, config, "cp2", clientCertificate(t, s, secret.ClusterCA), time.Second)
	g.Expect(err).To(HaveOccurred(), "a client certificate of another authority")

	g.Expect(client.MoveLeader(t.Context(), ids["cp2"])).To(Succeed())
	cp1.off()
	_, err = dialEtcd(t, s, config, "cp1", certificate, time.Second)
	g.Expect(err).To(HaveOccurred(), "a member whose server is off")
	client2, err := dialEtcd(t, s, config, "cp3", certificate, patience)
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = client2.Close() }()
	g.Expect(client2.LeaderID).To(Equal(ids["cp2"]))

	g.Expect(client2.RemoveMember(t.Context(), ids["cp1"])).To(Succeed())
	g.Eventually(func() []string { return w.Clusters()[0].EtcdMembers }, 5*time.Second, 20*time.Millisecond).Should(Equal([]string{"cp2", "cp3"}))
	cp1.live("cp1", s.initData())
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
	client, err := dialEtcd(t, s, admin(t, w, s.endpoint), "cp3", clientCertificate(t, s, secret.EtcdCA), patience)
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = client.Close() }()
	members, err := client.Members(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	for _, m := range members {
		if m.ID == client.LeaderID {
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
