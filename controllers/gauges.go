package controllers

import (
	"context"
	"io"
	"net/http"
	"strings"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
)

// FleetMetrics are the gauges over the whole fleet.
type FleetMetrics interface {
	SetHosts(byState map[string]int)
	SetQueue(waiting, limit, inFlight int)
	SetDriver(held bool)
}

// Gauges sets the gauges over the fleet once in every interval. It runs on all replicas, but only the one that drives counts
// hosts: a sum over the replicas is then the fleet.
type Gauges struct {
	Client client.Reader
	Queue  func() bmcqueue.Stats
	// QueueLimit is how many operations may wait.
	QueueLimit func() int
	// Driving says whether this process holds the driver lease.
	Driving func() bool
	Metrics FleetMetrics
	// Interval is the time between two rounds.
	Interval Period
}

// Run sets the gauges until the context ends.
func (g Gauges) Run(ctx context.Context) error {
	for g.Interval.wait(ctx) {
		if err := g.set(ctx); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Cannot set the gauges over the fleet")
		}
	}
	return nil
}

func (g Gauges) set(ctx context.Context) error {
	driving, byState, stats := g.Driving(), map[string]int{}, g.Queue()
	g.Metrics.SetDriver(driving)
	waiting := 0
	for _, n := range stats.Waiting {
		waiting += n
	}
	g.Metrics.SetQueue(waiting, g.QueueLimit(), stats.Running+stats.Polling)
	if driving {
		hosts := &v1beta1.PhysicalHostList{}
		if err := g.Client.List(ctx, hosts, client.UnsafeDisableDeepCopy); err != nil {
			return err
		}
		for i := range hosts.Items {
			if state := hosts.Items[i].Status.State; state != "" {
				byState[string(state)]++
			}
		}
	}
	g.Metrics.SetHosts(byState)
	return nil
}

// MediaMetrics count what the media server answered.
type MediaMetrics interface {
	MediaServed(file string, code int, n int64)
}

// CountMedia counts the answers of the media server. It looks at the end of the path only: the rest is a secret.
func CountMedia(next http.Handler, metrics MediaMetrics) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		counted := &countedWriter{ResponseWriter: w, code: http.StatusOK}
		defer func() { metrics.MediaServed(mediaFile(r.URL.Path), counted.code, counted.bytes) }()
		next.ServeHTTP(counted, r)
	})
}

func mediaFile(path string) string {
	switch {
	case strings.HasSuffix(path, "/boot.iso"):
		return "image"
	case strings.HasSuffix(path, "/config.iso"):
		return "seed"
	case strings.HasSuffix(path, "/composed.iso"):
		return "composed"
	}
	return "other"
}

type countedWriter struct {
	http.ResponseWriter
	code  int
	bytes int64
}

// Unwrap lets http.ResponseController reach the connection.
func (w *countedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *countedWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

// ReadFrom keeps the connection's own way to copy, which for a cached image is the kernel's.
func (w *countedWriter) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseWriter, r)
	w.bytes += n
	return n, err
}

func (w *countedWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}
