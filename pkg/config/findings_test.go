package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRelationsAndUnknownKeys(t *testing.T) {
	cases := map[string]struct {
		sources  Sources
		errors   []string
		warnings []string
	}{
		"workers": {Sources{ConfigMaps: data(map[string]string{"provisioning.maxConcurrentOps": "8", "provisioning.workerCount": "4"})}, nil,
			[]string{"provisioning.workerCount: 4 workers run at most 4 of 8"}},
		"queue": {Sources{ConfigMaps: data(map[string]string{"provisioning.maxConcurrentOps": "3", "provisioning.maxQueueSize": "14"})}, nil,
			[]string{"provisioning.maxQueueSize: 14 is less than 5 times"}},
		"request longer than operation": {Sources{ConfigMaps: data(map[string]string{"bmc.requestTimeout": "180s", "provisioning.operationTimeout": "1m"})}, nil,
			[]string{"provisioning.operationTimeout: 1m0s ends an operation before"}},
		"connection longer than request": {Sources{ConfigMaps: data(map[string]string{"bmc.connectionTimeout": "61s"})}, nil,
			[]string{"bmc.connectionTimeout: 1m1s never ends"}},
		"burst": {Sources{Env: []string{"BESKAR7_KUBE_API_QPS=50"}}, nil, []string{"kubeAPI.burst: 30 is less than kubeAPI.qps (50)"}},
		"renewal share": {Sources{Flags: parsed(t, "--claim-coordinator-lease-duration=60s")}, nil,
			[]string{"claimCoordinator.renewDeadline: 10s is 17 %"}},
		"renewal too long": {Sources{Flags: parsed(t, "--leader-elect-renew-deadline=15s")},
			[]string{"leaderElection.renewDeadline: 15s must be less than"}, nil},
		"retry too long": {Sources{Flags: parsed(t, "--leader-elect-retry-period=9s")},
			[]string{"leaderElection.retryPeriod: 9s must be less than"}, nil},
		"misspelled": {Sources{
			ConfigMaps: data(map[string]string{"provisioning.maxConcurentOps": "8", "Log.Level": "debug", "something.else": "1"}),
			File:       []byte("bmc: {maxRetry: 3}"), Env: []string{"BESKAR7_LOGLEVEL=debug", "UNRELATED=1"}}, nil,
			[]string{"bmc.maxretry: there is no such setting; did you mean bmc.maxRetries?",
				"Log.Level: there is no such setting; did you mean log.level?",
				"provisioning.maxConcurentOps: there is no such setting; did you mean provisioning.maxConcurrentOps?",
				"something.else: there is no such setting",
				"BESKAR7_LOGLEVEL: there is no such setting; did you mean BESKAR7_LOG_LEVEL?"}},
		"Services of the namespace": {Sources{Env: []string{"BESKAR7_WEBHOOK_PORT=tcp://10.96.0.7:443", "BESKAR7_WEBHOOK_SERVICE_HOST=10.96.0.7",
			"BESKAR7_WEBHOOK_SERVICE_PORT_HTTPS=443", "BESKAR7_WEBHOOK_PORT_443_TCP_ADDR=10.96.0.7", "BESKAR7_WEBHOOK_PORT_443_TCP=tcp://10.96.0.7:443"}}, nil, nil},
		"a bad value that is overruled": {Sources{Env: []string{"BESKAR7_LOG_LEVEL=loud"}, ConfigMaps: data(map[string]string{"log.level": "warn"})}, nil,
			[]string{`log.level: "loud" is none of debug, info, warn, error; it is overruled by the configmap beskar7-config`}},
		"no YAML":      {Sources{File: []byte("a: [")}, []string{"config: the file cannot be read as YAML"}, nil},
		"empty file":   {Sources{File: []byte("\n  \n")}, nil, nil},
		"empty values": {Sources{File: []byte("bmc:\n  maxRetries:\n"), ConfigMaps: data(map[string]string{"log.format": ""})}, []string{"bmc.maxRetries: \"\"", "log.format: \"\""}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, findings := Load(c.sources)
			compare(t, "errors", findings.Errors, c.errors)
			compare(t, "warnings", findings.Warnings, c.warnings)
		})
	}
}

