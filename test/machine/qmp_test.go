package machine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/beskar7/beskar7/test/emulator"
)

// fakeQEMU answers commands as QEMU does, and may say more before an answer.
type fakeQEMU struct {
	conn     net.Conn
	commands chan string
}

func newFakeQEMU(t *testing.T, before map[string]string, errs map[string]string) (*fakeQEMU, *monitor) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	f := &fakeQEMU{conn: far, commands: make(chan string, 16)}
	go f.play(before, errs)
	m, err := newMonitor(near)
	if err != nil {
		t.Fatal(err)
	}
	if got := <-f.commands; got != "qmp_capabilities" {
		t.Fatalf("first command %q", got)
	}
	return f, m
}

func (f *fakeQEMU) play(before, errs map[string]string) {
	fmt.Fprintln(f.conn, `{"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": ["oob"]}}`)
	in := bufio.NewScanner(f.conn)
	for in.Scan() {
		var got struct {
			Execute string `json:"execute"`
			ID      int    `json:"id"`
		}
		if json.Unmarshal(in.Bytes(), &got) != nil {
			return
		}
		f.commands <- got.Execute
		if say := before[got.Execute]; say != "" {
			fmt.Fprintln(f.conn, say)
		}
		if e := errs[got.Execute]; e != "" {
			fmt.Fprintf(f.conn, `{"id": %d, "error": {"class": "GenericError", "desc": %q}}`+"\n", got.ID, e)
		} else {
			fmt.Fprintf(f.conn, `{"return": {}, "id": %d}`+"\n", got.ID)
		}
	}
}

func TestMonitorCommands(t *testing.T) {
	f, m := newFakeQEMU(t, map[string]string{"system_powerdown": `{"event": "POWERDOWN", "timestamp": {"seconds": 1}}`}, map[string]string{"stop": "no such thing"})
	if err := m.execute("system_powerdown"); err != nil || <-f.commands != "system_powerdown" {
		t.Errorf("system_powerdown: %v", err)
	}
	if err := m.execute("stop"); err == nil || err.Error() != "no such thing" {
		t.Errorf("a refused command: %v", err)
	}
	_ = f.conn.Close()
	<-m.over
	if err := m.execute("cont"); !errors.Is(err, errMonitorOver) {
		t.Errorf("a command to a machine that is off: %v", err)
	}
}

// attended plays the end of a power cycle: QEMU says why, its connection ends, its process exits.
func attended(t *testing.T, event string) error {
	t.Helper()
	f, m := newFakeQEMU(t, nil, nil)
	p := &process{monitor: m, kill: func() { t.Error("killed") }, exited: make(chan error, 1)}
	fmt.Fprintln(f.conn, event)
	_ = f.conn.Close()
	p.exited <- nil
	return p.attend(t.Context(), nil)
}

func TestWhyAPowerCycleEnded(t *testing.T) {
	if err := attended(t, `{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}`); !errors.Is(err, emulator.ErrPowerOff) {
		t.Errorf("the system switched off: %v", err)
	}
	if err := attended(t, `{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}`); !errors.Is(err, emulator.ErrReboot) {
		t.Errorf("the system rebooted: %v", err)
	}
	err := attended(t, `{"event": "RESUME"}`)
	if err == nil || errors.Is(err, emulator.ErrReboot) || errors.Is(err, emulator.ErrPowerOff) || !strings.Contains(err.Error(), "QEMU ended") {
		t.Errorf("QEMU crashed: %v", err)
	}
}

func TestShutdownIsThePowerButton(t *testing.T) {
	f, m := newFakeQEMU(t, nil, nil)
	p := &process{monitor: m, kill: func() {}, exited: make(chan error, 1)}
	shutdown := make(chan struct{})
	close(shutdown)
	go func() {
		if got := <-f.commands; got == "system_powerdown" {
			fmt.Fprintln(f.conn, `{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}`)
		}
		_ = f.conn.Close()
		p.exited <- nil
	}()
	if err := p.attend(t.Context(), shutdown); !errors.Is(err, emulator.ErrPowerOff) {
		t.Errorf("a graceful shutdown: %v", err)
	}
}

// Power loss kills QEMU, and is not told as anything the system did.
func TestPowerLossKills(t *testing.T) {
	f, m := newFakeQEMU(t, nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	p := &process{monitor: m, exited: make(chan error, 1)}
	p.kill = func() { _ = f.conn.Close(); p.exited <- errors.New("signal: killed") }
	cancel()
	if err := p.attend(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("power loss: %v", err)
	}
}

func TestTheConsoleIsReadByPowerCycle(t *testing.T) {
	s := newSerial(t.TempDir() + "/serial.log")
	if s.Cycle(1) != "" || s.Cycles() != 0 {
		t.Error("a machine that never ran has a console")
	}
	for _, text := range []string{"one\r\n", "two\r\n"} {
		if err := errors.Join(s.begin("Cd"), s.write(text)); err != nil {
			t.Fatal(err)
		}
		if text == "one\r\n" {
			s.pause()
		}
	}
	if s.Cycles() != 2 || !strings.Contains(s.Cycle(1), "one\n") || strings.Contains(s.Cycle(2), "one") {
		t.Errorf("consoles %q and %q", s.Cycle(1), s.Cycle(2))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Await(ctx, 2, "two", "Cd"); err != nil {
		t.Error(err)
	}
	if err := s.Await(ctx, 1, "two"); err == nil || ctx.Err() != nil {
		t.Errorf("waits for a power cycle that is over: %v", err)
	}
	cancel()
	if err := s.Await(ctx, 2, "three"); !errors.Is(err, context.Canceled) {
		t.Errorf("words that never come: %v", err)
	}
}
