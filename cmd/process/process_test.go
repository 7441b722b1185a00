package process

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers"
	"github.com/beskar7/beskar7/controllers/settings"
	"github.com/beskar7/beskar7/pkg/cli"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/endpoint"
	"github.com/beskar7/beskar7/pkg/lease"
)

// running is what settings make of a process, up to the point where it would talk to somebody.
type running struct {
	parts   *parts
	options ctrl.Options
	rest    rest.Config
}

func start(t *testing.T, sources config.Sources) *running {
	t.Helper()
	s, findings := config.Load(sources)
	if len(findings.Errors) > 0 {
		t.Fatal(findings.Errors)
	}
	live, err := settings.New(s, sources)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{parts: &parts{settings: s, live: live, reach: reachPolicy(s, nil), mgr: &deaf{}, wake: controllers.NewWaker(), wakeMachine: controllers.NewWaker(), identity: "me", illegible: &controllers.Illegible{}},
		options: managerOptions(s, scheme.Scheme, nil)}
	limitRequests(&r.rest, s)
	return r
}

// deaf is a manager without an API server: what is built on it can be looked at, but not run.
type deaf struct {
	ctrl.Manager
	caches informertest.FakeInformers
	added  int
}

func (*deaf) GetClient() client.Client                     { return nil }
func (*deaf) GetAPIReader() client.Reader                  { return nil }
func (*deaf) GetEventRecorder(string) events.EventRecorder { return nil }
func (*deaf) GetConfig() *rest.Config                      { return &rest.Config{Host: "https://127.0.0.1:1"} }
func (d *deaf) GetCache() cache.Cache                      { return &d.caches }
func (d *deaf) Add(manager.Runnable) error                 { d.added++; return nil }

