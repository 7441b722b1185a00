package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/test/emulator"
)

// sessionChild, in the environment of a process of this test, holds the target that it logs in at.
const sessionChild = "BESKAR7_TEST_SESSION_CHILD"

// crashes are the BMCs on which processes are killed, and how often: more often than a small session table has places.
var crashes = map[string]int{
	"generic": 3, "dell-idrac9": 3, "hpe-ilo6": 7, "lenovo-xcc": 3, "supermicro-x13": 3, "openbmc": 2, "ami-megarac": 2, "huawei-openubmc": 2,
}

// TestAfterAKillNoBMCHasTwoOfOurSessions logs in from a process that is killed with its session open, again and again, and then
// from this one: each ends what the one before left, and nobody else's. On BMCs that end sessions late (five minutes, half an
// hour) and on those that have place for a few.
func TestAfterAKillNoBMCHasTwoOfOurSessions(t *testing.T) {
	if raw := os.Getenv(sessionChild); raw != "" {
		holdSession(t, raw)
		return
	}
	fleet, err := emulator.New(emulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fleet.Close() })
	for persona, kills := range crashes {
		t.Run(persona, func(t *testing.T) {
			bmc, err := fleet.Add(emulator.Spec{Name: "crash-" + persona, Persona: persona})
			if err != nil {
				t.Fatal(err)
			}
			killAndCount(t, bmc, redfish.Target{Address: bmc.URL(), Username: bmc.Username(), Password: redfish.Password(bmc.Password()), CABundle: fleet.CAPEM()}, kills)
		})
	}
}

func killAndCount(t *testing.T, bmc *emulator.BMC, target redfish.Target, kills int) {
	t.Helper()
	stranger := redfish.NewPool(redfish.Options{Installation: "another"})
	logIn(t, stranger, target)
	for range kills {
		target.Learned = kill(t, target)
		if n := total(bmc.Sessions()); n > 2 {
			t.Fatalf("%d sessions at the BMC: one of ours and one of another installation wanted", n)
		}
	}
	ours := redfish.NewPool(redfish.Options{Installation: "ours"})
	logIn(t, ours, target)
	if n := total(bmc.Sessions()); n != 2 {
		t.Errorf("%d sessions at the BMC: one of ours and one of another installation wanted", n)
	}
	for _, pool := range []*redfish.Pool{ours, stranger} {
		if err := pool.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if n := total(bmc.Sessions()); n != 0 {
		t.Errorf("%d sessions are left after both logged out", n)
	}
}

func total(byUser map[string]int) (n int) {
	for _, count := range byUser {
		n += count
	}
	return n
}

func logIn(t *testing.T, pool *redfish.Pool, target redfish.Target) redfish.Learned {
	t.Helper()
	bmc, err := pool.BMC(target)
	if err == nil {
		_, err = bmc.State(context.WithoutCancel(t.Context()))
	}
	if err != nil {
		t.Fatal(err)
	}
	return bmc.Learned()
}

// kill starts this test as a process of its own, waits until it is logged in, and ends it with SIGKILL.
func kill(t *testing.T, target redfish.Target) redfish.Learned {
	t.Helper()
	known, err := json.Marshal(target.Learned)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(map[string]string{"learned": string(known), "address": target.Address, "user": target.Username, "password": string(target.Password), "ca": string(target.CABundle)})
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestAfterAKillNoBMCHasTwoOfOurSessions$")
	child.Env = append(os.Environ(), sessionChild+"="+string(raw))
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines, said := bufio.NewScanner(out), ""
	for !strings.HasPrefix(said, "{") && lines.Scan() {
		said = lines.Text()
	}
	if err := child.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = child.Wait()
	var learned redfish.Learned
	if err := json.Unmarshal([]byte(said), &learned); err != nil {
		t.Fatalf("the child ended early: %s", said)
	}
	return learned
}

func holdSession(t *testing.T, raw string) {
	var what map[string]string
	if err := json.Unmarshal([]byte(raw), &what); err != nil {
		t.Fatal(err)
	}
	target := redfish.Target{Address: what["address"], Username: what["user"], Password: redfish.Password(what["password"]), CABundle: []byte(what["ca"])}
	if err := json.Unmarshal([]byte(what["learned"]), &target.Learned); err != nil {
		t.Fatal(err)
	}
	told, err := json.Marshal(logIn(t, redfish.NewPool(redfish.Options{Installation: "ours"}), target))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(string(told))
	<-t.Context().Done() // which never comes: we are killed
}
