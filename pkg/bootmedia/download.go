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
	case e.state == failed && now.Before(e.retryAt):
		return Prepared{}, e.err
	case e.state != fetching:
		e.state = fetching
		e.attempts++
		s.tasks.Go(func() { s.fetch(e, imageURL) })
	}
	e.urls[imageURL] = struct{}{}
	return Prepared{Progress: e.progress()}, nil
}

func (e *entry) progress() string {
	text := "waiting for the image server"
	if e.got > 0 {
		text = "downloading " + mib(e.got) + " of " + mib(e.size) + " MiB"
	}
	if e.err != nil {
		text += fmt.Sprintf(" (attempt %d; the last one: %v)", e.attempts, e.err)
	}
	return text
}

// fetch runs one attempt and records how it ended.
func (s *Server) fetch(e *entry, imageURL string) {
	c := s.cache
	looks, size, err := s.attempt(e, imageURL)
	c.mu.Lock()
	urls := e.urls
	e.urls = map[string]struct{}{}
	e.used = c.now()
	switch {
	case err == nil:
		e.state, e.size, e.looks, e.err, e.attempts = ready, size, looks, nil, 0
	case s.ctx.Err() != nil:
		e.state = absent
	default:
		e.state, e.err = failed, fmt.Errorf("image %s: %w", displayURL(imageURL), err)
		e.retryAt = c.now().Add(min(retryFirst<<min(e.attempts-1, 10), retryMost))
		e.size = max(partSize(c.path(e.sum, partSuffix)), 0)
	}
	c.mu.Unlock()
	if err != nil && s.ctx.Err() == nil {
		s.log.Info("image not fetched", "image", displayURL(imageURL), "checksum", e.sum.String(), "reason", err.Error())
	}
	for u := range urls {
		s.tell(u)
	}
}

func partSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

func (s *Server) attempt(e *entry, imageURL string) (ImageLooksLike, int64, error) {
	select {
	case s.cache.slots <- struct{}{}:
		defer func() { <-s.cache.slots }()
	case <-s.ctx.Done():
		return ImageLooksLike{}, 0, s.ctx.Err()
	}
	part, err := os.OpenFile(s.cache.path(e.sum, partSuffix), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return ImageLooksLike{}, 0, fmt.Errorf("write image cache: %w", err)
	}
	defer part.Close()
	d := &download{cache: s.cache, entry: e, url: imageURL, client: s.client, part: part, hash: e.sum.hash()}
	if err := d.run(s.ctx); err != nil {
		return ImageLooksLike{}, 0, err
	}
	return d.looks, d.have, nil
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
}

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
	resp, err := get(ctx, d.client, d.url, nil)
	if err == nil && resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		err = statusError(resp.StatusCode)
	}
	return resp, err
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
	note, err := json.Marshal(resumeNote{URL: d.url, ETag: resp.Header.Get("ETag")})
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
	var err error
	if d.looks, err = look(window); err != nil {
		d.discard()
		return err
	}
	d.looked = true
	return nil
}

// discard forgets the partial download: what is wrong is not to be resumed.
func (d *download) discard() {
	_ = os.Remove(d.cache.path(d.entry.sum, metaSuffix))
	_ = d.part.Truncate(0)
}

// finish verifies the image and gives it its final name, which is the proof that
// it was verified; so it has to be on disk before the name is.
func (d *download) finish() error {
	if err := d.look(); err != nil {
		return err
	}
	if got := hex.EncodeToString(d.hash.Sum(nil)); !bytes.Equal([]byte(got), []byte(d.entry.sum.digest)) {
		d.discard()
		return fmt.Errorf("checksum mismatch: %s was asked for, and the file has %s:%s", d.entry.sum, d.entry.sum.algorithm, got)
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
