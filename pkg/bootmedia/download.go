package bootmedia

import (
	"context"
	"encoding/hex"
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

// attempt makes one download. The result is never nil.
func (c *Cache) attempt(e *entry, imageURL string, last failure) (*download, error) {
	d := &download{cache: c, entry: e, sum: e.sum, url: imageURL, place: imageURL, client: c.client, lastRefused: last.refusedTag}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-c.ctx.Done():
		return d, c.ctx.Err()
	}
	var err error
	if d.part, err = c.openPart(e.sum); err != nil {
		return d, err
	}
	defer d.part.Close()
	_ = os.Remove(c.path(e.sum, newSuffix)) // of an attempt that was cut short
	if d.adopt() {
		return d, nil
	}
	return d, d.run(c.ctx)
}

// download is one attempt at an image. It goes on where the last one stopped if
// the server's strong tag is still the same, and starts over otherwise.
type download struct {
	cache *Cache
	entry *entry
	sum   checksum // that the bytes must have
	url   string   // by which others know it
	// place is the URL to ask, and client whom to ask through.
	place  string
	client Doer
	part   *os.File
	hash   hash.Hash
	have   int64 // bytes written and hashed
	known  any
	looked bool

	tag string // of the answer that is being read
	// lastRefused and refusedTag: content that was refused under a tag is not
	// fetched again until the tag is another.
	lastRefused, refusedTag string
	// final: the bytes of the checksum are refused, and always will be.
	final bool
}

// errSameRefused: the server still has what was refused last time.
var errSameRefused = errors.New("the server still has the file that was refused")

func (d *download) run(ctx context.Context) error {
	if err := d.locate(ctx); err != nil {
		return err
	}
	d.hash = d.sum.hash()
	if whole, err := d.whole(); err != nil || whole {
		if err != nil {
			return err
		}
		return d.finish(ctx)
	}
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
	return d.finish(ctx)
}

// locate finds out where the file is.
func (d *download) locate(ctx context.Context) error {
	if d.cache.kind.Locate == nil {
		return nil
	}
	at, err := d.cache.kind.Locate(ctx, d.cache.client, d.url, d.entry.sum.String())
	if err != nil {
		return err
	}
	d.place = at.URL
	if at.Client != nil {
		d.client = at.Client
	}
	if at.Checksum != "" {
		d.sum, err = parseChecksum(at.Checksum)
	}
	return err
}

// request asks for the image, or for the rest of it.
func (d *download) request(ctx context.Context) (*http.Response, error) {
	if etag, size := d.resumable(); etag != "" {
		header := http.Header{"Range": {"bytes=" + strconv.FormatInt(size, 10) + "-"}, "If-Range": {etag}}
		resp, err := get(ctx, d.client, d.place, header)
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
			return nil, StatusError(resp.StatusCode)
		}
	}
	header := http.Header{}
	if d.lastRefused != "" {
		header.Set("If-None-Match", d.lastRefused)
	}
	resp, err := get(ctx, d.client, d.place, header)
	if err != nil || resp.StatusCode == http.StatusOK {
		return resp, err
	}
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified {
		return nil, errSameRefused
	}
	return nil, StatusError(resp.StatusCode)
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
	if err := d.writeNote(false); err != nil {
		return 0, err
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
	return d.look(false)
}

func (d *download) look(whole bool) error {
	if d.looked {
		return nil
	}
	var err error
	d.looked, err = d.cache.kind.Begin(d.part, d.have, whole)
	if _, refused := errors.AsType[*RefusedError](err); refused {
		return d.refuse(err)
	}
	return err
}

// refuse forgets the partial download, as what is wrong is not to be resumed,
// and notes under which tag it was found.
func (d *download) refuse(err error) error {
	_ = os.Remove(d.cache.path(d.entry.sum, metaSuffix))
	_ = d.part.Truncate(0)
	if strong(d.tag) {
		d.refusedTag = d.tag
	}
	if _, refused := errors.AsType[*RefusedError](err); refused {
		return err
	}
	return &RefusedError{err}
}

// finish verifies the image and gives it its final name, which is the proof that
// it was verified; so it has to be on disk before the name is.
func (d *download) finish(ctx context.Context) error {
	if err := d.look(true); err != nil {
		return err
	}
	if !d.right() {
		return d.refuse(fmt.Errorf("checksum mismatch: %s was asked for, and the file has %s:%s", d.sum, d.sum.algorithm,
			hex.EncodeToString(d.hash.Sum(nil))))
	}
	keep, err := d.make(ctx)
	if err != nil {
		return err
	}
	defer keep.Close()
	if err := keep.Sync(); err != nil {
		return fmt.Errorf("write image cache: %w", err)
	}
	final := d.cache.path(d.entry.sum, d.cache.kind.Suffix)
	if err := os.Rename(keep.Name(), final); err != nil {
		return fmt.Errorf("write image cache: %w", err)
	}
	_ = os.Remove(d.cache.path(d.entry.sum, metaSuffix))
	if keep != d.part {
		_ = os.Remove(d.part.Name())
	}
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
