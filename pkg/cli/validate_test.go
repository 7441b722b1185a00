package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const wrongFile = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: beskar7-controller-manager
spec:
  template:
    spec:
      containers:
      - name: sidecar
        args: ["--whatever"]
      - name: manager
        args:
        - --leader-elect=true
        - --leader-elect-renew-deadline=20s
        - --max-concurrent-reconcile=3
        - --kube-api-qps
        - "500"
        - --media-advertise-url=https://$(POD_IP):8090
        env:
        - name: BESKAR7_LOG_LEVEL
          value: loud
        - name: BESKAR7_METRICS_INTERVALL
          value: 15s
        - name: POD_IP
          valueFrom: {fieldRef: {fieldPath: status.podIP}}
---
apiVersion: v1
kind: Service
metadata: {name: other}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: beskar7-config
data:
  provisioning.maxConcurrentOps: "8"
  provisioning.workerCount: 4
  provisioning.bmcCooldown: "5s"
  bmc.requestTimeout: "1s"
  bmc.requestTimeout: "2m"
  bmc.retryDelay: "5"
---
apiVersion: v1
kind: ConfigMap
metadata: {name: beskar7-config-dell-idrac}
data:
  bmc.maxRetries: "11"
`

// Every error at once, each with its line.
func TestValidateSaysEverythingWithItsLine(t *testing.T) {
	w, name := newWorld(t), file(t, "wrong.yaml", wrongFile)
	got := strings.ReplaceAll(w.run(1, "config", "validate", name), name, "F")
	want := `F:14: error: leaderElection.renewDeadline: 20s must be less than leaderElection.leaseDuration (15s)
