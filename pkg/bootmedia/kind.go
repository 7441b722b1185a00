package bootmedia

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/go-logr/logr"
)

// CacheOptions say what a Cache is made of.
type CacheOptions struct {
	// Dir is the folder, which the cache makes. It holds files of one kind only.
	Dir string
	// Bytes is how much the folder may hold.
	Bytes int64
	// Client reaches the servers; nil is that of NewClient without options.
	Client *http.Client
	Log    logr.Logger
	// Now is the clock; nil means time.Now.
	Now  func() time.Time
	Kind Kind
	// Tell is called with the URL when an attempt has ended, well or not. It must not block.
	Tell func(url string)
}

// Doer sends requests. Each *http.Client is one.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// Kind is what the files of a Cache are for.
type Kind struct {
	// Suffix of the names of finished files.
	Suffix string
	// Setting is what enlarges the cache, for messages.
	Setting string
	// Begin judges a file by its beginning, while it is downloaded, so that an error page is found out before gigabytes were read. It is
	// called with the first bytes, have of them, as often as more came until it says that it is done; whole says that nothing follows.
	// A *RefusedError refuses the file.
	Begin func(r io.ReaderAt, have int64, whole bool) (done bool, err error)
	// Know says what is known of a finished file: at the start, and of a file that another process has made.
	Know func(path string) (any, error)
	// Finish is given a download whose checksum is right, and says what is known of the file. An error that is a *RefusedError
	// refuses it for good, as the bytes of a checksum never change; any other one is tried again.
	Finish func(ctx context.Context, v *Verified) (any, error)
	// Locate finds, through the cache's client, where a file is that is known by a URL and a checksum; nil: at its URL. Its errors are in
	// words for a person.
	Locate func(ctx context.Context, client *http.Client, url, checksum string) (Place, error)
}

// Place is where a file is.
type Place struct {
	Client Doer
	URL    string
	// Checksum, if it is not empty, is what the file is checked against, in place of the one by which it is known.
	Checksum string
}

// RefusedError says that a file is not what it has to be: asking for the same bytes again does not help.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

// Verified is a download whose checksum is right, but is not ready yet.
type Verified struct {
	// File is open for reading and stands anywhere. It has Size bytes.
	File *os.File
	Size int64
	// Checksum is the one that it was checked against.
	Checksum string
	// Path is the name that the file will have.
	Path string

	d    *download
	made *os.File
}

// Make begins a file that becomes what is kept, in place of the download.
func (v *Verified) Make() (*os.File, error) {
	f, err := os.OpenFile(v.d.cache.path(v.d.entry.sum, newSuffix), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	v.made = f
	return f, err
}

// Reserve makes room for a file of so many bytes beside the download; an error says in words that there is none.
func (v *Verified) Reserve(bytes int64) error { return v.d.cache.reserve(v.d.entry, v.Size+bytes) }

// Progress tells in words how far it is.
func (v *Verified) Progress(words string) {
	v.d.cache.mu.Lock()
	v.d.entry.doing = words
	v.d.cache.mu.Unlock()
}

// isoKind are the images of media.
var isoKind = Kind{
	Suffix: doneSuffix, Setting: "--media-cache-size",
	Begin: func(r io.ReaderAt, have int64, whole bool) (bool, error) {
		if have < windowEnd && !whole {
			return false, nil
		}
		window := make([]byte, windowEnd-windowStart)
		if _, err := r.ReadAt(window, windowStart); err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if err := isISO(window); err != nil {
			return false, &RefusedError{err}
		}
		return true, nil
	},
	Know:   func(path string) (any, error) { return lookIntoFile(path) },
	Finish: func(_ context.Context, v *Verified) (any, error) { return lookInto(v.File, v.Size) },
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
