package process

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/beskar7/beskar7/controllers"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/metrics"
)

// settingsAPI is an API server that has one ConfigMap of settings: it is listed, and then watched as what changed says.
func settingsAPI(t *testing.T, held map[string]string, changed <-chan map[string]string) *rest.Config {
	t.Helper()
	version := metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}
	object := func(data map[string]string) corev1.ConfigMap {
		return corev1.ConfigMap{TypeMeta: version, ObjectMeta: metav1.ObjectMeta{Namespace: "beskar7-system", Name: "beskar7-config", ResourceVersion: "1"}, Data: data}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		query := r.URL.Query()
		switch {
		case query.Get("sendInitialEvents") != "":
			w.WriteHeader(http.StatusUnprocessableEntity) // as before there were streamed lists
			_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonInvalid, Code: http.StatusUnprocessableEntity})
		case query.Get("watch") == "":
			_ = json.NewEncoder(w).Encode(corev1.ConfigMapList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMapList"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []corev1.ConfigMap{object(held)}})
		default:
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			for {
				select {
				case <-r.Context().Done():
					return
				case data := <-changed:
					now := object(data)
					_ = json.NewEncoder(w).Encode(metav1.WatchEvent{Type: string(watch.Modified), Object: runtime.RawExtension{Object: &now}})
					_ = http.NewResponseController(w).Flush()
				}
			}
		}
	}))
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL}
}

// answered is a deaf manager with an API server that only settings are read from.
type answered struct {
	deaf
	config *rest.Config
}

func (a *answered) GetConfig() *rest.Config                    { return a.config }
func (*answered) GetHTTPClient() *http.Client                  { return &http.Client{} }
func (*answered) GetEventRecorder(string) events.EventRecorder { return events.NewFakeRecorder(100) }

// The way of one setting, through the wiring of the process and in one direction: ConfigMap, sources, live settings, gate; and again
// when the ConfigMap changes.
func TestAConfigMapReachesTheGate(t *testing.T) {
	const key = "provisioning.maxConcurrentOps"
	first, changed := map[string]string{key: "3"}, make(chan map[string]string)
	r := start(t, config.Sources{ConfigMaps: []config.ConfigMap{{Name: "beskar7-config", Data: first}}})
	recorder, err := metrics.New(prometheus.NewRegistry(), controllers.MetricLabels())
	if err != nil {
		t.Fatal(err)
	}
	r.parts.metrics = recorder
	manager := &answered{config: settingsAPI(t, first, changed)}
	r.parts.mgr = manager
	gate := r.parts.newGate()
	if got := gate.Stats().Cap; got != 3 {
		t.Fatalf("the gate begins with %d operations at once, want 3", got)
	}
	applied := make(chan int, 1)
	r.parts.live.OnChange(func() { applied <- gate.Stats().Cap })
	ended := make(chan error, 1)
	go func() { ended <- r.parts.live.Watch(t.Context(), manager, recorder) }()
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	changed <- map[string]string{key: "2"}
	if got := <-applied; got != 2 {
		t.Errorf("the gate allows %d operations at once, want 2 as the ConfigMap says now", got)
	}
}
