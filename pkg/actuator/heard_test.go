package actuator

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
)

// TestAConnectionIsASignOfLife: a BMC that takes a connection and thinks is waited for by those that share its credential.
func TestAConnectionIsASignOfLife(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	gate := bmcqueue.New(bmcqueue.Options{Settings: bmcqueue.Settings{MaxConcurrentOps: 2, WorkerCount: 2, MaxQueueSize: 2}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- gate.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	gate.Submit(bmcqueue.Op{Endpoint: "first", Host: "ns/first", Kind: "k", Credential: "c", Run: func(ctx context.Context) bmcqueue.Result {
		req, err := http.NewRequestWithContext(heard(ctx), http.MethodGet, "http://"+listener.Addr().String(), http.NoBody)
		if err == nil {
			resp, failed := http.DefaultTransport.RoundTrip(req)
			if err = failed; err == nil {
				_ = resp.Body.Close()
			}
		}
		return bmcqueue.Result{Err: err}
	}})
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err != nil { // the request is there, so the connection was told
		t.Fatal(err)
	}
	gate.Submit(bmcqueue.Op{Endpoint: "second", Host: "ns/second", Kind: "k", Credential: "c", Run: func(context.Context) bmcqueue.Result { return bmcqueue.Result{} }})
	st := gate.Status("ns/second")
	if st.HeldBy != "first" || time.Until(st.NextAttempt) < bmcqueue.CanaryTime/2 {
		t.Errorf("the second waits for %q until %s", st.HeldBy, st.NextAttempt)
	}
}