func compare(t *testing.T, what string, got []Finding, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s %+v, want %d: %v", what, got, len(want), want)
	}
	for i, finding := range got {
		if text := finding.Key + ": " + finding.Message; !strings.HasPrefix(text, want[i]) {
			t.Errorf("%s: %q, want %q", what, text, want[i])
		}
	}
}

// The ConfigMaps of the guide are valid as they are; at most they earn warnings.
func TestProfilesOfTheGuideAreValid(t *testing.T) {
	for name, text := range map[string]string{
		"development": "provisioning.maxConcurrentOps=2 provisioning.maxQueueSize=10 provisioning.operationTimeout=10m provisioning.bmcCooldownPeriod=15s provisioning.workerCount=2 " +
			"hostSelection.algorithm=deterministic hostSelection.retryLimit=3 hostSelection.backoffMultiplier=1.5 log.level=debug log.stacktraceLevel=error",
		"staging": "provisioning.maxConcurrentOps=5 provisioning.maxQueueSize=30 provisioning.operationTimeout=8m provisioning.bmcCooldownPeriod=10s provisioning.workerCount=4 provisioning.retryAttempts=3 " +
			"hostSelection.algorithm=deterministic hostSelection.retryLimit=5 hostSelection.backoffMultiplier=2.0 reconcile.syncPeriod=30s reconcile.timeout=5m metrics.interval=30s log.level=info",
		"production": "provisioning.maxConcurrentOps=10 provisioning.maxQueueSize=75 provisioning.operationTimeout=5m provisioning.bmcCooldownPeriod=8s provisioning.workerCount=8 provisioning.retryAttempts=5 " +
			"hostSelection.algorithm=deterministic hostSelection.retryLimit=5 hostSelection.backoffMultiplier=1.5 hostSelection.maxBackoffDelay=30s " +
			"bmc.connectionTimeout=30s bmc.requestTimeout=60s bmc.maxRetries=3 bmc.retryDelay=5s reconcile.syncPeriod=10s reconcile.timeout=3m reconcile.maxConcurrentReconciles=12 " +
			"leaderElection.leaseDuration=15s leaderElection.renewDeadline=10s leaderElection.retryPeriod=2s metrics.interval=15s metrics.enableProfiling=true " +
			"log.level=info log.format=json log.timeEncoding=iso8601",
		"large scale": "provisioning.maxConcurrentOps=20 provisioning.maxQueueSize=150 provisioning.operationTimeout=4m provisioning.bmcCooldownPeriod=5s provisioning.workerCount=15 " +
			"provisioning.retryAttempts=7 provisioning.exponentialBackoff=true provisioning.maxRetryDelay=60s",
		"latency": "bmc.connectionTimeout=60s bmc.requestTimeout=180s provisioning.operationTimeout=15m provisioning.bmcCooldownPeriod=20s bmc.maxRetries=5 bmc.retryDelay=10s provisioning.maxConcurrentOps=3",
		"throughput": "provisioning.maxConcurrentOps=15 provisioning.workerCount=20 provisioning.maxQueueSize=200 provisioning.operationTimeout=3m bmc.requestTimeout=45s provisioning.bmcCooldownPeriod=3s " +
			"hostSelection.backoffMultiplier=1.2 bmc.retryDelay=2s",
		"dell-idrac": "provisioning.maxConcurrentOps=8 provisioning.bmcCooldownPeriod=8s bmc.requestTimeout=120s provisioning.operationTimeout=8m bmc.maxRetries=4 bmc.retryDelay=5s",
		"hpe-ilo":    "provisioning.maxConcurrentOps=12 provisioning.bmcCooldownPeriod=5s bmc.requestTimeout=60s provisioning.operationTimeout=5m bmc.maxRetries=3 bmc.retryDelay=3s",
		"supermicro": "provisioning.maxConcurrentOps=4 provisioning.bmcCooldownPeriod=15s bmc.requestTimeout=90s provisioning.operationTimeout=10m bmc.maxRetries=5 bmc.retryDelay=8s",
	} {
		given := map[string]string{}
		for pair := range strings.FieldsSeq(text) {
			key, value, _ := strings.Cut(pair, "=")
			given[key] = value
		}
		settings, findings := Load(Sources{ConfigMaps: data(given)})
		for _, w := range findings.Warnings {
			if strings.Contains(w.Message, "no such setting") {
				t.Errorf("%s: %s", name, w)
			}
		}
		if len(findings.Errors) > 0 {
			t.Errorf("%s: %+v", name, findings.Errors)
		}
		for _, s := range Table() {
			if text, ok := given[s.Key]; ok {
				if want, _ := s.parse(text); s.value(&settings) != want {
					t.Errorf("%s: %s is %v, want %v", name, s.Key, s.value(&settings), want)
				}
			}
		}
	}
}

