package redfish

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	canary = "s3cr3t-cAnary"
	token  = "tok-cAnary-1"
)

// server is a small BMC whose every answer a test can replace. It counts
// requests and connections.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	routes   map[string]http.HandlerFunc // "GET /path"
	log      []string
	bodies   []string
	conns    map[string]bool
	logins   int
	tokens   map[string]bool
	password string
}

type doc map[string]any

func ref(path string) doc { return doc{"@odata.id": path} }

// newServer serves one off system with one CD slot under Managers/1.
func newServer(t *testing.T, start func(http.Handler) *httptest.Server) *server {
	t.Helper()
	s := &server{routes: map[string]http.HandlerFunc{}, conns: map[string]bool{}, tokens: map[string]bool{}, password: canary}
	s.json("/redfish/v1/", doc{
		"RedfishVersion": "1.15.0", "Product": "Test BMC", "Systems": ref("/redfish/v1/Systems"),
		"Managers": ref("/redfish/v1/Managers"), "Links": doc{"Sessions": ref("/redfish/v1/SessionService/Sessions")},
	})
	s.json("/redfish/v1/Systems", doc{"Members": []any{ref("/redfish/v1/Systems/1")}, "Members@odata.count": 1})
	s.json("/redfish/v1/Systems/1", systemBody())
	s.json("/redfish/v1/Managers/1", doc{"Id": "1", "FirmwareVersion": "9.9", "VirtualMedia": ref("/redfish/v1/Managers/1/VirtualMedia")})
	s.json("/redfish/v1/Managers/1/VirtualMedia", doc{"Members": []any{ref("/redfish/v1/Managers/1/VirtualMedia/CD1")}})
	s.json("/redfish/v1/Managers/1/VirtualMedia/CD1", doc{
		"MediaTypes": []any{"CD", "DVD"}, "Inserted": false, "Image": nil, "ConnectedVia": "NotConnected",
		"Actions": doc{
			"#VirtualMedia.InsertMedia": doc{"target": "/redfish/v1/Managers/1/VirtualMedia/CD1/Actions/Insert"},
			"#VirtualMedia.EjectMedia":  doc{"target": "/redfish/v1/Managers/1/VirtualMedia/CD1/Actions/Eject"},
		},
	})
	s.on("POST /redfish/v1/SessionService/Sessions", s.openSession)
	s.on("DELETE /redfish/v1/SessionService/Sessions/1", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		delete(s.tokens, r.Header.Get("X-Auth-Token"))
		s.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	})
	s.Server = start(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func systemBody() doc {
	return doc{
		"Id": "1", "UUID": "u-1", "SerialNumber": "SN1", "PowerState": "Off", "Manufacturer": "Acme", "Model": "M1",
		"Status": doc{"Health": "OK"},
		"Boot": doc{
			"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None", "BootSourceOverrideMode": "UEFI",
			"BootSourceOverrideTarget@Redfish.AllowableValues": []any{"None", "Pxe", "Cd"},
		},
		"Actions": doc{"#ComputerSystem.Reset": doc{
			"target":                            "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset",
			"ResetType@Redfish.AllowableValues": []any{"On", "ForceOff", "GracefulShutdown", "On"},
		}},
		"Links": doc{"ManagedBy": []any{ref("/redfish/v1/Managers/1")}},
	}
}

func with(d doc, changes doc) doc {
	d = maps.Clone(d)
	maps.Copy(d, changes)
	return d
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	key := r.Method + " " + r.URL.Path
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.log = append(s.log, key)
	s.bodies = append(s.bodies, string(body))
	s.conns[r.RemoteAddr] = true
	handler := s.routes[key]
	user, password, basic := r.BasicAuth()
	known := s.tokens[r.Header.Get("X-Auth-Token")] || basic && user == "admin" && password == s.password
	s.mu.Unlock()
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	open := r.URL.Path == "/redfish/v1/" || r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/Sessions")
	switch {
	case !open && !known:
		refuse(w, http.StatusUnauthorized, "Base.1.8.NoValidSession")
	case handler == nil:
		refuse(w, http.StatusNotFound, "Base.1.8.ResourceMissingAtURI")
	default:
		handler(w, r)
	}
}

func (s *server) openSession(w http.ResponseWriter, r *http.Request) {
	var in struct{ UserName, Password string }
	_ = json.NewDecoder(r.Body).Decode(&in)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logins++
	if in.Password != s.password {
		refuse(w, http.StatusUnauthorized, "Base.1.8.ResourceAtUriUnauthorized", "password "+in.Password+" is wrong")
		return
	}
	value := fmt.Sprintf("%s-%d", token, s.logins)
	s.tokens[value] = true
	w.Header().Set("X-Auth-Token", value)
	w.Header().Set("Location", "/redfish/v1/SessionService/Sessions/1")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(doc{"CreatedTime": "2026-01-02T03:04:05Z", "UserName": in.UserName})
}

// refuse answers with a Redfish error; words are message and arguments.
func refuse(w http.ResponseWriter, status int, id string, words ...string) {
	info := doc{"MessageId": id, "Message": strings.Join(words, " "), "MessageArgs": words}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(doc{"error": doc{"code": "Base.1.8.GeneralError", "@Message.ExtendedInfo": []any{info}}})
}

func (s *server) on(route string, h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.routes[route] = h
}

func (s *server) json(path string, body any) {
	raw, _ := json.Marshal(body)
	s.raw(path, string(raw))
}

func (s *server) raw(path, body string) {
	s.on("GET "+path, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
}

// requests since the last call.
func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.log
	s.log = nil
	return out
}

func (s *server) count(route string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, l := range s.log {
		if l == route {
			n++
		}
	}
	return n
}

func (s *server) sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tokens)
}

func (s *server) forgetSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

func plainHTTP(h http.Handler) *httptest.Server { return httptest.NewServer(h) }

func testTarget(s *server) Target {
	return Target{AllowPlain: true,
		Address: s.URL, Username: "admin", Password: canary,
		Timeouts: Timeouts{Connection: time.Minute, Request: time.Minute, MaxRetries: -1, RetryDelay: time.Millisecond},
	}
}

// connect gives the BMC of a fresh pool.
func connect(t *testing.T, target Target) (BMC, *Pool) {
	t.Helper()
	p := NewPool(Options{})
	t.Cleanup(func() { _ = p.Close(t.Context()) })
	b, err := p.BMC(target)
	if err != nil {
		t.Fatal(err)
	}
	return b, p
}

func newBMC(t *testing.T) (*server, BMC) {
	t.Helper()
	s := newServer(t, plainHTTP)
	b, _ := connect(t, testTarget(s))
	return s, b
}

func wantKind(t *testing.T, err error, kind Kind) *Error {
	t.Helper()
	e, ok := err.(*Error) //nolint:errorlint // the outermost error is what is asked for
	if !ok || e.Kind != kind {
		t.Fatalf("error %v of kind %q, want %q", err, KindOf(err), kind)
	}
	for _, verb := range []string{"%v", "%+v", "%s", "%q", "%#v"} {
		if text := fmt.Sprintf(verb, err); strings.Contains(strings.ToLower(text), "canary") {
			t.Fatalf("secret in error: %s", text)
		}
	}
	if e.Op == "" || e.Endpoint == "" || e.Message == "" || len(e.Error()) > 400 {
		t.Fatalf("error not fit for a person: %q", e.Error())
	}
	return e
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
