package redfish

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
)

// TestIfMatch: what a PATCH carries first, what it is refused with, and what it
// carries then; the one that worked is first the next time.
func TestIfMatch(t *testing.T) {
	for name, c := range map[string]struct {
		vendor, tag string
		takes       []string
		status      int
		sent        string // over two overrides
		learned     string
	}{
		"none is fine":          {"", `"7"`, []string{""}, 412, "[ ]", ""},
		"exact is wanted":       {"", `"7"`, []string{`"7"`}, 428, `[ "7" "7"]`, "exact"},
		"weak as given":         {"", `W/"7"`, []string{`W/"7"`}, 412, `[ W/"7" W/"7"]`, "exact"},
		"weak made strong":      {"", `W/"7"`, []string{`"7"`}, 412, `[ W/"7" "7" W/"7" "7"]`, "exact"},
		"any is wanted":         {"", `"7"`, []string{`*`}, 428, `[ "7" * *]`, "any"},
		"no tag, any is wanted": {"", ``, []string{`*`}, 428, `[ * *]`, "any"},
		"row says any":          {"ami", `"7"`, []string{`*`}, 412, `[* *]`, ""},
		"row is wrong":          {"ami", ``, []string{``}, 412, `[*  ]`, "none"},
		"nothing will do":       {"", `"7"`, nil, 412, `[ "7" *  "7" *]`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, plainHTTP)
			s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"@odata.etag": c.tag}))
			var sent []string
			s.on(systemPatch, func(w http.ResponseWriter, r *http.Request) {
				sent = append(sent, r.Header.Get("If-Match"))
				if slices.Contains(c.takes, r.Header.Get("If-Match")) {
					accept(w, r)
					return
				}
				w.WriteHeader(c.status)
			})
			target := testTarget(s)
			target.Vendor = c.vendor
			b, _ := connect(t, target)
			for range 2 {
				if err := b.SetBootOnce(t.Context(), BootCD); (err == nil) != (c.takes != nil) {
					t.Fatal(err)
				}
			}
			if got, l := fmt.Sprint(sent), b.Learned().IfMatch; got != c.sent || l != c.learned {
				t.Fatalf("sent %s, want %s; learned %q", got, c.sent, l)
			}
		})
	}
}

// TestStaleTagIsReadAgain: the tag that was read with the state is used; once it
// is old, it is read again.
func TestStaleTagIsReadAgain(t *testing.T) {
	s := newServer(t, plainHTTP)
	tag := "1"
	serve := func(next string) {
		tag = next
		s.on("GET /redfish/v1/Systems/1", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", next)
			_, _ = w.Write([]byte(`{"PowerState":"Off"}`))
		})
	}
	s.on(systemPatch, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-Match") != tag {
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		accept(w, r)
	})
	serve("1")
	target := testTarget(s)
	target.Learned.IfMatch = "exact"
	b, _ := connect(t, target)
	for i, want := range []int{1, 2} { // requests for the override itself
		_, err := b.State(t.Context())
		must(t, err)
		s.requests()
		if i == 1 {
			tag = "2" // changed by somebody since the reading
			serve("2")
		}
		must(t, b.SetBootOnce(t.Context(), BootCD))
		if n := s.count(systemPatch); n != want {
			t.Fatalf("%q", s.requests())
		}
	}
}
