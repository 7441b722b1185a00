package diskimage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// agentWindow is how far back a stream may refer that is served as it is, since that is memory of the server that is deployed; what
	// refers further is packed anew. maxWindow is how far it may refer at all, since that is memory of this process.
	agentWindow = 32 << 20
	maxWindow   = 128 << 20
	// unpackPiece is how much is unpacked at a time.
	unpackPiece = 256 << 10
)

// unpacker is what is in a packed image.
func unpacker(form Form, r io.Reader, window uint64) (io.ReadCloser, error) {
	switch form {
	case FormGzip:
		return gzip.NewReader(bufio.NewReaderSize(r, 1<<16))
	case FormZstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case FormXZ:
		x, err := newXZ(r, window)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(x), nil
	case FormRaw, FormQcow2:
	}
	return nil, fmt.Errorf("nothing unpacks %q", form)
}

// bounds of what is unpacked, in bytes: how far back it may refer, and how much may come.
type bounds struct {
	window uint64
	size   int64
}

// unpack gives what is in a packed image to w, piece by piece. It returns errWindow if the image refers further back than it may;
// other errors are *Refused, of reading, or w's.
func unpack(ctx context.Context, form Form, r io.Reader, most bounds, w func([]byte) error) error {
	source := &watched{ctx: ctx, r: r}
	u, err := unpacker(form, source, most.window)
	if err != nil {
		return source.blame(err)
	}
	defer u.Close()
	buffer := make([]byte, unpackPiece)
	size := int64(0)
	for {
		n, err := io.ReadAtLeast(u, buffer, 1)
		if size += int64(n); size > most.size {
			return tooMuch(most.size)
		}
		if n > 0 {
			if err := w(buffer[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return source.blame(err)
		}
	}
}

func tooMuch(most int64) error {
	return refuse("the image unpacks to more than %d GiB, and at most that is taken", most>>30)
}

// watched tells errors of reading from those of what was read.
type watched struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (w *watched) Read(p []byte) (int, error) {
	if w.err = w.ctx.Err(); w.err != nil {
		return 0, w.err
	}
	n, err := w.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// blame says whose an error of an unpacker is.
func (w *watched) blame(err error) error {
	switch {
	case w.err != nil:
		return fmt.Errorf("read image: %w", w.err)
	case errors.Is(err, errWindow), errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return errWindow
	case errors.Is(err, errFilter), errors.Is(err, errBlocks):
		return refuse("the image cannot be unpacked: %v", err)
	}
	return refuse("the image cannot be unpacked: it is damaged or cut short")
}
