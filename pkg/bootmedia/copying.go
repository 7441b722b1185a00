package bootmedia

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// pieceBytes is what is sent between two looks at whether the stream still
	// may go on: enough that the looks cost nothing, and no more than a BMC
	// takes in the blink of an eye.
	pieceBytes = 1 << 20
	// bufferBytes is the buffer of one stream whose bytes pass through us. The
	// usual 32 KiB cost a fourth of the throughput.
	bufferBytes = 128 << 10
	// straightBytes is from where on it is worth to let the kernel copy.
	straightBytes = 64 << 10
	// grantAgain is how often the grant of an open stream is looked up.
	grantAgain = time.Second
)

var buffers = sync.Pool{New: func() any { return new([bufferBytes]byte) }}

// errRevoked ends an open stream whose token is worth nothing any more.
var errRevoked = errors.New("the grant ended while the medium was being read")

// recorder counts what is sent, and sends it in pieces between which a revoked
// stream ends. Bytes that stand in a file are copied by the connection's own
// means (the kernel's, where there is no TLS in between).
type recorder struct {
	http.ResponseWriter
	// ended is why the stream was ended by us, if it was.
	ended error
	// still says whether the stream may go on; nil: it may.
	still func() error
	// closed: data read as zeroes from now on; still finds out.
	closed atomic.Bool
	// going is called before every piece: what was sent before was taken.
	going  func()
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// ReadFrom is how net/http copies a medium into the answer.
func (r *recorder) ReadFrom(src io.Reader) (int64, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	var total int64
	for {
		if r.still != nil {
			if r.ended = r.still(); r.ended != nil {
				return total, r.ended
			}
		}
		if r.going != nil {
			r.going()
		}
		n, err := r.piece(src)
		total += n
		r.bytes += n
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// piece sends up to pieceBytes of src; io.EOF after the last.
func (r *recorder) piece(src io.Reader) (int64, error) {
	limited, ok := src.(*io.LimitedReader)
	if !ok {
		return r.through(src)
	}
	if limited.N <= 0 {
		return 0, io.EOF
	}
	var n int64
	var err error
	switch from := limited.R.(type) {
	case *os.File:
		n, err = r.straight(from, min(limited.N, pieceBytes))
	case *composed:
		file, room := from.straight(min(limited.N, pieceBytes))
		if file == nil {
			if n, err = r.through(io.LimitReader(src, room)); n > 0 && errors.Is(err, io.EOF) {
				err = nil // the end of the room, perhaps not of the medium
			}
			return n, err
		}
		n, err = r.straight(file, room)
		from.off += n
	default:
		return r.through(src)
	}
	limited.N -= n
	return n, err
}

// straight sends n bytes from where a file stands; io.EOF when it ends before.
func (r *recorder) straight(file *os.File, n int64) (int64, error) {
	src := &io.LimitedReader{R: file, N: n}
	to, ok := r.ResponseWriter.(io.ReaderFrom)
	if !ok { // HTTP/2
		done, err := r.through(src)
		if done == n && errors.Is(err, io.EOF) {
			err = nil // the end of the piece, perhaps not of the medium
		}
		return done, err
	}
	done, err := to.ReadFrom(src)
	if err == nil && done < n {
		err = io.EOF
	}
	return done, err
}

// through sends up to pieceBytes of src by a buffer of ours; io.EOF when it ended.
func (r *recorder) through(src io.Reader) (int64, error) {
	buf, _ := buffers.Get().(*[bufferBytes]byte)
	defer buffers.Put(buf)
	var total int64
	for total < pieceBytes {
		n, err := src.Read(buf[:])
		if n > 0 {
			sent, werr := r.ResponseWriter.Write(buf[:n])
			total += int64(sent)
			if werr != nil {
				return total, werr
			}
		}
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// stillGranted looks again, once a second, at what a stream was begun with: a
// released host takes a medium away from whoever is in the middle of it, and of
// one that is bound its data. A source that cannot answer changes nothing.
func (s *Server) stillGranted(ctx context.Context, token Token, closed *atomic.Bool) func() error {
	last := s.now()
	return func() error {
		now := s.now()
		if now.Sub(last) < grantAgain {
			return nil
		}
		last = now
		grant, err := s.granted(ctx, token)
		if errors.Is(err, ErrUnknown) {
			return errRevoked
		}
		if err == nil && grant.Closed {
			closed.Store(true)
		}
		return nil
	}
}
