package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var content = bytes.Repeat([]byte("0123456789abcdef"), 8<<10) // 128 KiB

// origin serves content, and dies as often as it is told to.
type origin struct {
	tag     string
	data    []byte
	deaths  int32 // how many answers end early
	after   int   // after how many bytes
	noRange bool
	hang    bool // instead of dying, be silent
	status  int
	asked   atomic.Int32
	ranges  atomic.Int32
	release chan struct{}
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := o.asked.Add(1)
	if o.status != 0 {
		w.WriteHeader(o.status)
		return
	}
	if r.Header.Get("Range") != "" {
		o.ranges.Add(1)
	}
	if o.noRange {
		r.Header.Del("Range")
	}
	w.Header().Set("ETag", o.tag)
	if n <= o.deaths {
		w = &dying{ResponseWriter: w, left: o.after, origin: o, request: r}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(o.data))
}

type dying struct {
	http.ResponseWriter
	left    int
	origin  *origin
	request *http.Request
}

func (d *dying) Write(p []byte) (int, error) {
	n, err := d.ResponseWriter.Write(p[:min(len(p), d.left)])
	d.left -= n
	if d.left > 0 || err != nil {
		return n, err
	}
	d.ResponseWriter.(http.Flusher).Flush()
	if d.origin.hang {
		select {
		case <-d.request.Context().Done():
		case <-d.origin.release:
		}
	}
	panic(http.ErrAbortHandler)
}

func serve(t *testing.T, o *origin) string {
	t.Helper()
	if o.data == nil {
		o.data = content
	}
	o.release = make(chan struct{})
	s := httptest.NewServer(o)
	t.Cleanup(func() { close(o.release); s.Close() })
	return s.URL + "/image?secret=1"
}

func quick(urls ...string) Options {
	return Options{Client: &http.Client{}, URLs: urls, Size: int64(len(content)), Stall: 5 * time.Second, Pause: time.Millisecond,
		Patience: time.Minute}
}

func read(t *testing.T, o Options) ([]byte, error) {
	t.Helper()
	r := Open(t.Context(), o)
	defer func() { _ = r.Close() }()
	return io.ReadAll(r)
}

func TestADownloadGoesOnWhereItBroke(t *testing.T) {
	for name, o := range map[string]*origin{
		"never breaks":                {tag: `"a"`},
		"breaks, with a tag":          {tag: `"a"`, deaths: 3, after: 20 << 10},
		"breaks, with a weak tag":     {tag: `W/"a"`, deaths: 3, after: 20 << 10},
		"breaks, without a tag":       {deaths: 3, after: 20 << 10},
		"breaks, and knows no ranges": {tag: `"a"`, deaths: 1, after: 100 << 10, noRange: true},
	} {
		options := quick(serve(t, o))
		if got, err := read(t, options); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if o.deaths > 0 && !o.noRange && o.ranges.Load() != o.deaths {
			t.Errorf("%s: %d ranges were asked for", name, o.ranges.Load())
		}
	}
}

func TestSilenceIsABreak(t *testing.T) {
	o := &origin{tag: `"a"`, deaths: 1, after: 10, hang: true}
	options := quick(serve(t, o))
	options.Stall = 20 * time.Millisecond
	if got, err := read(t, options); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestAnotherServerTakesOver(t *testing.T) {
	first := &origin{tag: `"a"`, deaths: 1000, after: 30 << 10}
	second := &origin{tag: `"b"`}
	var broken []error
	options := quick(serve(t, first), serve(t, second))
	options.Broken = func(err error) { broken = append(broken, err) }
	if got, err := read(t, options); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if len(broken) != 1 || second.ranges.Load() != 1 {
		t.Errorf("%d breaks were told, and %d ranges asked of the other server", len(broken), second.ranges.Load())
	}
}

// replaced serves another file after the first answer broke.
type replaced struct {
	before, after *origin
	asked         atomic.Int32
}

func (r *replaced) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if r.asked.Add(1) == 1 {
		r.before.ServeHTTP(w, q)
		return
	}
	r.after.ServeHTTP(w, q)
}

