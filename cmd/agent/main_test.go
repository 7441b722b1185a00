package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/agent"
	"github.com/beskar7/beskar7/pkg/agent/filedisk"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

const (
	serverUUID = "005cb4e7-0989-eb11-8000-7cc255106afe"
	capability = "capability-0123456789abcdef"
)

// bench is a server on the bench: its disks are files, and what was done to it is noted.
type bench struct {
	seed  *protocol.Seed
	hands agent.Hands
	fail  map[string]error
	panic bool
	done  []string
}

func (b *bench) step(name string) error {
	b.done = append(b.done, name)
	return b.fail[name]
}

func (b *bench) Start(context.Context, func(string, ...any)) error {
	if b.panic {
		panic("a fault")
	}
	return b.step("start")
}

func (b *bench) Seed(context.Context, func(string, ...any)) (*protocol.Seed, agent.Hands, error) {
	return b.seed, b.hands, b.step("seed")
}

func (b *bench) Connect(context.Context, *protocol.Network, func(string, ...any)) error {
	return b.step("connect")
}
func (b *bench) PowerOff() error { return b.step("off") }

// manager has a plan to erase, and hears how it ended.
type manager struct {
	t    *testing.T
	last *protocol.Progress
}

func (m *manager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call, err := protocol.DecodeCall(r.Body)
	if err != nil || r.URL.Path != protocol.Path(capability) {
		m.t.Errorf("%s: %v", r.URL.Path, err)
		return
	}
	answer := &protocol.Answer{Verdict: protocol.VerdictContinue, Time: time.Now(), NextSeconds: 1}
	if call.Report != nil {
		answer.Plan = &protocol.Plan{ID: "p", Generation: 1, Server: serverUUID, Erase: &protocol.Erase{Method: protocol.MethodDiscard}}
	} else if m.last = call.Progress; m.last.Step == protocol.StepDone || m.last.Error != nil {
		answer.Verdict = protocol.VerdictDone
	}
	data, err := answer.Encode()
	if err != nil {
		m.t.Error(err)
	}
	_, _ = w.Write(data)
}

func newBench(t *testing.T) (*bench, *manager) {
	t.Helper()
	m := &manager{t: t}
	s := httptest.NewTLSServer(m)
	t.Cleanup(s.Close)
	folder := t.TempDir()
	disk, err := filedisk.Create(folder, "sda", 16<<20, 512)
	if err != nil {
		t.Fatal(err)
	}
	if err := disk.Close(); err != nil {
		t.Fatal(err)
	}
	hands := &filedisk.Server{Folder: folder, Seen: protocol.Report{Server: protocol.Server{UUID: serverUUID},
		Firmware: protocol.Firmware{BootMode: protocol.BootBIOS}, Disks: []protocol.Disk{{Name: "sda", Size: 16 << 20, BlockSize: 512}}}}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return &bench{hands: hands, fail: map[string]error{}, seed: &protocol.Seed{Endpoint: s.URL, Capability: capability, CA: string(ca),
		Network: &protocol.Network{}}}, m
}

func run(t *testing.T, b *bench) string {
	t.Helper()
	var lines strings.Builder
	work(t.Context(), b, time.Millisecond, func(format string, args ...any) { fmt.Fprintf(&lines, format+"\n", args...) })
	if strings.Contains(lines.String(), capability) {
		t.Errorf("the capability is on the console: %s", lines.String())
	}
	return lines.String()
}

func TestAServerIsErasedAndPoweredOff(t *testing.T) {
	b, m := newBench(t)
	lines := run(t, b)
	if got := strings.Join(b.done, " "); got != "start seed connect off" || strings.Contains(lines, "did not end well") {
		t.Errorf("it did %s: %s", got, lines)
	}
	if m.last == nil || m.last.Step != protocol.StepDone || len(m.last.Erased) != 1 {
		t.Errorf("the manager heard %+v", m.last)
	}
}

func TestItPowersOffWhateverHappens(t *testing.T) {
	for _, step := range []string{"start", "seed", "connect"} {
		b, m := newBench(t)
		b.fail[step] = errors.New("a fault")
		if lines := run(t, b); !strings.Contains(lines, "a fault") || b.done[len(b.done)-1] != "off" || m.last != nil {
			t.Errorf("%s: it did %v: %s", step, b.done, lines)
		}
	}
	b, _ := newBench(t)
	b.panic = true
	if lines := run(t, b); !strings.Contains(lines, "the agent failed: a fault") || b.done[len(b.done)-1] != "off" {
		t.Errorf("it did %v: %s", b.done, lines)
	}
}

func TestItRefusesToRunOnARunningSystem(t *testing.T) {
	program := filepath.Join(t.TempDir(), "agent")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), program).CombinedOutput()
	failed, ok := errors.AsType[*exec.ExitError](err)
	if !ok || failed.ExitCode() != 2 || !strings.Contains(string(out), "boot that") {
		t.Errorf("%v: %s", err, out)
	}
}
