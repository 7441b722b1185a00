package controlplane

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Addresses are the loopback ports of one replica of a Deployment; they stay the same over restarts.
type Addresses struct {
	Webhook, Metrics, Health, Media int
	// CertDir holds the webhook server's tls.crt and tls.key.
	CertDir string
}

// ProviderOptions says how to run the container of a Deployment as a process.
type ProviderOptions struct {
	// Namespace and Deployment name the Deployment. It need not exist yet.
	Namespace, Deployment string
	// Container is the container to run; default "manager".
	Container string
	// Instance is the place of this replica: the lowest that is free takes the next Pod. With one more than
	// spec.replicas, a Deployment that rolls out has room for its surge.
	Instance int
	// Binary is run in place of the container's image and command. Required.
	Binary string
	// Args returns the flags that bring the process onto loopback; they follow the Deployment's own,
	// so that they win. CAPIArgs or Beskar7Args. Required.
	Args func(Addresses) []string
	// ExtraArgs follow Args.
	ExtraArgs []string
	// DropArgs are flags of the Deployment to leave out, by name with dashes ("--leader-elect").
	DropArgs []string
	// Env is added to the container's environment as "NAME=value", and wins over it.
	Env []string
}

// CAPIArgs are the address flags of the Cluster API managers.
func CAPIArgs(a Addresses) []string {
	return []string{
		"--webhook-port=" + strconv.Itoa(a.Webhook), "--webhook-cert-dir=" + a.CertDir,
		"--diagnostics-address=" + loopback(a.Metrics), "--insecure-diagnostics", "--health-addr=" + loopback(a.Health),
	}
}

// Beskar7Args are the address flags of Beskar7's manager; media are served, and advertised, over https.
func Beskar7Args(a Addresses) []string {
	return []string{
		"--webhook-port=" + strconv.Itoa(a.Webhook), "--webhook-cert-dir=" + a.CertDir,
		"--metrics-bind-address=" + loopback(a.Metrics), "--health-probe-bind-address=" + loopback(a.Health),
		"--media-bind-address=" + loopback(a.Media), "--media-advertise-url=https://" + loopback(a.Media),
		"--allow-addresses=127.0.0.0/8",       // where emulated BMCs and image servers are
		"--pprof-bind-address=" + loopback(0), // where a Deployment asks for profiles; several replicas share an address here
	}
}

// Provider is the smallest kubelet: it takes one Pod of a Deployment and runs one container of it as a
// process, with the Pod's arguments, its environment ($(VAR) and fieldRef resolved) and a token of its own
// ServiceAccount. It reports the Pod Running and Ready as the process is, so that the Deployment becomes
// Available. A Pod that is deleted has its process ended within its grace, and is gone after that; a new
// Pod is a new process. A process that ends by itself is started again, as a kubelet would; one ended
// through Kill9 or Stop waits for Restart.
type Provider struct {
	plane *ControlPlane
	opts  ProviderOptions
	addr  Addresses

	kick     chan struct{} // asks the loop to look at once
	loopDone chan struct{}

	placed    *corev1.Pod   // the Pod to run; guarded by the plane's placeMu
	abandoned []*corev1.Pod // that made room and are not deleted yet; the loop's
	ready     atomic.Bool   // as last reported
	held      atomic.Bool   // ended by the caller; written under mu

	mu       sync.Mutex
	proc     *Process // nil while none is wanted
	ending   *Process // asked to end by the loop
	alive    *probing // the liveness probe of proc; nil: none
	command  string   // what proc was started with
	restarts int
	started  time.Time // of the last start
	lastErr  error     // why the loop could not do its work
}

// followInterval is how often a Provider compares; its reads come from a cache.
const followInterval = 250 * time.Millisecond

// crashDelay is the least time between two starts of a process that ends by itself.
const crashDelay = 2 * time.Second

// RunProvider follows a Deployment until Stop of the control plane. It returns at once; Ready waits. It is
// an error to follow the same replica twice.
func (p *ControlPlane) RunProvider(o ProviderOptions) (*Provider, error) {
	if o.Container == "" {
		o.Container = "manager"
	}
	if o.Namespace == "" || o.Deployment == "" || o.Binary == "" || o.Args == nil {
		return nil, errors.New("running a provider: Namespace, Deployment, Binary and Args are required")
	}
	addr, err := p.addresses(client.ObjectKey{Namespace: o.Namespace, Name: o.Deployment}, o.Instance)
	if err != nil {
		return nil, err
	}
	v := &Provider{plane: p, opts: o, addr: addr, kick: make(chan struct{}, 1), loopDone: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return nil, errors.New("running a provider: the control plane is stopped")
	}
	if p.followedLocked(o) {
		return nil, fmt.Errorf("running a provider: %s is followed already", v.Name())
	}
	p.providers = append(p.providers, v)
	go v.loop(p.life)
	return v, nil
}

