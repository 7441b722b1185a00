package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Options are what and how.
type Options struct {
	Client *http.Client
	// URLs serve the same bytes, and are tried in turn.
	URLs []string
	// Size is how many bytes there have to be; 0 is not known.
	Size int64
	// Stall is after how much silence a connection is given up, Patience after how long without a byte the download is, and
	// Pause the time between two attempts. Zero values are 30 seconds, 10 minutes and 2 seconds.
	Stall, Patience, Pause time.Duration
	// Broken is told of each attempt that failed; nil tells nobody.
	Broken func(error)
}

// Reader is a download.
type Reader struct {
	ctx context.Context
	o   Options
	// off is how many bytes were read, total how many there are; -1 as long as nobody said.
	off, total int64
	turn       int
	body       *body
	// etags are the strong tags of what each URL served first.
	etags map[string]string
}

// Open begins a download. It connects with the first Read.
func Open(ctx context.Context, o Options) *Reader {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&o.Stall, 30*time.Second)
	set(&o.Patience, 10*time.Minute)
	set(&o.Pause, 2*time.Second)
	r := &Reader{ctx: ctx, o: o, total: -1, etags: map[string]string{}}
	if o.Size > 0 {
		r.total = o.Size
	}
	return r
}

// Total is the length of the file; -1 if it is not known.
func (r *Reader) Total() int64 { return r.total }

// errEnd is the end of a file whose length nobody said. It is not io.EOF, which an attempt to connect may end with, too.
var errEnd = errors.New("the server ended")

// errFinal is a failure that no attempt mends.
type errFinal struct{ error }

func (e errFinal) Unwrap() error { return e.error }

// Read implements io.Reader. It ends with io.EOF only after as many bytes as the server said, and the options.
func (r *Reader) Read(p []byte) (int, error) {
	// Patience begins with each Read: what a slow disk took between two of them is not the servers' fault.
	for since := time.Now(); ; {
		if r.off == r.total {
			return 0, io.EOF
		}
		n, err := r.try(p)
		if n > 0 {
			return n, nil
		}
		if err == nil {
			continue
		}
		_ = r.Close()
		if errors.Is(err, errEnd) {
			return 0, io.EOF
		}
		if final, ok := errors.AsType[errFinal](err); ok {
			return 0, final.error
		}
		if err := r.pause(err, since); err != nil {
			return 0, err
		}
	}
}

// pause waits for the next attempt, with the next URL.
func (r *Reader) pause(why error, since time.Time) error {
	if cause := context.Cause(r.ctx); cause != nil {
		return cause
	}
	if r.o.Broken != nil {
		r.o.Broken(why)
	}
	if time.Since(since)+r.o.Pause > r.o.Patience {
		return fmt.Errorf("nothing came of the image for %v, at byte %d: %w", r.o.Patience, r.off, why)
	}
	r.turn++
	timer := time.NewTimer(r.o.Pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
}

// try reads from the connection, or makes one.
func (r *Reader) try(p []byte) (int, error) {
	if r.body == nil {
		if err := r.connect(); err != nil {
			return 0, err
		}
	}
	if r.total >= 0 {
		p = p[:min(int64(len(p)), r.total-r.off)]
	}
	n, err := r.body.Read(p)
	r.off += int64(n)
	switch {
	case n > 0:
		return n, nil
	case !errors.Is(err, io.EOF):
		return 0, err
	case r.total >= 0:
		return 0, fmt.Errorf("the server ended at byte %d of %d", r.off, r.total)
	}
	return 0, errEnd
}

// connect asks for the rest. The tag that a URL had pins it: if the file there is no longer the same, the server sends all of
// it, and what was read already is passed over. The digest then says whether it was another file; servers that are several
// behind one name often give different tags to the same bytes.
func (r *Reader) connect() error {
	at := r.o.URLs[r.turn%len(r.o.URLs)]
	ctx, cancel := context.WithCancelCause(r.ctx)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		cancel(nil)
		return errFinal{errors.New("the URL of the image cannot be read as one")}
	}
	// A packed answer would have another length and could not be resumed.
	request.Header.Set("Accept-Encoding", "identity")
	if r.off > 0 {
		request.Header.Set("Range", "bytes="+strconv.FormatInt(r.off, 10)+"-")
		if tag := r.etags[at]; tag != "" {
			request.Header.Set("If-Range", tag)
		}
	}
	timer := time.AfterFunc(r.o.Stall, func() { cancel(errStalled) })
	response, err := r.o.Client.Do(request) //nolint:bodyclose // it is closed with the reader
	timer.Stop()
	if err != nil {
		err = plain(ctx, at, err)
		cancel(nil)
		return err
	}
	r.body = &body{ReadCloser: response.Body, ctx: ctx, cancel: cancel, timer: timer, stall: r.o.Stall, at: at}
	return r.accept(at, response)
}

