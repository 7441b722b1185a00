package controlplane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// ErrNotRunning is returned by operations that need a running process.
var ErrNotRunning = errors.New("process is not running")

// Process is a program that can be ended and started again, always by its id. Its output is appended to
// one log over all starts. It is safe for concurrent use.
type Process struct {
	spec processSpec

	mu   sync.Mutex
	cmd  *exec.Cmd     // the current or last run; nil before the first
	done chan struct{} // closed when the current or last run has ended
	err  error         // how it ended; valid once done is closed
}

type processSpec struct {
	name, path, dir, log string
	args, env            []string
	// readyz is the URL that answers 200 when the process is ready, or empty.
	readyz string
	// detach lets the process outlive its parent.
	detach bool
}

func newProcess(spec processSpec) *Process { return &Process{spec: spec} }

// Program is a process of somebody else's choice, not yet started: path with its arguments and its whole environment, in a folder,
// with its output in a log. It dies with this process.
func Program(name, path, dir, log string, args, env []string) *Process {
	return newProcess(processSpec{name: name, path: path, dir: dir, log: log, args: args, env: env})
}

// Name tells which process it is, for messages.
func (p *Process) Name() string { return p.spec.name }

// Log is the path of the file with the output of all runs.
func (p *Process) Log() string { return p.spec.log }

// PID is the id of the running process, 0 when none runs.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.runningLocked() {
		return 0
	}
	return p.cmd.Process.Pid
}

func (p *Process) runningLocked() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Start starts the process; it is an error if it runs.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.runningLocked() {
		return fmt.Errorf("starting %s: it already runs", p.spec.name)
	}
	log, err := os.OpenFile(p.spec.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", p.spec.name, err)
	}
	defer log.Close()
	cmd := exec.Command(p.spec.path, p.spec.args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.spec.dir, p.spec.env, log, log
	// A group of its own: Ctrl-C in a terminal reaches the harness, which then ends its children in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if p.spec.detach {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	if err := spawn(cmd); err != nil {
		return fmt.Errorf("starting %s: %w", p.spec.name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done, p.err = cmd, done, nil
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		close(done)
		p.mu.Unlock()
	}()
	return nil
}

// spawn starts commands from one thread that never ends: Linux sends a parent-death signal when the
// *thread* that made the child ends, and Go ends threads.
var spawn = func() func(*exec.Cmd) error {
	type request struct {
		cmd   *exec.Cmd
		reply chan error
	}
	var once sync.Once
	requests := make(chan request)
	return func(cmd *exec.Cmd) error {
		once.Do(func() {
			go func() {
				runtime.LockOSThread()
				for r := range requests {
					r.reply <- r.cmd.Start()
				}
			}()
		})
		r := request{cmd, make(chan error, 1)}
		requests <- r
		return <-r.reply
	}
}()

// Wait returns when the current run ends, with how it ended; at once if none runs.
func (p *Process) Wait(ctx context.Context) error {
	p.mu.Lock()
	done := p.done
	p.mu.Unlock()
	if done == nil {
		return ErrNotRunning
	}
	select {
	case <-done:
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("waiting for the end of %s: %w", p.spec.name, context.Cause(ctx))
	}
}

// Kill9 ends the process as a power cut would and waits until it is gone.
func (p *Process) Kill9() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.ended()
	return nil
}

// Stop asks the process to end and waits; after grace it is killed. It is no error if none runs.
func (p *Process) Stop(grace time.Duration) error {
	if err := p.signal(syscall.SIGTERM); errors.Is(err, ErrNotRunning) {
		return nil
	} else if err != nil {
		return err
	}
	select {
	case <-p.ended():
		return nil
	case <-time.After(grace):
		if err := p.Kill9(); err != nil && !errors.Is(err, ErrNotRunning) {
			return err
		}
		return nil
	}
}

// Restart stops the process if it runs (10 s grace) and starts it again.
func (p *Process) Restart() error {
	if err := p.Stop(stopGrace); err != nil {
		return err
	}
	return p.Start()
}

func (p *Process) ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

func (p *Process) signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.runningLocked() {
		return ErrNotRunning
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signalling %s: %w", p.spec.name, err)
	}
	return nil
}

// Ready waits until the process answers its readiness URL with 200. It fails early when the process ends.
func (p *Process) Ready(ctx context.Context) error {
	ended := p.ended()
	if ended == nil {
		return fmt.Errorf("waiting for %s: %w", p.spec.name, ErrNotRunning)
	}
	for {
		if probe(ctx, p.spec.readyz) {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("waiting for %s: %w before it was ready (log: %s)", p.spec.name, errEnded, p.spec.log)
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (log: %s)", p.spec.name, context.Cause(ctx), p.spec.log)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

var errEnded = errors.New("it ended")

// stopGrace is how long a process may take to end before it is killed.
const stopGrace = 10 * time.Second

// probeClient does not verify certificates, as a kubelet's probes do not; it sends nothing secret.
var probeClient = &http.Client{Transport: &http.Transport{
	DisableKeepAlives: true,
	TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
}}

// probe asks one readiness URL once.
func probe(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	resp, err := probeClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
