package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"

	"github.com/beskar7/beskar7/pkg/agent/block"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// Source is where an image comes from.
type Source struct {
	// Open begins the stream. Its reads end with the context.
	Open   func(context.Context) io.ReadCloser
	Format protocol.Format
	// Digest is that of the stream. UnpackedSize is the length of the image; 0 where it is not known.
	Digest       string
	UnpackedSize int64
}

// Written is what was written.
type Written struct {
	// Head is the beginning of the image, of block.HeadSize bytes. It is not on the disk yet.
	Head []byte
	// Bytes and Contents are the length of the image and its SHA-256.
	Bytes    int64
	Contents string
}

// Write writes an image but for its beginning, in whose place are zeroes from the first moment on. progress is told how many bytes
// of the image are done. All errors are *protocol.Failure, but the cause of the context.
func Write(ctx context.Context, d block.Device, s Source, progress func(int64)) (*Written, error) {
	if err := block.Blank(d); err != nil {
		return nil, fail(protocol.ReasonDisk, "the disk cannot be made one that does not boot: %v", err)
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	from := s.Open(inner)
	defer from.Close()
	in := newStream(inner, s.Format, from)
	w := &writer{disk: d, head: make([]byte, 0, block.HeadSize)}
	failed := w.writeAll(in, progress)
	cancel()
	in.end()
	switch {
	case context.Cause(ctx) != nil:
		return nil, context.Cause(ctx)
	case failed != nil:
		return nil, failed
	}
	if failed := in.failure(s.Digest); failed != nil {
		return nil, failed
	}
	switch {
	case s.UnpackedSize > 0 && w.off != s.UnpackedSize:
		return nil, fail(protocol.ReasonImage, "the image has %d bytes, and the plan says %d", w.off, s.UnpackedSize)
	case len(w.head) < block.HeadSize:
		return nil, fail(protocol.ReasonImage, "the image has %d bytes: it is cut short, or no image", w.off)
	}
	if err := d.Sync(); err != nil {
		return nil, fail(protocol.ReasonDisk, "the disk fails: %v", err)
	}
	return &Written{w.head, w.off, in.contents()}, nil
}

// writer puts the chunks of an image onto a disk.
type writer struct {
	disk block.Device
	head []byte
	off  int64
}

func (w *writer) writeAll(in *stream, progress func(int64)) *protocol.Failure {
	for chunk := range in.full {
		if failed := w.write(chunk); failed != nil {
			in.give(chunk)
			return failed
		}
		in.give(chunk)
		progress(w.off)
	}
	return nil
}

func (w *writer) write(chunk []byte) *protocol.Failure {
	kept := min(block.HeadSize-len(w.head), len(chunk))
	w.head = append(w.head, chunk[:kept]...)
	at := w.off + int64(kept)
	w.off += int64(len(chunk))
	if w.off > w.disk.Size() {
		return fail(protocol.ReasonImage, "the image is larger than the disk, which has %d bytes: take a larger disk or a smaller image",
			w.disk.Size())
	}
	rest := chunk[kept:]
	if len(rest) == 0 {
		return nil
	}
	if odd := len(rest) % w.disk.BlockSize(); odd != 0 { // at the end of the image only, so there is room behind it
		padded := rest[:len(rest)+w.disk.BlockSize()-odd]
		clear(padded[len(rest):])
		rest = padded
	}
	if err := w.put(rest, at); err != nil {
		return fail(protocol.ReasonDisk, "the disk fails at byte %d: %v", at, err)
	}
	return nil
}

// put leaves zeroes to the disk, which knows faster ways.
func (w *writer) put(p []byte, at int64) error {
	if block.Zeroes(p) {
		return w.disk.Zero(at, int64(len(p)))
	}
	_, err := w.disk.WriteAt(p, at)
	return err
}

// Verify reads an image back from a staged disk. It has to come before the disk is changed in any other way.
func Verify(ctx context.Context, d *block.Staged, w *Written, progress func(int64)) error {
	sum, buffer := sha256.New(), make([]byte, chunkSize)
	for off := int64(0); off < w.Bytes; {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		n, err := d.ReadAt(buffer[:min(chunkSize, w.Bytes-off)], off)
		if err != nil {
			return fail(protocol.ReasonDisk, "the disk cannot be read at byte %d: %v: replace it", off, err)
		}
		sum.Write(buffer[:n])
		off += int64(n)
		progress(off)
	}
	if got := "sha256:" + hex.EncodeToString(sum.Sum(nil)); got != w.Contents {
		return fail(protocol.ReasonDisk, "the disk gives back other bytes than were written to it: replace it")
	}
	return nil
}