// claims are how hosts are claimed, and whether this replica stands for arbiter.
func (r *running) claims(t *testing.T) any {
	t.Helper()
	r.parts.mgr.(*deaf).caches.Scheme = cli.Scheme()
	claimer, err := r.parts.claims(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%T, %d candidacies", claimer, r.parts.mgr.(*deaf).added)
}

// filter is the label that objects must have, empty if anybody looks at others too.
func (r *running) filter() any {
	all := r.parts.reconcilers(nil, nil, nil, nil)
	return min(all.Host.WatchFilter, all.Machine.WatchFilter, all.Cluster.WatchFilter, all.Template.WatchFilter)
}

func (r *running) candidacy() *lease.Candidacy { return r.parts.candidacy(nil, nil) }

// ofVendor is what a host of a vendor gets, and which part of all operations.
func (r *running) ofVendor(vendor string) any {
	host := &v1beta1.PhysicalHost{}
	host.Spec.RedfishConnection.Vendor = vendor
	return fmt.Sprintf("%+v of %v", r.parts.live.BMC(host), r.parts.live.Gate().GroupCaps)
}

func (r *running) webhook() webhook.Options {
	return r.options.WebhookServer.(*webhook.DefaultServer).Options
}

func (r *running) tls() *tls.Config {
	c := &tls.Config{} //nolint:gosec // it is never used
	for _, change := range r.webhook().TLSOpts {
		change(c)
	}
	return c
}

func (r *running) dell() *v1beta1.PhysicalHost {
	host := &v1beta1.PhysicalHost{}
	host.Spec.RedfishConnection.Vendor = "dell"
	return host
}

// effects say, for every setting, where it is read and what it changes there.
var effects = map[string]func(*running) any{
	"provisioning.maxConcurrentOps":   func(r *running) any { return r.parts.live.Gate().MaxConcurrentOps },
	"provisioning.maxQueueSize":       func(r *running) any { return r.parts.live.Gate().MaxQueueSize },
	"provisioning.operationTimeout":   func(r *running) any { return r.parts.live.Gate().OperationTimeout },
	"provisioning.bmcCooldownPeriod":  func(r *running) any { return r.parts.live.Gate().Cooldown },
	"provisioning.workerCount":        func(r *running) any { return r.parts.live.Gate().WorkerCount },
	"provisioning.retryAttempts":      func(r *running) any { return r.parts.live.Gate().RetryAttempts },
	"provisioning.exponentialBackoff": func(r *running) any { return r.parts.live.Gate().ExponentialBackoff },
	"provisioning.maxRetryDelay":      func(r *running) any { return r.parts.live.Gate().MaxRetryDelay },
	"provisioning.maxBoots":           func(r *running) any { return r.parts.reconcilers(nil, nil, nil, nil).Host.MaxBoots() },

	"hostSelection.algorithm":         func(r *running) any { return r.parts.live.Selection().Algorithm },
	"hostSelection.retryLimit":        func(r *running) any { return r.parts.live.Selection().RetryLimit },
	"hostSelection.backoffMultiplier": func(r *running) any { return r.parts.live.Selection().BackoffMultiplier },
	"hostSelection.maxBackoffDelay":   func(r *running) any { return r.parts.live.Selection().MaxBackoffDelay },

	"bmc.connectionTimeout": func(r *running) any { return r.parts.live.BMC(r.dell()).ConnectionTimeout },
	"bmc.requestTimeout":    func(r *running) any { return r.parts.live.BMC(r.dell()).RequestTimeout },
	"bmc.maxRetries":        func(r *running) any { return r.parts.live.BMC(r.dell()).MaxRetries },
	"bmc.retryDelay":        func(r *running) any { return r.parts.live.BMC(r.dell()).RetryDelay },

	"reconcile.syncPeriod":              func(r *running) any { return r.parts.setupOptions().SyncPeriod.Of() },
	"reconcile.timeout":                 func(r *running) any { return r.parts.setupOptions().Timeout() },
	"reconcile.maxConcurrentReconciles": func(r *running) any { return r.parts.setupOptions().MaxConcurrentReconciles },
	"kubeAPI.qps":                       func(r *running) any { return r.rest.QPS },
	"kubeAPI.burst":                     func(r *running) any { return r.rest.Burst },

	"leaderElection.leaseDuration":     func(r *running) any { return *r.options.LeaseDuration },
	"leaderElection.renewDeadline":     func(r *running) any { return *r.options.RenewDeadline },
	"leaderElection.retryPeriod":       func(r *running) any { return *r.options.RetryPeriod },
	"leaderElection.resourceNamespace": func(r *running) any { return leaseNamespace(r.parts.settings) },

	"metrics.interval":        func(r *running) any { return r.parts.gaugesInterval().Of() },
	"metrics.enableProfiling": func(r *running) any { return r.options.PprofBindAddress },
	"metrics.bindAddress":     func(r *running) any { return r.options.Metrics.BindAddress },
	"diagnostics.address":     func(r *running) any { return r.options.Metrics.BindAddress },
	"diagnostics.insecure":    func(r *running) any { return r.options.Metrics.SecureServing },
	"health.probeBindAddress": func(r *running) any { return r.options.HealthProbeBindAddress },
	"pprof.bindAddress": func(r *running) any {
		s := r.parts.settings
		s.Metrics.EnableProfiling = true
		return managerOptions(s, scheme.Scheme, nil).PprofBindAddress
	},
	"media.bindAddress":           func(r *running) any { r.parts.settings.Pod.IP = "10.0.0.9"; return r.parts.mediaURL() },
	"media.advertiseURL":          func(r *running) any { return r.parts.mediaURL() },
	"media.phoneHomeAdvertiseURL": func(r *running) any { return r.parts.phoneHomeURL() },
	"media.certDir":               func(r *running) any { r.parts.settings.Pod.IP = "10.0.0.9"; return r.parts.mediaURL() },
	"media.caSecret":              func(r *running) any { r.parts.settings.Pod.IP = "10.0.0.9"; return r.parts.mediaURL() },
	"media.imageCADir":            func(r *running) any { return r.parts.imageClientOptions().CADir },
	"addresses.allow":             func(r *running) any { return r.parts.reach.Check(netip.MustParseAddrPort("127.0.0.1:80")) == nil },
	"addresses.deny":              func(r *running) any { return r.parts.reach.Check(netip.MustParseAddrPort("10.0.0.1:80")) == nil },
	"media.cacheDir":              func(r *running) any { return r.parts.mediaOptions(nil).CacheDir },
	"media.cacheSize":             func(r *running) any { return r.parts.mediaOptions(nil).CacheBytes },
	"webhook.port":                func(r *running) any { return r.webhook().Port },
	"webhook.certDir":             func(r *running) any { return r.webhook().CertDir },
	"namespace":                   func(r *running) any { return r.options.Cache.DefaultNamespaces },
	"tls.minVersion":              func(r *running) any { return r.tls().MinVersion },
	"tls.cipherSuites":            func(r *running) any { return r.tls().CipherSuites },
	"pod.name":                    func(r *running) any { return identity(r.parts.settings)[:4] },
	"pod.namespace":               func(r *running) any { return leaseNamespace(r.parts.settings) },
	"pod.ip":                      func(r *running) any { return r.parts.mediaURL() },
	"pod.node":                    func(r *running) any { return startedAs(r.parts.settings, "v0") },
	// The Lease to drive BMCs is taken in both cases, under one name, so that a change of the flag never makes two drivers.
	"leaderElection.enabled":         func(r *running) any { return startedAs(r.parts.settings, "v0") },
	"watchFilter":                    func(r *running) any { return r.filter() },
	"claimCoordinator.leaseDuration": func(r *running) any { return r.candidacy().LeaseDuration },
	"claimCoordinator.renewDeadline": func(r *running) any { return r.candidacy().RenewDeadline },
	"claimCoordinator.retryPeriod":   func(r *running) any { return r.candidacy().RetryPeriod },
}

// What nobody reads is not kept in memory.
func TestTheCacheKeepsNoManagedFields(t *testing.T) {
	transform := managerOptions(config.Settings{}, scheme.Scheme, nil).Cache.DefaultTransform
	for _, o := range []client.Object{&v1beta1.PhysicalHost{}, &metav1.PartialObjectMetadata{}} {
		o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "kubectl"}})
		o.SetLabels(map[string]string{"rack": "1"})
		if _, err := transform(o); err != nil || len(o.GetManagedFields()) != 0 || len(o.GetLabels()) != 1 {
			t.Errorf("%T: %v, kept %v", o, err, o.GetManagedFields())
		}
	}
}

