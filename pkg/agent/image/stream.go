package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"

	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// The stages of a stream work at the same time, and hand each other buffers of which there are a few.
const (
	// feedSize and feeds are of what is downloaded, chunkSize and chunks of what is unpacked.
	feedSize  = 256 << 10
	feeds     = 4
	chunkSize = 1 << 20
	chunks    = 6
)

// stage hands full buffers on, and gets empty ones back.
type stage struct {
	full, empty chan []byte
	// err is why it ended; nil at the end of the stream. It may be read once full is closed.
	err error
}

func newStage(n, size int) *stage {
	s := &stage{full: make(chan []byte, n), empty: make(chan []byte, n)}
	for range n {
		s.empty <- make([]byte, size)
	}
	return s
}

// run fills buffers until the reader ends.
func (s *stage) run(ctx context.Context, r io.Reader, seen hash.Hash) {
	defer close(s.full)
	for {
		var buffer []byte
		select {
		case buffer = <-s.empty:
		case <-ctx.Done():
			s.err = context.Cause(ctx)
			return
		}
		n, err := fill(r, buffer)
		if seen != nil {
			seen.Write(buffer[:n])
		}
		if n > 0 {
			s.full <- buffer[:n] // there is room for all buffers
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.err = err
			}
			return
		}
	}
}

// fill reads until the buffer is full. Unlike io.ReadFull it tells an end from a stream that is cut short.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var more int
		more, err = r.Read(p[n:])
		n += more
	}
	return n, err
}

// through has the buffers of another stage pass by a hash.
func (s *stage) through(seen hash.Hash) *stage {
	out := &stage{full: make(chan []byte, cap(s.full)), empty: s.empty}
	go func() {
		defer close(out.full)
		for buffer := range s.full {
			seen.Write(buffer)
			out.full <- buffer
		}
		out.err = s.err
	}()
	return out
}

// give returns an empty buffer.
func (s *stage) give(buffer []byte) { s.empty <- buffer[:cap(buffer)] }

// reader reads what a stage hands on.
type reader struct {
	*stage
	buffer, rest []byte
}

func (r *reader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.buffer != nil {
			r.give(r.buffer)
			r.buffer = nil
		}
		next, ok := <-r.full
		if !ok {
			if r.err != nil {
				return 0, r.err
			}
			return 0, io.EOF
		}
		r.buffer, r.rest = next, next
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// stream is an image on its way: downloaded, unpacked and hashed.
type stream struct {
	*stage          // of what is unpacked
	feed            *stage
	digest, content hash.Hash
}

func newStream(ctx context.Context, format protocol.Format, r io.Reader) *stream {
	s := &stream{feed: newStage(feeds, feedSize), digest: sha256.New(), content: sha256.New()}
	go s.feed.run(ctx, r, s.digest)
	unpacked := newStage(chunks, chunkSize)
	go unpacked.run(ctx, &unpacker{format: format, from: &reader{stage: s.feed}}, nil)
	s.stage = unpacked.through(s.content)
	return s
}

// unpacker begins to unpack with the first Read, and reads its source to the end: what follows the image counts for the digest.
type unpacker struct {
	format protocol.Format
	from   io.Reader
	open   io.ReadCloser
}

func (u *unpacker) Read(p []byte) (int, error) {
	if u.open == nil {
		var err error
		if u.open, err = Unpack(u.format, u.from); err != nil {
			return 0, err
		}
	}
	n, err := u.open.Read(p)
	if !errors.Is(err, io.EOF) {
		if err != nil {
			_ = u.open.Close()
		}
		return n, err
	}
	if _, rest := io.Copy(io.Discard, u.from); rest != nil {
		err = rest
	}
	_ = u.open.Close()
	return n, err
}

// end waits for all stages. What is still on its way is thrown away.
func (s *stream) end() {
	for buffer := range s.full {
		s.give(buffer)
	}
	for range s.feed.full {
		continue
	}
}

// failure says why a stream that ended is no image; nil if it is the right one.
func (s *stream) failure(digest string) *protocol.Failure {
	got := "sha256:" + hex.EncodeToString(s.digest.Sum(nil))
	switch {
	case s.feed.err != nil && !errors.Is(s.feed.err, context.Canceled): // that is how a download ends whose stream was refused
		return fail(protocol.ReasonDownload, "the image could not be downloaded: %v", s.feed.err)
	case s.err != nil:
		return fail(protocol.ReasonImage, "the image cannot be unpacked: it is damaged, cut short, or of another format (%v)", s.err)
	case got != digest:
		return fail(protocol.ReasonImage, "the image is not the one that was asked for: its checksum is %s, and %s is wanted. "+
			"See whether imageChecksum is that of this file, and who changed it", got, digest)
	}
	return nil
}

func (s *stream) contents() string { return "sha256:" + hex.EncodeToString(s.content.Sum(nil)) }
