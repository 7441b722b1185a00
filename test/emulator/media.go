package emulator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

// slot is one virtual media slot. Guarded by BMC.mu but for its id.
type slot struct {
	id, name string
	spec     slotSpec
	// image is what is in, in truth; shown is what the BMC says is in.
	image, shown string
	// former is the image before the last eject.
	former string
	// staleUntil ends the time in which shown is known to be wrong.
	staleUntil time.Time
	// writeProtected and protocol are as given at the insert.
	writeProtected bool
	protocol       string
	busy           bool     // an insert is checking its URL
	pending        *pending // an insert that was answered and is not done
	ejected        time.Time
	generation     int // counts changes, so that readers of a former medium fail
	bytes          int64
}

// pending identifies one insert that takes its time.
type pending struct{ _ int }

// errUnreachable is what a BMC with the fault fetch-fails has to say.
var errUnreachable = errors.New("the image's server does not answer")

func (s *slot) clearLocked() {
	s.image, s.shown, s.protocol, s.writeProtected, s.bytes = "", "", "", false, 0
	s.staleUntil = time.Time{}
	s.generation++
}

// shownLocked says whether the BMC shows a medium.
func (s *slot) shownLocked() bool {
	if !s.staleUntil.IsZero() && time.Now().After(s.staleUntil) {
		s.shown, s.staleUntil = "", time.Time{}
	}
	return s.shown != ""
}

// readAhead is the block a BMC fetches at least, aligned: file systems read
// sector by sector, and a request for each would take for ever.
const readAhead = 64 << 10

// fetcher is the HTTP client of one BMC, made at first use.
type fetcher struct {
	client *http.Client
	trust  *x509.CertPool
}

// clientLocked returns the BMC's own HTTP client. It connects from the BMC's
// own address, verifies https against the fleet's media trust, and ignores
// proxy settings of this process.
func (b *BMC) clientLocked() *http.Client {
	trust := b.fleet.trust.Load()
	if b.fetcher != nil && b.fetcher.trust == trust {
		return b.fetcher.client
	}
	own := &net.TCPAddr{IP: net.ParseIP(b.spec.IP)}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		d := net.Dialer{}
		// From a loopback address only loopback can be reached.
		if a, err := netip.ParseAddrPort(addr); err == nil && a.Addr().Is4() && a.Addr().IsLoopback() && own.IP.To4() != nil {
			d.LocalAddr = own
		}
		return d.DialContext(ctx, network, addr)
	}
	b.fetcher = &fetcher{trust: trust, client: &http.Client{
		Transport: &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12},
			MaxIdleConnsPerHost: 2, IdleConnTimeout: 5 * time.Second, DisableCompression: true},
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) >= 3 {
				return errors.New("too many redirects")
			}
			return nil
		},
	}}
	return b.fetcher.client
}

// get makes one request for an image. The error never holds more of the URL
// than redact leaves.
func (b *BMC) get(ctx context.Context, method, image, ranges string) (*http.Response, error) {
	b.mu.Lock()
	client := b.clientLocked()
	b.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, method, image, nil)
	if err != nil {
		return nil, errors.New("malformed URL")
	}
	req.Header.Set("User-Agent", "BMC-VirtualMedia/1.0")
	if ranges != "" {
		req.Header.Set("Range", ranges)
	}
	resp, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // its own text repeats the URL
		}
		return nil, fmt.Errorf("%s %s: %w", method, redact(image), err)
	}
	return resp, nil
}

// redact leaves scheme, host and file name: the rest of a URL may be a capability.
func redact(image string) string {
	u, err := url.Parse(image)
	if err != nil || u.Host == "" {
		return "(malformed URL)"
	}
	return u.Scheme + "://" + u.Host + "/.../" + path.Base(u.Path)
}

// stat asks the image's server for the length: HEAD, or one byte by Range where
// HEAD is not served.
func (b *BMC) stat(ctx context.Context, image string) (size int64, etag string, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.fleet.timings.MediaTimeout)
	defer cancel()
	resp, err := b.get(ctx, http.MethodHead, image, "")
	if err != nil {
		return 0, "", err
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusOK && resp.ContentLength >= 0 {
		return resp.ContentLength, resp.Header.Get("ETag"), nil
	}
	if resp, err = b.get(ctx, http.MethodGet, image, "bytes=0-0"); err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusPartialContent {
		return 0, "", fmt.Errorf("GET %s: status %d to a range request", redact(image), resp.StatusCode)
	}
	_, _, total, err := contentRange(resp.Header.Get("Content-Range"))
	return total, resp.Header.Get("ETag"), err
}

// fetchWhole gets the image as one, and forgets it: what is in a slot is read again when the server reads it.
func (b *BMC) fetchWhole(ctx context.Context, image string) error {
	ctx, cancel := context.WithTimeout(ctx, b.fleet.timings.MediaTimeout)
	defer cancel()
	resp, err := b.get(ctx, http.MethodGet, image, "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: status %d", redact(image), resp.StatusCode)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("GET %s: %w", redact(image), err)
	}
	return nil
}

