package bootmedia

import (
	"cmp"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// idleBeforeEvict protects an image that some BMC may be reading in small
	// pieces, or that was prepared and is about to be inserted.
	idleBeforeEvict = 10 * time.Minute
	// maxDownloads run at one time; more would only be slower each.
	maxDownloads = 4
	// retryFirst and retryMost bound the pause after a failed download.
	retryFirst, retryMost = 5 * time.Second, 5 * time.Minute

	doneSuffix, partSuffix, metaSuffix = ".iso", ".part", ".part.json"
)

// errNotReady: the image is on its way.
var errNotReady = errors.New("the image is being fetched")

// checksum is a digest that was asked for.
type checksum struct{ algorithm, digest string }

func parseChecksum(s string) (checksum, error) {
	algorithm, digest, _ := strings.Cut(strings.ToLower(s), ":")
	want := map[string]int{"sha256": sha256.Size, "sha512": sha512.Size}[algorithm]
	raw, err := hex.DecodeString(digest)
	if err != nil || want == 0 || len(raw) != want {
		return checksum{}, fmt.Errorf("checksum %q: sha256:<64 hex digits> or sha512:<128 hex digits> wanted", clip(s, 160))
	}
	return checksum{algorithm, digest}, nil
}

func (c checksum) String() string { return c.algorithm + ":" + c.digest }

func (c checksum) name() string { return c.algorithm + "-" + c.digest }

func (c checksum) hash() hash.Hash {
	if c.algorithm == "sha512" {
		return sha512.New()
	}
	return sha256.New()
}

// state of an image in the cache.
type state int

const (
	absent   state = iota // perhaps with a partial download on disk
	fetching              // one goroutine downloads it
	ready                 // verified, under its final name
)

// entry is one image, by its checksum. All fields are guarded by cache.mu.
type entry struct {
	sum   checksum
	state state
	size  int64 // bytes it takes or has reserved
	got   int64 // of which downloaded
	refs  int   // open readers
	used  time.Time
	looks ImageLooksLike
	urls  map[string]struct{} // whom to tell
	// failures are kept per URL: users who name one image by several URLs must
	// neither see nor wait for what is wrong with the URL of another.
	failures map[string]failure
}

func newEntry(sum checksum) *entry {
	return &entry{sum: sum, urls: map[string]struct{}{}, failures: map[string]failure{}}
}

// failure is how the attempts at one URL have ended so far.
type failure struct {
	attempts int
	err      error
	retryAt  time.Time
	// refusedTag is the tag under which the URL had what is not the image.
	refusedTag string
}

// cache is the index of the images on disk.
type cache struct {
	dir   string
	limit int64
	now   func() time.Time
	slots chan struct{}

	mu     sync.Mutex
	loaded bool
	by     map[checksum]*entry
}

func newCache(dir string, limit int64, now func() time.Time) *cache {
	return &cache{dir: dir, limit: limit, now: now, slots: make(chan struct{}, maxDownloads), by: map[checksum]*entry{}}
}

func (c *cache) path(sum checksum, suffix string) string {
	return filepath.Join(c.dir, sum.name()+suffix)
}

// load reads what an earlier process left. A file has its final name only after
// it was verified and synced, so the name is the proof.
func (c *cache) load() error {
	if c.loaded {
		return nil
	}
	if c.dir == "" {
		return errors.New("images with a checksum need a cache folder, and none is set")
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("make image cache: %w", err)
	}
	names, err := os.ReadDir(c.dir)
	if err != nil {
		return fmt.Errorf("read image cache: %w", err)
	}
	for _, n := range names {
		suffix := filepath.Ext(n.Name())
		sum, err := parseChecksum(strings.Replace(strings.TrimSuffix(n.Name(), suffix), "-", ":", 1))
		info, statErr := n.Info()
		if err != nil || statErr != nil || (suffix != doneSuffix && suffix != partSuffix) {
			continue
		}
		e := newEntry(sum)
		e.size, e.used = info.Size(), info.ModTime()
		if suffix == doneSuffix {
			if e.looks, err = lookIntoFile(c.path(sum, doneSuffix)); err != nil {
				_ = os.Remove(c.path(sum, doneSuffix)) // not counted, so not kept
				continue
			}
			e.state = ready
		}
		if old := c.by[sum]; old == nil || e.state == ready {
			c.by[sum] = e
		}
	}
	c.loaded = true
	// An earlier process may have been allowed more.
	return c.shrink(0, nil, func(*entry) bool { return true })
}

