package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Options of a control plane.
type Options struct {
	// Dir holds everything: keys, data, logs, the clusterctl repository. It must be empty or not exist,
	// and is left behind. Required.
	Dir string
	// Binaries says where the programs come from.
	Binaries BinariesOptions
	// Detach lets the processes outlive this one; Stop(dir) ends them. The stand-ins are goroutines and
	// do not: webhooks stay routed as they are, but a Deployment that changes is no longer followed.
	Detach bool
	// AuditRequests records, besides the metadata of all requests, the bodies of those on the API group
	// infrastructure.cluster.x-k8s.io. Secrets are never recorded beyond their metadata.
	AuditRequests bool
	// Variables are added to clusterctl's configuration; they override the defaults of Init.
	Variables map[string]string
	// Progress receives a line for each step; default: nothing but what Binaries says.
	Progress io.Writer
}

// ControlPlane is a running management cluster.
type ControlPlane struct {
	opts    Options
	bin     *Bin
	pki     *pki
	api     apiAddress
	config  *rest.Config // the user admin
	harness *rest.Config // the user of the stand-ins
	house   *house
	life    context.Context // ends with Stop; the stand-ins live in it
	cancel  context.CancelFunc

	addrMu   sync.Mutex // taken before mu
	addrs    map[string]Addresses
	webhooks map[client.ObjectKey]string // where the Service of a Deployment's webhooks leads to

	kubelet  *kubelet
	services sync.WaitGroup // balancers

	placeMu sync.Mutex // guards where each Pod runs, here and in Providers; nothing is taken while it is held
	placed  map[types.UID]*Provider

	mu        sync.Mutex
	processes []*Process // in the order of their start
	providers []*Provider
	sources   []ReleaseSource // for clusterctl.yaml
	ports     []int
	stopped   bool

	stopOnce sync.Once
	stopErr  error // written inside stopOnce
}

// Start builds what is missing and starts etcd, kube-apiserver, kube-controller-manager and the
// stand-ins. It returns when the API server is ready; ctx bounds the start, not the life. On an error
// nothing is left running. The caller must call Stop.
func Start(ctx context.Context, o Options) (_ *ControlPlane, err error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.Dir, err = emptyDir(o.Dir); err != nil {
		return nil, err
	}
	bin, err := Binaries(ctx, o.Binaries)
	if err != nil {
		return nil, err
	}
	p := &ControlPlane{opts: o, bin: bin, addrs: map[string]Addresses{}, webhooks: map[client.ObjectKey]string{}, placed: map[types.UID]*Provider{}}
	p.life, p.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Stop())
		}
	}()
	if p.pki, err = newPKI(filepath.Join(o.Dir, "pki")); err != nil {
		return nil, err
	}
	fmt.Fprintf(o.Progress, "starting etcd, kube-apiserver and kube-controller-manager %s in %s\n", KubernetesVersion, o.Dir)
	for _, step := range []func(context.Context) error{
		p.startAPI, p.writeKubeconfigs, p.startControllerManager, p.startKubelet, p.startHouse, p.writeClusterctlConfig,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func emptyDir(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("starting a control plane: Options.Dir is empty")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("resolving the folder of the control plane: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o700); err != nil {
		return "", fmt.Errorf("making the folder of the control plane: %w", err)
	}
	if exists(filepath.Join(dir, stateFile)) {
		return "", fmt.Errorf("starting a control plane: %s holds one already; stop it and remove the folder", dir)
	}
	return dir, nil
}

// Config returns a copy of the administrator's client configuration.
func (p *ControlPlane) Config() *rest.Config { return rest.CopyConfig(p.config) }

// Kubeconfig is the path of the administrator's kubeconfig; it holds its keys itself.
func (p *ControlPlane) Kubeconfig() string { return p.path("kubeconfig") }

// Bin returns the programs in use.
func (p *ControlPlane) Bin() *Bin { return p.bin }

// Dir is the folder with all files.
func (p *ControlPlane) Dir() string { return p.opts.Dir }

// AuditLog is the path of the API server's audit log, one JSON event a line. Calls of the stand-ins
// carry the user name "harness", those of a provider its ServiceAccount's, those of clusterctl and
// kubectl "admin", those of kube-controller-manager "system:kube-controller-manager".
func (p *ControlPlane) AuditLog() string { return p.log("audit") }

// CABundle returns the PEM of the authority that signs the API server's certificate.
func (p *ControlPlane) CABundle() []byte { return p.pki.ca.certPEM }

// Logs is the folder with the logs of all processes and stand-ins.
func (p *ControlPlane) Logs() string { return p.path("logs") }

func (p *ControlPlane) path(name string) string { return filepath.Join(p.opts.Dir, name) }
func (p *ControlPlane) log(name string) string  { return filepath.Join(p.Logs(), name+".log") }

// port claims a free port until Stop.
func (p *ControlPlane) port() (int, error) {
	port, err := freePort()
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ports = append(p.ports, port)
	return port, nil
}

// start starts a process and records it, so that Stop ends it whatever happens next.
func (p *ControlPlane) start(proc *Process) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return fmt.Errorf("starting %s: the control plane is stopped", proc.Name())
	}
	if err := proc.Start(); err != nil {
		return err
	}
	known := false
	for _, q := range p.processes {
		known = known || q == proc
	}
	if !known {
		p.processes = append(p.processes, proc)
	}
	return writeState(p.opts.Dir, p.processes)
}

// Stop ends the stand-ins and then every process, the latest started first, and waits until they are
// gone. It may be called more than once, and answers the same.
func (p *ControlPlane) Stop() error {
	p.stopOnce.Do(func() { p.stopErr = p.stop() })
	return p.stopErr
}

func (p *ControlPlane) stop() error {
	p.mu.Lock()
	p.stopped = true
	processes, providers := p.processes, p.providers
	p.mu.Unlock()

	p.cancel()
	for _, v := range providers {
		<-v.loopDone
	}
	if p.house != nil {
		<-p.house.done
	}
	if p.kubelet != nil {
		<-p.kubelet.done
	}
	p.services.Wait()
	var errs []error
	for i := len(processes) - 1; i >= 0; i-- {
		errs = append(errs, processes[i].Stop(stopGrace))
	}
	errs = append(errs, removeState(p.opts.Dir))
	p.mu.Lock()
	defer p.mu.Unlock()
	releasePorts(p.ports...)
	return errors.Join(errs...)
}