func (p *ControlPlane) followedLocked(o ProviderOptions) bool {
	return slices.ContainsFunc(p.providers, func(v *Provider) bool {
		return v.opts.Namespace == o.Namespace && v.opts.Deployment == o.Deployment && v.opts.Instance == o.Instance
	})
}

func (p *ControlPlane) followed(o ProviderOptions) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.followedLocked(o)
}

// addresses returns the ports of a Deployment's replica, choosing them at the first call.
func (p *ControlPlane) addresses(deployment client.ObjectKey, instance int) (Addresses, error) {
	p.addrMu.Lock()
	defer p.addrMu.Unlock()
	key := deployment.String() + "/" + strconv.Itoa(instance)
	if a, ok := p.addrs[key]; ok {
		return a, nil
	}
	a := Addresses{CertDir: p.pki.webhookCertDir()}
	var err error
	for _, port := range []*int{&a.Webhook, &a.Metrics, &a.Health, &a.Media} {
		if *port, err = p.port(); err != nil {
			return Addresses{}, err
		}
	}
	p.addrs[key] = a
	return a, nil
}

// Pod is the name of the Pod that this replica runs, empty if none.
func (v *Provider) Pod() string {
	if pod := v.myPod(); pod != nil {
		return pod.Name
	}
	return ""
}

// Addresses are the ports of this replica.
func (v *Provider) Addresses() Addresses { return v.addr }

// Name tells replicas apart, for messages and file names.
func (v *Provider) Name() string {
	name := v.opts.Deployment
	if v.opts.Instance > 0 {
		name += "-" + strconv.Itoa(v.opts.Instance)
	}
	return v.opts.Namespace + "-" + strings.TrimPrefix(name, v.opts.Namespace+"-")
}

// Log is the path of the file with the output of all runs.
func (v *Provider) Log() string { return v.plane.log(v.Name()) }

// PID is the id of the process, 0 when none runs.
func (v *Provider) PID() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, proc := range []*Process{v.proc, v.ending} {
		if proc != nil && proc.PID() != 0 {
			return proc.PID()
		}
	}
	return 0
}

// Restarts counts the starts after the process had ended by itself.
func (v *Provider) Restarts() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.restarts
}

func (v *Provider) process() *Process {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.proc
}

// Kill9 ends the process as a power cut would; it stays dead until Restart.
func (v *Provider) Kill9() error { return v.end((*Process).Kill9) }

// Stop asks the process to end and kills it after grace; it stays down until Restart.
func (v *Provider) Stop(grace time.Duration) error {
	return v.end(func(p *Process) error { return p.Stop(grace) })
}

func (v *Provider) end(how func(*Process) error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.proc == nil || v.proc.PID() == 0 {
		v.held.Store(true)
		return ErrNotRunning
	}
	// held before the end, and both under the lock: the loop must not take it for a crash.
	v.held.Store(true)
	return how(v.proc)
}

// Restart starts the process again after Kill9 or Stop; a running one is stopped first. It returns when
// the process was started; Ready waits for more.
func (v *Provider) Restart(ctx context.Context) error {
	v.mu.Lock()
	if v.proc != nil {
		if err := v.proc.Stop(stopGrace); err != nil {
			v.mu.Unlock()
			return err
		}
	}
	v.held.Store(false)
	v.proc = nil
	v.mu.Unlock()
	return v.until(ctx, "start", func(proc *Process) bool { return proc.PID() != 0 })
}

// Wait returns when the process that runs now has ended, with how it ended.
func (v *Provider) Wait(ctx context.Context) error {
	proc := v.process()
	if proc == nil {
		return ErrNotRunning
	}
	return proc.Wait(ctx)
}

// Ready waits until the process runs and answers /readyz with 200.
func (v *Provider) Ready(ctx context.Context) error {
	return v.until(ctx, "be ready", func(proc *Process) bool { return proc.PID() != 0 && probe(ctx, proc.spec.readyz) })
}

