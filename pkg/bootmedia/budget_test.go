//go:build budget

package bootmedia

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"testing"
	"time"
)

// leastRatio is what we are to stream, of what a plain file server streams in
// the same run on the same machine.
const leastRatio = 0.8

// yardstick is what a medium is compared with. Over https, which is the default,
// that is the file server for all of them. Over plain http a file server has the
// kernel copy the file, which nobody can who gets his bytes from another server:
// there the bytes of a streamed medium are compared with those of net/http's
// reverse proxy before the same server, and their part of the file server's is
// told beside. docs/operations.md has the numbers and the reason.
func yardstick(what string, secure bool) string {
	if secure || what == "cached" || what == "composed" {
		return "file server"
	}
	return "reverse proxy"
}

// Each medium is read in turn with what it is compared with, and the best turns
// count: what else the machine does hits both alike, and a best turn is one that
// it did not hit. The rounds of a medium end when its budget is met.
func TestBudgetThroughput(t *testing.T) {
	const leastRounds, mostRounds = 4, 60
	for _, secure := range []bool{false, true} {
		y := newYard(t, 48<<20, secure)
		for _, what := range streamed {
			than := yardstick(what, secure)
			ours, theirs := time.Hour, time.Hour
			ratio := func() float64 { return float64(theirs) / float64(ours) }
			for round := 0; round < mostRounds && (round < leastRounds || ratio() < leastRatio); round++ {
				theirs = min(theirs, y.took(t, than))
				ours = min(ours, y.took(t, what))
			}
			t.Logf("TLS %v: %-18s %4.0f MB/s, %.2f of a %s", secure, what, float64(y.size)/1e6/ours.Seconds(), ratio(), than)
			if than != "file server" {
				t.Logf("TLS %v: %-18s %.2f of a file server", secure, what, float64(y.best(t, "file server"))/float64(ours))
			}
			if ratio() < leastRatio {
				t.Errorf("TLS %v: %s is below %.2f of a %s", secure, what, leastRatio, than)
			}
		}
	}
}

// best is the shortest of a few turns.
func (y *yard) best(t *testing.T, what string) time.Duration {
	least := time.Hour
	for range 8 {
		least = min(least, y.took(t, what))
	}
	return least
}

func (y *yard) took(t *testing.T, what string) time.Duration {
	start := time.Now()
	y.read(t, what)
	return time.Since(start)
}

// A BMC that reads a byte has to wait for no more than one request that is not the one for its bytes.
func TestBudgetFirstByte(t *testing.T) {
	r := newRig(t, liveImage(t, "live", "linux /k quiet"))
	token := r.grant(t, "")
	for name, u := range map[string]string{"boot": BootURL(r.web.URL, token), "composed": ComposedURL(r.web.URL, token)} {
		before := r.origin.count()
		if a := r.get(t, http.MethodGet, u, "Range", "bytes=0-0"); a.status != http.StatusPartialContent {
			t.Fatalf("%s: %d", name, a.status)
		}
		n := r.origin.count() - before
		t.Logf("%s: %d requests upstream for the first byte", name, n)
		if n > 2 {
			t.Errorf("%s: %d requests upstream for the first byte, one beside its own is allowed", name, n)
		}
	}
}

// heapPer100Streams bounds what a hundred open streams hold on our side; the
// machine's sockets are not in it.
const heapPer100Streams = 48 << 20

func TestBudgetMemory(t *testing.T) {
	const streams = 100
	y := newYard(t, 48<<20, false)
	for _, what := range streamed {
		y.read(t, what) // what is kept for all streams is there
		before := inUse()
		conns := make([]net.Conn, streams)
		for i := range conns {
			conns[i] = openStream(t, y.urls[what])
		}
		got := inUse() - before
		t.Logf("%s: %d streams that nobody reads on hold %.1f MiB", what, streams, float64(got)/(1<<20))
		if got > heapPer100Streams {
			t.Errorf("%s: %d streams hold %d bytes, %d are allowed", what, streams, got, heapPer100Streams)
		}
		for _, c := range conns {
			_ = c.Close()
		}
	}
}

// openStream asks for a medium and reads the head of the answer alone, with as
// little memory of its own as can be.
func openStream(t *testing.T, raw string) net.Conn {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", u.Path, u.Host); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReaderSize(c, 64).ReadString('\n')
	if err != nil || line != "HTTP/1.1 200 OK\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return c
}

func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
