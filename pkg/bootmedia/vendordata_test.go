package bootmedia

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// desk is a Recorder that hands every report out; the first ones fail.
type desk struct {
	reports chan string
	down    chan struct{} // one element for each report that is not recorded
	unknown bool
}

func (d *desk) PhoneHome(_ context.Context, _ string, outcome Outcome, detail string) error {
	select {
	case <-d.down:
		return errors.New("api server is away")
	default:
	}
	d.reports <- strings.TrimSpace(string(outcome) + " " + detail)
	if d.unknown {
		return ErrUnknown
	}
	return nil
}

// machine is a folder that stands for the root of a booted system.
type machine struct {
	root, script string
}

func newMachine(t *testing.T, phoneHomeURL string, authority ...byte) machine {
	t.Helper()
	m := machine{root: t.TempDir()}
	for _, dir := range []string{"run/cloud-init", "run/cluster-api", "var/lib/cloud/instance/sem"} {
		if err := os.MkdirAll(filepath.Join(m.root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	script, err := reportScript(Content{PhoneHomeURL: phoneHomeURL, PhoneHomeCA: authority})
	if err != nil {
		t.Fatal(err)
	}
	m.script = strings.NewReplacer(
		"/run/", m.root+"/run/", "/var/lib/", m.root+"/var/lib/", "PAUSE, TRIES = 10, 360", "PAUSE, TRIES = 0.02, 500",
		`setsid "$py"`, `"$py"`, "2>&1 &\n", "2>&1\n", // the test waits for the watcher
	).Replace(script)
	return m
}

func (m machine) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.root, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// boot runs the script as cloud-init would, until the watcher ends.
func (m machine) boot(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if said, err := exec.CommandContext(ctx, "sh", "-c", m.script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
}

// The watcher is run, not only looked at: it is what a failed bootstrap is told
// apart from a good one by.
func TestWatcherReports(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Log("python3 is not installed: the watcher was not run")
		return
	}
	for name, c := range map[string]struct {
		result, sentinel string
		want             string
	}{
		"succeeded":       {`{"v1":{"errors":[]}}`, "success", "Succeeded"},
		"other complaint": {`{"v1":{"errors":["ntp"]}}`, "success", "Succeeded"},
		"failed":          {`{"v1":{"errors":["runcmd failed"]}}`, "", "Failed no {root}/run/cluster-api/bootstrap-success.complete; runcmd failed"},
		"broken result":   {`{`, "", "Failed no {root}/run/cluster-api/bootstrap-success.complete; JSONDecodeError"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &desk{reports: make(chan string, 10), down: make(chan struct{}, 3)}
			for range cap(d.down) {
				d.down <- struct{}{}
			}
			r := newRig(t, nil, func(o *Options) { o.Recorder = d })
			m := newMachine(t, PhoneHomeURL(r.web.URL, newToken(t)))
			m.write(t, "run/cloud-init/result.json", c.result)
			if c.sentinel != "" {
				m.write(t, "run/cluster-api/bootstrap-success.complete", c.sentinel)
			}
			m.boot(t)
			m.boot(t) // a later boot of the same instance is silent
			if want := strings.ReplaceAll(c.want, "{root}", m.root); len(d.reports) != 1 || <-d.reports != want {
				t.Errorf("%d reports; want one: %s", len(d.reports), want)
			}
		})
	}
	t.Run("refused for good", func(t *testing.T) {
		d := &desk{reports: make(chan string, 1000), unknown: true}
		r := newRig(t, nil, func(o *Options) { o.Recorder = d })
		m := newMachine(t, PhoneHomeURL(r.web.URL, newToken(t)))
		m.write(t, "run/cloud-init/result.json", "{}")
		m.boot(t)
		if len(d.reports) != 1 {
			t.Errorf("%d reports of a claim that is over", len(d.reports))
		}
	})
}
