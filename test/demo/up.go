package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/beskar7/beskar7/test/lab"
)

// site is what `demo up` leaves for `demo down` and for a person.
type site struct {
	PID        int    `json:"pid"`
	Kubeconfig string `json:"kubeconfig"`
	Kubectl    string `json:"kubectl"`
	Clusterctl string `json:"clusterctl"`
}

// stateFile lies beside the demo's folder, which each start empties.
func (d *demo) stateFile() string { return d.dir + ".json" }

// up starts this program again, detached, and waits until the site is there.
func (d *demo) up(ctx context.Context) error {
	if s, err := d.state(); err == nil && alive(s.PID) {
		d.print(s)
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(d.dir), 0o755); err != nil {
		return err
	}
	log, err := os.Create(d.dir + ".log")
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.Command(self, "-dir", d.dir, "-hosts", fmt.Sprint(d.hosts), "-mode", d.mode, "-replicas", fmt.Sprint(d.replicas), "-plain", "serve") //nolint:noctx // it outlives us
	child.Stdout, child.Stderr = log, log
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	fmt.Printf("demo: starting; follow it in %s (the first build takes about ten minutes)\n", log.Name())
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			return fmt.Errorf("it ended: %w; see %s", err, log.Name())
		case <-tick.C:
			if s, err := d.state(); err == nil && s.PID == child.Process.Pid {
				d.print(s)
				return nil
			}
		}
	}
}

func (d *demo) print(s site) {
	fmt.Printf("demo: up with %d servers. Explore it:\n\n  export KUBECONFIG=%s\n  export PATH=%s:$PATH\n  kubectl -n %s get ph -o wide\n\nEnd it with: make demo-down\n",
		d.hosts, s.Kubeconfig, filepath.Dir(s.Kubectl), namespace)
}

// serve runs the site with one cluster until it is told to end.
func (d *demo) serve(ctx context.Context) (err error) {
	defer func() {
		if d.lab != nil {
			err = errors.Join(err, d.lab.Stop())
		}
		_ = os.Remove(d.stateFile())
	}()
	if err := d.start(ctx); err != nil {
		return err
	}
	if err := d.available(ctx); err != nil {
		return err
	}
	if err := d.lab.Apply(ctx, lab.ClusterSpec{Namespace: namespace, Name: clusterName, ControlPlanes: 1, Workers: 2}); err != nil {
		return err
	}
	bin := d.lab.Plane.Bin()
	data, err := json.Marshal(site{PID: os.Getpid(), Kubeconfig: d.lab.Plane.Kubeconfig(), Kubectl: bin.Kubectl, Clusterctl: bin.Clusterctl})
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.stateFile(), data, 0o600); err != nil {
		return err
	}
	d.watch(ctx)
	<-ctx.Done()
	return nil
}

// down ends the site by its process id and waits for it.
func (d *demo) down(ctx context.Context) error {
	s, err := d.state()
	if errors.Is(err, os.ErrNotExist) {
		fmt.Println("demo: nothing is running")
		return nil
	}
	if err != nil {
		return err
	}
	if alive(s.PID) {
		if err := syscall.Kill(s.PID, syscall.SIGTERM); err != nil {
			return err
		}
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for alive(s.PID) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	_ = os.Remove(d.stateFile())
	fmt.Println("demo: ended")
	return nil
}

func (d *demo) state() (site, error) {
	data, err := os.ReadFile(d.stateFile())
	if err != nil {
		return site{}, err
	}
	s := site{}
	return s, json.Unmarshal(data, &s)
}

func alive(pid int) bool { return pid > 0 && syscall.Kill(pid, 0) == nil }
