package daemon

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/beskar7/beskar7/pkg/metrics"
)

// TestTheClientLimitIsSeen: what a client waits for its own limit, and what its requests take, is in the metrics.
func TestTheClientLimitIsSeen(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	recorder, err := metrics.New(registry, metrics.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ObserveClients(recorder)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer server.Close()
	client, err := rest.UnversionedRESTClientFor(&rest.Config{Host: server.URL, QPS: 20, Burst: 1,
		ContentConfig: rest.ContentConfig{GroupVersion: &schema.GroupVersion{}, NegotiatedSerializer: scheme.Codecs}})
	if err != nil {
		t.Fatal(err)
	}
	const requests = 3
	for range requests {
		if err := client.Get().AbsPath("/x").Do(context.Background()).Error(); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"rest_client_rate_limiter_duration_seconds", "rest_client_request_duration_seconds"} {
		if count, sum := histogram(t, registry, name); count < requests || sum <= 0 {
			t.Errorf("%s: %d observations, %g s", name, count, sum)
		}
	}
}

func histogram(t *testing.T, registry *prometheus.Registry, name string) (count uint64, sum float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == "GET" {
				return m.GetHistogram().GetSampleCount(), m.GetHistogram().GetSampleSum()
			}
		}
	}
	return 0, 0
}
