package bootmedia

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// newSection reads a medium from its start to its size.
func newSection(r io.ReaderAt, size int64) *io.SectionReader { return io.NewSectionReader(r, 0, size) }

// serveISO answers GET and HEAD with all that net/http knows of ranges and
// conditions. There is no Last-Modified: a time would have to come from a clock,
// and the entity tag says more.
func serveISO(w http.ResponseWriter, r *http.Request, etag string, content io.ReadSeeker) {
	w.Header().Set("ETag", etag)
	w.Header().Set("Accept-Ranges", "bytes")
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, content)
}

// serveBoot serves the image: from the verified cache when it has a checksum,
// else from its server under the pin.
func (s *Server) serveBoot(w *recorder, r *http.Request, g Grant) error {
	if g.Content.Checksum == "" {
		return s.serveStream(w, r, g)
	}
	file, err := s.openImage(g)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	serveISO(w, r, file.etag(), file.File)
	return nil
}

// openImage opens the verified image; a coldError when it is not here.
func (s *Server) openImage(g Grant) (*cachedFile, error) {
	file, err := s.openCached(g.Content.ImageURL, g.Content.Checksum)
	if err != nil {
		return nil, &coldError{err}
	}
	return file, nil
}

func errNotPinned(image string) error {
	return fmt.Errorf("serve image %s: no length was pinned when the claim was made", displayURL(image))
}

// upstreamFor is the pinned image for one request of a BMC.
func (s *Server) upstreamFor(w http.ResponseWriter, r *http.Request, image string, pin Pin, ranges [][2]int64) *upstream {
	ctx, cancel := context.WithCancel(r.Context())
	conn := http.NewResponseController(w)
	return &upstream{
		ctx: ctx, cancel: cancel, client: s.client, url: image, pin: pin, ranges: ranges, pause: s.waits.resume,
		// Not every connection has deadlines; then the stall is not limited.
		// net/http takes the deadline away when the request is finished.
		progress: func() { _ = conn.SetWriteDeadline(time.Now().Add(s.waits.reader)) },
	}
}

func (s *Server) serveStream(w *recorder, r *http.Request, g Grant) error {
	pin, image := g.Content.ImagePin, g.Content.ImageURL
	if pin.Length <= 0 {
		unavailable(w, "the image is not pinned yet; try again")
		return errNotPinned(image)
	}
	up := s.upstreamFor(w, r, image, pin, hintRanges(r.Header.Get("Range"), pin.Length))
	defer up.Close()
	if r.Method == http.MethodGet {
		if !s.takeStream(r) {
			unavailable(w, "too many streams; try again")
			return nil
		}
		defer func() { <-s.streams }()
		// Asking before the status line is written lets a failure be a status;
		// later it can only be a cut connection.
		if err := up.open(); err != nil {
			s.failed(g.Host, image, err)
			http.Error(w, "the image cannot be read", http.StatusBadGateway)
			return err
		}
	}
	serveISO(w, r, pin.etag(image), up)
	if err := up.failed(); err != nil && r.Context().Err() == nil {
		s.failed(g.Host, image, err)
		return err
	}
	return nil
}

func (s *Server) takeStream(r *http.Request) bool {
	select {
	case s.streams <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(streamWait)
	defer timer.Stop()
	select {
	case s.streams <- struct{}{}:
		return true
	case <-timer.C:
	case <-r.Context().Done():
	}
	return false
}

// hintRanges reads a Range header as net/http will, so that only the bytes that
// are sent are fetched. It is a hint: what it does not understand, it leaves out.
func hintRanges(header string, size int64) [][2]int64 {
	spec, ok := strings.CutPrefix(header, "bytes=")
	if !ok {
		return nil
	}
	var out [][2]int64
	for one := range strings.SplitSeq(spec, ",") {
		from, to, ok := strings.Cut(strings.TrimSpace(one), "-")
		if !ok {
			continue
		}
		start, okStart := digits(from)
		end, okEnd := digits(to)
		switch {
		case okStart && okEnd && start <= end:
			end = min(end, size-1) + 1
		case okStart && strings.TrimSpace(to) == "":
			end = size
		case strings.TrimSpace(from) == "" && okEnd:
			start, end = max(size-end, 0), size
		default:
			continue
		}
		if start < end {
			out = append(out, [2]int64{start, end})
		}
	}
	return out
}

func digits(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
