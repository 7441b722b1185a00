package diskimage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"

	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/endpoint"
)

// Options say what a Store is made of.
type Options struct {
	// Dir is the folder of the media cache. Disk images are in "disks" below it.
	Dir string
	// MaxBytes is what they may take there; 0 is 20 GiB. An image that is converted needs room for both forms meanwhile.
	MaxBytes int64
	// Client reaches the servers of images; nil is that of bootmedia.NewClient without options.
	Client *http.Client
	// RegistryConfig is a file of Docker's form (config.json) with credentials for registries, of which only "auths" is read; "" is none.
	// Whoever names an image may name any that they open.
	RegistryConfig string
	// MaxStreams is how many requests Serve answers at one time; 0 is no bound. BytesPerSecond is what it sends in all; 0 is no bound.
	MaxStreams     int
	BytesPerSecond int64
	Log            logr.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Source is an image as somebody published it.
type Source struct {
	// URL is http, https or oci://<registry>/<repository>:<tag> (or @sha256:<digest>), whose only layer is the image.
	URL string
	// Checksum of what is published: "sha256:<hex>" or "sha512:<hex>". For oci it is that of the layer or of the manifest, and may be
	// empty where the URL has the digest of the manifest.
	Checksum string
}

// NotYet says in words how far an image is that is not ready.
type NotYet struct{ Message string }

func (e *NotYet) Error() string { return e.Message }

// Store keeps disk images ready to be written. It is safe for concurrent use.
type Store struct {
	cache  *bootmedia.Cache
	notify atomic.Pointer[func(url string)]
	// working has a token while an image is worked on.
	working chan struct{}
	// streams has room for a token for each request that is answered; nil is no bound. rate is what all of them send.
	streams chan struct{}
	rate    *rate.Limiter
}

// New makes a store. It touches nothing before it is used.
func New(o Options) *Store {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 20 << 30
	}
	s := &Store{working: make(chan struct{}, 1), rate: rate.NewLimiter(rate.Inf, 0)}
	if o.MaxStreams > 0 {
		s.streams = make(chan struct{}, o.MaxStreams)
	}
	if o.BytesPerSecond > 0 {
		s.rate = rate.NewLimiter(rate.Limit(o.BytesPerSecond), sendPiece)
	}
	dir := o.Dir
	if dir != "" {
		dir = filepath.Join(dir, "disks")
	}
	s.cache = bootmedia.NewCache(bootmedia.CacheOptions{Dir: dir, Bytes: o.MaxBytes, Client: o.Client, Log: o.Log, Now: o.Now, Tell: s.tell,
		Kind: bootmedia.Kind{Suffix: imageSuffix, Setting: "--media-cache-size", Begin: begin, Know: know, Finish: s.finish,
			Locate: locator{o.RegistryConfig}.locate}})
	return s
}

// Prepare says what is known of an image that is ready, and starts what it needs to become so. It does not wait: Notify tells when to ask
// again. The error is a *NotYet while it is on its way; a *Refused if it is not taken, which holds until other bytes are published; and
// another one, in words for a person, after a failure, where asking again tries again after a pause.
func (s *Store) Prepare(_ context.Context, source Source) (Ready, error) {
	sum, err := source.sum()
	if err != nil {
		return Ready{}, err
	}
	status, err := s.cache.Ensure(source.URL, sum)
	if err != nil {
		if _, refused := errors.AsType[*bootmedia.RefusedError](err); refused {
			return Ready{}, &Refused{err.Error()}
		}
		return Ready{}, err
	}
	if !status.Ready {
		return Ready{}, &NotYet{status.Progress}
	}
	return status.Known.(Ready), nil
}

// sum is the checksum by which an image is known.
func (s Source) sum() (string, error) {
	if text, isOCI := strings.CutPrefix(s.URL, ociScheme); isOCI {
		ref, err := parseOCI(text)
		if err == nil && s.Checksum == "" && strings.HasPrefix(ref.Reference, "sha256:") {
			return ref.Reference, nil
		}
		if err != nil {
			return "", err
		}
	} else if _, err := endpoint.Parse(s.URL); err != nil {
		return "", refuse("the image URL is no http, https or oci URL with a host")
	}
	if s.Checksum == "" {
		return "", refuse("an image that is written to disks needs a checksum (imageChecksum)")
	}
	return s.Checksum, nil
}

// Open opens an image that is ready, by its digest; an error that is fs.ErrNotExist when it is not here. While it is open it is not
// evicted. The caller closes it.
func (s *Store) Open(digest string) (io.ReadSeekCloser, Ready, error) {
	f, known, err := s.cache.Open(func(known any) bool { return known.(Ready).Digest == digest })
	if err != nil {
		return nil, Ready{}, fmt.Errorf("disk image %s: %w", digest, err)
	}
	return f, known.(Ready), nil
}

// Again ends the pause after failures of the image at the URL: somebody has perhaps mended what was wrong.
func (s *Store) Again(url string) { s.cache.Forgive(url) }

// Notify sets who is called with the URL when an image became ready or was refused, or an attempt failed. It must not block.
func (s *Store) Notify(f func(url string)) { s.notify.Store(&f) }

func (s *Store) tell(url string) {
	if f := s.notify.Load(); f != nil && *f != nil {
		(*f)(url)
	}
}

// Close ends what is under way and waits for it. The next process goes on with what was downloaded.
func (s *Store) Close() { s.cache.Close() }
