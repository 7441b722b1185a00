package bootmedia

import (
	"cmp"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
)

const (
	// idleBeforeEvict protects an image that some BMC may be reading in small
	// pieces, or that was prepared and is about to be inserted.
	idleBeforeEvict = 10 * time.Minute
	// maxDownloads run at one time; more would only be slower each.
	maxDownloads = 4
	// retryFirst and retryMost bound the pause after a failed download.
	retryFirst, retryMost = 5 * time.Second, 5 * time.Minute
	// retryFinal is the pause after the bytes that were asked for turned out not to be what they have to be.
	retryFinal = 24 * time.Hour

	doneSuffix = ".iso"
	// partSuffix is of a download, metaSuffix of what is noted of it, newSuffix of what is made of it. keptSuffix is added to the name of
	// a finished file for what is known of it.
	partSuffix, metaSuffix, newSuffix, keptSuffix = ".part", ".part.json", ".new", ".json"
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
	known any                 // what the kind knows of a file that is ready
	doing string              // what is made of a verified download, in words
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

// Cache keeps files on disk that were downloaded and verified. One attempt at a time is made at a file, whoever asks for it. It is
// safe for concurrent use, and several processes may share its folder.
type Cache struct {
	*background
	dir    string
	limit  int64
	client *http.Client
	log    logr.Logger
	now    func() time.Time
	kind   Kind
	tell   func(url string)
	slots  chan struct{}

	mu     sync.Mutex
	loaded bool
	by     map[checksum]*entry
}

// NewCache makes a cache. It touches nothing before it is used.
func NewCache(o CacheOptions) *Cache {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Client == nil {
		o.Client = NewClient(ClientOptions{})
	}
	if o.Log.IsZero() {
		o.Log = logr.Discard()
	}
	if o.Tell == nil {
		o.Tell = func(string) {}
	}
	return &Cache{background: newBackground(), dir: o.Dir, limit: o.Bytes, client: imageClient(o.Client), log: o.Log, now: o.Now,
		kind: o.Kind, tell: o.Tell, slots: make(chan struct{}, maxDownloads), by: map[checksum]*entry{}}
}

func (c *Cache) path(sum checksum, suffix string) string {
	return filepath.Join(c.dir, sum.name()+suffix)
}

// load reads what an earlier process left. A file has its final name only after
// it was verified and synced, so the name is the proof.
func (c *Cache) load() error {
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
		if err != nil || statErr != nil || (suffix != c.kind.Suffix && suffix != partSuffix && suffix != newSuffix) {
			continue
		}
		e := newEntry(sum)
		e.size, e.used = info.Size(), info.ModTime()
		if suffix == c.kind.Suffix {
			if e.known, err = c.kind.Know(c.path(sum, suffix)); err != nil {
				_ = os.Remove(c.path(sum, suffix)) // not counted, so not kept
				continue
			}
			e.state = ready
		}
		switch old := c.by[sum]; {
		case old == nil || e.state == ready:
			c.by[sum] = e
		case old.state == absent:
			old.size += e.size
		}
	}
	c.loaded = true
	// An earlier process may have been allowed more.
	return c.shrink(0, nil, func(*entry) bool { return true })
}

// shrink lets the longest unused images go that may go, until the rest is within the limit together with more bytes for one that
// stays. The caller holds mu.
func (c *Cache) shrink(more int64, keep *entry, may func(*entry) bool) error {
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
		return fmt.Errorf("the image cache of %s MiB is full of images in use: wait, or enlarge the cache (%s)", mib(c.limit), c.kind.Setting)
	}
	return nil
}

// find is the entry of a checksum, made if need be. The caller holds mu.
func (c *Cache) find(sum checksum) (*entry, error) {
	if err := c.load(); err != nil {
		return nil, err
	}
	e := c.by[sum]
	if e == nil {
		e = newEntry(sum)
		c.by[sum] = e
	}
	if e.state == ready {
		if _, err := os.Stat(c.path(sum, c.kind.Suffix)); errors.Is(err, fs.ErrNotExist) {
			e.state, e.size, e.got = absent, 0, 0 // somebody emptied the folder
		}
	}
	return e, nil
}

// reserve makes room so that e may take size bytes: the longest unused images
// go first, partial ones too; what is read, fetched or recently used stays.
func (c *Cache) reserve(e *entry, size int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if size > c.limit {
		return fmt.Errorf("the image has %s MiB and the cache holds %s in all: enlarge the cache (%s)", mib(size), mib(c.limit),
			c.kind.Setting)
	}
	if err := c.shrink(size, e, func(o *entry) bool { return o.state != ready || c.now().Sub(o.used) >= idleBeforeEvict }); err != nil {
		return err
	}
	e.size = size
	return nil
}

func (c *Cache) remove(e *entry) error {
	for _, suffix := range []string{c.kind.Suffix, c.kind.Suffix + keptSuffix, partSuffix, metaSuffix, newSuffix} {
		if err := os.Remove(c.path(e.sum, suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("evict from image cache: %w", err)
		}
	}
	return nil
}

// CachedFile is a verified file, open for reading. While it is open it is not evicted.
type CachedFile struct {
	*os.File
	cache *Cache
	entry *entry
}

func (f *CachedFile) etag() string { return `"` + f.entry.sum.digest[:32] + `"` }

// Close lets the file go.
func (f *CachedFile) Close() error {
	f.cache.mu.Lock()
	f.entry.refs--
	f.entry.used = f.cache.now()
	f.cache.mu.Unlock()
	return f.File.Close()
}

// Open opens a file that is ready, of which what is known fits; fs.ErrNotExist when there is none.
func (c *Cache) Open(fits func(known any) bool) (*CachedFile, any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.load(); err != nil {
		return nil, nil, err
	}
	for _, e := range c.by {
		if e.state == ready && fits(e.known) {
			f, err := c.open(e)
			return f, e.known, err
		}
	}
	return nil, nil, fmt.Errorf("open cached image: %w", fs.ErrNotExist)
}

// open opens the file of an entry. The caller holds mu.
func (c *Cache) open(e *entry) (*CachedFile, error) {
	f, err := os.Open(c.path(e.sum, c.kind.Suffix))
	if err != nil {
		return nil, fmt.Errorf("open cached image: %w", err)
	}
	e.refs++
	return &CachedFile{File: f, cache: c, entry: e}, nil
}

// openCached opens a verified image; errNotReady when it is on its way, which
// this call starts if nothing did.
func (s *Server) openCached(imageURL, sumText string) (*CachedFile, error) {
	sum, err := parseChecksum(sumText)
	if err != nil {
		return nil, err
	}
	prepared, err := s.cache.Ensure(imageURL, sumText)
	if err != nil {
		return nil, err
	}
	if !prepared.Ready {
		return nil, errNotReady
	}
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	return s.cache.open(s.cache.by[sum])
}
