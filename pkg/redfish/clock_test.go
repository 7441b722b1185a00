package redfish

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body string, header http.Header) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// clockConn is a conn whose network is a function: time is virtual in a bubble.
func clockConn(t *testing.T, network roundTrip) *conn {
	t.Helper()
	target := Target{Address: "https://bmc.invalid", Username: "admin", Password: canary}
	opts := Options{}.withDefaults()
	opts.Timeouts.MaxRetries = 3
	c, err := newConn(target, "https://bmc.invalid:443", opts.Timeouts, opts)
	must(t, err)
	c.client = newHTTPClient(c.endpoint, network)
	return c
}

func TestRetryDelayIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		c := clockConn(t, func(*http.Request) (*http.Response, error) { tries++; return nil, io.EOF })
		start := time.Now()
		_, err := c.send(t.Context(), request{method: http.MethodGet, link: rootPath}, credential{})
		if tries != 4 || time.Since(start) != 3*time.Second || err.Kind != KindUnreachable {
			t.Fatalf("%d tries in %s: %v", tries, time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		start = time.Now()
		_, err = c.send(ctx, request{method: http.MethodGet, link: rootPath}, credential{})
		if time.Since(start) != 500*time.Millisecond || err.Kind != KindCanceled || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%s: %v", time.Since(start), err)
		}
	})
}

func TestRequestTimeoutIsPerRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clockConn(t, func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() })
		start := time.Now()
		_, err := c.send(t.Context(), request{method: http.MethodPost, link: rootPath}, credential{})
		if time.Since(start) != 30*time.Second || err.Kind != KindUnreachable {
			t.Fatalf("%s: %v", time.Since(start), err)
		}
	})
}

// TestSessionsAreTriedAgain: a full session table means basic auth for five
// minutes, not for ever.
func TestSessionsAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logins, full := 0, true
		c := clockConn(t, func(r *http.Request) (*http.Response, error) {
			switch _, _, basic := r.BasicAuth(); {
			case r.Method == http.MethodPost && full:
				logins++
				return answer(503, `{"error":{"@Message.ExtendedInfo":[{"MessageId":"IDRAC.2.8.RAC0218"}]}}`, nil), nil
			case r.Method == http.MethodPost:
				logins++
				return answer(201, "", http.Header{"X-Auth-Token": {token}, "Location": {"/redfish/v1/S/1"}}), nil
			case !basic && r.Header.Get("X-Auth-Token") == "" && r.URL.Path != rootPath:
				return answer(401, "", nil), nil
			}
			return answer(200, `{"SessionService":{"@odata.id":"/redfish/v1/S"}}`, nil), nil
		})
		read := func() {
			t.Helper()
			_, err := c.do(t.Context(), request{method: http.MethodGet, link: "/redfish/v1/Systems"})
			must(t, err)
		}
		read()
		full = false
		<-time.After(basicFor - time.Second)
		read()
		if logins != 1 || c.inSession() {
			t.Fatalf("%d logins within the five minutes", logins)
		}
		<-time.After(time.Second)
		read()
		if logins != 2 || !c.inSession() {
			t.Fatalf("%d logins after them", logins)
		}
	})
}

// TestWaitingForALoginEndsWithTheContext: the login of another caller hangs.
func TestWaitingForALoginEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clockConn(t, func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() })
		done := make(chan *Error)
		go func() { _, err := c.credential(t.Context()); done <- err }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := c.credential(ctx); err == nil || err.Kind != KindCanceled || time.Since(start) != time.Second {
			t.Fatalf("%s: %v", time.Since(start), err)
		}
		if err := <-done; err == nil || err.Kind != KindUnreachable {
			t.Fatal(err)
		}
	})
}

// pipes is a network in memory, whose waiting does not keep virtual time from passing: a listener that counts what is dialled.
type pipes struct {
	dialled int
	accept  chan net.Conn
	closed  chan struct{}
}

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	p.dialled++
	here, there := net.Pipe()
	p.accept <- there
	return here, nil
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { close(p.closed); return nil }

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

// TestConnectionsOutliveTheCooldown: the operations on one BMC follow each other after cooldowns and settle times of up to a
// minute, on one connection. A BMC that rests longer is let go: its polls open one each.
func TestConnectionsOutliveTheCooldown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{accept: make(chan net.Conn), closed: make(chan struct{})}
		var open atomic.Int64
		server := &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }),
			ConnState: func(_ net.Conn, s http.ConnState) {
				switch s {
				case http.StateNew:
					open.Add(1)
				case http.StateClosed:
					open.Add(-1)
				default:
				}
			},
		}
		ended := make(chan error)
		go func() { ended <- server.Serve(p) }()
		opts := Options{}.withDefaults()
		c, err := newConn(Target{Address: "http://bmc.invalid", Username: "admin", Password: canary}, "http://bmc.invalid:80", opts.Timeouts, opts)
		must(t, err)
		c.transport.DialContext = p.dial
		read := func() {
			t.Helper()
			if _, err := c.send(t.Context(), request{method: http.MethodGet, link: rootPath}, credential{}); err != nil {
				t.Fatal(err)
			}
		}
		longest := time.Minute
		for _, v := range Vendors() {
			longest = max(longest, v.Tuning.Cooldown, v.Tuning.AfterEject, v.Tuning.AfterInsert, v.Tuning.AfterPower)
		}
		for range 4 {
			read()
			<-time.After(longest + 5*time.Second)
		}
		if p.dialled != 1 || open.Load() != 1 {
			t.Errorf("%d connections for four operations, %d open", p.dialled, open.Load())
		}
		<-time.After(90 * time.Second)
		synctest.Wait()
		if open.Load() != 0 {
			t.Errorf("%d connections open to a BMC that rests", open.Load())
		}
		read()
		if p.dialled != 2 {
			t.Errorf("%d connections", p.dialled)
		}
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		c.transport.CloseIdleConnections()
		synctest.Wait()
	})
}
