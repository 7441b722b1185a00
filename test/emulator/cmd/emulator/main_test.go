package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/beskar7/beskar7/test/emulator"
)

// once runs the command until everything is printed.
func once(t *testing.T, args ...string) (out, errs string, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var o, e strings.Builder
	err = run(ctx, args, &o, &e)
	return o.String(), e.String(), err
}

func TestRunPrintsTheServersAndEnds(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	out, _, err := once(t, "--count", "4", "--persona", "dell-idrac9,hpe-ilo6", "--chassis", "2", "--ca-file", ca,
		"--fault", "slow=500ms,on=POST", "--fault", "server-00[12]:power-flaps")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(out, "https://127.") != 4 || strings.Count(out, "hpe-ilo6") != 2 || !strings.Contains(out, "Blade2") || !strings.Contains(out, "control: http://127.0.0.1:") {
		t.Errorf("printed %q", out)
	}
	if raw, err := os.ReadFile(ca); err != nil || !strings.Contains(string(raw), "CERTIFICATE") {
		t.Errorf("CA file: %v", err)
	}
	for _, args := range [][]string{{"--persona", "toaster"}, {"--fault", "toast"}, {"--fault", "nobody:slow"}, {"--fault", "slow=often"},
		{"--control", "192.0.2.1:1"}, {"-o", "xml"}, {"--count", "-1"}, {"word"}, {"--trust-file", "/nowhere"}} {
		if _, _, err := once(t, args...); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}

func TestListsNameEverything(t *testing.T) {
	out, _, err := once(t, "--list-personas", "--list-faults")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range emulator.Personas() {
		if !strings.Contains(out, p) {
			t.Errorf("persona %s is not listed", p)
		}
	}
	for _, f := range emulator.Faults() {
		if !strings.Contains(out, f.Name+" ") || !strings.Contains(out, f.Does) {
			t.Errorf("fault %s is not listed", f.Name)
		}
	}
}

func TestManifests(t *testing.T) {
	out, errs, err := once(t, "--count", "2", "--chassis", "2", "-o", "json", "--namespace", "metal")
	if err != nil {
		t.Fatal(err)
	}
	var listed struct{ Items []map[string]any }
	if err := json.Unmarshal([]byte(out), &listed); err != nil || len(listed.Items) != 4 { // CA, Secret, two hosts
		t.Fatalf("%v in %s", err, out)
	}
	if !strings.Contains(errs, "control: ") {
		t.Errorf("control is not printed beside: %q", errs)
	}
	host := listed.Items[3]
	spec := host["spec"].(map[string]any)["redfishConnection"].(map[string]any)
	if host["kind"] != "PhysicalHost" || spec["systemID"] != "Blade2" || spec["credentialsSecretRef"].(map[string]any)["name"] != "server-001-bmc" {
		t.Errorf("host %v", host)
	}
	if out, _, err = once(t, "--count", "1", "-o", "yaml", "--control", ""); err != nil || strings.Count("\n"+out, "\n---\n") != 3 {
		t.Fatalf("%v in %s", err, out)
	}
	for _, part := range strings.Split("\n"+out, "\n---\n")[1:] {
		var o map[string]any
		if err := yaml.Unmarshal([]byte(part), &o); err != nil || o["kind"] == "" {
			t.Errorf("%v in %s", err, part)
		}
	}
}

func TestControl(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"--count", "2"}, w, io.Discard) }()
	lines, url := bufio.NewScanner(r), ""
	for url == "" && lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "control: "); ok {
			url, _, _ = strings.Cut(rest, " ")
		}
	}
	do := func(status int, method, path string) string {
		t.Helper()
		req, err := http.NewRequest(method, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != status {
			t.Errorf("%s %s: %d %s %v", method, path, resp.StatusCode, raw, err)
		}
		return string(raw)
	}
	if !strings.Contains(do(200, "GET", "/"), "DELETE /servers") {
		t.Error("no help")
	}
	if s := do(200, "PUT", "/servers/server-*/faults/slow?arg=1s"); strings.Count(s, `"slow": "1s"`) != 2 {
		t.Errorf("faults: %s", s)
	}
	do(400, "PUT", "/servers/server-001/faults/slow?arg=often")
	do(404, "PUT", "/servers/nobody/faults/slow")
	do(200, "DELETE", "/servers/server-001/faults/slow")
	if s := do(200, "GET", "/servers"); strings.Count(s, `"slow": "1s"`) != 1 {
		t.Errorf("faults: %s", s)
	}
	do(200, "DELETE", "/servers/server-002/faults")
	if s := do(200, "POST", "/servers/server-001/press"); !strings.Contains(s, `"Power": "PoweringOn"`) {
		t.Errorf("pressed: %s", s)
	}
	if s := do(200, "GET", "/servers/server-001/events"); !strings.Contains(s, "button") {
		t.Errorf("events: %s", s)
	}
	for _, path := range []string{"/servers/server-001/cut", "/servers/server-001/unplug", "/servers/server-001/plug", "/servers/server-001/reboot", "/servers/server-001/logout"} {
		do(200, "POST", path)
	}
	for _, path := range []string{"/faults", "/personas", "/servers/server-00*", "/servers/server-001", "/servers/server-001/requests", "/judge?cooldown=1s"} {
		do(200, "GET", path)
	}
	do(400, "GET", "/judge?cooldown=soon")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestTheDocumentedCommandRuns takes the command out of the README, as it is printed there, and counts what it prints.
func TestTheDocumentedCommandRuns(t *testing.T) {
	raw, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	const command = "\ngo run -C test ./emulator/cmd/emulator "
	_, rest, ok := strings.Cut(string(raw), command)
	if !ok {
		t.Fatalf("README.md has lost its command %q", command)
	}
	line, _, _ := strings.Cut(rest, "\n")
	if _, err := os.Stat("../../../../test/emulator/cmd/emulator/main.go"); err != nil {
		t.Errorf("the command's folder is not where it says, seen from the project's root: %v", err)
	}
	out, _, err := once(t, strings.Fields(line)...)
	if err != nil {
		t.Fatal(err)
	}
	printed := 0
	for l := range strings.Lines(out) {
		if f := strings.Fields(l); len(f) == 6 && strings.HasPrefix(f[2], "https://127.") && f[4] == "admin" && len(f[5]) > 8 {
			printed++
		}
	}
	if printed != 100 || strings.Count(out, "dell-idrac9") != 50 || strings.Count(out, "hpe-ilo6") != 50 {
		t.Errorf("%d servers with address and credentials were printed: %s", printed, out)
	}
}
