package controllers

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/controllers/settings"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
)

func TestResyncFollowsItsPeriod(t *testing.T) {
	r := newRig(t, newHost())
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[ctrl.Request]())
		var period atomic.Int64
		period.Store(int64(10 * time.Second))
		go resync{client: r.api, list: &v1beta1.PhysicalHostList{}, period: settings.Period{Of: func() time.Duration { return time.Duration(period.Load()) }}}.run(ctx, queue)
		began := time.Now()
		for _, want := range []time.Duration{10, 20} {
			req, _ := queue.Get()
			if req.Name != "h" || req.Namespace != namespace || time.Since(began) != want*time.Second {
				t.Errorf("%s after %s, want it after %ds", req, time.Since(began), want)
			}
			queue.Done(req)
		}
		period.Store(int64(time.Minute))
		req, _ := queue.Get() // the round that was under way
		queue.Done(req)
		req, _ = queue.Get()
		if queue.Done(req); time.Since(began) != 90*time.Second {
			t.Errorf("with the new period after %s", time.Since(began))
		}
		cancel()
		queue.ShutDown()
	})
}

// board is a FleetMetrics and MediaMetrics that can be read.
type board struct {
	hosts, awaiting   map[string]int
	waiting, inFlight int
	driver            bool
	media             []any
}

func (b *board) SetHosts(m, a map[string]int)               { b.hosts, b.awaiting = m, a }
func (b *board) SetQueue(w, _, f int)                       { b.waiting, b.inFlight = w, f }
func (b *board) SetDriver(held bool)                        { b.driver = held }
func (b *board) MediaServed(file string, code int, n int64) { b.media = append(b.media, file, code, n) }
func (b *board) stats() bmcqueue.Stats {
	return bmcqueue.Stats{Waiting: [3]int{1, 2, 3}, Running: 4, Polling: 5}
}

func TestMediaAreCountedByFile(t *testing.T) {
	b := &board{}
	server := httptest.NewServer(media.Count(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).SetWriteDeadline(time.Time{}); err != nil {
			t.Errorf("the connection is hidden: %v", err)
		}
		if r.URL.Path == "/m/token/boot.iso" {
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = io.WriteString(w, "12345")
	}), b))
	for _, path := range []string{"/m/token/boot.iso", "/m/token/config.iso", "/p/secret"} {
		reply, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		reply.Body.Close()
	}
	server.Close()
	if want := []any{"image", 206, int64(5), "seed", 200, int64(5), "other", 200, int64(5)}; !reflect.DeepEqual(b.media, want) {
		t.Fatalf("counted %v, want %v", b.media, want)
	}
}