func TestAReplacedFileIsNotSpliced(t *testing.T) {
	newer := bytes.ToUpper(content)
	serve := func(after *origin) string {
		s := httptest.NewServer(&replaced{before: &origin{tag: `"a"`, data: content, deaths: 1, after: 1000}, after: after})
		t.Cleanup(s.Close)
		return s.URL
	}
	// Of the same length: no bytes are skipped by a range of another file; the digest is what tells.
	after := &origin{tag: `"b"`, data: newer}
	got, err := read(t, quick(serve(after)))
	if err != nil || !bytes.Equal(got[:1000], content[:1000]) || !bytes.Equal(got[1000:], newer[1000:]) || after.ranges.Load() != 1 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := read(t, quick(serve(&origin{tag: `"b"`, data: newer[:5000]}))); err == nil || !strings.Contains(err.Error(),
		"was replaced") {
		t.Errorf("of another length: %v", err)
	}
}

func TestLengthsAreHeldTo(t *testing.T) {
	options := quick(serve(t, &origin{tag: `"a"`}))
	options.Size = int64(len(content)) + 1
	if _, err := read(t, options); err == nil || !strings.Contains(err.Error(), "131072 bytes, and the plan says 131073") {
		t.Errorf("a short file: %v", err)
	}
	chunked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(content)
		w.(http.Flusher).Flush()
		_, _ = w.Write(content)
	}))
	defer chunked.Close()
	if got, err := read(t, quick(chunked.URL)); err != nil || !bytes.Equal(got, content) {
		t.Errorf("a longer file without a length: %d bytes, %v", len(got), err)
	}
	options = quick(chunked.URL)
	options.Size = 0
	if got, err := read(t, options); err != nil || len(got) != 2*len(content) {
		t.Errorf("a file whose length nobody says: %d bytes, %v", len(got), err)
	}
}

func TestPatienceEnds(t *testing.T) {
	for status, says := range map[int]string{404: "no such file", 403: "refuses access", 500: "answered 500"} {
		options := quick(serve(t, &origin{status: status}))
		options.Patience = 20 * time.Millisecond
		_, err := read(t, options)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%d: %v", status, err)
		}
	}
	options := quick("http://127.0.0.1:1/image?secret=1")
	options.Patience = 20 * time.Millisecond
	if _, err := read(t, options); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("nobody there: %v", err)
	}
}

// A disk that takes its time between two reads uses up nobody's patience.
func TestPatienceIsWithTheServers(t *testing.T) {
	options := quick(serve(t, &origin{tag: `"a"`, deaths: 1, after: 20 << 10}))
	options.Patience = 200 * time.Millisecond
	r := Open(t.Context(), options)
	defer func() { _ = r.Close() }()
	got := make([]byte, 10<<10)
	if _, err := io.ReadFull(r, got); err != nil {
		t.Fatal(err)
	}
	<-time.After(2 * options.Patience)
	rest, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(append(got, rest...), content) {
		t.Errorf("%d bytes, %v", len(rest), err)
	}
}

func TestAnAbortEndsIt(t *testing.T) {
	cause := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	o := &origin{tag: `"a"`, deaths: 1000, after: 10}
	options := quick(serve(t, o))
	options.Broken = func(error) { cancel(cause) }
	r := Open(ctx, options)
	defer func() { _ = r.Close() }()
	if _, err := io.ReadAll(r); !errors.Is(err, cause) {
		t.Errorf("ended with %v", err)
	}
}

func TestARangeThatWasNotAskedFor(t *testing.T) {
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 1 {
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			_, _ = w.Write(content[:100])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(content)-1, len(content)))
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(content)
	}))
	defer s.Close()
	options := quick(s.URL)
	options.Patience = 50 * time.Millisecond
	if _, err := read(t, options); err == nil || !strings.Contains(err.Error(), "another range") {
		t.Errorf("%v", err)
	}
}

func TestContentRange(t *testing.T) {
	for header, want := range map[string]struct {
		first, total int64
		ok           bool
	}{
		"bytes 5-9/10": {5, 10, true}, "bytes 5-9/*": {5, -1, true}, "bytes 5-8/10": {}, "bytes 9-5/10": {}, "bytes */10": {}, "5-9/10": {},
		"": {}, "bytes -5-9/10": {}, "bytes 5-x/10": {},
	} {
		first, total, ok := contentRange(header)
		if ok != want.ok || ok && (first != want.first || total != want.total) {
			t.Errorf("%q: %d of %d, %v", header, first, total, ok)
		}
	}
}
