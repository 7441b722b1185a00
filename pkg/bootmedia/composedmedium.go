package bootmedia

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// windowBytes is what one request brings when a streamed image is looked
	// into. Descriptors, path tables and directories of usual images stand in
	// the first one.
	windowBytes = 256 << 10
	// maxWindows bounds what one look keeps.
	maxWindows = 32
)

// serveComposed serves the image with the bootstrap data in it.
func (s *Server) serveComposed(w *recorder, r *http.Request, g Grant, token Token) error {
	if l := families[g.Content.Family].layout; l == layoutNone || g.Content.Rendered != nil && g.Content.Rendered.Composed == nil {
		http.Error(w, "not found", http.StatusNotFound)
		return nil
	}
	c := contentFor(g, token)
	if c.Checksum == "" {
		return s.streamComposed(w, r, g, c, token)
	}
	file, err := s.openImage(g)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("read cached image: %w", err)
	}
	over, err := s.overlays.get(r.Context(), token.Hash(), c, func(context.Context) (*overlay, error) { return layOver(file, info.Size(), c, file.etag()) })
	if err != nil {
		http.Error(w, "the medium cannot be built", http.StatusInternalServerError)
		return err
	}
	serveISO(w, r, over.etag, over.size, &composed{base: file, over: over, closed: w.closed.Load})
	return nil
}

func (s *Server) streamComposed(w *recorder, r *http.Request, g Grant, c Content, token Token) error {
	pin, image := c.ImagePin, c.ImageURL
	if pin.Length <= 0 {
		unavailable(w, "the image is not pinned yet; try again")
		return errNotPinned(image)
	}
	release := s.streams.take(r.Context(), g.Host, streamWait)
	if release == nil {
		unavailable(w, "too many streams; try again")
		return nil
	}
	defer release()
	over, err := s.overlays.get(r.Context(), token.Hash(), c, func(ctx context.Context) (*overlay, error) {
		return layOver(s.windowsOf(ctx, image, pin), pin.Length, c, pin.etag(image))
	})
	if err != nil {
		s.failed(g.Host, image, err)
		http.Error(w, "the medium cannot be built", http.StatusBadGateway)
		return err
	}
	up := s.upstreamFor(w, r, image, pin, within(heed(r, over.etag, over.size), pin.Length))
	defer up.Close()
	// A range that lies behind the image needs nothing of it.
	if err := s.openUpstream(w, r, g, up); err != nil {
		return err
	}
	serveISO(w, r, over.etag, over.size, &composed{base: up, over: over, closed: w.closed.Load})
	if err := up.failed(); err != nil && r.Context().Err() == nil {
		s.failed(g.Host, image, err)
		return err
	}
	return nil
}

// within cuts ranges of a composed medium to those of its image.
func within(ranges [][2]int64, size int64) [][2]int64 {
	var out [][2]int64
	for _, r := range ranges {
		if r[0] < size {
			out = append(out, [2]int64{r[0], min(r[1], size)})
		}
	}
	return out
}

// layOver looks into an image and computes what a content puts over it.
func layOver(r io.ReaderAt, size int64, c Content, tag string) (*overlay, error) {
	v, err := readVolume(r, size)
	if err != nil {
		return nil, err
	}
	if c.Rendered != nil {
		return compose(r, v, c.Rendered.Composed.recipe(), tag)
	}
	looks, err := lookAround(r, v)
	if err != nil {
		return nil, err
	}
	c.Looks = &looks
	rc, err := recipeFor(c)
	if err != nil {
		return nil, err
	}
	return compose(r, v, rc, tag)
}

var errScattered = errors.New("the image spreads its directories too far to be looked into")

// windows reads a pinned image in windows, for a look into it.
type windows struct {
	read func(from, to int64) ([]byte, error)
	size int64
	got  map[int64][]byte
}

func (s *Server) windowsOf(ctx context.Context, image string, pin Pin) *windows {
	return newWindows(ctx, s.client, image, pin, s.waits.resume)
}

func newWindows(ctx context.Context, client *http.Client, image string, pin Pin, pause time.Duration) *windows {
	return &windows{size: pin.Length, got: map[int64][]byte{}, read: func(from, to int64) ([]byte, error) {
		ctx, cancel := context.WithCancel(ctx)
		up := &upstream{ctx: ctx, cancel: cancel, client: client, url: image, pin: pin, ranges: [][2]int64{{from, to}}, pause: pause, progress: func() {}}
		defer up.Close()
		if _, err := up.Seek(from, io.SeekStart); err != nil {
			return nil, err
		}
		out := make([]byte, to-from)
		_, err := io.ReadFull(up, out)
		return out, err
	}}
}

// ReadAt implements io.ReaderAt for one caller at a time.
func (w *windows) ReadAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); {
		at := off + int64(n)
		if at >= w.size {
			return n, io.EOF
		}
		start := at / windowBytes * windowBytes
		window, ok := w.got[start]
		if !ok {
			if len(w.got) >= maxWindows {
				return n, errScattered
			}
			var err error
			if window, err = w.read(start, min(start+windowBytes, w.size)); err != nil {
				return n, err
			}
			w.got[start] = window
		}
		n += copy(p[n:], window[at-start:])
	}
	return len(p), nil
}
