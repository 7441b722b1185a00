package redfish

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestRequestCounts(t *testing.T) {
	s, b := newBMC(t)
	_, err := b.State(t.Context())
	must(t, err)
	want := []string{"GET /redfish/v1/", "POST /redfish/v1/SessionService/Sessions", "GET /redfish/v1/Systems", "GET /redfish/v1/Systems/1"}
	if got := s.requests(); !slices.Equal(got, want) {
		t.Fatalf("connect and State: %q", got)
	}
	for range 5 {
		_, err = b.State(t.Context())
		must(t, err)
		if got := s.requests(); !slices.Equal(got, want[3:]) {
			t.Fatalf("State again: %q", got)
		}
	}
	must(t, b.Reset(t.Context(), ResetOn).(*Error).expect(KindNotFound)) //nolint:errorlint // the outermost error is what is asked for
	if got := s.requests(); len(got) != 1 {
		t.Fatalf("Reset: %q", got)
	}
	if len(s.conns) != 1 {
		t.Fatalf("%d connections", len(s.conns))
	}
}

// expect turns an error of the kind into nil.
func (e *Error) expect(kind Kind) error {
	if e.Kind == kind {
		return nil
	}
	return e
}

func TestStaleTokenLogsInOnceAndRepeats(t *testing.T) {
	s, b := newBMC(t)
	_, err := b.State(t.Context())
	must(t, err)
	s.forgetSessions()
	s.requests()
	_, err = b.State(t.Context())
	must(t, err)
	want := []string{"GET /redfish/v1/Systems/1", "POST /redfish/v1/SessionService/Sessions", "GET /redfish/v1/Systems/1"}
	if got := s.requests(); !slices.Equal(got, want) {
		t.Fatalf("%q", got)
	}
}

func TestRefusedLoginIsFinalUntilTargetChanges(t *testing.T) {
	s, _ := newBMC(t)
	s.password = "other"
	b, p := connect(t, testTarget(s))
	for range 5 {
		_, err := b.State(t.Context())
		if e := wantKind(t, err, KindUnauthorized); !e.LoginFailed || !LoginFailed(err) {
			t.Fatal("not marked as a failed login")
		}
	}
	if s.logins != 1 {
		t.Fatalf("%d logins with a wrong password", s.logins)
	}
	right := testTarget(s)
	right.Password = "other"
	b, err := p.BMC(right)
	must(t, err)
	_, err = b.State(t.Context())
	must(t, err)
}

func TestForgetAllowsAnotherLogin(t *testing.T) {
	s, _ := newBMC(t)
	s.password = "other"
	b, p := connect(t, testTarget(s))
	_, err := b.State(t.Context())
	_ = wantKind(t, err, KindUnauthorized)
	s.mu.Lock()
	s.password = canary
	s.mu.Unlock()
	p.Forget(testTarget(s))
	b, err = p.BMC(testTarget(s))
	must(t, err)
	_, err = b.State(t.Context())
	must(t, err)
}

func TestConcurrentCallersShareOneLogin(t *testing.T) {
	s, b := newBMC(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := b.State(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s.logins != 1 {
		t.Fatalf("%d logins", s.logins)
	}
}

func TestBasicAuthWhereSessionsFail(t *testing.T) {
	const sessions = "POST /redfish/v1/SessionService/Sessions"
	for name, prepare := range map[string]func(*server){
		"no session service": func(s *server) { s.json("/redfish/v1/", doc{"Systems": ref("/redfish/v1/Systems")}) },
		"forbidden method": func(s *server) {
			s.on(sessions, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMethodNotAllowed) })
		},
		"table full": func(s *server) {
			s.on(sessions, func(w http.ResponseWriter, _ *http.Request) { refuse(w, 503, "IDRAC.2.8.RAC0218") })
		},
		"table full, 400": func(s *server) {
			s.on(sessions, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) })
		},
		"no token": func(s *server) {
			s.on(sessions, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "redfish/v1/SessionService/Sessions/1")
				w.WriteHeader(http.StatusCreated)
			})
		},
		"token not honoured": func(s *server) {
			s.on(sessions, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Auth-Token", token)
				w.Header().Set("Location", "/redfish/v1/SessionService/Sessions/1")
				w.WriteHeader(http.StatusCreated)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, b := newBMC(t)
			prepare(s)
			for range 3 {
				state, err := b.State(t.Context())
				must(t, err)
				if state.Power != PowerOff {
					t.Fatal(state.Power)
				}
			}
			most := 1
			if strings.Contains(name, "400") {
				most = 2 // the second without a mark: a 400 may mean that
			}
			if n := s.count(sessions); n > most {
				t.Fatalf("%d tries to open a session", n)
			}
			if strings.Contains(name, "token") && s.count("DELETE /redfish/v1/SessionService/Sessions/1") != 1 {
				t.Fatal("the useless session was not deleted")
			}
		})
	}
}