// contentRange parses "bytes first-last/total".
func contentRange(h string) (first, last, total int64, err error) {
	rest, ok := strings.CutPrefix(h, "bytes ")
	span, all, ok2 := strings.Cut(rest, "/")
	from, to, ok3 := strings.Cut(span, "-")
	if ok && ok2 && ok3 {
		var e1, e2, e3 error
		first, e1 = strconv.ParseInt(from, 10, 64)
		last, e2 = strconv.ParseInt(to, 10, 64)
		total, e3 = strconv.ParseInt(all, 10, 64)
		if errors.Join(e1, e2, e3) == nil && 0 <= first && first <= last && last < total {
			return first, last, total, nil
		}
	}
	return 0, 0, 0, fmt.Errorf("malformed Content-Range %q", h)
}

// remote is a medium in a slot as one power cycle sees it.
type remote struct {
	b          *BMC
	slot       *slot
	cycle      *cycle
	image      string
	generation int
}

func (b *BMC) remoteLocked(s *slot, c *cycle) *remote {
	return &remote{b: b, slot: s, cycle: c, image: s.image, generation: s.generation}
}

func (r *remote) open(ctx context.Context) (io.ReaderAt, int64, error) {
	if err := r.present(); err != nil {
		return nil, 0, err
	}
	size, etag, err := r.b.stat(ctx, r.image)
	if err != nil {
		r.failed(err)
		return nil, 0, err
	}
	return &reader{remote: r, ctx: ctx, size: size, etag: etag}, size, nil
}

// present says why the medium can no longer be read by this power cycle.
func (r *remote) present() error {
	if r.cycle.ctx.Err() != nil {
		return errors.New("the server lost its power")
	}
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	if r.slot.generation != r.generation {
		return fmt.Errorf("medium in slot %s was ejected", r.slot.id)
	}
	return nil
}

// read notes n fetched bytes; the first of a power cycle are an event.
func (r *remote) read(n int) {
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	if r.slot.generation == r.generation {
		r.slot.bytes += int64(n)
	}
	if !r.cycle.fetched[r.slot.id] {
		r.cycle.fetched[r.slot.id] = true
		r.b.record(cause{who: ByFirmware}, Event{Kind: EventFetch, To: r.slot.id, Detail: redact(r.image)})
	}
}

// failed notes a failed fetch, once for each slot and power cycle. A fetch that
// ended because the power went is no failure of the medium.
func (r *remote) failed(err error) {
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	if r.cycle.ctx.Err() == nil && !r.cycle.misfetched[r.slot.id] {
		r.cycle.misfetched[r.slot.id] = true
		r.b.record(cause{who: ByFirmware}, Event{Kind: EventFetchFailed, To: r.slot.id, Detail: err.Error()})
	}
}

// reader reads an image by Range requests.
type reader struct {
	*remote
	ctx  context.Context
	size int64
	etag string

	mu    sync.Mutex
	at    int64
	block []byte
}

// ReadAt implements io.ReaderAt.
func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	if err := r.present(); err != nil {
		return 0, err
	}
	done := 0
	for done < len(p) {
		if off >= r.size {
			return done, io.EOF
		}
		n, err := r.readSome(p[done:], off)
		if err != nil {
			r.failed(err)
			return done, err
		}
		done, off = done+n, off+int64(n)
	}
	return done, nil
}

// readSome reads at least one byte. Large reads go straight into p, small ones
// through the read-ahead block.
func (r *reader) readSome(p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := off - r.at; i >= 0 && i < int64(len(r.block)) {
		return copy(p, r.block[i:]), nil
	}
	if len(p) >= readAhead {
		n := int(min(int64(len(p)), r.size-off, 4<<20))
		return n, r.fetch(p[:n], off)
	}
	at := off - off%readAhead
	block := make([]byte, min(readAhead, r.size-at))
	if err := r.fetch(block, at); err != nil {
		return 0, err
	}
	r.at, r.block = at, block
	return copy(p, block[off-at:]), nil
}

// fetch fills p from the image's server. An answer without exactly the range
// asked for, or of another version of the image than was opened, is an error.
func (r *reader) fetch(p []byte, off int64) error {
	ctx, cancel := context.WithTimeout(r.ctx, r.b.fleet.timings.MediaTimeout)
	defer cancel()
	resp, err := r.b.get(ctx, http.MethodGet, r.image, fmt.Sprintf("bytes=%d-%d", off, off+int64(len(p))-1))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusPartialContent {
		return fmt.Errorf("GET %s: status %d to a range request", redact(r.image), resp.StatusCode)
	}
	first, last, total, err := contentRange(resp.Header.Get("Content-Range"))
	if err != nil {
		return err
	}
	if first != off || last != off+int64(len(p))-1 || total != r.size || resp.Header.Get("ETag") != r.etag {
		return fmt.Errorf("GET %s: another range or image than asked for", redact(r.image))
	}
	if n, err := io.ReadFull(resp.Body, p); err != nil {
		return fmt.Errorf("GET %s: %d of %d bytes: %w", redact(r.image), n, len(p), err)
	}
	r.read(len(p))
	return nil
}
