package daemon

import (
	"context"
	"net/url"
	"time"

	clientmetrics "k8s.io/client-go/tools/metrics"

	"github.com/beskar7/beskar7/pkg/metrics"
)

// ObserveClients records the waits and durations of all requests to API servers from now on: a manager that is slow because of
// kubeAPI.qps must be able to say so. Call it once, before the manager starts: client-go's hooks are global and not locked.
// controller-runtime installs none but the counter of results, and client-go's own Register works only once.
func ObserveClients(recorder *metrics.Recorder) {
	clientmetrics.RateLimiterLatency = clientTime(recorder.ClientWaited)
	clientmetrics.RequestLatency = clientTime(recorder.ClientAsked)
}

// clientTime is a hook of client-go. The URL is no label: there are too many.
type clientTime func(verb string, took time.Duration)

// Observe implements client-go's LatencyMetric.
func (c clientTime) Observe(_ context.Context, verb string, _ url.URL, took time.Duration) {
	c(verb, took)
}
