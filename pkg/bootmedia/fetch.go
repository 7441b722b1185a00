package bootmedia

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

	"github.com/beskar7/beskar7/pkg/endpoint"
)

// stall is how long an image server may be silent before a request is given up.
const stall = 60 * time.Second

var (
	// ErrChanged says that a streamed image is no longer the one that was
	// pinned when the claim was made. StreamFailed is given errors that wrap it.
	ErrChanged = errors.New("the image has changed since it was pinned")
	errUDFOnly = errors.New("it has a UDF file system and no ISO 9660 beside it, which firmware does not boot and nothing can be " +
		"added to: make the image with ISO 9660 (xorriso, genisoimage -udf)")
	errStalled = fmt.Errorf("the server was silent for %v", stall)
	// errCompressed: what comes has another length than the image, and no place in
	// it can be asked for.
	errCompressed = errors.New("the server compresses the image though it was asked not to (Content-Encoding): switch compression " +
		"off there for .iso files")
	errNotISO = errors.New("it is not an ISO 9660 image (no CD001 at byte 32769)")
)

// maxMirror bounds the URL of a mirror that is kept.
const maxMirror = 2 << 10

// checkImageURL refuses what is no http(s) URL, in words.
func checkImageURL(raw string) error {
	if _, err := endpoint.Parse(raw); err != nil {
		return fmt.Errorf("the image URL %s is no http or https URL with a host: %w", displayURL(raw), err)
	}
	return nil
}

// displayURL is a URL without what may be secret in it: user, query, fragment.
func displayURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(unreadable URL)"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// get sends a GET whose silence, before and within the body, is limited. The
// caller closes the body. Errors name no URL, as the query may be secret.
func get(ctx context.Context, client Doer, imageURL string, header http.Header) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, imageURL, nil)
	if err != nil {
		cancel(nil)
		return nil, errors.New("the image URL cannot be read as a URL")
	}
	for k, v := range header {
		req.Header[k] = v
	}
	// A compressed answer has another length and cannot be resumed.
	req.Header.Set("Accept-Encoding", "identity")
	timer := time.AfterFunc(stall, func() { cancel(errStalled) })
	resp, err := client.Do(req)
	timer.Stop()
	if err != nil {
		err = plainError(ctx, err, NoAnswer)
		cancel(nil)
		return nil, err
	}
	resp.Body = &watched{body: resp.Body, ctx: ctx, cancel: cancel, timer: timer, stall: stall}
	if coding := resp.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding,
		"identity") && resp.StatusCode < http.StatusMultipleChoices {
		_ = resp.Body.Close()
		return nil, errCompressed
	}
	return resp, nil
}

// mirrorOf is where an answer came from after redirects, if that may be kept: a URL
// with a query or with credentials is neither for long nor for others to see.
func mirrorOf(resp *http.Response, imageURL string) string {
	if resp.Request == nil || resp.Request.URL == nil {
		return ""
	}
	u := *resp.Request.URL
	u.Fragment = ""
	if final := u.String(); u.RawQuery == "" && u.User == nil && final != imageURL && len(final) <= maxMirror {
		return final
	}
	return ""
}

// plainError names a stall as such, and of all else says what may be said.
func plainError(ctx context.Context, err error, words func(error) error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errStalled) || errors.Is(cause, errPeerSilent) {
		return cause
	}
	return words(err)
}

// watched limits the silence within a body. The timer runs only during Read: a
// slow BMC behind the stream is not the image server's fault.
type watched struct {
	body   io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.stall)
	n, err := w.body.Read(p)
	w.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = plainError(w.ctx, err, broken)
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	w.cancel(nil)
	return w.body.Close()
}

// StatusError says in words what an answer other than 200 or 206 means.
func StatusError(status int) error {
	switch status {
	case http.StatusNotFound, http.StatusGone:
		return fmt.Errorf("there is no such file on the server (%d)", status)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("the server refuses access (%d)", status)
	}
	return fmt.Errorf("the server answered %d %s", status, http.StatusText(status))
}

// span is a Content-Range header: first and last byte, and the total; last is -1
// for an unsatisfied range, total is -1 when not said.
type span struct{ first, last, total int64 }

func parseContentRange(h string) (span, bool) {
	rest, ok := strings.CutPrefix(h, "bytes ")
	if !ok {
		return span{}, false
	}
	bounds, total, ok := strings.Cut(rest, "/")
	if !ok {
		return span{}, false
	}
	out := span{total: -1, last: -1}
	if total != "*" {
		if out.total, ok = digits(total); !ok {
			return span{}, false
		}
	}
	if bounds == "*" {
		return out, true
	}
	first, last, ok := strings.Cut(bounds, "-")
	if !ok {
		return span{}, false
	}
	var ok1, ok2 bool
	out.first, ok1 = digits(first)
	out.last, ok2 = digits(last)
	return out, ok1 && ok2 && out.first <= out.last
}

func rangeHeader(first, last int64) string {
	return "bytes=" + strconv.FormatInt(first, 10) + "-" + strconv.FormatInt(last, 10)
}

// strong tells whether a tag may be used to resume: a weak one promises no
// equality of bytes.
func strong(etag string) bool { return len(etag) > 2 && etag[0] == '"' }

// The window of an image that shows whether it is an ISO: the first volume
// descriptor, and the end of the system area before it.
const (
	windowStart = 32768 - 24
	windowEnd   = 32768 + sector
)

// isISO checks the window. errNotISO: no volume descriptor stands there;
// errUDFOnly: UDF's stands there (mkudffs, and images of Windows).
func isISO(window []byte) error {
	if len(window) >= windowEnd-windowStart && string(window[32768-windowStart:][1:6]) == "BEA01" {
		return errUDFOnly
	}
	if len(window) < windowEnd-windowStart || string(window[32768-windowStart:][1:6]) != "CD001" {
		return errNotISO
	}
	return nil
}
