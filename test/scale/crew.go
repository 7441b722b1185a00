package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// member is one process that the harness started.
type member struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Scanner
	log    *os.File
	ended  bool
}

// cost is what processes used.
type cost struct {
	CPU time.Duration
	// Memory is the largest resident set of any one of them, in bytes.
	Memory int64
	// Resident is the present one, of a process that runs.
	Resident int64
}

func (c *cost) add(o cost) {
	c.CPU += o.CPU
	c.Memory = max(c.Memory, o.Memory)
}

// startWorker starts this program again with an order.
func startWorker(dir string, o order) (*member, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	m := &member{name: o.Identity, cmd: exec.Command(self)} //nolint:noctx // ended by hand, or with our end of its standard input
	m.cmd.Env = append(os.Environ(), workerVariable+"="+string(text))
	if m.log, err = os.OpenFile(filepath.Join(dir, m.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, err
	}
	m.cmd.Stderr = m.log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches the harness, which then ends its children
	if m.stdin, err = m.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.stdout = bufio.NewScanner(out)
	m.stdout.Buffer(nil, 64<<20)
	return m, m.cmd.Start()
}

// awaitReady returns once the worker said that its caches are full.
func (m *member) awaitReady() error {
	if !m.stdout.Scan() || m.stdout.Text() != ready {
		return fmt.Errorf("%s ended before it was ready: %w (log: %s)", m.name, m.wait(), m.log.Name())
	}
	return nil
}

// begin gives the start signal.
func (m *member) begin() error {
	_, err := fmt.Fprintln(m.stdin, "go")
	return err
}

// finish waits for the tally and the end. Unless the worker ends by itself, it is asked to.
func (m *member) finish(byItself bool) (tally, error) {
	var t tally
	var closed error
	if !byItself {
		closed = m.stdin.Close()
	}
	said := m.stdout.Scan()
	if said && m.stdout.Text() == ready { // of one that was started again, for whom nobody waited
		said = m.stdout.Scan()
	}
	if !said {
		return t, fmt.Errorf("%s ended without a tally: %w (log: %s)", m.name, errors.Join(closed, m.wait()), m.log.Name())
	}
	if err := json.Unmarshal(m.stdout.Bytes(), &t); err != nil {
		return t, err
	}
	if byItself {
		_ = m.stdin.Close()
	}
	return t, m.wait()
}

// kill ends the process as a power cut would. It is no error if it is gone.
func (m *member) kill() {
	if m.ended {
		return
	}
	_ = m.cmd.Process.Kill()
	_ = m.wait()
}

func (m *member) wait() error {
	if m.ended {
		return nil
	}
	m.ended = true
	err := m.cmd.Wait()
	_ = m.log.Close()
	return err
}

// cost of a process that has ended.
func (m *member) cost() cost {
	usage, ok := m.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return cost{}
	}
	return cost{CPU: m.cmd.ProcessState.UserTime() + m.cmd.ProcessState.SystemTime(), Memory: usage.Maxrss << 10}
}

// crew is all the workers of one storm.
type crew struct {
	dir     string
	orders  []order
	members []*member
	spent   cost
	tallies []tally
	// killed counts those that were killed and started again.
	killed int
}

// startCrew starts one worker for each order and waits until all are ready.
func startCrew(ctx context.Context, dir string, orders []order) (*crew, error) {
	c := &crew{dir: dir, orders: orders}
	for _, o := range orders {
		m, err := startWorker(dir, o)
		if err != nil {
			c.end()
			return nil, err
		}
		c.members = append(c.members, m)
	}
	for _, m := range c.members {
		if err := errors.Join(m.awaitReady(), ctx.Err()); err != nil {
			c.end()
			return nil, err
		}
	}
	return c, nil
}

func (c *crew) begin() error {
	var errs []error
	for _, m := range c.members {
		errs = append(errs, m.begin())
	}
	return errors.Join(errs...)
}

// replace kills a worker and starts another in its place, which goes on at once. What the killed one counted is lost.
func (c *crew) replace(i int) error {
	c.members[i].kill()
	c.spent.add(c.members[i].cost())
	c.killed++
	o := c.orders[i]
	o.Identity = fmt.Sprintf("%s-life%d", o.Identity, c.killed)
	m, err := startWorker(c.dir, o)
	if err != nil {
		return err
	}
	c.members[i] = m
	return m.begin()
}

// finish ends all workers, or waits for their own end, and collects what they say.
func (c *crew) finish(byThemselves bool) error {
	var errs []error
	for _, m := range c.members {
		t, err := m.finish(byThemselves)
		errs = append(errs, err)
		c.tallies = append(c.tallies, t)
		if m.cmd.ProcessState != nil {
			c.spent.add(m.cost())
		}
	}
	return errors.Join(errs...)
}

// end kills what is left.
func (c *crew) end() {
	for _, m := range c.members {
		m.kill()
	}
}
