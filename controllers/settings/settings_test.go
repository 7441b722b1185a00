package settings

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/redfish"
)

func newLive(t *testing.T, sources config.Sources) *Live {
	t.Helper()
	start, findings := config.Load(sources)
	if len(findings.Errors) > 0 {
		t.Fatal(findings.Errors)
	}
	live, err := New(start, sources)
	if err != nil {
		t.Fatal(err)
	}
	return live
}

func TestLiveFollowsTheConfigMapAndNothingElse(t *testing.T) {
	live := newLive(t, config.Sources{})
	start := live.Settings()
	changes := 0
	live.OnChange(func() { changes++ })
	v := live.apply("beskar7-config", map[string]string{"reconcile.syncPeriod": "45s", "reconcile.timeout": "2m", "metrics.interval": "7s", "bmc.maxRetries": "4", "kubeAPI.qps": "30"})
	got := live.Settings()
	if got.Reconcile.SyncPeriod != 45*time.Second || got.Reconcile.Timeout != 2*time.Minute || got.Metrics.Interval != 7*time.Second || got.BMC.MaxRetries != 4 || changes != 1 {
		t.Fatalf("live settings did not follow: %+v", got)
	}
	if got.KubeAPI.QPS != start.KubeAPI.QPS {
		t.Fatalf("kubeAPI.qps needs a restart, but is %d", got.KubeAPI.QPS)
	}
	if len(v.Waiting) != 1 || v.Waiting[0].Key != "kubeAPI.qps" || len(v.Applied) != 4 {
		t.Fatalf("applyResult %+v", v)
	}
	if v := live.apply("beskar7-config", map[string]string{"reconcile.syncPeriod": "1ms", "bmc.maxRetries": "5", "log.level": "loud"}); len(v.Errors) != 2 || live.Settings() != got || changes != 1 {
		t.Fatalf("an invalid ConfigMap took effect (%+v): %+v", v, live.Settings())
	}
	if live.apply("beskar7-config", map[string]string{"log.level": "debug"}); !live.Logger().V(1).Enabled() {
		t.Error("the log did not follow its level")
	}
	if v := live.apply("beskar7-config", nil); live.Logger().V(1).Enabled() || len(v.Errors) > 0 || live.Settings() != start {
		t.Fatalf("without a ConfigMap the settings are %+v (%+v)", live.Settings(), v)
	}
}

func TestOfSeveralConfigMapsTheLastWins(t *testing.T) {
	live := newLive(t, config.Sources{Env: []string{"BESKAR7_CONFIG_MAPS=profile,beskar7-config"}})
	for _, step := range []struct {
		name string
		data map[string]string
		want int
	}{
		{"beskar7-config", map[string]string{"bmc.maxRetries": "4"}, 4},
		{"profile", map[string]string{"bmc.maxRetries": "7"}, 4},
		{"beskar7-config", map[string]string{}, 7},
		{"profile", map[string]string{"bmc.maxRetries": "99"}, 7},
		{"beskar7-config", map[string]string{"bmc.maxRetries": "5"}, 5},
		{"profile", nil, 5},
		{"beskar7-config", nil, 3},
	} {
		if live.apply(step.name, step.data); live.Settings().BMC.MaxRetries != step.want {
			t.Fatalf("after %s %v: %d, want %d", step.name, step.data, live.Settings().BMC.MaxRetries, step.want)
		}
	}
}

func TestSettingsForOneHost(t *testing.T) {
	live := newLive(t, config.Sources{ConfigMaps: []config.ConfigMap{{Name: "beskar7-config", Data: map[string]string{
		"vendors.dell.provisioning.bmcCooldownPeriod": "8s", "bmc.requestTimeout": "70s"}}}})
	live.UseTable(func(vendor string) config.Tuning {
		if vendor == "Dell Inc." {
			return config.Tuning{Cooldown: 9 * time.Second, RequestTimeout: 120 * time.Second, MaxRetries: 4}
		}
		return config.Tuning{}
	})
	host := &v1beta1.PhysicalHost{}
	if got := live.BMC(host); got.Cooldown != 10*time.Second || got.RequestTimeout != 70*time.Second || got.MaxRetries != 3 {
		t.Errorf("of a host of unknown vendor: %+v", got)
	}
	host.Status.BMC = &v1beta1.BMCReport{Vendor: "Dell Inc."}
	if got := live.BMC(host); got.Cooldown != 8*time.Second || got.RequestTimeout != 70*time.Second || got.MaxRetries != 4 {
		t.Errorf("of a host of Dell: %+v", got)
	}
	host.Spec.RedfishConnection.Tuning = &v1beta1.Tuning{Cooldown: &metav1.Duration{Duration: 3 * time.Second}, RequestTimeout: &metav1.Duration{Duration: 33 * time.Second},
		ConnectionTimeout: &metav1.Duration{Duration: 6 * time.Second}, RetryDelay: &metav1.Duration{Duration: 2 * time.Second}, OperationTimeout: &metav1.Duration{Duration: 7 * time.Minute}, MaxRetries: ptr.To(int32(9))}
	if got, want := live.BMC(host), (config.Tuning{Cooldown: 3 * time.Second, RequestTimeout: 33 * time.Second, ConnectionTimeout: 6 * time.Second,
		RetryDelay: 2 * time.Second, OperationTimeout: 7 * time.Minute, MaxRetries: 9}); got != want {
		t.Errorf("tuned: %+v, want %+v", got, want)
	}
	host.Spec.RedfishConnection.Vendor, host.Spec.RedfishConnection.Tuning = "hpe", nil
	if got := live.BMC(host); got.Cooldown != 10*time.Second {
		t.Errorf("the owner's word for the vendor does not count: %+v", got)
	}
}

