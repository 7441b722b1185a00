package redfish

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const sessionsRoute = "POST " + sessionsPath

// sessionTable gives the server sessions that can be listed and read.
type sessionTable struct {
	*server
	marks bool // Context is kept and given back
	fails string
	made  int
	open  map[string]doc // by path
}

func withSessions(s *server, marks bool) *sessionTable {
	table := &sessionTable{server: s, marks: marks, open: map[string]doc{}}
	s.on(sessionsRoute, table.login)
	s.on("GET "+sessionsPath, func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		members := []any{nil}
		for path := range table.open {
			members = append(members, ref(path))
		}
		s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(doc{"Members": members})
	})
	return table
}

func (st *sessionTable) login(w http.ResponseWriter, r *http.Request) {
	var in struct{ UserName, Password, Context string }
	_ = json.NewDecoder(r.Body).Decode(&in)
	if in.Context != "" && st.fails != "" {
		refuse(w, http.StatusBadRequest, st.fails, "Context")
		return
	}
	st.mu.Lock()
	st.logins++
	st.mu.Unlock()
	value := fmt.Sprintf("%s-%d", token, st.logins)
	path := st.add(in.UserName, in.Context, value)
	w.Header().Set("X-Auth-Token", value)
	w.Header().Set("Location", st.URL+path) // absolute, as some do
	w.WriteHeader(http.StatusCreated)
}

// add opens a session and returns its path.
func (st *sessionTable) add(user, context, value string) string {
	st.mu.Lock()
	st.made++
	path := fmt.Sprintf("%s/%d", sessionsPath, st.made)
	created := time.Unix(int64(1e9+st.made), 0).UTC().Format(time.RFC3339)
	st.mu.Unlock()
	st.put(path, user, context, created, value)
	return path
}

func (st *sessionTable) put(path, user, context, created, value string) {
	body := doc{"@odata.id": path, "UserName": user, "CreatedTime": created}
	if st.marks && context != "" {
		body["Context"] = context
	}
	st.mu.Lock()
	st.open[path], st.tokens[value] = body, true
	st.mu.Unlock()
	st.on("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
		st.mu.Lock()
		body, ok := st.open[path]
		st.mu.Unlock()
		if !ok {
			refuse(w, http.StatusNotFound, "Base.1.8.ResourceMissingAtURI")
			return
		}
		_ = json.NewEncoder(w).Encode(body)
	})
	st.on("DELETE "+path, func(w http.ResponseWriter, _ *http.Request) {
		st.mu.Lock()
		delete(st.open, path)
		delete(st.tokens, value)
		st.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	})
}

func (st *sessionTable) has(path string) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	_, ok := st.open[path]
	return ok
}

func (st *sessionTable) count() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.open)
}

// crash is a process that reads once and is gone without a log-out.
func crash(t *testing.T, st *sessionTable, target Target) Learned {
	t.Helper()
	b, err := NewPool(Options{Installation: "here"}).BMC(target)
	must(t, err)
	_, err = b.State(t.Context())
	must(t, err)
	return b.Learned()
}

// TestKilledProcessLeavesOneSession: after any number of crashes there is one
// session of ours, and the ones of people and of another installation are there.
func TestKilledProcessLeavesOneSession(t *testing.T) {
	for name, marks := range map[string]bool{"by mark": true, "by record": false} {
		t.Run(name, func(t *testing.T) {
			st := withSessions(newServer(t, plainHTTP), marks)
			person := st.add("admin", "", "person")
			other := st.add("admin", "beskar7/there/x", "other")
			target := testTarget(st.server)
			for range 3 {
				target.Learned = crash(t, st, target)
				if (target.Learned.Session == "") != marks {
					t.Fatalf("record %q", target.Learned.Session)
				}
			}
			if n := st.count(); n != 3 || !st.has(person) || !st.has(other) {
				t.Fatalf("%d sessions, of a person %v, of another installation %v", n, st.has(person), st.has(other))
			}
			if text := fmt.Sprint(target.Learned); strings.Contains(text, token) {
				t.Fatal("the token is in what is kept")
			}
		})
	}
}

// TestRecordOfAnotherSession: the path was given to a session of a person since.
func TestRecordOfAnotherSession(t *testing.T) {
	st := withSessions(newServer(t, plainHTTP), false)
	target := testTarget(st.server)
	target.Learned = crash(t, st, target)
	path, _, _ := strings.Cut(target.Learned.Session, " ")
	st.put(path, "admin", "", "2030-01-01T00:00:00Z", "person")
	crash(t, st, target)
	if !st.has(path) {
		t.Fatal("a person's session was ended")
	}
	st.put(path, "somebody", "", strings.Fields(target.Learned.Session)[1], "person")
	crash(t, st, target)
	if !st.has(path) {
		t.Fatal("the session of another account was ended")
	}
}