F:15: error: --max-concurrent-reconcile: there is no such flag; did you mean --max-concurrent-reconciles?
F:16: error: kubeAPI.qps: 500 is outside the range 5 to 100
F:20: error: log.level: "loud" is none of debug, info, warn, error
F:37: error: provisioning.workerCount: a ConfigMap holds only text: put the value into quotes
F:40: error: bmc.requestTimeout: it is there twice
F:41: error: bmc.retryDelay: "5" is not a duration such as 30s, 5m or 1h30m
F:47: error: bmc.maxRetries: 11 is outside the range 1 to 10
F:22: warning: BESKAR7_METRICS_INTERVALL: there is no such setting; did you mean BESKAR7_METRICS_INTERVAL?
F:38: warning: provisioning.bmcCooldown: there is no such setting; did you mean provisioning.bmcCooldownPeriod?
F: invalid: 3 objects checked, 8 errors, 2 warnings
`
	if got != want {
		t.Errorf("said\n%s\nwant\n%s", got, want)
	}
}

func TestValidateAsJSON(t *testing.T) {
	w, name := newWorld(t), file(t, "settings.yaml", "bmc:\n  maxRetries: 3\n  RetryDelay: 40s\nlog.level: debug\nbmcs: 1\n")
	var got struct {
		Valid bool
		Files []judged
	}
	if err := json.Unmarshal([]byte(w.run(1, "config", "validate", "-o", "json", name)), &got); err != nil {
		t.Fatal(err)
	}
	if got.Valid || len(got.Files) != 1 || len(got.Files[0].Errors) != 1 || got.Files[0].Errors[0] != (spot{3, "file", "bmc.retryDelay", "40s is outside the range 1s to 30s"}) ||
		len(got.Files[0].Warnings) != 1 || got.Files[0].Warnings[0].Line != 5 {
		t.Errorf("%+v", got)
	}
}

func TestValidateWhatIsValid(t *testing.T) {
	for name, content := range map[string]string{
		"warnings do not count": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: beskar7-config}\ndata:\n  provisioning.maxConcurrentOps: \"10\"\n  provisioning.workerCount: \"8\"\n",
		"by its keys":           "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine}\ndata: {\"vendors.dell.bmc.maxRetries\": \"4\"}\n",
		"a list":                "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: beskar7-config}\n  data: &d {log.level: debug}\n- {kind: ConfigMap, metadata: {name: beskar7-config-x}, data: *d}\n",
		"a Deployment by itself": "kind: Deployment\nspec: {template: {spec: {containers: [{name: manager, args: [--leader-elect, --version, " +
			"--claim-coordinator-lease-duration=20s, --claim-coordinator-renew-deadline=15s]}]}}}\n",
		"empty data": "kind: ConfigMap\nmetadata: {name: beskar7-config}\n",
	} {
		w := newWorld(t)
		w.has(w.run(0, "config", "validate", file(t, "f.yaml", content)), ": valid: ")
		_ = name
	}
}

func TestValidateWhatCannotBeRead(t *testing.T) {
	for content, want := range map[string]string{
		"a: [":                             "f.yaml:1: error: no YAML",
		"":                                 "holds no settings",
		"kind: Service\nmetadata: {}":      "holds no settings",
		"kind: Deployment\nspec: {}":       "holds no settings",
		"a: &a\n  b: *a\n":                 "the file cannot be read as YAML",
		"kind: ConfigMap\ndata: [a, b]\n":  "holds no settings",
		"kind: ConfigMap\nmetadata: [a]\n": "holds no settings",
	} {
		w := newWorld(t)
		out := func() string {
			w.cli().Run(t.Context(), []string{"config", "validate", file(t, "f.yaml", content)})
			return w.out.String()
		}()
		if !strings.Contains(out, want) {
			t.Errorf("%q: %s", content, out)
		}
	}
	w := newWorld(t)
	w.has(w.run(1, "config", "validate", "/does/not/exist"), "cannot be read")
	w.run(2, "config", "validate")
	w.run(2, "config", "validate", "-o", "xml", "f")
	w.run(2, "config", "nothing")
	w.run(0, "config", "validate", "--help")
	w.run(0, "help")
}

// A pipe is a file, who mistypes a command is told so, and who asks for help gets it where it can be paged.
func TestCommandsForPeople(t *testing.T) {
	w := newWorld(t)
	w.in = strings.NewReader("kind: ConfigMap\nmetadata: {name: beskar7-config}\ndata: {log.level: loud}\n")
	w.has(w.run(1, "config", "validate", "-"), "-:3: error: log.level")
	for _, args := range [][]string{{"confg", "show"}, {"config", "shwo"}, {"confg"}} {
		if !Handles(args) {
			t.Errorf("%q would start a manager", args)
		}
		w.run(2, args...)
		w.has(w.err.String(), `there is no command "`+strings.Join(args, " ")+`"`, "manager config show")
	}
	if Handles(nil) || Handles([]string{"--leader-elect", "config"}) {
		t.Error("a manager's own flags are taken for a command")
	}
	w.has(w.run(0, "config", "report", "--help"), "manager config report\n", "judge the settings", "--window")
	w.has(w.run(0, "hosts", "--help"), "manager hosts import FILE")
	w.run(2, "hosts", "import", "a", "b")
	w.has(w.err.String(), `what is "b" for?`, "usage: manager hosts import FILE\n")
	w.run(2, "config", "show", "--al")
	w.has(w.err.String(), "unknown flag: --al", "usage: manager config show\n")
}

func TestValidateTwoInstallationsInOneFile(t *testing.T) {
	one := "---\nkind: ConfigMap\nmetadata: {name: beskar7-config}\ndata: {log.level: info}\n"
	w := newWorld(t)
	w.has(w.run(1, "config", "validate", file(t, "f.yaml", one+one)), "f.yaml:6: error: there are two ConfigMaps of this name")
}

// Whatever the bytes: no panic, no error without a word or of no line, and the same words every time.
func FuzzValidate(f *testing.F) {
	f.Add([]byte(wrongFile))
	f.Add([]byte("a: &a {b: *a}\n"))
	f.Add([]byte("kind: List\nitems: [*x]"))
	f.Add([]byte("kind: Deployment\nspec: {template: {spec: {containers: [{name: manager, args: [--config, [a]], env: [{name: 1}]}]}}}"))
	f.Add([]byte("kind: List\nitems:\n- &c {kind: ConfigMap, metadata: {name: beskar7-config-a}, data: &d {log.level: 1, bmc.maxRetries: \"99\"}}\n- *c\n- {kind: ConfigMap, metadata: {name: x}, data: *d}\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		var j, again judged
		j.judge(content)
		j.sort()
		again.judge(content)
		again.sort()
		if !reflect.DeepEqual(j, again) {
			t.Fatalf("%+v, then %+v", j, again)
		}
		for _, s := range append(j.Errors, j.Warnings...) {
			if s.Message == "" || s.Line < 0 || s.Line > strings.Count(string(content), "\n")+strings.Count(string(content), "\r")+2 {
				t.Fatalf("without a word, or of no line: %+v", s)
			}
		}
	})
}
