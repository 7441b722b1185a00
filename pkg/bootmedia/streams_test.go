package bootmedia

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestStreamsAreSharedOutBetweenHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreams(4, 3)
		take := func(host string) func() { return s.take(t.Context(), host, time.Second) }
		var greedy []func()
		for range 3 {
			greedy = append(greedy, take("greedy"))
		}
		begun := time.Now()
		if take("greedy") != nil || time.Since(begun) != time.Second {
			t.Error("a host has more than its part")
		}
		other := take("other")
		if other == nil || time.Since(begun) != time.Second {
			t.Fatal("another host has to wait")
		}
		got := make(chan string)
		want := func(host string) {
			go func() {
				if s.take(t.Context(), host, time.Minute) != nil {
					got <- host
				}
			}()
			synctest.Wait()
		}
		greedy[0]() // two of greedy, one of other, one free
		last := take("greedy")
		want("other")
		want("third") // came later, and has fewer
		last()
		if host := <-got; host != "third" {
			t.Errorf("the free stream went to %s", host)
		}
		greedy[1]()
		if host := <-got; host != "other" {
			t.Errorf("the next one went to %s", host)
		}
		greedy[2]()
		other()
		if s.free != 2 || s.held["other"] != 1 || s.held["greedy"] != 0 || len(s.waiting) != 0 {
			t.Errorf("%d free, held %v, %d wait", s.free, s.held, len(s.waiting))
		}
	})
}

// One host opens what it may and reads nothing: another host's medium is served at once.
func TestOneHostCannotTakeAllStreams(t *testing.T) {
	image := testImage(8<<20, 1)
	r := newRig(t, image, func(o *Options) { o.MaxStreams, o.HostStreams = 3, 2 })
	greedy, other := r.grant(t, ""), r.grant(t, "", func(g *Grant) { g.Host = "default/host-2" })
	for range 2 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, BootURL(r.web.URL, greedy), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		if _, err := io.ReadFull(resp.Body, make([]byte, 1024)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 * waitersPerStream { // and has as many wait as it can
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, BootURL(r.web.URL, greedy), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if resp, err := http.DefaultClient.Do(req); err == nil { // the test ends before it is answered, as a rule
				_ = resp.Body.Close()
			}
		}()
	}
	if a := r.get(t, "GET", BootURL(r.web.URL, other), "Range", "bytes=0-2047"); a.status != http.StatusPartialContent {
		t.Errorf("the other host got %d", a.status)
	}
}
