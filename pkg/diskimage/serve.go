package diskimage

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/beskar7/beskar7/pkg/bootmedia"
)

const (
	// sendPiece is what is sent between two looks at the rate and the clock.
	sendPiece = 256 << 10
	// readerStall is how long a reader may take nothing before its connection is given up: a disk that discards its blocks may well pause.
	readerStall = 10 * time.Minute
	// retryAfter is when whoever was sent away is to ask again, in seconds.
	retryAfter = 5
)

// Serve answers GET and HEAD with an image that is ready, by its digest, with ranges and an entity tag: 404 when it is not here, 503 when
// too many are served at that time. Whether the caller may read it is not asked here.
func (s *Store) Serve(w http.ResponseWriter, r *http.Request, digest string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if s.streams != nil {
		select {
		case s.streams <- struct{}{}:
			defer func() { <-s.streams }()
		default:
			unavailable(w)
			return
		}
	}
	f, _, err := s.Open(digest)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "not found", http.StatusNotFound)
		return
	case err != nil:
		unavailable(w)
		return
	}
	defer f.Close()
	w.Header().Set("ETag", strconv.Quote(strings.TrimPrefix(digest, "sha256:")))
	w.Header().Set("Content-Type", "application/octet-stream")
	// The kernel copies from the file itself, where there is no TLS in between.
	http.ServeContent(&paced{ResponseWriter: w, ctx: r.Context(), rate: s.rate}, r, "", time.Time{}, f.(*bootmedia.CachedFile).File)
}

func unavailable(w http.ResponseWriter) {
	w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	http.Error(w, "try again", http.StatusServiceUnavailable)
}

// paced sends in pieces, as fast as all may together.
type paced struct {
	http.ResponseWriter
	ctx  context.Context
	rate *rate.Limiter
}

// Unwrap lets http.ResponseController reach the connection.
func (p *paced) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// ReadFrom is how net/http copies a file into the answer.
func (p *paced) ReadFrom(src io.Reader) (total int64, err error) {
	rest, ok := src.(*io.LimitedReader)
	if !ok {
		rest = &io.LimitedReader{R: src, N: 1<<63 - 1}
	}
	for rest.N > 0 {
		want := min(sendPiece, rest.N)
		if err := p.rate.WaitN(p.ctx, int(want)); err != nil {
			return total, err
		}
		_ = http.NewResponseController(p.ResponseWriter).SetWriteDeadline(time.Now().Add(readerStall)) // not every connection has one
		n, err := p.send(&io.LimitedReader{R: rest.R, N: want})
		total += n
		rest.N -= n
		if err != nil || n < want {
			return total, err
		}
	}
	return total, nil
}

var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// send sends a piece. HTTP/2 has no way of its own, and would take a new buffer for each.
func (p *paced) send(piece *io.LimitedReader) (int64, error) {
	if own, ok := p.ResponseWriter.(io.ReaderFrom); ok {
		return own.ReadFrom(piece)
	}
	buffer := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buffer)
	return io.CopyBuffer(p.ResponseWriter, piece, buffer[:])
}
