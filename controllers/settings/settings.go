package settings

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch,namespace=beskar7-system

// Read collects everything that settings can come from: flags, environment, the file of --config, and the ConfigMaps of
// --config-map that exist.
func Read(ctx context.Context, rc *rest.Config, flags *pflag.FlagSet) (config.Sources, error) {
	sources := config.Sources{Flags: flags, Env: os.Environ()}
	first := bootSettings(sources)
	if name := first.Scope.ConfigFile; name != "" {
		file, err := os.ReadFile(name)
		if err != nil {
			return sources, fmt.Errorf("read --config: %w", err)
		}
		sources.File = file
		first = bootSettings(sources)
	}
	clientset, err := kubernetes.NewForConfig(rc)
	if err != nil {
		return sources, err
	}
	reading, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, name := range first.Scope.ConfigMapNames() {
		found, err := clientset.CoreV1().ConfigMaps(first.Pod.NamespaceOrDefault()).Get(reading, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return sources, fmt.Errorf("read ConfigMap %s/%s: %w", first.Pod.NamespaceOrDefault(), name, err)
		default:
			sources.ConfigMaps = append(sources.ConfigMaps, config.ConfigMap{Name: name, Data: found.Data})
		}
	}
	return sources, nil
}

// bootSettings say where the other settings are found, even if some of what is known so far is invalid: all errors are
// reported at once, when everything was read.
func bootSettings(sources config.Sources) config.Settings {
	s, _ := config.Load(sources)
	for _, e := range config.Explain(sources) {
		switch e.Setting.Key {
		case "config":
			s.Scope.ConfigFile = e.Value
		case "configMaps":
			s.Scope.ConfigMaps = e.Value
		}
	}
	return s
}

// Invalid lists everything that is wrong with the settings, all at once.
func Invalid(f config.Findings) error {
	return errors.New("the settings are invalid:\n  " + joined(f.Errors, "\n  "))
}

func joined[T fmt.Stringer](items []T, separator string) string {
	lines := make([]string, len(items))
	for i, item := range items {
		lines[i] = item.String()
	}
	return strings.Join(lines, separator)
}

// Live are the effective settings, followed while the process runs. What is invalid never takes effect.
//
// Locking: applying is held while a change is taken over, so that changes and what they call are in one order; mu guards the
// fields below it and is never held while calling out.
type Live struct {
	log   logr.Logger
	level func(string)
	// table says what is known of a vendor; nil: nothing.
	table    func(vendor string) config.Tuning
	onChange []func()

	applying sync.Mutex
	// following counts the ConfigMaps that are not followed yet; below 0: the watch has not begun.
	following atomic.Int64

	mu       sync.RWMutex
	changed  chan struct{} // closed at the next change
	settings config.Settings
	sources  config.Sources
}

// New starts from loaded settings.
func New(s config.Settings, sources config.Sources) (*Live, error) {
	log, level, err := newLogger(s.Log, os.Stderr)
	if err != nil {
		return nil, err
	}
	live := &Live{log: log, level: level, settings: s, sources: sources, changed: make(chan struct{})}
	live.following.Store(-1)
	return live, nil
}

// Logger is the process's logger.
func (l *Live) Logger() logr.Logger { return l.log }

// Settings are the settings now in effect.
func (l *Live) Settings() config.Settings {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.settings
}

// Changed returns a channel that is closed at the next change, when the new settings are in effect.
func (l *Live) Changed() <-chan struct{} {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.changed
}

// Period is the time between rounds that a setting says.
func (l *Live) Period(of func(config.Settings) time.Duration) Period {
	return Period{Of: func() time.Duration { return of(l.Settings()) }, Changed: l.Changed}
}

// Ready is nil once the ConfigMaps of settings are followed. Invalid ones do not end that: the last good settings are in
// effect, and a replica that is not ready would serve no webhooks.
func (l *Live) Ready(*http.Request) error {
	if l.following.Load() != 0 {
		return errors.New("the ConfigMaps of settings are not read yet")
	}
	return nil
}

// OnChange calls f after every change. It must be called before Watch.
func (l *Live) OnChange(f func()) { l.onChange = append(l.onChange, f) }

// UseTable gives what is known of vendors: what counts where no source says anything. It must be called before Watch.
func (l *Live) UseTable(table func(vendor string) config.Tuning) { l.table = table }

// Gate are the settings of the BMC gate.
func (l *Live) Gate() bmcqueue.Settings {
	s := l.Settings()
	p := s.Provisioning
	return bmcqueue.Settings{GroupCaps: s.GroupCaps(), MaxConcurrentOps: p.MaxConcurrentOps, WorkerCount: p.WorkerCount, MaxQueueSize: p.MaxQueueSize, OperationTimeout: p.OperationTimeout,
		Cooldown: p.BMCCooldownPeriod, RetryAttempts: p.RetryAttempts, ExponentialBackoff: p.ExponentialBackoff, MaxRetryDelay: p.MaxRetryDelay}
}

// BMC are the settings for the BMC of one host: its own, those of its vendor, the global ones.
func (l *Live) BMC(host *v1beta1.PhysicalHost) config.Tuning {
	vendor, table := VendorOf(host), config.Tuning{}
	if l.table != nil {
		table = l.table(IdentifiedAs(host))
	}
	return l.Settings().For(vendor, ownTuning(host), table)
}

// VendorOf is the vendor that a host's owner named, else what its BMC said.
func VendorOf(host *v1beta1.PhysicalHost) string {
	if v := host.Spec.RedfishConnection.Vendor; v != "" || host.Status.BMC == nil {
		return v
	}
	return host.Status.BMC.Vendor
}

// IdentifiedAs is the row of the vendor table that the driver chose; the owner's word where that is of another vendor, or
// nothing was chosen yet.
func IdentifiedAs(host *v1beta1.PhysicalHost) string {
	said := host.Spec.RedfishConnection.Vendor
	if b := host.Status.BMC; b != nil && (said == "" || config.VendorOf(said) == config.VendorOf(b.Vendor)) {
		return b.Vendor
	}
	return said
}

func ownTuning(host *v1beta1.PhysicalHost) config.Tuning {
	t := TuningOf(host)
	return config.Tuning{Cooldown: Tuned(t.Cooldown, 0), OperationTimeout: Tuned(t.OperationTimeout, 0), ConnectionTimeout: Tuned(t.ConnectionTimeout, 0),
		RequestTimeout: Tuned(t.RequestTimeout, 0), RetryDelay: Tuned(t.RetryDelay, 0), MaxRetries: int(ptr.Deref(t.MaxRetries, 0))}
}

// Selection are the settings of host selection.
func (l *Live) Selection() coordinator.Settings {
	h := l.Settings().HostSelection
	return coordinator.Settings{Algorithm: hostselection.Algorithm(h.Algorithm), RetryLimit: h.RetryLimit, BackoffMultiplier: h.BackoffMultiplier, MaxBackoffDelay: h.MaxBackoffDelay}
}

// TuningOf is what the owner of a host said of its BMC.
func TuningOf(h *v1beta1.PhysicalHost) v1beta1.Tuning {
	return ptr.Deref(h.Spec.RedfishConnection.Tuning, v1beta1.Tuning{})
}

// Tuned is the host's own value if it has one that makes sense.
func Tuned(own *metav1.Duration, otherwise time.Duration) time.Duration {
	if own != nil && own.Duration > 0 {
		return own.Duration
	}
	return otherwise
}