func TestBasicAuthRefusedIsFinal(t *testing.T) {
	s, b := newBMC(t)
	s.json("/redfish/v1/", doc{"Systems": ref("/redfish/v1/Systems")})
	s.password = "other"
	for range 3 {
		_, err := b.State(t.Context())
		if e := wantKind(t, err, KindUnauthorized); !e.LoginFailed {
			t.Fatal("not marked as a failed login")
		}
	}
	if n := s.count("GET /redfish/v1/Systems"); n != 1 {
		t.Fatalf("%d tries with a wrong password", n)
	}
}

func TestRootBehindLogin(t *testing.T) {
	s, b := newBMC(t)
	s.on("GET /redfish/v1/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	_, err := b.State(t.Context())
	must(t, err)
}

func TestLogout(t *testing.T) {
	s := newServer(t, plainHTTP)
	b, p := connect(t, testTarget(s))
	_, err := b.State(t.Context())
	must(t, err)
	must(t, p.Close(t.Context()))
	if s.sessions() != 0 {
		t.Fatal("a session is left after Close")
	}
	_, err = b.State(t.Context())
	_ = wantKind(t, err, KindCanceled)
	if _, err := p.BMC(testTarget(s)); err == nil {
		t.Fatal("a closed pool gives clients")
	}
}

func TestChangedTargetRetiresTheOldClient(t *testing.T) {
	s := newServer(t, plainHTTP)
	old, p := connect(t, testTarget(s))
	_, err := old.State(t.Context())
	must(t, err)
	changed := testTarget(s)
	changed.Timeouts.Request *= 2
	b, err := p.BMC(changed)
	must(t, err)
	_, err = old.State(t.Context())
	_ = wantKind(t, err, KindCanceled)
	_, err = b.State(t.Context())
	must(t, err)
	must(t, p.Close(t.Context())) // waits for the log-out in the background
	if s.logins != 2 || s.sessions() != 0 {
		t.Fatalf("%d logins, %d sessions left", s.logins, s.sessions())
	}
}

func TestPoolSharesClientAndSession(t *testing.T) {
	s := newServer(t, plainHTTP)
	s.json("/redfish/v1/Systems", doc{"Members": []any{ref("/redfish/v1/Systems/1"), ref("/redfish/v1/Systems/2")}})
	s.json("/redfish/v1/Systems/2", with(systemBody(), doc{"UUID": "u-2"}))
	first := testTarget(s)
	first.SystemID = "1"
	a, p := connect(t, first)
	first.Address += "/"
	again, err := p.BMC(first)
	must(t, err)
	if again != a {
		t.Fatal("the same target gives another client")
	}
	second := testTarget(s)
	second.SystemID = "2"
	b, err := p.BMC(second)
	must(t, err)
	for bmc, uuid := range map[BMC]string{a: "u-1", b: "u-2"} {
		state, err := bmc.State(t.Context())
		must(t, err)
		if state.SystemUUID != uuid {
			t.Fatalf("system %q, want %q", state.SystemUUID, uuid)
		}
	}
	if s.logins != 1 {
		t.Fatalf("%d sessions on one BMC", s.logins)
	}
}

func TestCloseDoesNotHangOnADeadBMC(t *testing.T) {
	s := newServer(t, plainHTTP)
	b, p := connect(t, testTarget(s))
	_, err := b.State(t.Context())
	must(t, err)
	entered, release := make(chan struct{}), make(chan struct{})
	s.on("DELETE /redfish/v1/SessionService/Sessions/1", func(http.ResponseWriter, *http.Request) { close(entered); <-release })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	if err := p.Close(ctx); err == nil {
		t.Error("Close of a hanging BMC reports success")
	}
	close(release)
}
