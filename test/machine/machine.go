package machine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/beskar7/beskar7/test/emulator"
)

// Firmware is what starts the machine.
type Firmware string

// The firmwares, of Debian's packages seabios and ovmf.
const (
	BIOS Firmware = "BIOS"
	UEFI Firmware = "UEFI"
)

// HostAddress is this machine's loopback as the booted system sees it.
const HostAddress = "10.0.2.2"

const (
	program   = "qemu-system-x86_64"
	uefiCode  = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	uefiVars  = "/usr/share/OVMF/OVMF_VARS_4M.fd"
	diskBytes = 2 << 30
	// attachLimit bounds the time that QEMU may take until its monitor answers.
	attachLimit = time.Minute
)

// Options of a Machine.
type Options struct {
	// Dir holds disk, UEFI variables, serial log and QEMU's own messages. Made if absent, left behind.
	Dir string
	// Firmware is UEFI unless said.
	Firmware Firmware
	// MemoryMiB is 1024 and CPUs 2 unless said.
	MemoryMiB, CPUs int
	// Sticks are the ids of the media slots that are USB sticks; all others are CDs.
	Sticks []string
}

// Machine is the hardware of one server behind an emulated BMC.
type Machine struct {
	options Options
	serial  *Serial
}

var _ emulator.Guest = (*Machine)(nil)

// Missing says which programs and firmware a Machine needs and does not find; nil when there is everything.
func Missing() error {
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("real machines need Debian's packages qemu-system-x86, ovmf and seabios: %w", err)
	}
	for _, f := range []string{uefiCode, uefiVars} {
		if _, err := os.Stat(f); err != nil {
			return fmt.Errorf("real machines need Debian's package ovmf: %w", err)
		}
	}
	return nil
}

// New makes a machine that is off, with an empty disk unless Dir has one.
func New(o Options) (*Machine, error) {
	if err := Missing(); err != nil {
		return nil, err
	}
	if o.Firmware == "" {
		o.Firmware = UEFI
	}
	if o.MemoryMiB == 0 {
		o.MemoryMiB = 1024
	}
	if o.CPUs == 0 {
		o.CPUs = 2
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	m := &Machine{options: o}
	if err := m.fit(); err != nil {
		return nil, fmt.Errorf("fit the machine in %s: %w", o.Dir, err)
	}
	m.serial = newSerial(filepath.Join(o.Dir, "serial.log"))
	return m, nil
}

// fit makes what outlives a power cycle.
func (m *Machine) fit() error {
	disk, err := os.OpenFile(m.file("disk.img"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(disk.Truncate(diskBytes), disk.Close()); err != nil { // sparse
		return err
	}
	if _, err := os.Stat(m.file("vars.fd")); err == nil {
		return nil
	}
	vars, err := os.ReadFile(uefiVars)
	if err != nil {
		return err
	}
	return os.WriteFile(m.file("vars.fd"), vars, 0o600)
}

func (m *Machine) file(name string) string { return filepath.Join(m.options.Dir, name) }

// Serial is the serial console of all power cycles.
func (m *Machine) Serial() *Serial { return m.serial }

// Run is one power cycle: it returns when the power was lost or the system went down by itself.
func (m *Machine) Run(ctx context.Context, boot emulator.Boot) error {
	room, err := os.MkdirTemp("", "machine") // short: the names of sockets have a limit
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(room) }()
	media, err := present(ctx, boot.Media, filepath.Join(room, "media"))
	if err != nil {
		return err
	}
	defer media.Close()
	defer m.serial.pause()
	if err := m.serial.begin(boot.Device); err != nil {
		return err
	}
	p, err := m.start(ctx, boot, media, room)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("start QEMU: %w", err)
	}
	return p.attend(ctx, boot.Shutdown)
}

// present makes the BMC fetch each medium. One that cannot be fetched is not there for the machine; the BMC has logged why.
func present(ctx context.Context, media []emulator.Medium, socket string) (*exports, error) {
	var list []export
	for _, medium := range media {
		r, size, err := medium.Open(ctx)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			list = append(list, export{name: medium.Slot, r: r, size: size})
		}
	}
	return serveMedia(socket, list)
}

// process is QEMU for one power cycle.
type process struct {
	monitor *monitor
	kill    func()
	exited  chan error // gets one value
}

// start starts QEMU, which calls back on a socket for its monitor.
func (m *Machine) start(ctx context.Context, boot emulator.Boot, media *exports, room string) (*process, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", filepath.Join(room, "monitor"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = listener.Close() }()
	messages, err := os.OpenFile(m.file("qemu.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = messages.Close() }()
	cmd := exec.Command(program, m.arguments(boot, media.list, room)...) //nolint:noctx // ended by attend, which must know why
	cmd.Stdout, cmd.Stderr = messages, messages
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{kill: func() { _ = cmd.Process.Kill() }, exited: make(chan error, 1)}
	gone := make(chan struct{})
	go func() {
		p.exited <- cmd.Wait()
		close(gone)
		_ = listener.Close()
	}()
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()
	_ = listener.(*net.UnixListener).SetDeadline(time.Now().Add(attachLimit))
	conn, err := listener.Accept()
	if err == nil {
		p.monitor, err = newMonitor(conn)
	}
	if err != nil {
		p.kill()
		<-gone
		return nil, fmt.Errorf("%w (%s has QEMU's own words)", err, m.file("qemu.log"))
	}
	return p, nil
}

// attend waits for the end of the power cycle. A kill is the loss of power: nothing is written any more.
func (p *process) attend(ctx context.Context, shutdown <-chan struct{}) error {
	defer func() {
		_ = p.monitor.conn.Close()
		<-p.monitor.over
	}()
	for {
		select {
		case <-ctx.Done():
			p.kill()
			<-p.exited
			return ctx.Err()
		case <-shutdown:
			shutdown = nil
			go func() { _ = p.monitor.execute("system_powerdown") }() // a machine that went off meanwhile needs no button
		case err := <-p.exited:
			<-p.monitor.over // it has all that QEMU said once the connection ended
			switch reason := p.monitor.reason(); reason {
			case "guest-reset":
				return emulator.ErrReboot
			case "guest-shutdown":
				return emulator.ErrPowerOff
			default:
				return fmt.Errorf("the machine stopped: %s %w", reason, errors.Join(err, errStopped))
			}
		}
	}
}

var errStopped = errors.New("QEMU ended")
