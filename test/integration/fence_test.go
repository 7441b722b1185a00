//go:build linux

package integration

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/beskar7/beskar7/test/controlplane"
	"github.com/beskar7/beskar7/test/emulator"
)

// moment is where in an operation a process is stopped.
type moment string

const (
	inRead      moment = "in its read"
	beforeCheck moment = "before it asks the fence"
	inChange    moment = "in its change"
)

// fenceStop is where and for how long a process is stopped.
type fenceStop struct {
	when  moment
	pause time.Duration
}

// untilDeposed stands for a pause until the other process is at work.
const untilDeposed = 0

// TestFence: two processes want to drive one BMC. The one that does is stopped in the middle of an operation, for less than its
// lease lasts, for about as long, and until the other one is at work; then it goes on. The BMC counts. Only safety is asserted;
// how long anything takes is up to the machine. The pauses are shared out among two pairs of processes, each with a lease and a BMC
// of its own: most of the time goes by with waiting.
func TestFence(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel) // the pairs go on after this function has returned
	plane, err := controlplane.Start(ctx, controlplane.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	// The namespaces are those that every cluster has.
	for namespace, stops := range map[string][]fenceStop{
		"default":     {{inRead, 200 * time.Millisecond}, {beforeCheck, fenceRenew}, {beforeCheck, fenceLease}, {inRead, untilDeposed}},
		"kube-system": {{inChange, fenceRenew + 300*time.Millisecond}, {beforeCheck, untilDeposed}, {inChange, untilDeposed}},
	} {
		t.Run(namespace, func(t *testing.T) {
			t.Parallel()
			bmc, err := newFleet(t).Add(emulator.Spec{Name: "fenced"})
			if err != nil {
				t.Fatal(err)
			}
			f := &fenceTest{t: t, witness: newWitness(t, bmc), kubeconfig: plane.Kubeconfig(), namespace: namespace, living: map[string]*driver{}}
			t.Cleanup(f.killAll)
			f.start()
			f.start()
			f.witness.next("")
			for _, stop := range stops {
				f.pause(stop.when, stop.pause)
			}
			f.killAll()
			f.witness.verdict()
		})
	}
}

// fenceTest keeps two processes going: one that ends, as the deposed one does, is followed by another.
type fenceTest struct {
	t          *testing.T
	witness    *witness
	kubeconfig string
	namespace  string

	mu      sync.Mutex
	started int
	ending  bool
	living  map[string]*driver
}

// driver is a process that drives, or would like to.
type driver struct {
	name    string
	process *os.Process
	log     *bytes.Buffer
	ended   chan struct{} // it is gone, and its output complete
}

func (f *fenceTest) start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ending {
		return
	}
	f.started++
	d := &driver{name: fmt.Sprint("p", f.started), log: &bytes.Buffer{}, ended: make(chan struct{})}
	door, err := f.witness.door(d.name)
	if err != nil {
		f.t.Error(err)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFenceDriverProcess$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), fenceName+"="+d.name, fenceKubeconfig+"="+f.kubeconfig, fenceNamespace+"="+f.namespace, fenceAddress+"="+door,
		fenceUser+"="+f.witness.bmc.Username(), fencePassword+"="+f.witness.bmc.Password())
	cmd.Stdout, cmd.Stderr = d.log, d.log
	if _, err = cmd.StdinPipe(); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		f.t.Error(err)
		return
	}
	d.process = cmd.Process
	f.living[d.name] = d
	go func() {
		_ = cmd.Wait()
		f.mu.Lock()
		delete(f.living, d.name)
		f.mu.Unlock()
		f.start()
		close(d.ended)
	}()
}

func (f *fenceTest) find(name string) *driver {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.living[name]
}

// pause stops whoever drives at a moment of its next operation, and sees who drives afterwards. Length 0 is until another does.
func (f *fenceTest) pause(when moment, length time.Duration) {
	f.t.Helper()
	name, d := "", (*driver)(nil)
	if when == beforeCheck {
		name, d = f.stopBeforeCheck()
	} else {
		name, d = f.stopIn(when == inChange)
	}
	if d == nil {
		f.t.Logf("%s ended by itself: this machine is slow", name)
		return
	}
	if length > 0 {
		<-time.After(length)
	} else {
		f.witness.next(name)
	}
	if err := d.process.Signal(syscall.SIGCONT); err != nil {
		f.t.Fatalf("wake %s: %v", name, err)
	}
	who := f.witness.next("")
	f.t.Logf("stopped %s %s for %s; then %s drives", name, when, length, who)
	if who == name {
		return
	}
	select {
	case <-d.ended: // it has noticed
	case <-time.After(time.Minute):
		f.t.Fatalf("%s was deposed and does not end", name)
	}
}

// stopBeforeCheck has the process that drives stop itself. None is returned if it ended instead.
func (f *fenceTest) stopBeforeCheck() (string, *driver) {
	name := f.witness.next("")
	d := f.find(name)
	if d == nil || d.process.Signal(syscall.SIGUSR1) != nil || !f.stopped(d) {
		return name, nil
	}
	return name, d
}

// stopIn stops the process whose next request of a kind is at the BMC. The BMC answers, although nobody listens.
func (f *fenceTest) stopIn(change bool) (string, *driver) {
	f.t.Helper()
	trap := f.witness.set(change)
	defer close(trap.release)
	select {
	case name := <-trap.caught:
		d := f.find(name)
		if d == nil || d.process.Signal(syscall.SIGSTOP) != nil || !f.stopped(d) {
			return name, nil
		}
		return name, d
	case <-time.After(time.Minute):
		f.t.Fatal("nobody drives")
	}
	return "", nil
}

// stopped waits until no thread of a process runs any more; false if it ended instead.
func (f *fenceTest) stopped(d *driver) bool {
	f.t.Helper()
	for limit := time.After(time.Minute); !standsStill(d.process.Pid); {
		select {
		case <-time.After(time.Millisecond):
		case <-d.ended:
			return false
		case <-limit:
			f.t.Fatalf("%s does not stop", d.name)
		}
	}
	return true
}

func (f *fenceTest) killAll() {
	f.mu.Lock()
	f.ending = true
	living := slices.Collect(maps.Values(f.living))
	f.mu.Unlock()
	for _, d := range living {
		_ = d.process.Kill()
		<-d.ended
		if f.t.Failed() {
			f.t.Logf("%s said:\n%s", d.name, d.log)
		}
	}
}

func standsStill(pid int) bool {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return false
	}
	for _, thread := range threads {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/stat", pid, thread.Name()))
		if err != nil {
			return false
		}
		// The state follows the name in parentheses.
		if state := stat[bytes.LastIndexByte(stat, ')')+1:]; !bytes.HasPrefix(state, []byte(" T")) {
			return false
		}
	}
	return len(threads) > 0
}
