package diskimage

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/beskar7/beskar7/pkg/bootmedia"
)

// Format is how an image is packed that is ready.
type Format string

// The formats.
const (
	FormatRaw     Format = "raw"
	FormatRawZstd Format = "raw.zst"
	FormatRawGzip Format = "raw.gz"
	FormatRawXZ   Format = "raw.xz"
)

// Ready is an image that is verified and can be served.
type Ready struct {
	// Digest of the bytes that are served: "sha256:" and 64 hex digits.
	Digest string `json:"digest"`
	Format Format `json:"format"`
	// Size of what is served and UnpackedSize of the disk that it is, in bytes.
	Size         int64 `json:"size"`
	UnpackedSize int64 `json:"unpackedSize"`
	// SectorSize of its GUID partition table, 512 or 4096; 0 if it has none.
	SectorSize int `json:"sectorSize,omitempty"`
}

// imageSuffix ends the names of images that are ready; beside each lies a file with ".json" added, which holds its Ready.
const imageSuffix = ".image"

// begin judges a download by its beginning.
func begin(r io.ReaderAt, have int64, whole bool) (bool, error) {
	if have < HeadBytes && !whole {
		return false, nil
	}
	first, err := headOf(r)
	if err != nil {
		return false, err
	}
	if _, err := Look(first); err != nil {
		return false, &bootmedia.RefusedError{Err: err}
	}
	return true, nil
}

func headOf(r io.ReaderAt) ([]byte, error) {
	first := make([]byte, HeadBytes)
	n, err := r.ReadAt(first, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read image cache: %w", err)
	}
	return first[:n], nil
}

// minDisk is the smallest disk that is taken, in bytes: what has not as much is cut short, and the agent looks at it before it begins.
const minDisk = 1 << 20

