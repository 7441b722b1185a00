package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/beskar7/beskar7/pkg/agent"
	"github.com/beskar7/beskar7/pkg/agent/filedisk"
	"github.com/beskar7/beskar7/pkg/agent/imagetest"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// childFile has this program run one agent and nothing else: what it is to do is in the file.
const childFile = "AGENT_TEST_CHILD"

// maxResident is what an agent may have in memory, in kB, whatever the size of the image. The limit of its heap is that of cmd/agent.
const maxResident, heapLimit = 64 << 10, 48 << 20

// job is what a child does.
type job struct {
	Seed   protocol.Seed
	Folder string
	Seen   protocol.Report
}

func TestMain(m *testing.M) {
	if path := os.Getenv(childFile); path != "" {
		os.Exit(child(path))
	}
	os.Exit(m.Run())
}

func child(path string) int {
	debug.SetMemoryLimit(heapLimit)
	var j job
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &j)
	}
	if err == nil {
		err = agent.Run(context.Background(), agent.Options{Seed: &j.Seed, Hands: &filedisk.Server{Folder: j.Folder, Seen: j.Seen},
			Version: "test"})
	}
	status, statusErr := os.ReadFile("/proc/self/status")
	if err != nil || statusErr != nil {
		fmt.Println(err, statusErr)
		return 1
	}
	fmt.Println(string(status))
	return 0
}

func TestTheAgentIsSmall(t *testing.T) {
	g := newRig(t)
	g.replace(imagetest.Typical(128*mib, 512).Bytes())
	g.manager.plan.Deploy.Root = protocol.Selector{Type: protocol.DiskHDD}
	g.manager.plan.Deploy.Data.Files[1].Content = make([]byte, 2*mib)
	data, err := json.Marshal(job{*g.options.Seed, g.server.Folder, g.server.Seen})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "job")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), childFile+"="+path)
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if g.last().Deployed == nil {
		t.Fatalf("the last word is %+v", g.last().Error)
	}
	_, rest, _ := strings.Cut(string(out), "VmHWM:")
	var peak int
	if _, err := fmt.Sscan(rest, &peak); err != nil {
		t.Fatal(err)
	}
	t.Logf("the agent had up to %d kB in memory", peak)
	if peak > maxResident {
		t.Errorf("the agent had %d kB in memory, more than %d", peak, maxResident)
	}
}
