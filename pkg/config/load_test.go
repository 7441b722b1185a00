package config

import (
	"crypto/tls"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func parsed(t testing.TB, args ...string) *pflag.FlagSet {
	t.Helper()
	flags := pflag.NewFlagSet("manager", pflag.ContinueOnError)
	Bind(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return flags
}

// data is one ConfigMap with the usual name.
func data(values map[string]string) []ConfigMap {
	return []ConfigMap{{Name: "beskar7-config", Data: values}}
}

// other is a valid value of the setting that is not its default, nor equal to any other n.
func other(s *Setting, n int) string {
	switch s.Type {
	case Integer:
		least, _ := s.parse(s.Min)
		return fmt.Sprint(least.(int) + n)
	case Number:
		return fmt.Sprintf("2.%d", n)
	case Duration:
		least, _ := s.parse(s.Min)
		return (least.(time.Duration) + time.Duration(n)*time.Millisecond).String()
	case Boolean:
		return map[bool]string{true: "false", false: "true"}[s.Default == "true"]
	case Choice:
		return s.Options[n%len(s.Options)]
	case Address:
		return fmt.Sprintf("127.0.0.1:%d", 1000+n)
	case URL:
		return fmt.Sprintf("https://example.com/%d", n)
	case Networks:
		return fmt.Sprintf("10.0.0.%d", n)
	case CipherSuites:
		return tls.CipherSuites()[n].Name
	case Text, Names:
	}
	return fmt.Sprint("text-", n)
}

// leasesAside keeps settings whose neighbours would contradict them out of one-by-one tests.
func leasesAside(s *Setting) ConfigMapData {
	if !strings.HasPrefix(s.Key, "leaderElection.") && !strings.HasPrefix(s.Key, "claimCoordinator.") || s.Type != Duration {
		return ConfigMapData{}
	}
	group, _, _ := strings.Cut(s.Key, ".")
	around := ConfigMapData{group + ".leaseDuration": "50s", group + ".renewDeadline": "40s", group + ".retryPeriod": "1s"}
	if strings.HasSuffix(s.Key, "leaseDuration") {
		around[group+".renewDeadline"] = "3s"
	}
	delete(around, s.Key)
	return around
}

// ConfigMapData is the data of a ConfigMap.
type ConfigMapData = map[string]string

func TestDefaultsAreThoseOfTheTableWithoutAFinding(t *testing.T) {
	settings, findings := Load(Sources{})
	if len(findings.Errors)+len(findings.Warnings) > 0 {
		t.Fatalf("findings %+v", findings)
	}
	if settings != Defaults() {
		t.Fatal("Load without sources differs from Defaults")
	}
	if settings.Provisioning.MaxConcurrentOps != 5 || settings.HostSelection.BackoffMultiplier != 1.5 || settings.BMC.RequestTimeout != time.Minute ||
		settings.Reconcile.MaxConcurrentReconciles != 10 || settings.KubeAPI.Burst != 30 || settings.Log.Format != "json" || settings.Media.BindAddress != ":8090" {
		t.Fatalf("defaults %+v", settings)
	}
}

// Every setting is read from each of its sources, lands in a field of its own, and obeys its order of sources.
func TestEverySettingFromEverySource(t *testing.T) {
	for _, s := range Table() {
		t.Run(s.Key, func(t *testing.T) {
			base := leasesAside(&s)
			want := func(source Source, sources Sources, value string) {
				t.Helper()
				settings, findings := Load(sources)
				if len(findings.Errors) > 0 {
					t.Fatalf("from %s: %+v", source, findings.Errors)
				}
				expected, err := s.parse(value)
				if err != nil {
					t.Fatal(err)
				}
				if got := s.value(&settings); got != expected {
					t.Fatalf("from %s: %v, want %v", source, got, expected)
				}
				for _, e := range Explain(sources) {
					if e.Setting.Key == s.Key && (e.Source != source || e.Value != value) {
						t.Fatalf("explained as %q from %s, want %q from %s", e.Value, e.Source, value, source)
					}
				}
			}
			sources := Sources{ConfigMaps: data(base), File: []byte(fmt.Sprintf("%s: %q\n", s.Key, other(&s, 1)))}
			if s.Key == "config" {
				sources.File = []byte("config: elsewhere")
				want(SourceDefault, sources, "")
			} else {
				want(SourceFile, sources, other(&s, 1))
			}
			sources.Env = []string{s.Env + "=" + other(&s, 2)}
			want(SourceEnvironment, sources, other(&s, 2))
			top := other(&s, 2)
			if s.Flag != "" {
				top = other(&s, 3)
				sources.Flags = parsed(t, "--"+s.Flag+"="+top)
				want(SourceFlag, sources, top)
			}
			top4 := map[string]string{s.Key: other(&s, 4)}
			maps.Copy(top4, base)
			sources.ConfigMaps = append(data(map[string]string{s.Key: "no such value"}), ConfigMap{Name: "stronger", Data: top4})
			switch {
			case s.Live:
				want(SourceConfigMap, sources, other(&s, 4))
			case s.Flag != "":
				want(SourceFlag, sources, top)
			default:
				want(SourceEnvironment, sources, top)
			}
		})
	}
}

func TestTableIsSound(t *testing.T) {
	keys, flags, envs, fields := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[any]bool{}
	var settings Settings
	for _, s := range Table() {
		field := s.field(&settings)
		if keys[s.Key] || (s.Flag != "" && flags[s.Flag]) || envs[s.Env] || fields[field] || s.Help == "" || !strings.HasSuffix(s.Help, ".") {
			t.Errorf("%s: key, flag, variable or field is used twice, or there is no help", s.Key)
		}
		keys[s.Key], flags[s.Flag], envs[s.Env], fields[field] = true, true, true, true
		if s.Optional != strings.HasPrefix(s.Key, "vendors.") {
			t.Errorf("%s: only settings of vendors are optional", s.Key)
		}
		for _, text := range []string{s.Default, s.Min, s.Max} {
			if _, err := s.parse(text); err != nil && text != "" {
				t.Errorf("%s: %q of the table: %v", s.Key, text, err)
			}
		}
		if _, err := s.parse(s.Default); err != nil && !s.Optional {
			t.Errorf("%s: default: %v", s.Key, err)
		}
		if isRanged(&s) && (s.Min == "" || s.Max == "") {
			t.Errorf("%s has no range", s.Key)
		}
	}
	// Chosen holds what is in other fields too.
	if n := leaves(reflect.TypeFor[Settings]()) - leaves(reflect.TypeFor[Tuning]()); n != len(Table()) {
		t.Errorf("%d fields for %d settings", n, len(Table()))
	}
}

func isRanged(s *Setting) bool {
	return s.Type == Integer || s.Type == Number || s.Type == Duration
}

func leaves(of reflect.Type) int {
	if of.Kind() == reflect.Array {
		return of.Len() * leaves(of.Elem())
	}
	if of.Kind() != reflect.Struct {
		return 1
	}
	n := 0
	for i := range of.NumField() {
		n += leaves(of.Field(i).Type)
	}
	return n
}

// What the guide lists must exist under exactly these names.
func TestNamesOfTheGuide(t *testing.T) {
	want := strings.Fields(`provisioning.maxConcurrentOps provisioning.maxQueueSize provisioning.operationTimeout
		provisioning.bmcCooldownPeriod provisioning.workerCount provisioning.retryAttempts provisioning.exponentialBackoff
		provisioning.maxRetryDelay hostSelection.algorithm hostSelection.retryLimit hostSelection.backoffMultiplier
		hostSelection.maxBackoffDelay bmc.connectionTimeout bmc.requestTimeout bmc.maxRetries bmc.retryDelay reconcile.syncPeriod
		reconcile.timeout reconcile.maxConcurrentReconciles leaderElection.leaseDuration leaderElection.renewDeadline
		leaderElection.retryPeriod metrics.interval metrics.enableProfiling log.level log.stacktraceLevel log.format log.timeEncoding
		--leader-elect --leader-elect-lease-duration --leader-elect-renew-deadline --leader-elect-retry-period
		--leader-elect-resource-namespace --enable-claim-coordinator-leader-election --claim-coordinator-lease-duration
		--claim-coordinator-renew-deadline --claim-coordinator-retry-period --max-concurrent-reconciles --kube-api-qps
		--kube-api-burst --metrics-bind-address --health-probe-bind-address --enable-pprof --pprof-bind-address
		--media-bind-address --media-advertise-url --phone-home-advertise-url --media-cert-dir --media-cache-dir --webhook-port
		--webhook-cert-dir --namespace --watch-filter --config BESKAR7_LOG_LEVEL POD_NAME POD_NAMESPACE POD_IP NODE_NAME`)
	var have []string
	for _, s := range Table() {
		have = append(have, s.Key, "--"+s.Flag, s.Env)
	}
	for _, name := range want {
		if !slices.Contains(have, name) {
			t.Errorf("%s is missing", name)
		}
	}
}

// ofTheGuide are the defaults and ranges that people know: those of the guide, and those that were given where it says none.
const ofTheGuide = `
	provisioning.maxConcurrentOps 5 1 50
	provisioning.maxQueueSize 50 10 500
	provisioning.operationTimeout 5m 1m 30m
	provisioning.bmcCooldownPeriod 10s 1s 60s
	provisioning.workerCount 3 1 20
	provisioning.retryAttempts 3 1 10
	provisioning.exponentialBackoff true
	provisioning.maxRetryDelay 60s 1s 10m
	--enable-claim-coordinator-leader-election false
	--claim-coordinator-lease-duration 15s 5s 60s
	--claim-coordinator-renew-deadline 10s 3s 45s
	--claim-coordinator-retry-period 2s 1s 10s
	hostSelection.algorithm deterministic deterministic,round-robin,priority
	hostSelection.retryLimit 3 1 10
	hostSelection.backoffMultiplier 1.5 1.0 3.0
	hostSelection.maxBackoffDelay 30s 5s 300s
	bmc.connectionTimeout 30s 5s 120s
	bmc.requestTimeout 60s 10s 300s
	bmc.maxRetries 3 1 10
	bmc.retryDelay 5s 1s 30s
	reconcile.syncPeriod 30s 5s 300s
	reconcile.timeout 5m 1m 30m
	reconcile.maxConcurrentReconciles 10 1 50
	--max-concurrent-reconciles 10 1 50
	--kube-api-qps 20 5 100
	--kube-api-burst 30 10 200
	leaderElection.leaseDuration 15s 5s 60s
	leaderElection.renewDeadline 10s 3s 45s
	leaderElection.retryPeriod 2s 1s 10s
	--leader-elect-lease-duration 15s 5s 60s
	--leader-elect-renew-deadline 10s 3s 45s
	--leader-elect-retry-period 2s 1s 10s
	metrics.interval 30s 5s 5m
	metrics.enableProfiling false
	--enable-pprof false
	log.level info debug,info,warn,error
	log.stacktraceLevel error debug,info,warn,error,none
	log.format json json,console
	log.timeEncoding iso8601 iso8601,rfc3339,rfc3339nano,epoch,millis,nanos`

func TestDefaultsAndRangesOfTheGuide(t *testing.T) {
	same := func(s *Setting, text, other string) bool {
		a, errA := s.parse(text)
		b, errB := s.parse(other)
		return errA == nil && errB == nil && a == b
	}
	for line := range strings.Lines(strings.TrimSpace(ofTheGuide)) {
		want := strings.Fields(line)
		i := slices.IndexFunc(Table(), func(s Setting) bool { return s.Key == want[0] || "--"+s.Flag == want[0] })
		if i < 0 {
			t.Errorf("%s is missing", want[0])
			continue
		}
		s := Table()[i]
		ok := same(&s, s.Default, want[1])
		switch len(want) {
		case 2:
			ok = ok && s.Type == Boolean
		case 3:
			ok = ok && strings.Join(s.Options, ",") == want[2]
		case 4:
			ok = ok && same(&s, s.Min, want[2]) && same(&s, s.Max, want[3])
		}
		if !ok {
			t.Errorf("%s: default %s, %s; want %v", want[0], s.Default, s.Range(), want[1:])
		}
	}
}

func TestAllErrorsAtOnceAndNothingTakesEffect(t *testing.T) {
	settings, findings := Load(Sources{
		Flags: parsed(t, "--max-concurrent-reconciles=0", "--metrics-bind-address=nowhere", "--media-advertise-url=https://u:p@x/?a"),
		Env:   []string{"BESKAR7_LOG_LEVEL=loud", "POD_NAME=pod-1", "BESKAR7_KUBE_API_QPS=101"},
		File:  []byte("bmc:\n  retryDelay: 5\nreconcile: {timeout: 31m}\n"),
		ConfigMaps: data(map[string]string{
			"provisioning.workerCount": "many", "hostSelection.backoffMultiplier": "NaN", "provisioning.exponentialBackoff": "perhaps",
			"hostSelection.algorithm": "best", "provisioning.maxQueueSize": "80",
		}),
	})
	var keys []string
	for _, e := range findings.Errors {
		keys = append(keys, fmt.Sprintf("%s/%s", e.Key, e.Source))
	}
	want := []string{
		"provisioning.workerCount/configmap", "provisioning.exponentialBackoff/configmap", "hostSelection.algorithm/configmap",
		"hostSelection.backoffMultiplier/configmap", "bmc.retryDelay/file", "reconcile.timeout/file", "reconcile.maxConcurrentReconciles/flag",
		"kubeAPI.qps/environment", "metrics.bindAddress/flag", "log.level/environment", "media.advertiseURL/flag",
	}
	if !slices.Equal(keys, want) {
		t.Fatalf("errors of\n%v, want\n%v", keys, want)
	}
	expected := Defaults()
	expected.Pod.Name = "pod-1"
	if settings != expected {
		t.Fatalf("settings %+v", settings)
	}
	for _, e := range findings.Errors {
		if strings.Contains(e.Message, "u:p") {
			t.Errorf("a message holds a password: %s", e.Message)
		}
	}
}