func TestReloadTakesLiveSettingsOnly(t *testing.T) {
	next, findings := Load(Sources{ConfigMaps: data(map[string]string{
		"provisioning.workerCount": "9", "reconcile.syncPeriod": "7s", "metrics.interval": "6s", "log.level": "debug", "log.format": "console", "kubeAPI.qps": "25",
		"provisioning.bmcCooldownPeriod": "4s", "vendors.dell.provisioning.maxConcurrentOps": "2",
	})})
	if len(findings.Errors) > 0 {
		t.Fatal(findings.Errors)
	}
	want := Defaults()
	want.Chosen.Cooldown, want.Provisioning.BMCCooldownPeriod = 4*time.Second, 4*time.Second
	want.Vendors[0].MaxConcurrentOps = 2
	want.Provisioning.WorkerCount, want.Reconcile.SyncPeriod, want.Metrics.Interval, want.Log.Level = 9, 7*time.Second, 6*time.Second, "debug"
	if got := Reload(Defaults(), next); got != want {
		t.Fatalf("reloaded %+v", got)
	}
}

func TestAFlagAloneMeansTrue(t *testing.T) {
	settings, _ := Load(Sources{Flags: parsed(t, "--leader-elect", "--enable-pprof")})
	if !settings.LeaderElection.Enabled || !settings.Metrics.EnableProfiling {
		t.Fatalf("settings %+v", settings)
	}
}

func TestReferenceNamesEverySetting(t *testing.T) {
	text := Reference()
	for _, s := range global() {
		if !strings.Contains(text, "## `"+s.Key+"`") || !strings.Contains(text, s.Env) || !strings.Contains(text, s.Help) {
			t.Errorf("%s is missing", s.Key)
		}
	}
	if text != Reference() {
		t.Error("the text is not stable")
	}
}

// What is generated is in the repository as it is; run go generate.
func TestGeneratedFilesAreFresh(t *testing.T) {
	for name, want := range map[string]string{
		"../../docs/configuration.md": Reference(), "../../docs/configuration.schema.json": string(Schema()), "../../config/samples/beskar7-config.yaml": Sample(),
	} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s is stale (error %v): run go generate ./pkg/config", name, err)
		}
	}
}

