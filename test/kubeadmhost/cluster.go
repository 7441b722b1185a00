package kubeadmhost

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	inmemoryclient "sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/runtime/client"
	inmemoryetcd "sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/server/etcd"

	"github.com/beskar7/beskar7/test/emulator"
)

const defaultCertificateValidity = 365 * 24 * time.Hour

// cluster is one workload cluster: its objects, and the servers that carry it.
type cluster struct {
	world      *World
	id         string // resource group; unique for ever
	endpoint   string
	caPEM      []byte
	caCert     *x509.Certificate
	version    string
	sans       []string
	validity   time.Duration
	api        inmemoryclient.Client
	handler    http.Handler
	etcd       http.Handler
	etcdID     uint32
	admin      *authority // to make admin credentials for assertions
	backends   atomic.Pointer[[]*member]
	roundRobin atomic.Uint64

	mu      sync.Mutex
	hosts   map[string]*host // by node name
	vip     *door            // nil while no control plane is on
	retired bool
}

// host is a server as a part of a cluster.
type host struct {
	name, server, providerID, version string
	controlPlane                      bool
	on                                bool
	member                            *member // nil unless a control plane that is on
}

// member is what runs on a control plane server that is on.
type member struct {
	name, version     string
	apiTLS, etcdTLS   *tls.Config
	apiDoor, etcdDoor *door
}

func (m *member) close() {
	for _, d := range []*door{m.apiDoor, m.etcdDoor} {
		if d != nil {
			d.close()
		}
	}
}

// newCluster makes the objects of a cluster as kubeadm init does. Nothing
// listens yet.
func newCluster(ctx context.Context, w *World, id string, p *plan, version string) (*cluster, error) {
	address, _, err := net.SplitHostPort(p.endpoint)
	if err != nil {
		return nil, err
	}
	w.manager.AddResourceGroup(id)
	c := &cluster{
		world: w, id: id, endpoint: p.endpoint, version: version, validity: defaultCertificateValidity,
		caPEM: p.pki.ca.pem, caCert: p.pki.ca.cert, admin: p.pki.ca,
		sans: append([]string{address, "localhost", "127.0.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}, p.config.APIServer.CertSANs...),
		api:  w.manager.GetResourceGroup(id).GetClient(), etcdID: randomID(), hosts: map[string]*host{},
	}
	if p.config.CertificateValidityPeriod != nil {
		c.validity = p.config.CertificateValidityPeriod.Duration
	}
	resolve := func(string) (string, error) { return id, nil }
	c.handler = newAPIHandler(c, resolve)
	c.etcd = c.watchMembership(inmemoryetcd.NewEtcdServerHandler(w.manager, w.logr, resolve))
	c.backends.Store(&[]*member{})
	if err := c.createBaseObjects(ctx, p); err != nil {
		w.manager.DeleteResourceGroup(id)
		return nil, fmt.Errorf("create cluster objects: %w", err)
	}
	return c, nil
}

// live says whether a control plane of the cluster is on.
func (c *cluster) live() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.retired && slices.ContainsFunc(hostsOf(c.hosts), func(h *host) bool { return h.on && h.controlPlane })
}

// start makes a server a node of the cluster; resumed: it is one already, and
// goes on with what its disk holds.
func (c *cluster) start(ctx context.Context, p *plan, id emulator.Identity, version string, resumed bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired {
		return errors.New("the cluster was replaced by another one at its endpoint")
	}
	if h := c.hosts[p.nodeName]; h != nil && h.on {
		return fmt.Errorf("node %s is running on server %s already", p.nodeName, h.server)
	}
	if err := c.preflight(ctx, p, resumed); err != nil {
		return err
	}
	h := &host{name: p.nodeName, server: id.Name, providerID: p.providerID, version: version, controlPlane: p.controlPlane}
	if p.controlPlane {
		m, err := c.openMember(ctx, p, version)
		if err != nil {
			return err
		}
		h.member = m
		if err := c.createControlPlanePods(ctx, h); err != nil {
			m.close()
			return err
		}
	}
	if err := c.registerNode(ctx, p, id, h); err != nil {
		if h.member != nil {
			h.member.close()
		}
		return err
	}
	h.on = true
	c.hosts[h.name] = h
	if err := c.refresh(ctx); err != nil {
		c.stopLocked(ctx, h)
		return err
	}
	return nil
}

// openMember opens the sockets of one control plane server: they are where a
// port-forward to its static pods ends.
func (c *cluster) openMember(ctx context.Context, p *plan, version string) (*member, error) {
	m := &member{name: p.nodeName, version: version}
	names := append(slices.Clone(c.sans), p.nodeName)
	serving := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	cert, err := p.pki.ca.issue(request{commonName: "kube-apiserver", names: names, usages: serving, validFor: c.validity})
	if err != nil {
		return nil, err
	}
	// Certificates are asked for and judged by the handler: a wrong one is
	// answered with 401 and not with a broken handshake, as kube-apiserver does.
	m.apiTLS = &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*cert},
		ClientAuth: tls.RequestClientCert, ClientCAs: p.pki.ca.pool(), NextProtos: []string{"h2", "http/1.1"},
	}
	cert, err = p.pki.etcd.issue(request{
		commonName: p.nodeName, names: []string{"localhost", "127.0.0.1", p.nodeName, "etcd-" + p.nodeName},
		usages: append(serving, x509.ExtKeyUsageClientAuth), validFor: c.validity,
	})
	if err != nil {
		return nil, err
	}
	m.etcdTLS = &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*cert},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: p.pki.etcd.pool(), NextProtos: []string{"h2"},
	}
	self := func() *member { return m }
	if m.apiDoor, err = c.open(ctx, "127.0.0.1:0", c.handler, self, func(m *member) *tls.Config { return m.apiTLS }); err != nil {
		return nil, err
	}
	if m.etcdDoor, err = c.open(ctx, "127.0.0.1:0", c.etcd, self, func(m *member) *tls.Config { return m.etcdTLS }); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (c *cluster) open(ctx context.Context, address string, handler http.Handler, pick func() *member, configFor func(*member) *tls.Config) (*door, error) {
	return openDoor(ctx, address, handler, pick, configFor, c.world.log, &c.world.doors)
}

