package settings

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/beskar7/beskar7/pkg/config"
)

// validity reports whether the settings in the ConfigMaps are valid.
type validity interface{ SetConfigValid(valid bool) }

// Watch follows the ConfigMaps of settings until the context ends.
func (l *Live) Watch(ctx context.Context, mgr ctrl.Manager, metric validity) error {
	clientset, err := kubernetes.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return err
	}
	return l.watch(ctx, clientset, mgr.GetEventRecorder("beskar7"), metric)
}

// watch follows each ConfigMap by its name: the manager may read no others.
func (l *Live) watch(ctx context.Context, clientset kubernetes.Interface, recorder events.EventRecorder, metric validity) error {
	s := l.Settings()
	namespace := s.Pod.NamespaceOrDefault()
	f := &follower{live: l, namespace: namespace, events: recorder, metric: metric, told: map[string]string{}}
	var running sync.WaitGroup
	names := s.Scope.ConfigMapNames()
	l.following.Store(int64(len(names)))
	for _, name := range names {
		store, informer := toolscache.NewInformerWithOptions(toolscache.InformerOptions{
			ListerWatcher: listWatch(clientset, namespace, name), ObjectType: &corev1.ConfigMap{},
			Handler: toolscache.ResourceEventHandlerFuncs{
				AddFunc:    func(o any) { f.changed(name, o.(*corev1.ConfigMap)) },
				UpdateFunc: func(_, o any) { f.changed(name, o.(*corev1.ConfigMap)) },
				DeleteFunc: func(any) { f.changed(name, nil) },
			}})
		running.Go(func() { informer.RunWithContext(ctx) })
		running.Go(func() {
			// What was deleted after it was read at start-up and before the watch began is no event of the watch.
			if !toolscache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
				return
			}
			if len(store.ListKeys()) == 0 {
				f.changed(name, nil)
			}
			l.following.Add(-1)
		})
	}
	running.Wait()
	return nil
}

func listWatch(clientset kubernetes.Interface, namespace, name string) toolscache.ListerWatcher {
	only := fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	return toolscache.ToListWatcherWithWatchListSemantics(&toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = only
			return clientset.CoreV1().ConfigMaps(namespace).List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = only
			return clientset.CoreV1().ConfigMaps(namespace).Watch(ctx, o)
		},
	}, clientset)
}

// follower tells people what became of a changed ConfigMap.
type follower struct {
	live      *Live
	namespace string
	events    events.EventRecorder
	metric    validity

	mu   sync.Mutex
	told map[string]string
}

// changed takes over a ConfigMap; nil: it is gone.
func (f *follower) changed(name string, found *corev1.ConfigMap) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var data map[string]string
	if found != nil {
		data = found.Data
	}
	applyResult := f.live.apply(name, data)
	f.metric.SetConfigValid(len(applyResult.Errors) == 0)
	log := f.live.log.WithName("settings").WithValues("configMap", f.namespace+"/"+name)
	if len(applyResult.Errors) > 0 {
		log.Error(Invalid(applyResult.Findings), "The settings are invalid: the last good ones stay in effect")
		f.tell(found, corev1.EventTypeWarning, "InvalidSettings", "the last good settings stay in effect: ", applyResult.Errors)
		return
	}
	for _, c := range applyResult.Applied {
		log.Info("Setting changed", "key", c.Key, "from", c.Before, "to", c.After)
	}
	for _, w := range applyResult.Warnings {
		log.Info("Setting", "key", w.Key, "warning", w.Message)
	}
	if f.told[name+"/InvalidSettings"] != "" {
		log.Info("The settings are valid again")
		f.tell(found, corev1.EventTypeNormal, "SettingsValid", "", []config.Finding{{Key: "all settings", Message: "valid again"}})
	}
	f.told[name+"/InvalidSettings"], f.told[name+"/SettingsValid"] = "", ""
	f.tell(found, corev1.EventTypeNormal, "SettingsApplied", "in effect: ", changes(applyResult.Applied))
	f.tell(found, corev1.EventTypeWarning, "SettingsWarning", "", of(name, applyResult.Warnings))
	f.tell(found, corev1.EventTypeWarning, "RestartRequired", "takes effect after a restart of the manager: ", changes(applyResult.Waiting))
}