// Applied as it is, with or without its comments, the sample is valid and changes nothing that a person did not choose.
func TestSampleIsValid(t *testing.T) {
	for name, uncommented := range map[string]bool{"as it is": false, "with everything": true} {
		given := map[string]string{}
		_, body, _ := strings.Cut(Sample(), "\ndata:\n")
		for line := range strings.Lines(body) {
			line = strings.TrimSpace(line)
			comment := strings.HasPrefix(line, "# ")
			key, rest, found := strings.Cut(strings.TrimPrefix(line, "# "), ": \"")
			value, _, _ := strings.Cut(rest, "\"")
			if found && (!comment || uncommented) {
				given[key] = value
			}
		}
		settings, findings := Load(Sources{ConfigMaps: data(given)})
		unknown := slices.DeleteFunc(findings.Warnings, func(f Finding) bool { return f.Key == "provisioning.workerCount" }) // the guide's own defaults earn it
		if len(findings.Errors)+len(unknown) > 0 {
			t.Errorf("%s: %+v", name, findings)
		}
		if !uncommented && settings != Defaults() {
			t.Errorf("%s it changes %+v", name, Changes(Defaults(), settings))
		}
		if n := len(global()); uncommented && len(given) < n {
			t.Errorf("%d keys in the sample, %d settings", len(given), n)
		}
	}
}

// Whatever the bytes: no panic, and either no error or the defaults.
func FuzzLoad(f *testing.F) {
	f.Add([]byte("bmc:\n  maxRetries: 3\n"), "log.level", "debug", "BESKAR7_LOG_LEVEL=info")
	f.Add([]byte("a: &a [*a]"), "bmc.retryDelay", "1e9h", "=")
	f.Add([]byte("? {a: b}\n: c\n1: 2\nbmc: 5"), "hostSelection.backoffMultiplier", "Inf", "BESKAR7_")
	f.Add([]byte("bmc: {maxRetries: [1, {a: b}]}\n<<: *x"), "media.advertiseURL", "http://[::1", "BESKAR7_WEBHOOK_PORT=tcp://a")
	f.Fuzz(func(t *testing.T, file []byte, key, value, env string) {
		sources := Sources{File: file, ConfigMaps: data(map[string]string{key: value}), Env: []string{env}}
		settings, findings := Load(sources)
		if len(findings.Errors) > 0 {
			want := Defaults()
			want.Pod = settings.Pod
			if settings != want {
				t.Fatalf("half applied: %+v", settings)
			}
		}
		again, _ := Load(sources)
		if fmt.Sprintf("%+v", settings) != fmt.Sprintf("%+v", again) {
			t.Fatal("the same sources gave other settings")
		}
		Explain(sources)
	})
}

// What people write most likely besides slips: half of a name, the right name in the wrong group, a vendor's other name. Where
// several could be meant, none is named.
func TestSuggestions(t *testing.T) {
	for written, want := range map[string]string{
		"provisioning.bmcCooldown":          "provisioning.bmcCooldownPeriod",
		"provisioning.requestTimeout":       "bmc.requestTimeout",
		"bmc.bmcCooldownPeriod":             "provisioning.bmcCooldownPeriod",
		"maxQueueSize":                      "provisioning.maxQueueSize",
		"vendors.dell.bmcCooldownPeriod":    "vendors.dell.provisioning.bmcCooldownPeriod",
		"vendors.idrac.bmc.maxRetries":      "vendors.dell.bmc.maxRetries",
		"bmc.maxRetrys":                     "bmc.maxRetries",
		"leaseDuration":                     "",
		"provisioning.maxWhatever":          "",
		"BESKAR7_PROVISIONING_BMC_COOLDOWN": "",
		"":                                  "",
		".":                                 "",
		"vendors.":                          "",
	} {
		got := suggest(written, func(s *Setting) string { return s.Key })
		if want != "" {
			want = "; did you mean " + want + "?"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", written, got, want)
		}
	}
	if got := suggest("BESKAR7_PROVISIONING_BMC_COOLDOWN", func(s *Setting) string { return s.Env }); got != "; did you mean BESKAR7_PROVISIONING_BMC_COOLDOWN_PERIOD?" {
		t.Error(got)
	}
	if got := suggest("--claim-coordinator-lease", func(s *Setting) string { return prefixed("--", s.Flag) }); got != "; did you mean --claim-coordinator-lease-duration?" {
		t.Error(got)
	}
}