// nextBackend spreads the connections to the endpoint.
func (c *cluster) nextBackend() *member {
	backends := *c.backends.Load()
	if len(backends) == 0 {
		return nil
	}
	return backends[c.roundRobin.Add(1)%uint64(len(backends))]
}

// refresh brings endpoint and etcd leadership in line with the hosts that are
// on. c.mu is held.
func (c *cluster) refresh(ctx context.Context) error {
	members, err := c.etcdMembers(ctx)
	if err != nil {
		return err
	}
	var backends, all []*member
	for _, h := range hostsOf(c.hosts) {
		if !h.on || h.member == nil {
			continue
		}
		all = append(all, h.member)
		// An API server whose etcd member was removed has nothing to serve.
		if slices.ContainsFunc(members, func(e etcdMember) bool { return e.node == h.name }) {
			backends = append(backends, h.member)
		}
	}
	if len(backends) == 0 {
		backends = all
	}
	c.backends.Store(&backends)
	if len(backends) == 0 {
		if c.vip != nil {
			c.vip.close()
			c.vip = nil
		}
		return nil
	}
	if err := c.electLeader(ctx, members); err != nil {
		return err
	}
	if c.vip != nil {
		return nil
	}
	c.vip, err = c.open(ctx, c.endpoint, c.handler, c.nextBackend, func(m *member) *tls.Config { return m.apiTLS })
	return err
}

// stop is the loss of power, or the orderly end, of a server.
func (c *cluster) stop(ctx context.Context, nodeName, server string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.hosts[nodeName]; h != nil && h.server == server {
		c.stopLocked(ctx, h)
	}
}

func (c *cluster) stopLocked(ctx context.Context, h *host) {
	h.on = false
	gone := h.member
	h.member = nil
	if gone != nil {
		gone.close()
	}
	if c.retired {
		return
	}
	exists, err := c.markUnknown(ctx, h)
	if err == nil && !exists {
		delete(c.hosts, h.name)
	}
	err = errors.Join(err, c.refresh(ctx))
	if c.vip != nil && gone != nil {
		c.vip.drop(gone)
	}
	if err != nil {
		c.world.log.Error("stop node", "cluster", c.endpoint, "node", h.name, "error", err)
	}
}

// nodeDeleted follows the deletion of a Node object through the API.
func (c *cluster) nodeDeleted(ctx context.Context, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.deleteControlPlanePods(ctx, name); err != nil {
		return err
	}
	if h := c.hosts[name]; h != nil && !h.on {
		delete(c.hosts, name)
	}
	return c.refresh(ctx)
}

// forget drops a host that holds nothing of the cluster any more; the result
// says that no control plane is left to carry the cluster.
func (c *cluster) forget(nodeName, server string) (empty bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.hosts[nodeName]; h != nil && h.server == server && !h.on {
		delete(c.hosts, nodeName)
	}
	return !slices.ContainsFunc(hostsOf(c.hosts), func(h *host) bool { return h.controlPlane })
}

// retire ends the cluster: sockets, connections, objects.
func (c *cluster) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired {
		return
	}
	c.retired = true
	c.backends.Store(&[]*member{})
	if c.vip != nil {
		c.vip.close()
		c.vip = nil
	}
	for _, h := range c.hosts {
		h.on = false
		if h.member != nil {
			h.member.close()
			h.member = nil
		}
	}
	c.world.manager.DeleteResourceGroup(c.id)
}

// memberOf gives the running control plane on a node, if there is one.
func (c *cluster) memberOf(node string) *member {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.hosts[node]; h != nil && h.on {
		return h.member
	}
	return nil
}

// hostsOf gives the hosts in the order of their names.
func hostsOf(hosts map[string]*host) []*host {
	out := make([]*host, 0, len(hosts))
	for _, h := range hosts {
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b *host) int { return strings.Compare(a.name, b.name) })
	return out
}

// preflight is what kubeadm and etcd check of a node name that is known already.
func (c *cluster) preflight(ctx context.Context, p *plan, resumed bool) error {
	node, err := c.node(ctx, p.nodeName)
	if err != nil {
		return err
	}
	if node != nil && readyStatus(node) == corev1.ConditionTrue {
		return fmt.Errorf("a Node with name %q and status Ready exists already", p.nodeName)
	}
	if !p.controlPlane {
		return nil
	}
	return c.preflightEtcd(ctx, p.nodeName, resumed)
}

// preflightEtcd: a member needs both its place among the others and its own data.
// One that was removed does not start with its old data; one that lost its data
// does not start in its old place, and takes a new one once that was removed.
func (c *cluster) preflightEtcd(ctx context.Context, node string, resumed bool) error {
	known, removed, err := c.memberKnown(ctx, node)
	switch {
	case err != nil || !known:
		return err
	case resumed && removed:
		return fmt.Errorf("etcd on %s does not start: its member was removed from the cluster", node)
	case !resumed && !removed:
		return fmt.Errorf("etcd on %s does not start: its data are lost, and the cluster has its former member still", node)
	case removed:
		return c.deleteControlPlanePods(ctx, node)
	}
	return nil
}