// shrink lets the longest unused images go that may go, until the rest is within the limit together with more bytes for one that
// stays. The caller holds mu.
func (c *cache) shrink(more int64, keep *entry, may func(*entry) bool) error {
	total := more
	var idle []*entry
	for _, o := range c.by {
		if o == keep {
			continue
		}
		total += o.size
		if o.size > 0 && o.refs == 0 && o.state != fetching && may(o) {
			idle = append(idle, o)
		}
	}
	slices.SortFunc(idle, func(a, b *entry) int {
		return cmp.Or(a.used.Compare(b.used), strings.Compare(a.sum.digest, b.sum.digest))
	})
	for _, o := range idle {
		if total <= c.limit {
			return nil
		}
		if err := c.remove(o); err != nil {
			return err
		}
		total -= o.size
		o.size, o.got = 0, 0
		if o.state == ready {
			o.state = absent
		}
	}
	if total > c.limit {
		return fmt.Errorf("the image cache of %s MiB is full of images in use: wait, or enlarge the cache (--media-cache-size)", mib(c.limit))
	}
	return nil
}

// lookIntoFile looks into an image on disk; errNotISO when it is none.
func lookIntoFile(path string) (ImageLooksLike, error) {
	f, err := os.Open(path)
	if err != nil {
		return ImageLooksLike{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ImageLooksLike{}, err
	}
	window := make([]byte, windowEnd-windowStart)
	if _, err := f.ReadAt(window, windowStart); errors.Is(err, io.EOF) {
		return ImageLooksLike{}, errNotISO
	} else if err != nil {
		return ImageLooksLike{}, err
	}
	if err := isISO(window); err != nil {
		return ImageLooksLike{}, err
	}
	return lookInto(f, info.Size())
}

// find is the entry of a checksum, made if need be. The caller holds mu.
func (c *cache) find(sum checksum) (*entry, error) {
	if err := c.load(); err != nil {
		return nil, err
	}
	e := c.by[sum]
	if e == nil {
		e = newEntry(sum)
		c.by[sum] = e
	}
	if e.state == ready {
		if _, err := os.Stat(c.path(sum, doneSuffix)); errors.Is(err, fs.ErrNotExist) {
			e.state, e.size, e.got = absent, 0, 0 // somebody emptied the folder
		}
	}
	return e, nil
}

// reserve makes room so that e may take size bytes: the longest unused images
// go first, partial ones too; what is read, fetched or recently used stays.
func (c *cache) reserve(e *entry, size int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if size > c.limit {
		return fmt.Errorf("the image has %s MiB and the cache holds %s in all: enlarge the cache (--media-cache-size)", mib(size), mib(c.limit))
	}
	if err := c.shrink(size, e, func(o *entry) bool { return o.state != ready || c.now().Sub(o.used) >= idleBeforeEvict }); err != nil {
		return err
	}
	e.size = size
	return nil
}

func (c *cache) remove(e *entry) error {
	for _, suffix := range []string{doneSuffix, partSuffix, metaSuffix} {
		if err := os.Remove(c.path(e.sum, suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("evict from image cache: %w", err)
		}
	}
	return nil
}

// cachedFile is a verified image, open for reading. While it is open it is not
// evicted.
type cachedFile struct {
	*os.File
	cache *cache
	entry *entry
}

func (f *cachedFile) etag() string { return `"` + f.entry.sum.digest[:32] + `"` }

// Close lets the image go.
func (f *cachedFile) Close() error {
	f.cache.mu.Lock()
	f.entry.refs--
	f.entry.used = f.cache.now()
	f.cache.mu.Unlock()
	return f.File.Close()
}

// openCached opens a verified image; errNotReady when it is on its way, which
// this call starts if nothing did.
func (s *Server) openCached(imageURL, sumText string) (*cachedFile, error) {
	sum, err := parseChecksum(sumText)
	if err != nil {
		return nil, err
	}
	prepared, err := s.ensure(imageURL, sum)
	if err != nil {
		return nil, err
	}
	if !prepared.Ready {
		return nil, errNotReady
	}
	c := s.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.by[sum]
	f, err := os.Open(c.path(sum, doneSuffix))
	if err != nil {
		return nil, fmt.Errorf("open cached image: %w", err)
	}
	e.refs++
	return &cachedFile{File: f, cache: c, entry: e}, nil
}
