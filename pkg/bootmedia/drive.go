package bootmedia

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
)

// Drive is a finished medium in memory: its parts at their offsets, with zeros
// between and after them. It is immutable, so it may be read concurrently; the
// parts alias what they were made of.
type Drive struct {
	size  int64
	parts []part // ascending, not overlapping
	etag  string
}

type part struct {
	off  int64
	data []byte
}

// newDrive takes ascending, not overlapping parts. The tag is a digest of all
// bytes: offsets need no place in it because the first part holds the file
// system's own structures, which name them.
func newDrive(size int64, parts []part) *Drive {
	sum := sha256.New()
	for _, p := range parts {
		sum.Write(p.data)
	}
	return &Drive{size: size, parts: parts, etag: `"` + hex.EncodeToString(sum.Sum(nil))[:32] + `"`}
}

// Size is the length of the medium in bytes, a multiple of 2048.
func (d *Drive) Size() int64 { return d.size }

// ETag is a strong entity tag, quotes included: equal for equal bytes.
func (d *Drive) ETag() string { return d.etag }

// ReadAt implements io.ReaderAt.
func (d *Drive) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read medium: negative offset")
	}
	if off >= d.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), d.size-off))
	clear(p[:n])
	for _, q := range d.parts {
		from, to := max(off, q.off), min(off+int64(n), q.off+int64(len(q.data)))
		if from < to {
			copy(p[from-off:to-off], q.data[from-q.off:to-q.off])
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
