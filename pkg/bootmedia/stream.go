package bootmedia

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	// maxResumes bounds how often in a row a request of a BMC outlives a
	// connection that its image server broke. A slow drive keeps one request
	// open for hours, in which every server breaks it now and then, so
	// resumeCredit bytes of progress start the count again.
	maxResumes   = 5
	resumeCredit = 1 << 20
	// resumePause is doubled from the second resume on: 7.5 s in all bridge the
	// restart of an image server and stay below the patience of BMCs (15 s).
	resumePause = 500 * time.Millisecond
	// readerStall is how long a BMC may take nothing from its connection before
	// the stream is given to another. Drives do pause, so it is long.
	readerStall = 10 * time.Minute
)

// etag is our own tag for a streamed image: a constant of the grant.
func (p Pin) etag(imageURL string) string {
	sum := sha256.Sum256([]byte(imageURL + "\n" + p.ETag + "\n" + strconv.FormatInt(p.Length, 10)))
	return `"` + hex.EncodeToString(sum[:])[:32] + `"`
}

// upstream is a pinned image as an io.ReadSeeker. It opens a ranged request
// where it is read, for as much as the range it lies in, and refuses an answer
// that is not from the pinned image. The mutex is there because net/http leaves
// a goroutine behind when a reader of several ranges goes away.
type upstream struct {
	ctx    context.Context
	cancel context.CancelFunc
	client *http.Client
	url    string
	pin    Pin
	ranges [][2]int64 // what will be read, as far as known
	pause  time.Duration
	// astray: the pinned mirror failed, and the image's own URL is read instead.
	astray bool
	// progress is called before every read: what was read before was taken.
	progress func()

	mu      sync.Mutex
	off     int64
	body    io.ReadCloser
	at, end int64 // where the body stands, and where it ends
	resumes int
	gained  int64 // bytes since the last resume
	failure error // the first; it ends the reader
}

// open sends the first request, where reading will start.
func (u *upstream) open() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	start := int64(0)
	if len(u.ranges) > 0 {
		start = u.ranges[0][0]
	}
	if _, err := u.openAt(start); err != nil {
		u.failure = u.wrap(err)
	}
	return u.failure
}

func (u *upstream) Seek(offset int64, whence int) (int64, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += u.off
	case io.SeekEnd:
		offset += u.pin.Length
	}
	if offset < 0 {
		return 0, errors.New("seek in image: negative offset")
	}
	u.off = offset
	return offset, nil
}

func (u *upstream) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for {
		if u.failure != nil {
			return 0, u.failure
		}
		u.progress()
		if u.off >= u.pin.Length {
			return 0, io.EOF
		}
		if passing, err := u.openAt(u.off); passing {
			u.broken(err)
			continue
		} else if err != nil {
			u.failure = u.wrap(err)
			continue
		}
		n, err := u.body.Read(p[:min(int64(len(p)), u.end-u.at)])
		u.off += int64(n)
		u.at += int64(n)
		u.gained += int64(n)
		if err != nil || u.at == u.end {
			u.drop()
		}
		if err != nil && u.at != u.end {
			u.broken(err)
		}
		if n > 0 || len(p) == 0 {
			return n, nil
		}
	}
}

// broken decides whether what ended early is asked for again, and waits before.
func (u *upstream) broken(err error) {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if u.gained >= resumeCredit {
		u.resumes = 0
	}
	u.gained = 0
	if u.resumes++; u.resumes > maxResumes || u.ctx.Err() != nil {
		u.failure = u.wrap(err)
		return
	}
	if u.resumes == 1 {
		return
	}
	timer := time.NewTimer(u.pause << (u.resumes - 2))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-u.ctx.Done():
	}
}

func (u *upstream) wrap(err error) error {
	return fmt.Errorf("stream image %s: %w", displayURL(u.url), err)
}

// openAt makes body stand at off. An error is passing when a later attempt may
// succeed: the connection or the server failed, and nothing is known to be wrong
// with the image.
func (u *upstream) openAt(off int64) (passing bool, err error) {
	if u.body != nil && u.at == off {
		return false, nil
	}
	u.drop()
	end := u.pin.Length
	for _, r := range u.ranges {
		if r[0] <= off && off < r[1] {
			end = r[1]
			break
		}
	}
	header := http.Header{"Range": {rangeHeader(off, end-1)}}
	if strong(u.pin.ETag) {
		header.Set("If-Range", u.pin.ETag)
	}
	if u.pin.Mirror != "" && !u.astray {
		if _, err := u.ask(u.pin.Mirror, header, off, end); err == nil || u.ctx.Err() != nil {
			return false, err
		}
		u.astray = true // the mirror is away or has another image by now: the redirector knows better ones
	}
	return u.ask(u.url, header, off, end)
}

// ask sends one request, and has body stand at off if the answer is of the pinned
// image. A server may answer with less than was asked for: the rest is asked for
// when that is read.
func (u *upstream) ask(url string, header http.Header, off, end int64) (passing bool, err error) {
	resp, err := get(u.ctx, u.client, url, header)
	if err != nil {
		return !errors.Is(err, errCompressed), err
	}
	got, err := u.check(resp, off, end)
	if err != nil {
		_ = resp.Body.Close()
		return resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests, err
	}
	u.body, u.at, u.end = resp.Body, off, got
	return false, nil
}

// check compares an answer with the pin, and says where it ends. Not every server honours If-Range, so
// the answer itself has to show that it is from the same image; an answer that
// lost the tag does not.
func (u *upstream) check(resp *http.Response, off, end int64) (int64, error) {
	switch resp.StatusCode {
	case http.StatusPartialContent:
	case http.StatusOK:
		if resp.ContentLength == u.pin.Length && resp.Header.Get("ETag") == u.pin.ETag {
			return 0, errors.New("the server no longer answers range requests")
		}
		return 0, u.changed(resp, resp.ContentLength)
	case http.StatusRequestedRangeNotSatisfiable, http.StatusPreconditionFailed:
		got, _ := parseContentRange(resp.Header.Get("Content-Range"))
		return 0, u.changed(resp, got.total)
	default:
		return 0, StatusError(resp.StatusCode)
	}
	got, ok := parseContentRange(resp.Header.Get("Content-Range"))
	if !ok || got.first != off {
		return 0, errOtherRange
	}
	etag := resp.Header.Get("ETag")
	if (got.total >= 0 && got.total != u.pin.Length) || (u.pin.ETag != "" && etag != u.pin.ETag) {
		return 0, u.changed(resp, got.total)
	}
	if got.last >= end {
		return 0, errOtherRange
	}
	return got.last + 1, nil
}

var errOtherRange = errors.New("the server answered with another range than was asked for")

func (u *upstream) changed(resp *http.Response, length int64) error {
	return fmt.Errorf("%w: it was %d bytes with ETag %s, and is %d bytes with ETag %s; release the machine, or put the image back",
		ErrChanged, u.pin.Length, orNone(u.pin.ETag), length, orNone(clip(resp.Header.Get("ETag"), 80)))
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

func (u *upstream) drop() {
	if u.body != nil {
		_ = u.body.Close()
		u.body = nil
	}
}

// failed is what ended the reader early, if anything did.
func (u *upstream) failed() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.failure
}

// Close ends a Read that is under way, too.
func (u *upstream) Close() {
	u.cancel()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.drop()
	if u.failure == nil {
		u.failure = errors.New("read from a closed image")
	}
}