// Every row of the driver's vendor table has settings of its own under the name of its family.
func TestVendorsOfTheDriverHaveSettings(t *testing.T) {
	for _, row := range redfish.Vendors() {
		if config.VendorOf(row.Name) != row.Family {
			t.Errorf("%s is of %q, its settings are those of %q", row.Name, row.Family, config.VendorOf(row.Name))
		}
	}
}

// told keeps events as "type reason name: note", and the validity.
type told struct {
	mu    sync.Mutex
	lines []string
	valid bool
}

func (r *told) Eventf(about, _ runtime.Object, kind, reason, _, note string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf("%s %s %s: %s", kind, reason, about.(*corev1.ConfigMap).Name, fmt.Sprintf(note, args...)))
}

func (r *told) SetConfigValid(valid bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.valid = valid
}

// take returns what was told since the last call, and whether the settings are valid.
func (r *told) take() (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := strings.Join(r.lines, "\n")
	r.lines = nil
	return lines, r.valid
}

// A changed ConfigMap takes effect through the watch, and people are told what became of it. Time stands still in the bubble:
// nothing of it waits.
func TestTheWatchTellsWhatBecameOfAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		live := newLive(t, config.Sources{ConfigMaps: []config.ConfigMap{{Name: "beskar7-config", Data: map[string]string{"bmc.maxRetries": "9"}}}})
		clientset, heard := fake.NewClientset(), &told{}
		ended := make(chan error)
		began := time.Now()
		go func() { ended <- live.watch(ctx, clientset, heard, heard) }()
		configMaps := clientset.CoreV1().ConfigMaps("beskar7-system")
		expect := func(retries int, valid bool, want ...string) {
			t.Helper()
			synctest.Wait()
			said, isValid := heard.take()
			if live.Settings().BMC.MaxRetries != retries || isValid != valid || said != strings.Join(want, "\n") {
				t.Fatalf("retries %d, valid %v, told\n%s\nwant %d, %v and\n%s", live.Settings().BMC.MaxRetries, isValid, said, retries, valid, strings.Join(want, "\n"))
			}
		}
		if live.Ready(nil) == nil {
			t.Error("ready before the watch began")
		}
		<-time.After(time.Second) // of the bubble: the wait for the first listing polls
		if err := live.Ready(nil); err != nil {
			t.Error(err)
		}
		expect(3, true) // what was read at start-up was deleted before the watch began
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "beskar7-config", Namespace: "beskar7-system"}, Data: map[string]string{"bmc.maxRetries": "4"}}
		must(t)(configMaps.Create(ctx, object, metav1.CreateOptions{}))
		expect(4, true, "Normal SettingsApplied beskar7-config: in effect: bmc.maxRetries: 4 instead of 3")
		object.Data = map[string]string{"bmc.maxRetries": "40", "bmc.retryDelay": "5"}
		must(t)(configMaps.Update(ctx, object, metav1.UpdateOptions{}))
		expect(4, false, "Warning InvalidSettings beskar7-config: the last good settings stay in effect: "+
			`bmc.maxRetries (configmap beskar7-config): 40 is outside the range 1 to 10; bmc.retryDelay (configmap beskar7-config): "5" is not a duration such as 30s, 5m or 1h30m`)
		object.Data = map[string]string{"bmc.maxRetries": "4", "bmc.maxRetrys": "1", "kubeAPI.qps": "25"}
		must(t)(configMaps.Update(ctx, object, metav1.UpdateOptions{}))
		expect(4, true, "Normal SettingsValid beskar7-config: all settings: valid again",
			"Warning SettingsWarning beskar7-config: bmc.maxRetrys (configmap beskar7-config): there is no such setting; did you mean bmc.maxRetries?",
			"Warning RestartRequired beskar7-config: takes effect after a restart of the manager: kubeAPI.qps: 25 instead of 20")
		if err := configMaps.Delete(ctx, object.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		expect(3, true)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("changes took effect after %s of waiting", took)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func must(t *testing.T) func(*corev1.ConfigMap, error) {
	return func(_ *corev1.ConfigMap, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The API server refuses longer notes.
func TestEventsFitIntoTheirNote(t *testing.T) {
	var items []config.Finding
	for i := range 100 {
		items = append(items, config.Finding{Key: fmt.Sprintf("key-%d", i), Message: strings.Repeat("x", 50)})
	}
	note := strings.Join(fit(items, NoteLimit), "; ")
	if len(note) > NoteLimit || !strings.Contains(note, "key-0:") || !strings.HasSuffix(note, " more: see the log of the manager") {
		t.Fatalf("%d bytes: %s", len(note), note)
	}
	if lines := fit(items[:3], NoteLimit); len(lines) != 3 {
		t.Fatalf("left out what fits: %v", lines)
	}
}

// A person's file, flags, environment and ConfigMaps all arrive, and what is missing is no error.
func TestRead(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		name, found := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/here/configmaps/")
		if !found || name == "absent" {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
			return
		}
		fmt.Fprintf(w, `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":%q},"data":{"bmc.maxRetries":"%d"}}`, name, len(name))
	}))
	defer api.Close()
	file := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(file, []byte("configMaps: four1,absent,six666\nbmc: {retryDelay: 7s}\nlog: {level: loud}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("POD_NAMESPACE", "here")
	t.Setenv("BESKAR7_METRICS_INTERVAL", "9s")
	flags := pflag.NewFlagSet("manager", pflag.ContinueOnError)
	config.Bind(flags)
	if err := flags.Parse([]string{"--config=" + file, "--log-level=warn"}); err != nil {
		t.Fatal(err)
	}
	sources, err := Read(t.Context(), &rest.Config{Host: api.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}, flags)
	if err != nil {
		t.Fatal(err)
	}
	s, findings := config.Load(sources)
	if len(findings.Errors) > 0 || s.BMC.MaxRetries != 6 || s.BMC.RetryDelay != 7*time.Second || s.Log.Level != "warn" || s.Metrics.Interval != 9*time.Second || len(sources.ConfigMaps) != 2 {
		t.Fatalf("%+v %+v", s, findings)
	}
	if err := flags.Set("config", file+".absent"); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(t.Context(), &rest.Config{Host: api.URL}, flags); err == nil {
		t.Error("a file that is not there is no error")
	}
}

// Whatever a ConfigMap holds: all of its live settings take effect, or none. Whoever looks meanwhile sees the old settings whole or
// the new ones whole, the log is only told levels that are in effect, and when the ConfigMap is as before, so are the settings.
func FuzzLive(f *testing.F) {
	f.Add("bmc.maxRetries", "5", "provisioning.workerCount", "9")
	f.Add("bmc.maxRetries", "5", "provisioning.workerCount", "99")
	f.Add("leaderElection.renewDeadline", "30s", "log.level", "debug")
	f.Add("vendors.dell.bmc.maxRetries", "", "kubeAPI.qps", "1e1")
	f.Add("configMaps", "other", "namespace", "elsewhere")
	f.Fuzz(func(t *testing.T, key, value, other, second string) {
		start, _ := config.Load(config.Sources{})
		level := ""
		live := &Live{settings: start, level: func(l string) { level = l }}
		good := map[string]string{"bmc.retryDelay": "2s"}
		live.apply("beskar7-config", good)
		before := live.Settings()
		data := map[string]string{key: value, other: second}
		seen := whileLooking(live, func() {
			v := live.apply("beskar7-config", data)
			next, findings := config.Load(config.Sources{ConfigMaps: []config.ConfigMap{{Name: "beskar7-config", Data: data}}})
			want := config.Reload(before, next)
			if len(findings.Errors) > 0 {
				want = before
			}
			if live.Settings() != want || (len(v.Errors) > 0) != (len(findings.Errors) > 0) {
				t.Fatalf("settings %+v, want %+v", live.Settings(), want)
			}
			for _, c := range append(config.Changes(before, live.Settings()), v.Applied...) {
				if !c.Live {
					t.Fatalf("%s needs a restart, but changed", c.Key)
				}
			}
		})
		after := live.Settings()
		for s := range seen {
			if s != before && s != after {
				t.Fatalf("half applied: %+v, neither %+v nor %+v", s, before, after)
			}
		}
		if level != "" && level != after.Log.Level {
			t.Fatalf("the log was told %q, its level is %q", level, after.Log.Level)
		}
		if live.apply("beskar7-config", good); live.Settings() != before {
			t.Fatalf("something stayed behind: %+v", config.Changes(before, live.Settings()))
		}
	})
}

// whileLooking are the settings that someone saw who looked all the time while f ran.
func whileLooking(live *Live, f func()) map[config.Settings]bool {
	seen, looking, end := map[config.Settings]bool{}, make(chan struct{}), make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for first := true; ; first = false {
			seen[live.Settings()] = true
			if first {
				close(looking)
			}
			select {
			case <-end:
				return
			default:
			}
		}
	})
	<-looking
	defer func() { close(end); watcher.Wait() }()
	f()
	return seen
}
