package bootmedia

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// chunk is the buffer of a download, and the step of its progress.
const chunk = 256 << 10

// ensure says how far an image is, and starts its download when nothing runs.
func (s *Server) ensure(imageURL string, sum checksum) (Prepared, error) {
	c := s.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	e, err := c.find(sum)
	if err != nil {
		return Prepared{}, err
	}
	now := c.now()
	switch {
	case e.state == ready:
		e.used = now
		return Prepared{Ready: true, Pin: Pin{Length: e.size}, Progress: "verified and cached", Looks: e.looks}, nil
	case e.state == fetching:
	case now.Before(e.failures[imageURL].retryAt):
		return Prepared{}, e.failures[imageURL].err
	default:
		if err := s.start(func() { s.fetch(e, imageURL) }); err != nil {
			return Prepared{}, err
		}
		e.state, e.got = fetching, 0
	}
	e.urls[imageURL] = struct{}{}
	prepared := Prepared{Progress: e.progress(imageURL)}
	if e.got == 0 {
		prepared.Failed = text(e.failures[imageURL].err)
	}
	return prepared, nil
}

// forgive ends the pauses after failed downloads from the URL. What is known of the file there stays.
func (c *cache) forgive(imageURL string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.by {
		if f, failed := e.failures[imageURL]; failed {
			f.retryAt = time.Time{}
			e.failures[imageURL] = f
		}
	}
}

func (e *entry) progress(imageURL string) string {
	text := "waiting for the image server"
	if e.got > 0 {
		text = "downloading " + mib(e.got) + " of " + mib(e.size) + " MiB"
	}
	if f := e.failures[imageURL]; f.err != nil {
		text += fmt.Sprintf(" (attempt %d; the last one: %v)", f.attempts+1, f.err)
	}
	return text
}

// fetch runs one attempt and records how it ended.
func (s *Server) fetch(e *entry, imageURL string) {
	c := s.cache
	c.mu.Lock()
	last := e.failures[imageURL]
	c.mu.Unlock()
	d, err := s.attempt(e, imageURL, last)
	c.mu.Lock()
	urls := e.urls
	e.urls = map[string]struct{}{}
	e.used = c.now()
	switch {
	case err == nil:
		e.state, e.size, e.looks, e.failures = ready, d.have, d.looks, map[string]failure{}
	case s.ctx.Err() != nil:
		e.state = absent
	default:
		e.state, e.size = absent, partSize(c.path(e.sum, partSuffix))
		e.fail(c.now(), imageURL, d.refusedTag, err)
	}
	c.mu.Unlock()
	if err != nil && s.ctx.Err() == nil {
		s.log.Info("image not fetched", "image", displayURL(imageURL), "checksum", e.sum.String(), "reason", err.Error(), "cause", causeOf(err))
	}
	for u := range urls {
		s.tell(u)
	}
}

// fail records a failed attempt. Failures of URLs that nobody asks for any more
// are dropped, so that the map stays small.
func (e *entry) fail(now time.Time, imageURL, refusedTag string, err error) {
	for u, f := range e.failures {
		if u != imageURL && now.Sub(f.retryAt) > time.Hour {
			delete(e.failures, u)
		}
	}
	f := e.failures[imageURL]
	f.attempts++
	if !errors.Is(err, errSameRefused) {
		f.err, f.refusedTag = fmt.Errorf("image %s: %w", displayURL(imageURL), err), refusedTag
	}
	f.retryAt = now.Add(min(retryFirst<<min(f.attempts-1, 10), retryMost))
	e.failures[imageURL] = f
}

func partSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// attempt makes one download. The result is never nil.
func (s *Server) attempt(e *entry, imageURL string, last failure) (*download, error) {
	d := &download{cache: s.cache, entry: e, url: imageURL, client: s.client, hash: e.sum.hash(), lastRefused: last.refusedTag}
	select {
	case s.cache.slots <- struct{}{}:
		defer func() { <-s.cache.slots }()
	case <-s.ctx.Done():
		return d, s.ctx.Err()
	}
	var err error
	if d.part, err = s.cache.openPart(e.sum); err != nil {
		return d, err
	}
	defer d.part.Close()
	if d.adopt() {
		return d, nil
	}
	return d, d.run(s.ctx)
}

// download is one attempt at an image. It goes on where the last one stopped if
// the server's strong tag is still the same, and starts over otherwise.
type download struct {
	cache  *cache
	entry  *entry
	url    string
	client *http.Client
	part   *os.File
	hash   hash.Hash
	have   int64 // bytes written and hashed
	looks  ImageLooksLike
	looked bool

	tag string // of the answer that is being read
	// lastRefused and refusedTag: content that was refused under a tag is not
	// fetched again until the tag is another.
	lastRefused, refusedTag string
}

// errSameRefused: the server still has what was refused last time.
var errSameRefused = errors.New("the server still has the file that was refused")

// resumeNote is kept beside a partial download.
type resumeNote struct {
	URL  string `json:"url"`
	ETag string `json:"etag"`
}

func (d *download) run(ctx context.Context) error {
	resp, err := d.request(ctx)
	if err != nil {
		return err
	}
	total, err := d.begin(resp)
	if err == nil {
		err = d.copy(resp.Body, total)
	}
	_ = resp.Body.Close()
	if err != nil {
		return err
	}
	return d.finish()
}

// request asks for the image, or for the rest of it.
func (d *download) request(ctx context.Context) (*http.Response, error) {
	if etag, size := d.resumable(); etag != "" {
		header := http.Header{"Range": {"bytes=" + strconv.FormatInt(size, 10) + "-"}, "If-Range": {etag}}
		resp, err := get(ctx, d.client, d.url, header)
		if err != nil {
			return nil, err
		}
		got, ok := parseContentRange(resp.Header.Get("Content-Range"))
		if resp.StatusCode == http.StatusPartialContent && ok && got.first == size && got.total == got.last+1 && resp.Header.Get("ETag") == etag {
			if err := d.rehash(size); err != nil {
				_ = resp.Body.Close()
				return nil, err
			}
			return resp, nil
		}
		if resp.StatusCode == http.StatusOK {
			return resp, nil
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusPartialContent && resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
			return nil, statusError(resp.StatusCode)
		}
	}
	header := http.Header{}
	if d.lastRefused != "" {
		header.Set("If-None-Match", d.lastRefused)
	}
	resp, err := get(ctx, d.client, d.url, header)
	if err != nil || resp.StatusCode == http.StatusOK {
		return resp, err
	}
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified {
		return nil, errSameRefused
	}
	return nil, statusError(resp.StatusCode)
}

func (d *download) resumable() (etag string, size int64) {
	raw, err := os.ReadFile(d.cache.path(d.entry.sum, metaSuffix))
	if err != nil {
		return "", 0
	}
	var note resumeNote
	info, err := d.part.Stat()
	if err != nil || info.Size() == 0 || json.Unmarshal(raw, &note) != nil || note.URL != d.url || !strong(note.ETag) {
		return "", 0
	}
	return note.ETag, info.Size()
}

func (d *download) rehash(size int64) error {
	if _, err := d.part.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read image cache: %w", err)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{d.hash}, io.LimitReader(d.part, size), make([]byte, chunk))
	if err != nil {
		return fmt.Errorf("read image cache: %w", err)
	}
	d.have = n
	return nil
}

