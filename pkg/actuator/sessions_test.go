package actuator

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// sessionTable is a BMC of which only the sessions are of interest.
type sessionTable struct {
	url string
	mu  sync.Mutex
	// open are the tokens in use; made counts all there ever were.
	open map[string]bool
	made int
	// changed tells that the table did.
	changed chan struct{}
}

func newSessionTable(t *testing.T) *sessionTable {
	s := &sessionTable{open: map[string]bool{}, changed: make(chan struct{}, 100)}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func (s *sessionTable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	link := func(to string) map[string]any { return map[string]any{"@odata.id": to} }
	documents := map[string]map[string]any{
		"/redfish/v1/": {"Systems": link("/redfish/v1/Systems"),
			"Links": map[string]any{"Sessions": link("/redfish/v1/SessionService/Sessions")}},
		"/redfish/v1/Systems":   {"Members": []any{link("/redfish/v1/Systems/1")}, "Members@odata.count": 1},
		"/redfish/v1/Systems/1": {"Id": "1", "PowerState": "Off", "UUID": "5b8ff9a2-6d3f-4c7e-9a53-0f5a1f9a2d11"},
	}
	switch document := documents[r.URL.Path]; {
	case r.Method == http.MethodPost:
		s.made++
		token := "session-" + strconv.Itoa(s.made)
		s.open[token] = true
		w.Header().Set("X-Auth-Token", token)
		w.Header().Set("Location", "/redfish/v1/SessionService/Sessions/"+token)
		w.WriteHeader(http.StatusCreated)
		s.changed <- struct{}{}
	case r.Method == http.MethodDelete:
		delete(s.open, r.Header.Get("X-Auth-Token"))
		w.WriteHeader(http.StatusNoContent)
		s.changed <- struct{}{}
	case document != nil:
		_ = json.NewEncoder(w).Encode(document)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// until waits for so many open sessions.
func (s *sessionTable) until(t *testing.T, n int, what string) {
	t.Helper()
	for {
		s.mu.Lock()
		open := len(s.open)
		s.mu.Unlock()
		if open == n {
			return
		}
		select {
		case <-s.changed:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: %d sessions are open, not %d", what, open, n)
		}
	}
}

// A session takes a place in a table of a few dozen, and holds a password's rights: what a host leaves behind when it is deleted or
// moves to another address is ended, and not only when the process ends.
func TestAHostThatGoesLeavesNoSession(t *testing.T) {
	gone, kept := newSessionTable(t), newSessionTable(t)
	settings := bmcqueue.Settings{MaxConcurrentOps: 4, WorkerCount: 4, MaxQueueSize: 10, RetryAttempts: 1}
	gate := bmcqueue.New(bmcqueue.Options{Settings: settings})
	go func() { _ = gate.Run(t.Context()) }()
	woken := make(chan struct{}, 100)
	hands := New(Options{Gate: gate, Driver: redfish.NewPool(redfish.Options{}), Clock: clock.RealClock{}, Changed: func(string) {
		select {
		case woken <- struct{}{}:
		default:
		}
	}})
	observe := func(host, address string) {
		t.Helper()
		if err := hands.Track(Tracking{Host: host, Namespace: "ns", Interval: func() time.Duration { return time.Hour },
			Target: redfish.Target{Address: address, AllowPlain: true, Username: "u", Password: "p"}}); err != nil {
			t.Fatal(err)
		}
		for o, _ := hands.Observed(host); o.At.IsZero(); o, _ = hands.Observed(host) {
			select {
			case <-woken:
			case <-time.After(20 * time.Second):
				t.Fatal("the host was not observed")
			}
		}
	}
	observe("ns/deleted", gone.url)
	gone.until(t, 1, "observed")
	hands.Forget("ns/deleted")
	gone.until(t, 0, "deleted")
	observe("ns/moved", gone.url)
	gone.until(t, 1, "observed again")
	observe("ns/stays", kept.url)
	observe("ns/moved", kept.url)
	gone.until(t, 0, "moved away")
	hands.Forget("ns/moved")
	kept.mu.Lock()
	defer kept.mu.Unlock()
	if len(kept.open) != 1 || kept.made != 1 {
		t.Errorf("another host at the address has %d sessions of %d", len(kept.open), kept.made)
	}
}