// of are the findings about one ConfigMap, and those about no source in particular.
func of(name string, findings []config.Finding) []config.Finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f config.Finding) bool { return f.Source != "" && f.Name != name })
}

// NoteLimit is how long the API server lets the note of an event be, in bytes.
const NoteLimit = 1024

// tell makes one event of all items. Each reason is told once until it changes: every replica follows the ConfigMap, and a
// watch that begins anew shows it again.
func (f *follower) tell(about *corev1.ConfigMap, kind, reason, intro string, items []config.Finding) {
	if about == nil {
		return
	}
	note := ""
	if len(items) > 0 {
		note = intro + strings.Join(fit(items, NoteLimit-len(intro)), "; ")
	}
	key := about.Name + "/" + reason
	if f.told[key] == note {
		return
	}
	if f.told[key] = note; note != "" {
		f.events.Eventf(about, nil, kind, reason, "Reload", "%s", note)
	}
}

// fit keeps as many lines as the limit allows and says how many are left out.
func fit(items []config.Finding, limit int) []string {
	const reserve = len("; and 999 more: see the log of the manager")
	var lines []string
	used := 0
	for i, item := range items {
		line := item.String()
		if used += len(line) + len("; "); used > limit-reserve {
			return append(lines, fmt.Sprintf("and %d more: see the log of the manager", len(items)-i))
		}
		lines = append(lines, line)
	}
	return lines
}

// changes puts changes into words.
func changes(list []config.Change) []config.Finding {
	words := make([]config.Finding, len(list))
	for i, c := range list {
		words[i] = config.Finding{Key: c.Key, Message: fmt.Sprintf("%s instead of %s", shown(c.After), shown(c.Before))}
	}
	return words
}

func shown(value string) string {
	if value == "" {
		return "nothing"
	}
	return value
}

// applyResult is what became of a changed ConfigMap.
type applyResult struct {
	config.Findings
	// Applied took effect; Waiting differ from what is in effect, and need a restart.
	Applied, Waiting []config.Change
}

// apply takes over the live settings with one ConfigMap's data changed, or none of them. nil: it is gone.
func (l *Live) apply(name string, data map[string]string) applyResult {
	l.applying.Lock()
	defer l.applying.Unlock()
	l.mu.Lock()
	before := l.settings
	l.sources.ConfigMaps = replaced(l.sources.ConfigMaps, before.Scope.ConfigMapNames(), name, data)
	next, findings := config.Load(l.sources)
	if len(findings.Errors) > 0 {
		l.mu.Unlock()
		return applyResult{Findings: findings}
	}
	l.settings = config.Reload(before, next)
	after := l.settings
	if after != before && l.changed != nil {
		close(l.changed)
		l.changed = make(chan struct{})
	}
	l.mu.Unlock()
	if after != before {
		l.level(after.Log.Level)
		for _, f := range l.onChange {
			f()
		}
	}
	return applyResult{Findings: findings, Applied: config.Changes(before, after), Waiting: config.Changes(after, next)}
}

// replaced is the list with one ConfigMap's data changed, in the order of names.
func replaced(list []config.ConfigMap, names []string, name string, data map[string]string) []config.ConfigMap {
	byName := map[string]map[string]string{}
	for _, c := range list {
		byName[c.Name] = c.Data
	}
	byName[name] = data
	var out []config.ConfigMap
	for _, n := range names {
		if byName[n] != nil {
			out = append(out, config.ConfigMap{Name: n, Data: byName[n]})
		}
	}
	return out
}