// until waits for a condition of the process; its error says what keeps the loop from its work.
func (v *Provider) until(ctx context.Context, what string, ok func(*Process) bool) error {
	select {
	case v.kick <- struct{}{}:
	default:
	}
	for {
		if proc := v.process(); proc != nil && ok(proc) {
			return nil
		}
		select {
		case <-ctx.Done():
			v.mu.Lock()
			defer v.mu.Unlock()
			return errors.Join(fmt.Errorf("waiting for %s to %s: %w (log: %s)", v.Name(), what, context.Cause(ctx), v.Log()), v.lastErr)
		case <-v.loopDone:
			return fmt.Errorf("waiting for %s to %s: the control plane is stopped", v.Name(), what)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (v *Provider) loop(ctx context.Context) {
	defer close(v.loopDone)
	tick := time.NewTicker(followInterval)
	defer tick.Stop()
	for {
		err := v.follow(ctx)
		v.mu.Lock()
		if err != nil && ctx.Err() == nil && (v.lastErr == nil || err.Error() != v.lastErr.Error()) {
			v.plane.house.log.Error(err, "provider", "name", v.Name())
		}
		v.lastErr = err
		v.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-v.kick:
		case <-tick.C:
		}
	}
}

// follow makes the process what its Pod asks for, once.
func (v *Provider) follow(ctx context.Context) error {
	pod, err := v.settle(ctx)
	if err != nil {
		return err
	}
	if pod == nil {
		return v.stopProcess(pod)
	}
	i := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == v.opts.Container })
	if i < 0 {
		return fmt.Errorf("the Pod has no container %q", v.opts.Container)
	}
	if err := v.ensureProcess(ctx, &pod.Spec.Containers[i], pod); err != nil {
		return err
	}
	if err := v.checkLife(ctx, pod); err != nil {
		return err
	}
	return v.reportPod(ctx, pod)
}

// stopProcess ends a process that is no longer wanted, with the Pod's grace.
func (v *Provider) stopProcess(pod *corev1.Pod) error {
	v.ready.Store(false)
	v.mu.Lock()
	proc := v.proc
	v.proc, v.ending, v.command = nil, proc, ""
	v.mu.Unlock()
	if proc == nil {
		return nil
	}
	// Without the lock: whoever asks meanwhile must not wait for as long as a process may take.
	return proc.Stop(grace(pod))
}

// grace is how long a Pod's process may take to end.
func grace(pod *corev1.Pod) time.Duration {
	if pod != nil && pod.Spec.TerminationGracePeriodSeconds != nil {
		return time.Duration(*pod.Spec.TerminationGracePeriodSeconds) * time.Second
	}
	return 30 * time.Second
}

// ensureProcess starts the process, or replaces one that was started for another Pod.
func (v *Provider) ensureProcess(ctx context.Context, c *corev1.Container, pod *corev1.Pod) error {
	spec, err := v.commandOf(c, pod)
	if err != nil {
		return err
	}
	command := strings.Join(slices.Concat([]string{string(pod.UID)}, spec.args, spec.env), "\x00")
	v.mu.Lock()
	proc, same, started := v.proc, v.command == command, v.started
	v.mu.Unlock()
	switch {
	case v.held.Load(), proc != nil && same && (proc.PID() != 0 || time.Since(started) < crashDelay):
		return nil
	case proc != nil && !same:
		if err := v.stopProcess(pod); err != nil {
			return err
		}
	}
	if err := v.writeCredentials(ctx, pod.Spec.ServiceAccountName); err != nil {
		return err
	}
	alive, err := v.newProbing(pod, c.LivenessProbe)
	if err != nil {
		return err
	}
	v.mu.Lock()
	v.alive = alive
	v.mu.Unlock()
	return v.startProcess(spec, command)
}

func (v *Provider) startProcess(spec processSpec, command string) error {
	next := newProcess(spec)
	v.mu.Lock()
	if v.held.Load() {
		v.mu.Unlock()
		return nil
	}
	if v.proc != nil && v.command == command {
		v.restarts++
		next = v.proc
	}
	v.mu.Unlock()
	// Outside the Provider's lock: start takes the control plane's.
	if err := v.plane.start(next); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.proc, v.command, v.started = next, command, time.Now()
	if v.held.Load() {
		// Kill9 or Stop came while the process was being started, and found none.
		return next.Kill9()
	}
	return nil
}

func (v *Provider) dir() string { return filepath.Join(v.plane.opts.Dir, "providers", v.Name()) }
