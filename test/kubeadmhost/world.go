package kubeadmhost

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	cloudv1 "sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/cloud/api/v1alpha1"
	inmemoryruntime "sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/beskar7/beskar7/test/emulator"
)

// Options of a World.
type Options struct {
	// Log gets what the servers say. Nil discards it.
	Log *slog.Logger
	// Dir, when set, is an existing folder for one console log per server.
	Dir string
	// KubernetesVersion is the kubelet's on a server whose data and boot image
	// do not tell it. Empty: the version with which its cluster was made.
	KubernetesVersion string
	// Trust are the authorities a booted server trusts for https phone-home; nil
	// means those of this machine.
	Trust *x509.CertPool
	// JoinTimeout bounds the wait of kubeadm join for an endpoint that does not
	// answer. Zero: one minute.
	JoinTimeout time.Duration
}

// Stage is how far a boot came.
type Stage string

// The stages of a boot, in order.
const (
	// StageMedium: the firmware's and the kernel's work; no system came up.
	StageMedium Stage = "medium"
	// StageCloudInit: the system is up and reads what it was given.
	StageCloudInit Stage = "cloud-init"
	// StageKubeadm: kubeadm init or join runs.
	StageKubeadm Stage = "kubeadm"
	// StagePhoneHome: the report at the end could not be delivered.
	StagePhoneHome Stage = "phone-home"
)

// Failure is a boot that was refused, or a report that could not be delivered.
type Failure struct {
	Server string
	Stage  Stage
	Reason string
	Time   time.Time
}

// World is all workload clusters of a test and the servers that carry them. It
// is safe for concurrent use.
type World struct {
	options Options
	log     *slog.Logger
	logr    logr.Logger
	manager inmemoryruntime.Manager
	cancel  context.CancelFunc
	doors   sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	made     int
	clusters map[string]*cluster  // by endpoint
	places   map[string]placement // by server
	failures []Failure
}

// placement is where a server last became a node.
type placement struct {
	cluster *cluster
	node    string
}

// New makes an empty World. Close frees it.
func New(options Options) (*World, error) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.JoinTimeout == 0 {
		options.JoinTimeout = time.Minute
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		cloudv1.AddToScheme, metav1.AddMetaToScheme, corev1.AddToScheme, appsv1.AddToScheme, rbacv1.AddToScheme,
		storagev1.AddToScheme, apiextensionsv1.AddToScheme, policyv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("build scheme: %w", err)
		}
	}
	w := &World{
		options: options, log: options.Log, logr: logr.FromSlogHandler(options.Log.Handler()).V(1),
		manager:  inmemoryruntime.NewManager(scheme),
		clusters: map[string]*cluster{}, places: map[string]placement{},
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	if err := w.manager.Start(ctrl.LoggerInto(ctx, w.logr)); err != nil {
		cancel()
		return nil, fmt.Errorf("start in-memory runtime: %w", err)
	}
	return w, nil
}

// Close ends all clusters and frees their ports. Guests that still run stay
// until their server loses power; new boots are refused.
func (w *World) Close() error {
	w.mu.Lock()
	w.closed = true
	for _, c := range w.clusters {
		c.retire()
	}
	clear(w.clusters)
	w.mu.Unlock()
	w.cancel()
	w.doors.Wait()
	return nil
}

// Guest is the software of one server.
func (w *World) Guest(identity emulator.Identity) emulator.Guest {
	return &guest{world: w, identity: identity}
}

// Failures lists the refused boots, oldest first.
func (w *World) Failures() []Failure {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.failures)
}

// refuse records why a server did not become what its data says.
func (w *World) refuse(server string, stage Stage, err error) {
	w.mu.Lock()
	w.failures = append(w.failures, Failure{Server: server, Stage: stage, Reason: err.Error(), Time: time.Now()})
	w.mu.Unlock()
	w.say(server, fmt.Sprintf("FAILED in %s: %v", stage, err))
}

// say writes a line on a server's console.
func (w *World) say(server, line string) {
	w.log.Info(line, "server", server)
	if w.options.Dir == "" {
		return
	}
	name := filepath.Join(w.options.Dir, strings.ReplaceAll(server, "/", "_")+".console.log")
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = fmt.Fprintf(file, "%s %s\n", time.Now().UTC().Format("15:04:05.000"), line)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		w.log.Error("write console log", "server", server, "error", err)
	}
}