// finish makes an image ready whose checksum is right: as it is, if a server can unpack it, else packed anew. One image is worked on at
// a time, which bounds the memory that it takes.
func (s *Store) finish(ctx context.Context, v *bootmedia.Verified) (any, error) {
	v.Progress("verified; waiting for another image that is worked on")
	select {
	case s.working <- struct{}{}:
		defer func() { <-s.working }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	v.Progress("verified; looking at the image")
	ready, err := prepare(ctx, v)
	if err == nil && ready.UnpackedSize < minDisk {
		err = refuse("the image is a disk of %d bytes, which nothing boots from: it is cut short, or no image", ready.UnpackedSize)
	}
	if refused, ok := errors.AsType[*Refused](err); ok {
		return nil, &bootmedia.RefusedError{Err: refused}
	}
	if err != nil {
		return nil, err
	}
	return ready, keep(v.Path+".json", ready)
}

func prepare(ctx context.Context, v *bootmedia.Verified) (Ready, error) {
	first, err := headOf(v.File)
	if err != nil {
		return Ready{}, err
	}
	seen, err := Look(first)
	if err != nil {
		return Ready{}, err
	}
	if seen.Form == FormRaw {
		return raw(ctx, v, seen)
	}
	if seen.Form == FormQcow2 {
		q, err := OpenQcow2(v.File, v.Size)
		if err != nil {
			return Ready{}, err
		}
		return packed(ctx, v, q.Size(), q.CopyTo)
	}
	ready, err := asItIs(ctx, v, seen.Form)
	if errors.Is(err, errWindow) {
		ready, err = packed(ctx, v, 0, func(s Sink) error {
			return unpack(ctx, seen.Form, io.NewSectionReader(v.File, 0, v.Size), bounds{maxWindow, MaxUnpacked}, func(p []byte) error {
				_, err := s.Write(p)
				return err
			})
		})
	}
	if errors.Is(err, errWindow) {
		return Ready{}, refuse("the image needs more than %d MiB of memory to be unpacked: pack it with a smaller window or dictionary",
			maxWindow>>20)
	}
	return ready, err
}

// raw is an image that is a disk already.
func raw(ctx context.Context, v *bootmedia.Verified, seen Seen) (Ready, error) {
	tail := make([]byte, 8)
	if v.Size > 512 {
		if _, err := v.File.ReadAt(tail, v.Size-512); err != nil {
			return Ready{}, fmt.Errorf("read image cache: %w", err)
		}
	}
	if string(tail) == "conectix" {
		return Ready{}, refuse("the image is a Hyper-V image (VHD) of fixed size: %s", convert)
	}
	digest, err := digestFor(ctx, v)
	return Ready{Digest: digest, Format: FormatRaw, Size: v.Size, UnpackedSize: v.Size, SectorSize: seen.SectorSize}, err
}

// digestFor is the digest of a download. Where the checksum is of another kind it is read for it.
func digestFor(ctx context.Context, v *bootmedia.Verified) (string, error) {
	if strings.HasPrefix(v.Checksum, "sha256:") {
		return v.Checksum, nil
	}
	h := sha256.New()
	_, err := io.CopyBuffer(struct{ io.Writer }{h}, &watched{ctx: ctx, r: io.NewSectionReader(v.File, 0, v.Size)}, make([]byte, unpackPiece))
	if err != nil {
		return "", fmt.Errorf("read image cache: %w", err)
	}
	return digestOf(h), nil
}

// asItIs is a packed image that is served as it is, if a server can unpack it. It is unpacked here once, as nothing else shows that it can
// be, how large the disk is, and what it is.
func asItIs(ctx context.Context, v *bootmedia.Verified, form Form) (Ready, error) {
	var inside head
	h := sha256.New()
	stream := io.TeeReader(io.NewSectionReader(v.File, 0, v.Size), h)
	err := unpack(ctx, form, stream, bounds{agentWindow, MaxUnpacked}, func(p []byte) error {
		known := len(inside.first) == HeadBytes
		inside.take(p)
		v.Progress(fmt.Sprintf("unpacking to check it: %d MiB", inside.size>>20))
		if known || len(inside.first) < HeadBytes {
			return nil
		}
		_, err := insideOf(&inside)
		return err
	})
	if err != nil {
		return Ready{}, err
	}
	if _, err := io.Copy(io.Discard, stream); err != nil { // what an unpacker has no need of
		return Ready{}, fmt.Errorf("read image cache: %w", err)
	}
	seen, err := insideOf(&inside)
	format := map[Form]Format{FormGzip: FormatRawGzip, FormZstd: FormatRawZstd, FormXZ: FormatRawXZ}[form]
	return Ready{Digest: digestOf(h), Format: format, Size: v.Size, UnpackedSize: inside.size, SectorSize: seen.SectorSize}, err
}

// insideOf judges what was packed: a raw disk, and nothing else.
func insideOf(h *head) (Seen, error) {
	seen, err := Look(h.first)
	if err == nil && seen.Form != FormRaw {
		return Seen{}, refuse("the image is packed, and what is inside is %s again: unpack it once", seen.Form)
	}
	return seen, err
}

// packed is an image that is packed anew. size is that of the disk; 0 is not known.
func packed(ctx context.Context, v *bootmedia.Verified, size int64, copyTo func(Sink) error) (Ready, error) {
	f, err := v.Make()
	if err != nil {
		return Ready{}, fmt.Errorf("write image cache: %w", err)
	}
	p, err := newPacker(ctx, f, v.Reserve)
	if err != nil {
		return Ready{}, fmt.Errorf("pack image: %w", err)
	}
	p.progress = func(done int64) {
		words := fmt.Sprintf("converting: %d MiB", done>>20)
		if size > 0 {
			words += fmt.Sprintf(" of %d", size>>20)
		}
		v.Progress(words)
	}
	if err := copyTo(p); err != nil {
		return Ready{}, err
	}
	seen, err := insideOf(&p.seen)
	if err != nil {
		return Ready{}, err
	}
	if err := p.Close(); err != nil {
		return Ready{}, fmt.Errorf("write image cache: %w", err)
	}
	return Ready{Digest: p.out.digest(), Format: FormatRawZstd, Size: p.out.size, UnpackedSize: p.seen.size, SectorSize: seen.SectorSize}, nil
}

// keep writes what is known of an image, before that has its final name.
func keep(path string, r Ready) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write image cache: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write image cache: %w", err)
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write image cache: %w", err)
	}
	return nil
}

// know reads what is known of an image that is ready.
func know(path string) (any, error) {
	text, err := os.ReadFile(path + ".json")
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	var r Ready
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	if r.Size != info.Size() {
		return nil, errors.New("the image has another size than is noted")
	}
	return r, nil
}
