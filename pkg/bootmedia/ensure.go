package bootmedia

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// Status says how far a file is.
type Status struct {
	Ready bool
	// Size in bytes, and what its kind knows of it, once it is ready.
	Size  int64
	Known any
	// Progress in words, and how the last attempt failed if this one has got nothing yet.
	Progress, Failed string
}

// Ensure says how far a file is, and starts an attempt when nothing runs. The checksum is "sha256:<hex>" or "sha512:<hex>". An error is
// in words for a person; asking again tries again after a pause.
func (c *Cache) Ensure(url, sumText string) (Status, error) {
	sum, err := parseChecksum(sumText)
	if err != nil {
		return Status{}, &RefusedError{err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, err := c.find(sum)
	if err != nil {
		return Status{}, err
	}
	now := c.now()
	switch {
	case e.state == ready:
		e.used = now
		return Status{Ready: true, Size: e.size, Known: e.known, Progress: "verified and cached"}, nil
	case e.state == fetching:
	case now.Before(e.failures[url].retryAt):
		return Status{}, e.failures[url].err
	default:
		if err := c.start(func() { c.fetch(e, url) }); err != nil {
			return Status{}, err
		}
		e.state, e.got, e.doing = fetching, 0, ""
	}
	e.urls[url] = struct{}{}
	status := Status{Progress: e.progress(url)}
	if e.got == 0 && e.doing == "" {
		status.Failed = text(e.failures[url].err)
	}
	return status, nil
}

// Forgive ends the pauses after failed attempts at the URL. What is known of the file there stays.
func (c *Cache) Forgive(imageURL string) {
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
	if e.doing != "" {
		text = e.doing
	}
	if f := e.failures[imageURL]; f.err != nil {
		text += fmt.Sprintf(" (attempt %d; the last one: %v)", f.attempts+1, f.err)
	}
	return text
}

// fetch runs one attempt and records how it ended.
func (c *Cache) fetch(e *entry, imageURL string) {
	c.mu.Lock()
	last := e.failures[imageURL]
	c.mu.Unlock()
	d, err := c.attempt(e, imageURL, last)
	c.mu.Lock()
	urls := e.urls
	e.urls = map[string]struct{}{}
	e.used = c.now()
	switch {
	case err == nil:
		e.state, e.size, e.known, e.failures = ready, d.have, d.known, map[string]failure{}
	case c.ctx.Err() != nil:
		e.state = absent
	default:
		e.state, e.size = absent, sizeOf(c.path(e.sum, partSuffix))+sizeOf(c.path(e.sum, newSuffix))
		e.fail(c.now(), imageURL, d, err)
	}
	c.mu.Unlock()
	if err != nil && c.ctx.Err() == nil {
		c.log.Info("image not fetched", "image", displayURL(imageURL), "checksum", e.sum.String(), "reason", err.Error(), "cause", causeOf(err))
	}
	for u := range urls {
		c.tell(u)
	}
}

// fail records a failed attempt. Failures of URLs that nobody asks for any more
// are dropped, so that the map stays small.
func (e *entry) fail(now time.Time, imageURL string, d *download, err error) {
	for u, f := range e.failures {
		if u != imageURL && now.Sub(f.retryAt) > time.Hour {
			delete(e.failures, u)
		}
	}
	f := e.failures[imageURL]
	f.attempts++
	if !errors.Is(err, errSameRefused) {
		f.err, f.refusedTag = fmt.Errorf("image %s: %w", displayURL(imageURL), err), d.refusedTag
	}
	f.retryAt = now.Add(min(retryFirst<<min(f.attempts-1, 10), retryMost))
	if d.final {
		f.retryAt = now.Add(retryFinal)
	}
	e.failures[imageURL] = f
}

func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