// bringUp is kubeadm: it makes the server a node of a cluster.
func (w *World) bringUp(ctx context.Context, p *plan, s *seed, id emulator.Identity) (*cluster, error) {
	w.leave(id.Name, p, s)
	known := w.clusterAt(p.endpoint)
	if known != nil && s.fromDisk && known.resumes(ctx, p, id.Name) {
		w.say(id.Name, "node "+p.nodeName+" exists with this provider id: it resumes")
		return known, w.enter(ctx, known, p, s, id, true)
	}
	if p.init {
		return w.create(ctx, p, s, id)
	}
	if err := discoverAndAuthenticate(ctx, p, w.options.JoinTimeout); err != nil {
		return nil, err
	}
	if known = w.clusterAt(p.endpoint); known == nil {
		return nil, fmt.Errorf("endpoint %s is not a cluster of this world", p.endpoint)
	}
	return known, w.enter(ctx, known, p, s, id, false)
}

func (w *World) enter(ctx context.Context, c *cluster, p *plan, s *seed, id emulator.Identity, resumed bool) error {
	if err := c.start(ctx, p, id, w.version(p, s, c.version), resumed); err != nil {
		return err
	}
	w.mu.Lock()
	w.places[id.Name] = placement{c, p.nodeName}
	w.mu.Unlock()
	return nil
}

func (w *World) version(p *plan, s *seed, fallback string) string {
	for _, version := range []string{p.version, s.Marker["kubernetes"], w.options.KubernetesVersion} {
		if version != "" {
			return version
		}
	}
	return fallback
}

// create is kubeadm init. w.mu is held throughout, so that of two servers that
// init at one endpoint the second finds a live cluster.
func (w *World) create(ctx context.Context, p *plan, s *seed, id emulator.Identity) (*cluster, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, errors.New("the world is closed")
	}
	if old := w.clusters[p.endpoint]; old != nil {
		if old.live() {
			return nil, fmt.Errorf("a control plane is live at %s already", p.endpoint)
		}
		old.retire()
		delete(w.clusters, p.endpoint)
	}
	version := w.version(p, s, "")
	if version == "" {
		return nil, errors.New("no kubernetesVersion in the ClusterConfiguration")
	}
	w.made++
	c, err := newCluster(ctx, w, fmt.Sprintf("%s/%d", p.endpoint, w.made), p, version)
	if err != nil {
		return nil, err
	}
	if err := c.start(ctx, p, id, version, false); err != nil {
		c.retire()
		return nil, err
	}
	w.clusters[p.endpoint] = c
	w.places[id.Name] = placement{c, p.nodeName}
	return c, nil
}

// leave forgets what a server was before, unless its disk still knows: then only
// a start as something else makes it forget.
func (w *World) leave(server string, p *plan, s *seed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last, ok := w.places[server]
	if ok && s.fromDisk && last.cluster.endpoint == p.endpoint && last.node == p.nodeName {
		return
	}
	w.forget(server)
}

// down is the loss of power, or the orderly end, of a server that was a node. A
// system in memory loses all with it: its etcd, its kubelet's identity, that it
// ever was a member.
func (w *World) down(ctx context.Context, server string, c *cluster, node string, s *seed) {
	c.stop(ctx, node, server)
	if s.installed() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forget(server)
}

// forget ends what a server, which is off or starts anew, was part of: a cluster
// none of whose control planes can come back is gone. w.mu is held.
func (w *World) forget(server string) {
	last, ok := w.places[server]
	if !ok {
		return
	}
	delete(w.places, server)
	if last.cluster.forget(last.node, server) {
		last.cluster.retire()
		if w.clusters[last.cluster.endpoint] == last.cluster {
			delete(w.clusters, last.cluster.endpoint)
		}
	}
}

func (w *World) clusterAt(endpoint string) *cluster {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clusters[endpoint]
}

// resumes says whether the data on a server's disk is that of a node which this
// server already is.
func (c *cluster) resumes(ctx context.Context, p *plan, server string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[p.nodeName]
	if c.retired || h == nil || h.server != server || h.controlPlane != p.controlPlane || h.providerID != p.providerID {
		return false
	}
	if p.controlPlane && !p.pki.ca.cert.Equal(c.caCert) {
		return false
	}
	if !p.controlPlane && len(p.discovery.CACertHashes) > 0 && !slices.Contains(p.discovery.CACertHashes, publicKeyHash(c.caCert)) {
		return false
	}
	node, err := c.node(ctx, p.nodeName)
	return err == nil && node != nil && node.Spec.ProviderID == p.providerID
}