// accept checks an answer, and brings it to where the download is.
func (r *Reader) accept(at string, response *http.Response) error {
	switch response.StatusCode {
	case http.StatusOK:
		if err := r.length(response.ContentLength); err != nil {
			return err
		}
		if tag := response.Header.Get("ETag"); strings.HasPrefix(tag, `"`) {
			r.etags[at] = tag
		}
		if _, err := io.CopyN(io.Discard, r.body, r.off); err != nil {
			return fmt.Errorf("pass over what was read: %w", err)
		}
		return nil
	case http.StatusPartialContent:
		first, total, ok := contentRange(response.Header.Get("Content-Range"))
		if !ok || first != r.off {
			return fmt.Errorf("%s: the server sent another range than was asked for", display(at))
		}
		return r.length(total)
	case http.StatusNotFound, http.StatusGone:
		return fmt.Errorf("%s: there is no such file on the server (%d)", display(at), response.StatusCode)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%s: the server refuses access (%d)", display(at), response.StatusCode)
	default:
		return fmt.Errorf("%s: the server answered %d %s", display(at), response.StatusCode, http.StatusText(response.StatusCode))
	}
}

// length holds an answer to the length that is known.
func (r *Reader) length(n int64) error {
	switch {
	case n < 0:
		return nil
	case r.total < 0:
		r.total = n
		return nil
	case n == r.total:
		return nil
	case r.o.Size > 0 && r.off == 0:
		return errFinal{fmt.Errorf("the image on the server has %d bytes, and the plan says %d: it was replaced, or is cut short",
			n, r.total)}
	}
	return errFinal{fmt.Errorf("the image on the server now has %d bytes, and had %d: it was replaced during the download", n, r.total)}
}

// Close ends the connection. A Read after it makes another one.
func (r *Reader) Close() error {
	if r.body == nil {
		return nil
	}
	err := r.body.Close()
	r.body = nil
	return err
}

var errStalled = errors.New("the server is silent")

// body limits the silence within a download.
type body struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
	at     string
}

// Read limits the time without a byte, but not that between two reads: a slow disk is not the server's fault.
func (b *body) Read(p []byte) (int, error) {
	b.timer.Reset(b.stall)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = plain(b.ctx, b.at, err)
	}
	return n, err
}

func (b *body) Close() error {
	b.timer.Stop()
	b.cancel(nil)
	return b.ReadCloser.Close()
}

// plain is an error without the URL's query, which may be secret.
func plain(ctx context.Context, at string, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return fmt.Errorf("%s: %w", display(at), errStalled)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return fmt.Errorf("%s: %w", display(at), err)
}

func display(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "the URL of the image"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// contentRange reads "bytes 5-9/10"; total is -1 for a star.
func contentRange(header string) (first, total int64, ok bool) {
	rest, ok := strings.CutPrefix(header, "bytes ")
	bounds, all, cut := strings.Cut(rest, "/")
	from, to, dash := strings.Cut(bounds, "-")
	if !ok || !cut || !dash {
		return 0, 0, false
	}
	first, err := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	if err != nil || err2 != nil || first < 0 || last < first {
		return 0, 0, false
	}
	if all == "*" {
		return first, -1, true
	}
	total, err = strconv.ParseInt(all, 10, 64)
	return first, total, err == nil && last == total-1
}
