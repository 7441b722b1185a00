package kubeadmhost

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/keyutil"
)

// Node is a Node object of a workload cluster, with the server that carries it.
type Node struct {
	// Cluster is the endpoint of its cluster, host:port.
	Cluster    string
	Name       string
	ProviderID string
	// Server is the emulator's name of the server; empty when none carries the
	// Node any more.
	Server         string
	KubeletVersion string
	ControlPlane   bool
	// On says that the server is on and runs this node; Ready is the condition
	// of the Node object.
	On, Ready bool
}

// Cluster is a workload cluster.
type Cluster struct {
	Endpoint string
	// Version is the Kubernetes version with which it was made.
	Version string
	// Serving says that the endpoint is open, Quorum that it does not answer 503.
	Serving, Quorum bool
	// ControlPlanes are the nodes whose API server runs, EtcdMembers the members
	// of etcd, running or not; both sorted.
	ControlPlanes, EtcdMembers []string
	// CertificateAuthority is the cluster CA in PEM.
	CertificateAuthority []byte
}

// Nodes lists the Node objects of all clusters by cluster and name.
func (w *World) Nodes() []Node {
	var out []Node
	for _, c := range w.all() {
		var list corev1.NodeList
		if err := c.api.List(context.Background(), &list); err != nil {
			continue // retired meanwhile
		}
		c.mu.Lock()
		for _, object := range list.Items {
			_, controlPlane := object.Labels[controlPlaneKey]
			node := Node{
				Cluster: c.endpoint, Name: object.Name, ProviderID: object.Spec.ProviderID, ControlPlane: controlPlane,
				KubeletVersion: object.Status.NodeInfo.KubeletVersion, Ready: readyStatus(&object) == corev1.ConditionTrue,
			}
			if h := c.hosts[object.Name]; h != nil {
				node.Server, node.On = h.server, h.on
			}
			out = append(out, node)
		}
		c.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b Node) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// Clusters lists the workload clusters by endpoint.
func (w *World) Clusters() []Cluster {
	var out []Cluster
	for _, c := range w.all() {
		members, err := c.etcdMembers(context.Background())
		if err != nil {
			continue // retired meanwhile
		}
		snapshot := Cluster{
			Endpoint: c.endpoint, Version: c.version, CertificateAuthority: slices.Clone(c.caPEM),
			Quorum: c.quorum(context.Background()),
		}
		for _, m := range members {
			snapshot.EtcdMembers = append(snapshot.EtcdMembers, m.node)
		}
		c.mu.Lock()
		snapshot.Serving = c.vip != nil
		for _, h := range hostsOf(c.hosts) {
			if h.on && h.controlPlane {
				snapshot.ControlPlanes = append(snapshot.ControlPlanes, h.name)
			}
		}
		c.mu.Unlock()
		out = append(out, snapshot)
	}
	slices.SortFunc(out, func(a, b Cluster) int { return cmp.Compare(a.Endpoint, b.Endpoint) })
	return out
}

func (w *World) all() []*cluster {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]*cluster, 0, len(w.clusters))
	for _, c := range w.clusters {
		out = append(out, c)
	}
	return out
}

// AdminKubeconfig makes administrator credentials for the cluster at endpoint
// (host:port), for assertions of a test.
func (w *World) AdminKubeconfig(endpoint string) ([]byte, error) {
	c := w.clusterAt(endpoint)
	if c == nil {
		return nil, fmt.Errorf("no cluster at %s", endpoint)
	}
	cert, err := c.admin.issue(request{
		commonName: "kubernetes-admin", organizations: []string{adminGroup},
		usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, validFor: 24 * time.Hour,
	})
	if err != nil {
		return nil, err
	}
	key, err := keyutil.MarshalPrivateKeyToPEM(cert.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("encode administrator key: %w", err)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["workload"] = &clientcmdapi.Cluster{Server: "https://" + c.endpoint, CertificateAuthorityData: c.caPEM}
	config.AuthInfos["admin"] = &clientcmdapi.AuthInfo{
		ClientCertificateData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}),
		ClientKeyData:         key,
	}
	config.Contexts["workload"] = &clientcmdapi.Context{Cluster: "workload", AuthInfo: "admin"}
	config.CurrentContext = "workload"
	return clientcmd.Write(*config)
}