// TestDriversAreGuarded: what users write is dialled under the policy of the settings.
func TestDriversAreGuarded(t *testing.T) {
	r := start(t, config.Sources{})
	metadata := netip.MustParseAddrPort("169.254.169.254:80")
	for name, reach := range map[string]*endpoint.Policy{
		"BMCs": r.parts.driverOptions().Reach, "hosts": r.parts.reconcilers(nil, nil, nil, nil).Host.Reach, "images": r.parts.imageClientOptions().Reach,
	} {
		if reach.Check(metadata) == nil {
			t.Errorf("%s may be at %s", name, metadata)
		}
	}
	resp, err := r.parts.mediaOptions(nil).Client.Get("http://127.0.0.1:1/image.iso")
	if err == nil {
		_ = resp.Body.Close()
	}
	if forbidden := new(endpoint.ForbiddenError); !errors.As(err, &forbidden) {
		t.Errorf("the client for images dials a loopback address: %v", err)
	}
}

// TestAPIServerIsKept: both where this process finds it and where every Pod does.
func TestAPIServerIsKept(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	policy := reachPolicy(config.Defaults(), apiServer(t.Context(), &rest.Config{Host: "https://192.0.2.10:6443"}))
	for text, want := range map[string]bool{"10.96.0.1:443": false, "192.0.2.10:6443": false, "192.0.2.10:443": true, "[64:ff9b::a60:1]:443": false} {
		if err := policy.Check(netip.MustParseAddrPort(text)); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// elsewhere are settings whose effect another test shows.
var elsewhere = map[string]string{
	"log.level": "controllers/settings: TestLogSettings", "log.stacktraceLevel": "controllers/settings: TestLogSettings", "log.format": "controllers: TestLogSettings",
	"log.timeEncoding": "controllers/settings: TestLogSettings", "config": "controllers/settings: TestRead", "configMaps": "controllers/settings: TestRead",
}

// another is a valid value that is not the default.
func another(s config.Setting) string {
	switch s.Key {
	case "leaderElection.leaseDuration", "claimCoordinator.leaseDuration":
		return "20s"
	case "leaderElection.renewDeadline", "claimCoordinator.renewDeadline":
		return "9s"
	case "leaderElection.retryPeriod", "claimCoordinator.retryPeriod":
		return "3s"
	case "addresses.allow":
		return "127.0.0.0/8"
	case "tls.cipherSuites":
		return tls.CipherSuites()[0].Name
	}
	switch s.Type {
	case config.Boolean:
		return fmt.Sprint(s.Default != "true")
	case config.Choice:
		return s.Options[len(s.Options)-1]
	case config.Address:
		return "127.0.0.1:7777"
	case config.Networks:
		return "10.0.0.0/8"
	case config.URL:
		return "https://example.com/x"
	case config.Integer, config.Number, config.Duration:
		return s.Max
	case config.Text, config.Names, config.CipherSuites:
	}
	return "text"
}

// Every setting, from each of its sources, changes what it is there for.
func TestEverySettingFromSourceToEffect(t *testing.T) {
	for _, s := range config.Table() {
		effect := effects[s.Key]
		switch {
		case s.Key == "claimCoordinator.enabled":
			effect = func(r *running) any { return r.claims(t) }
		case s.Optional:
			vendor := strings.Split(s.Key, ".")[1]
			effect = func(r *running) any { return r.ofVendor(vendor) }
		case elsewhere[s.Key] != "":
			continue
		case effect == nil:
			t.Errorf("%s: nobody says what it changes", s.Key)
			continue
		}
		value := another(s)
		routes := map[string]config.Sources{
			"file": {File: fmt.Appendf(nil, "%s: %q", s.Key, value)}, "environment": {Env: []string{s.Env + "=" + value}},
		}
		if !s.Local {
			routes["configmap"] = config.Sources{ConfigMaps: []config.ConfigMap{{Name: "beskar7-config", Data: map[string]string{s.Key: value}}}}
		}
		if s.Flag != "" {
			flags := pflag.NewFlagSet("manager", pflag.ContinueOnError)
			config.Bind(flags)
			if err := flags.Parse([]string{"--" + s.Flag + "=" + value}); err != nil {
				t.Fatal(err)
			}
			routes["flag"] = config.Sources{Flags: flags}
		}
		before := effect(start(t, config.Sources{}))
		for name, sources := range routes {
			if after := effect(start(t, sources)); reflect.DeepEqual(before, after) {
				t.Errorf("%s=%s from the %s changes nothing: %v", s.Key, value, name, after)
			}
		}
	}
}

// What a vendor's settings say holds for its BMCs, and for no others.
func TestSettingsOfVendorsFromSourceToEffect(t *testing.T) {
	r := start(t, config.Sources{Env: []string{"BESKAR7_VENDORS_DELL_PROVISIONING_BMC_COOLDOWN_PERIOD=8s"}, File: []byte("vendors: {dell: {bmc: {requestTimeout: 2m}, provisioning: {maxConcurrentOps: 2}}}"),
		ConfigMaps: []config.ConfigMap{{Name: "beskar7-config", Data: map[string]string{"vendors.dell.bmc.maxRetries": "4"}}}})
	if got := r.parts.live.BMC(r.dell()); got.Cooldown != 8*time.Second || got.RequestTimeout != 2*time.Minute || got.MaxRetries != 4 || got.MaxConcurrentOps != 2 {
		t.Errorf("of Dell: %+v", got)
	}
	if got := r.parts.live.BMC(&v1beta1.PhysicalHost{}); got.Cooldown != 10*time.Second || got.RequestTimeout != time.Minute || got.MaxRetries != 3 || got.MaxConcurrentOps != 0 {
		t.Errorf("of others: %+v", got)
	}
	if caps := r.parts.live.Gate().GroupCaps; !reflect.DeepEqual(caps, map[string]int{"dell": 2}) {
		t.Errorf("parts %v", caps)
	}
}

// Metrics are for those only whom the API server knows, unless a setting says otherwise; the guide's flag goes before Cluster API's.
func TestWhoMayReadMetrics(t *testing.T) {
	for args, want := range map[string]string{
		"": ":8443 guarded", "--diagnostics-address=:9": ":9 guarded", "--insecure-diagnostics": ":8443 open", "--diagnostics-address=0": "0 guarded",
		"--metrics-bind-address=:8080": ":8080 open", "--metrics-bind-address=:8080 --diagnostics-address=:9": ":8080 open", "--metrics-bind-address=0": "0 open",
	} {
		flags := pflag.NewFlagSet("manager", pflag.ContinueOnError)
		config.Bind(flags)
		if err := flags.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		o := start(t, config.Sources{Flags: flags}).options.Metrics
		got := o.BindAddress + " open"
		if o.SecureServing && o.FilterProvider != nil {
			got = o.BindAddress + " guarded"
		}
		if got != want || o.SecureServing != (o.FilterProvider != nil) || len(o.TLSOpts) == 0 {
			t.Errorf("%q: %s, want %s", args, got, want)
		}
	}
}

// Whoever sees a condition finds what to do in the runbook.
func TestRunbookOfEveryCondition(t *testing.T) {
	runbook, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../../api/v1beta1/conditions.go")
	if err != nil {
		t.Fatal(err)
	}
	conditions := []string{v1beta1.ReadyCondition, v1beta1.PausedCondition} // of Cluster API
	for _, m := range regexp.MustCompile(`(?m)^\t\w+Condition\s*= "(\w+)"`).FindAllSubmatch(source, -1) {
		conditions = append(conditions, string(m[1]))
	}
	if len(conditions) < 12 {
		t.Fatalf("found only %q", conditions)
	}
	for _, condition := range conditions {
		if !strings.Contains(string(runbook), "\n### Condition "+condition+"\n") || !strings.Contains(string(runbook), "| `"+condition+"` |") {
			t.Errorf("docs/operations.md has no section, or no row, for condition %s", condition)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^- ((?:`+"`\\w+`"+`(?:, )?)+):`).FindAllStringSubmatch(string(runbook), -1) {
		for reason := range strings.SplitSeq(m[1], ", ") {
			reason = strings.Trim(reason, "`")
			if !strings.Contains(string(source), `"`+reason+`"`) && !strings.Contains(string(source), "."+reason+"Reason") {
				t.Errorf("docs/operations.md explains %s, which is no reason", reason)
			}
		}
	}
}

// A manager whose caches are kept empty by an object says which one it is, where its readiness is asked.
func TestReadinessNamesTheObjectThatCannotBeRead(t *testing.T) {
	synced := false
	caches := &informertest.FakeInformers{Synced: &synced}
	probe := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", http.NoBody)
	for _, found := range []string{"", "PhysicalHost ns/h cannot be read"} {
		err := cachesSynced(caches, func() string { return found })(probe)
		if err == nil || !strings.HasSuffix(err.Error(), found) || strings.HasSuffix(err.Error(), ": ") {
			t.Errorf("found %q: it says %v", found, err)
		}
	}
	synced = true
	if err := cachesSynced(caches, func() string { return "" })(probe); err != nil {
		t.Errorf("the caches are filled, and it says %v", err)
	}
}
