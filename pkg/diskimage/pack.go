package diskimage

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"

	"github.com/klauspost/compress/zstd"
)

const (
	// zeroRun is from how many zero bytes on they get frames of their own, and what one such frame unpacks to.
	zeroRun   = 4 << 20
	zeroBlock = 128 << 10
	// reserveStep is how far ahead room is made for what is packed.
	reserveStep = 64 << 20
)

// zeroFrame is a frame of zstd (RFC 8878) that unpacks to zeroRun zero bytes: blocks that repeat one byte. Packing them costs nothing,
// however large the disk.
var zeroFrame = func() []byte {
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3} // no checksum, no size, a window of 128 KiB
	for n := zeroRun / zeroBlock; n > 0; n-- {
		header := uint32(zeroBlock<<3 | 1<<1)
		if n == 1 {
			header |= 1
		}
		frame = append(binary.LittleEndian.AppendUint32(frame, header)[:len(frame)+3], 0)
	}
	return frame
}()

// packer packs a disk as raw+zstd. The same contents in the same pieces give the same bytes, in every replica. It is a Sink.
type packer struct {
	ctx  context.Context
	out  *output
	enc  *zstd.Encoder
	open bool  // a frame of the encoder
	zero int64 // bytes that are zero and not written yet
	seen head
	// work is what was packed of contents, and most how much that may be.
	work, most int64
	// progress is called with how much of the disk was packed.
	progress func(int64)
}

func newPacker(ctx context.Context, w io.Writer, reserve func(int64) error) (*packer, error) {
	out := &output{w: w, hash: sha256.New(), reserve: reserve}
	enc, err := zstd.NewWriter(out, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return nil, err
	}
	return &packer{ctx: ctx, out: out, enc: enc, most: MaxUnpacked, progress: func(int64) {}}, nil
}

// Write packs what is no long run of zeroes.
func (p *packer) Write(b []byte) (int, error) {
	if err := p.fill(); err != nil {
		return 0, err
	}
	if p.work += int64(len(b)); p.work > p.most {
		return 0, tooMuch(p.most)
	}
	p.seen.take(b)
	return len(b), p.pack(b)
}

// Zeroes packs n bytes that are zero.
func (p *packer) Zeroes(n int64) error {
	p.seen.zeroes(n)
	p.zero += n
	return p.ctx.Err()
}

func (p *packer) pack(b []byte) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	p.progress(p.seen.size)
	p.open = true
	_, err := p.enc.Write(b)
	return err
}

// fill packs the zeroes that stand out.
func (p *packer) fill() error {
	for p.zero >= zeroRun {
		if err := p.end(); err != nil {
			return err
		}
		if _, err := p.out.Write(zeroFrame); err != nil {
			return err
		}
		p.zero -= zeroRun
	}
	for p.zero > 0 {
		n := min(p.zero, zeroBlock)
		if err := p.pack(none[:n]); err != nil {
			return err
		}
		p.zero -= n
	}
	return nil
}

var none [zeroBlock]byte

// end ends the frame of the encoder, if there is one.
func (p *packer) end() error {
	if err := p.ctx.Err(); err != nil || !p.open {
		return err
	}
	p.open = false
	err := p.enc.Close()
	p.enc.Reset(p.out)
	return err
}

// Close ends the image.
func (p *packer) Close() error {
	if err := p.fill(); err != nil {
		return err
	}
	return p.end()
}

// output counts and hashes what is packed, and makes room for it ahead.
type output struct {
	w        io.Writer
	hash     hash.Hash
	size     int64
	reserved int64
	reserve  func(int64) error
}

func (o *output) Write(b []byte) (int, error) {
	if more := o.size + int64(len(b)); more > o.reserved {
		o.reserved = more + reserveStep
		if err := o.reserve(o.reserved); err != nil {
			return 0, err
		}
	}
	o.hash.Write(b)
	n, err := o.w.Write(b)
	o.size += int64(n)
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		err = fmt.Errorf("write image cache: %w", failed.Err) // where it is, is nobody's business
	}
	return n, err
}

func (o *output) digest() string { return digestOf(o.hash) }

func digestOf(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

// head keeps the beginning of a stream and counts all of it.
type head struct {
	first []byte
	size  int64
}

func (h *head) take(p []byte) {
	h.first = append(h.first, p[:min(len(p), HeadBytes-len(h.first))]...)
	h.size += int64(len(p))
}

func (h *head) zeroes(n int64) {
	h.first = append(h.first, none[:min(n, int64(HeadBytes-len(h.first)))]...)
	h.size += n
}