// TestUnknowableSessionIsLeftAlone: no Context, no time of creation.
func TestUnknowableSessionIsLeftAlone(t *testing.T) {
	st := withSessions(newServer(t, plainHTTP), false)
	target := testTarget(st.server)
	b, _ := connect(t, target)
	_, err := b.State(t.Context())
	must(t, err)
	st.on("GET "+sessionsPath+"/1", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"UserName":"admin"}`)) })
	for _, record := range []string{sessionsPath + "/1 ", sessionsPath + "/1", sessionsPath + "/1 2026-01-01T00:00:00Z"} {
		target.Learned.Session = record
		crash(t, st, target)
	}
	if n := st.server.count("DELETE " + sessionsPath + "/1"); n != 0 {
		t.Fatalf("%d deletions", n)
	}
}

func TestMarkIsRefused(t *testing.T) {
	st := withSessions(newServer(t, plainHTTP), false)
	st.fails = "Base.1.8.PropertyUnknown"
	target := testTarget(st.server)
	b, _ := connect(t, target)
	for range 2 {
		_, err := b.State(t.Context())
		must(t, err)
		st.forgetSessions()
	}
	if n := st.server.count(sessionsRoute); n != 3 || st.logins != 2 { // one for the mark, once
		t.Fatalf("%d requests for %d sessions", n, st.logins)
	}
	if b.Learned().Session == "" {
		t.Fatal("no record")
	}
}

// TestFullTableIsCleared: what fills it are ours of earlier processes.
func TestFullTableIsCleared(t *testing.T) {
	st := withSessions(newServer(t, plainHTTP), true)
	person := st.add("admin", "", "person")
	for i := range 5 {
		st.add("admin", "beskar7/here/old", fmt.Sprint(i))
	}
	login := st.routes[sessionsRoute]
	st.on(sessionsRoute, func(w http.ResponseWriter, r *http.Request) {
		if st.count() > 5 {
			refuse(w, http.StatusServiceUnavailable, "IDRAC.2.8.RAC0218")
			return
		}
		login(w, r)
	})
	crash(t, st, testTarget(st.server))
	if n := st.count(); n != 1 || !st.has(person) {
		t.Fatalf("%d sessions left", n)
	}
}

// TestTwoConnectionsToOneBMC: the sessions of one process do not end each other.
func TestTwoConnectionsToOneBMC(t *testing.T) {
	for name, marks := range map[string]bool{"by mark": true, "by record": false} {
		t.Run(name, func(t *testing.T) {
			st := withSessions(newServer(t, plainHTTP), marks)
			target := testTarget(st.server)
			a, p := connect(t, target)
			_, err := a.State(t.Context())
			must(t, err)
			target.Timeouts.Request, target.SystemID, target.Learned = 2*time.Minute, "1", a.Learned()
			b, err := p.BMC(target)
			must(t, err)
			_, err = b.State(t.Context())
			must(t, err)
			if n := st.count(); n != 2 {
				t.Fatalf("%d sessions", n)
			}
			target.Learned = b.Learned()
			again, err := p.BMC(target)
			must(t, err)
			if again != b {
				t.Fatal("what was learned made another client")
			}
		})
	}
}

// TestALostLogInLeavesNoSession: the BMC made the session, and its answer never came. The next log-in finds it, and no other's.
func TestALostLogInLeavesNoSession(t *testing.T) {
	s := newServer(t, plainHTTP)
	table := withSessions(s, true)
	theirs := table.add("admin", "beskar7/another/1", "theirs")
	b, p := connect(t, testTarget(s))
	_, err := b.State(t.Context())
	must(t, err)
	for range 2 {
		s.forgetSessions()
		s.on(sessionsRoute, func(w http.ResponseWriter, r *http.Request) {
			table.login(w, r)
			panic(http.ErrAbortHandler)
		})
		_, err = b.State(t.Context())
		_ = wantKind(t, err, KindUnreachable)
		s.on(sessionsRoute, table.login)
		_, err = b.State(t.Context())
		must(t, err)
		if left := table.paths(); len(left) != 2 {
			t.Errorf("ours and theirs wanted, there are %q", left)
		}
	}
	must(t, p.Close(t.Context()))
	if left := table.paths(); len(left) != 1 || left[0] != theirs {
		t.Errorf("left: %q", left)
	}
}

// paths of the open sessions.
func (st *sessionTable) paths() []string {
	st.mu.Lock()
	defer st.mu.Unlock()
	return slices.Sorted(maps.Keys(st.open))
}
