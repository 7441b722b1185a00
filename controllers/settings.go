package controllers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/healthz"

	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch,namespace=beskar7-system

// ConfigMapName is the ConfigMap of settings, in the manager's namespace. Absent means defaults.
const ConfigMapName = "beskar7-config"

// Random is where claim ids come from.
var Random io.Reader = rand.Reader

// ReadSources collects everything that settings can come from: flags, environment, the file of --config, and the ConfigMap.
func ReadSources(ctx context.Context, rc *rest.Config, flags *pflag.FlagSet) (config.Sources, error) {
	sources := config.Sources{Flags: flags, Env: os.Environ()}
	first, _ := config.Load(sources)
	if name := first.Scope.ConfigFile; name != "" {
		file, err := os.ReadFile(name)
		if err != nil {
			return sources, fmt.Errorf("read --config: %w", err)
		}
		sources.File = file
	}
	clientset, err := kubernetes.NewForConfig(rc)
	if err != nil {
		return sources, err
	}
	reading, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	found, err := clientset.CoreV1().ConfigMaps(configNamespace(first)).Get(reading, ConfigMapName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return sources, fmt.Errorf("read ConfigMap %s/%s: %w", configNamespace(first), ConfigMapName, err)
	default:
		sources.ConfigMap = found.Data
	}
	return sources, nil
}

func configNamespace(s config.Settings) string {
	if s.Pod.Namespace != "" {
		return s.Pod.Namespace
	}
	return "beskar7-system"
}

// SettingsError lists everything that is wrong with the settings, all at once.
func SettingsError(f config.Findings) error {
	lines := make([]string, 0, len(f.Errors))
	for _, e := range f.Errors {
		lines = append(lines, fmt.Sprintf("%s (%s): %s", e.Key, e.Source, e.Message))
	}
	return errors.New("the settings are invalid:\n  " + strings.Join(lines, "\n  "))
}

// LiveSettings are the effective settings, followed while the process runs. What is invalid never takes effect.
type LiveSettings struct {
	log logr.Logger

	mu       sync.RWMutex
	settings config.Settings
	sources  config.Sources
	level    func(string)
	onChange []func()
}

// NewLiveSettings starts from loaded settings.
func NewLiveSettings(s config.Settings, sources config.Sources) (*LiveSettings, error) {
	log, level, err := newLogger(s.Log)
	if err != nil {
		return nil, err
	}
	return &LiveSettings{log: log, level: level, settings: s, sources: sources}, nil
}

// Logger is the process's logger.
func (l *LiveSettings) Logger() logr.Logger { return l.log }

// Settings are the settings now in effect.
func (l *LiveSettings) Settings() config.Settings {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.settings
}

// OnChange calls f after every change. It must be called before Watch.
func (l *LiveSettings) OnChange(f func()) { l.onChange = append(l.onChange, f) }

// Gate are the settings of the BMC gate.
func (l *LiveSettings) Gate() bmcqueue.Settings {
	p := l.Settings().Provisioning
	return bmcqueue.Settings{MaxConcurrentOps: p.MaxConcurrentOps, WorkerCount: p.WorkerCount, MaxQueueSize: p.MaxQueueSize, OperationTimeout: p.OperationTimeout,
		Cooldown: p.BMCCooldownPeriod, RetryAttempts: p.RetryAttempts, ExponentialBackoff: p.ExponentialBackoff, MaxRetryDelay: p.MaxRetryDelay}
}

// BMC are the defaults of connections to BMCs.
func (l *LiveSettings) BMC() BMCSettings {
	b := l.Settings().BMC
	return BMCSettings{ConnectionTimeout: b.ConnectionTimeout, RequestTimeout: b.RequestTimeout, RetryDelay: b.RetryDelay, MaxRetries: b.MaxRetries}
}

// Selection are the settings of host selection.
func (l *LiveSettings) Selection() coordinator.Settings {
	h := l.Settings().HostSelection
	return coordinator.Settings{Algorithm: hostselection.Algorithm(h.Algorithm), RetryLimit: h.RetryLimit, BackoffMultiplier: h.BackoffMultiplier, MaxBackoffDelay: h.MaxBackoffDelay}
}

// validity reports whether the settings in the ConfigMap are valid.
type validity interface{ SetConfigValid(valid bool) }

// Watch follows the ConfigMap until the context ends.
func (l *LiveSettings) Watch(ctx context.Context, mgr ctrl.Manager, metric validity) error {
	clientset, err := kubernetes.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return err
	}
	namespace := configNamespace(l.Settings())
	events := mgr.GetEventRecorder("beskar7")
	apply := func(found *corev1.ConfigMap) {
		var data map[string]string
		if found != nil {
			data = found.Data
		}
		if err := l.apply(data); err != nil {
			l.log.Error(err, "The ConfigMap is invalid: the last good settings stay", "configMap", namespace+"/"+ConfigMapName)
			if found != nil {
				events.Eventf(found, nil, corev1.EventTypeWarning, "InvalidSettings", "Reload", "%s", err.Error())
			}
			metric.SetConfigValid(false)
			return
		}
		metric.SetConfigValid(true)
	}
	lw := toolscache.NewListWatchFromClient(clientset.CoreV1().RESTClient(), "configmaps", namespace, fields.OneTermEqualSelector(metav1.ObjectNameField, ConfigMapName))
	_, informer := toolscache.NewInformerWithOptions(toolscache.InformerOptions{ListerWatcher: lw, ObjectType: &corev1.ConfigMap{}, Handler: toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { apply(o.(*corev1.ConfigMap)) },
		UpdateFunc: func(_, o any) { apply(o.(*corev1.ConfigMap)) },
		DeleteFunc: func(any) { apply(nil) },
	}})
	informer.RunWithContext(ctx)
	return nil
}

// apply takes over the live settings of a ConfigMap's data, or none of them.
func (l *LiveSettings) apply(data map[string]string) error {
	l.mu.Lock()
	sources := l.sources
	sources.ConfigMap = data
	next, findings := config.Load(sources)
	if len(findings.Errors) > 0 {
		l.mu.Unlock()
		return SettingsError(findings)
	}
	l.settings = config.Reload(l.settings, next)
	l.mu.Unlock()
	l.level(next.Log.Level)
	for _, f := range l.onChange {
		f()
	}
	return nil
}

// CachesSynced is ready once the manager's caches are.
func CachesSynced(c cache.Cache) healthz.Checker {
	return func(r *http.Request) error {
		soon, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if !c.WaitForCacheSync(soon) {
			return errors.New("the caches are not synced yet")
		}
		return nil
	}
}