// begin prepares file and room for what the answer brings; total is -1 when the
// server does not say how much that is.
func (d *download) begin(resp *http.Response) (int64, error) {
	d.tag = resp.Header.Get("ETag")
	total := resp.ContentLength
	if total >= 0 {
		total += d.have
	}
	if err := d.cache.reserve(d.entry, max(total, d.have)); err != nil {
		return 0, err
	}
	if d.have > 0 {
		return total, nil
	}
	if err := d.part.Truncate(0); err != nil {
		return 0, fmt.Errorf("write image cache: %w", err)
	}
	if _, err := d.part.Seek(0, io.SeekStart); err != nil {
		return 0, fmt.Errorf("write image cache: %w", err)
	}
	note, err := json.Marshal(resumeNote{URL: d.url, ETag: d.tag})
	if err != nil {
		return 0, fmt.Errorf("write image cache: %w", err)
	}
	if err := os.WriteFile(d.cache.path(d.entry.sum, metaSuffix), note, 0o600); err != nil {
		return 0, fmt.Errorf("write image cache: %w", err)
	}
	return total, nil
}

func (d *download) copy(body io.Reader, total int64) error {
	buf := make([]byte, chunk)
	for {
		n, err := io.ReadFull(body, buf)
		if n > 0 {
			if werr := d.take(buf[:n], total); werr != nil {
				return werr
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF) && (total < 0 || d.have == total):
			if total >= 0 && d.have != total {
				return fmt.Errorf("the download ended after %d of %d bytes", d.have, total)
			}
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("the download ended after %d of %d bytes", d.have, total)
		default:
			return fmt.Errorf("the download ended after %d bytes: %w", d.have, err)
		}
	}
}

// take stores a piece. A file that is no ISO, most often an error page, is found
// out with the first piece instead of after gigabytes.
func (d *download) take(piece []byte, total int64) error {
	if total < 0 {
		if err := d.cache.reserve(d.entry, d.have+int64(len(piece))); err != nil {
			return err
		}
	}
	if _, err := d.part.Write(piece); err != nil {
		return fmt.Errorf("write image cache: %w", err)
	}
	d.hash.Write(piece)
	d.have += int64(len(piece))
	d.cache.mu.Lock()
	d.entry.got = d.have
	d.cache.mu.Unlock()
	if d.have >= windowEnd {
		return d.look()
	}
	return nil
}

func (d *download) look() error {
	if d.looked {
		return nil
	}
	window := make([]byte, windowEnd-windowStart)
	if _, err := d.part.ReadAt(window, windowStart); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read image cache: %w", err)
	}
	if err := isISO(window); err != nil {
		return d.refuse(err)
	}
	d.looked = true
	return nil
}

// refuse forgets the partial download, as what is wrong is not to be resumed,
// and notes under which tag it was found.
func (d *download) refuse(err error) error {
	_ = os.Remove(d.cache.path(d.entry.sum, metaSuffix))
	_ = d.part.Truncate(0)
	if strong(d.tag) {
		d.refusedTag = d.tag
	}
	return err
}

// finish verifies the image and gives it its final name, which is the proof that
// it was verified; so it has to be on disk before the name is.
func (d *download) finish() error {
	if err := d.look(); err != nil {
		return err
	}
	if got := hex.EncodeToString(d.hash.Sum(nil)); !bytes.Equal([]byte(got), []byte(d.entry.sum.digest)) {
		return d.refuse(fmt.Errorf("checksum mismatch: %s was asked for, and the file has %s:%s", d.entry.sum, d.entry.sum.algorithm, got))
	}
	var err error
	if d.looks, err = lookInto(d.part, d.have); err != nil {
		return err
	}
	if err := d.part.Sync(); err != nil {
		return fmt.Errorf("write image cache: %w", err)
	}
	final := d.cache.path(d.entry.sum, doneSuffix)
	if err := os.Rename(d.part.Name(), final); err != nil {
		return fmt.Errorf("write image cache: %w", err)
	}
	_ = os.Remove(d.cache.path(d.entry.sum, metaSuffix))
	dir, err := os.Open(filepath.Dir(final))
	if err != nil {
		return fmt.Errorf("write image cache: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("write image cache: %w", err)
	}
	return nil
}
