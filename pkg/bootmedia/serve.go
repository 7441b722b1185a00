package bootmedia

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// newSection reads a medium from its start to its size.
func newSection(r io.ReaderAt, size int64) *io.SectionReader { return io.NewSectionReader(r, 0, size) }

// maxRanges is how many ranges one request may have. Each costs a request to the
// server of a streamed image; no BMC was seen to ask for more than one.
const maxRanges = 16

// heed gives the parts of a medium that are asked for. A Range header with too
// many ranges, or with some that overlap, is taken away, as every server may do:
// the answer is the whole medium.
func heed(r *http.Request, etag string, size int64) [][2]int64 {
	if strings.Count(strings.Join(r.Header.Values("Range"), ","), ",") < maxRanges {
		asked := askedRanges(r.Header, etag, size)
		sorted := slices.SortedFunc(slices.Values(asked), func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
		overlap := false
		for i := 1; i < len(sorted); i++ {
			overlap = overlap || sorted[i][0] < sorted[i-1][1]
		}
		if !overlap {
			return asked
		}
	}
	r.Header.Del("Range")
	return [][2]int64{{0, size}}
}

// serveISO answers GET and HEAD with all that net/http knows of ranges and
// conditions. There is no Last-Modified: a time would have to come from a clock,
// and the entity tag says more.
func serveISO(w http.ResponseWriter, r *http.Request, etag string, size int64, content io.ReadSeeker) {
	heed(r, etag, size)
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
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("read cached image: %w", err)
	}
	serveISO(w, r, file.etag(), info.Size(), file.File)
	return nil
}

// openImage opens the verified image; a coldError when it is not here.
func (s *Server) openImage(g Grant) (*CachedFile, error) {
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
	return &upstream{
		ctx: ctx, cancel: cancel, client: s.client, url: image, pin: pin, ranges: ranges, pause: s.waits.resume,
		progress: s.readerTakes(w),
	}
}

// readerTakes begins anew, whenever it is called, the time in which a BMC has to
// take something: one that takes nothing holds a stream, and a cached image that
// then cannot be evicted. Not every connection has deadlines; then the stall is
// not limited. net/http takes the deadline away when the request is finished.
func (s *Server) readerTakes(w http.ResponseWriter) func() {
	conn := http.NewResponseController(w)
	return func() { _ = conn.SetWriteDeadline(time.Now().Add(s.waits.reader)) }
}

func (s *Server) serveStream(w *recorder, r *http.Request, g Grant) error {
	pin, image := g.Content.ImagePin, g.Content.ImageURL
	if pin.Length <= 0 {
		unavailable(w, "the image is not pinned yet; try again")
		return errNotPinned(image)
	}
	up := s.upstreamFor(w, r, image, pin, heed(r, pin.etag(image), pin.Length))
	defer up.Close()
	if r.Method == http.MethodGet {
		release := s.streams.take(r.Context(), g.Host, streamWait)
		if release == nil {
			unavailable(w, "too many streams; try again")
			return nil
		}
		defer release()
		if err := s.openUpstream(w, r, g, up); err != nil {
			return err
		}
	}
	serveISO(w, r, pin.etag(image), pin.Length, up)
	if err := up.failed(); err != nil && r.Context().Err() == nil {
		s.failed(g.Host, image, err)
		return err
	}
	return nil
}

// openUpstream asks for the image before the status line is written, which lets a
// failure be a status; later it can only be a cut connection. Where nothing will
// be read nothing is asked for.
func (s *Server) openUpstream(w http.ResponseWriter, r *http.Request, g Grant, up *upstream) error {
	if !readsNow(r) || len(up.ranges) == 0 {
		return nil
	}
	err := up.open()
	if err != nil {
		s.failed(g.Host, g.Content.ImageURL, err)
		http.Error(w, "the image cannot be read", http.StatusBadGateway)
	}
	return err
}

// askedRanges are the parts of a medium that net/http will read for a request,
// so that those bytes are fetched and no others: all of it where there are no
// ranges or they are not heeded, none where the answer is 416.
func askedRanges(h http.Header, etag string, size int64) [][2]int64 {
	whole := [][2]int64{{0, size}}
	header := h.Get("Range")
	if header == "" || h.Get("If-Range") != "" && h.Get("If-Range") != etag {
		return whole
	}
	specs, ok := strings.CutPrefix(header, "bytes=")
	if !ok {
		return nil
	}
	var out [][2]int64
	beyond, sum := false, int64(0)
	for spec := range strings.SplitSeq(specs, ",") {
		if spec = strings.Trim(spec, " \t\r\n"); spec == "" {
			continue
		}
		r, ok := oneRange(spec, size)
		if !ok {
			return nil
		}
		if r[0] >= r[1] {
			beyond = true
			continue
		}
		out, sum = append(out, r), sum+r[1]-r[0]
	}
	if sum > size || len(out) == 0 && !beyond {
		return whole
	}
	return out
}

// oneRange reads one range as net/http does; an empty one lies behind the medium.
func oneRange(spec string, size int64) ([2]int64, bool) {
	from, to, ok := strings.Cut(spec, "-")
	from, to = strings.Trim(from, " \t\r\n"), strings.Trim(to, " \t\r\n")
	number := func(s string) (int64, bool) {
		n, err := strconv.ParseInt(s, 10, 64)
		return n, err == nil && n >= 0
	}
	if !ok {
		return [2]int64{}, false
	}
	if from == "" {
		n, ok := number(to)
		return [2]int64{size - min(n, size), size}, ok && to[0] != '-'
	}
	start, ok := number(from)
	if !ok || start >= size {
		return [2]int64{}, ok
	}
	if to == "" {
		return [2]int64{start, size}, true
	}
	end, ok := number(to)
	return [2]int64{start, min(end, size-1) + 1}, ok && start <= end
}

// readsNow tells whether a request reads of the image for sure: not a HEAD, and
// nothing that may be answered 304 or 412.
func readsNow(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("If-Match") == "" && r.Header.Get("If-None-Match") == ""
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
