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
	// file: these are the data of a file, not the structure around it. sum is
	// their SHA-256 in hex where data may be withheld; empty: that of data.
	file bool
	sum  string
}

// tag puts what a part is into a digest that becomes an entity tag: of a file its
// sum, so that the tag stays when the data are gone.
func (p part) tag(w io.Writer) {
	switch {
	case !p.file:
		_, _ = w.Write(p.data)
	case p.sum != "":
		_, _ = io.WriteString(w, p.sum)
	default:
		_, _ = io.WriteString(w, digestOf(p.data))
	}
}

// copy reads a part from a place of the medium on; closed, a file reads as zeroes.
func (p part) copy(to []byte, from int64, closed bool) {
	if closed && p.file {
		clear(to)
		return
	}
	copy(to, p.data[from-p.off:])
}

// newDrive takes ascending, not overlapping parts. The tag is a digest of all
// bytes, of files by their sums: offsets need no place in it because the first part holds the file
// system's own structures, which name them.
func newDrive(size int64, parts []part) *Drive {
	sum := sha256.New()
	for _, p := range parts {
		p.tag(sum)
	}
	return &Drive{size: size, parts: parts, etag: `"` + hex.EncodeToString(sum.Sum(nil))[:32] + `"`}
}

// Size is the length of the medium in bytes, a multiple of 2048.
func (d *Drive) Size() int64 { return d.size }

// ETag is a strong entity tag, quotes included: equal for equal bytes.
func (d *Drive) ETag() string { return d.etag }

// ReadAt implements io.ReaderAt.
func (d *Drive) ReadAt(p []byte, off int64) (int, error) { return d.readAt(p, off, false) }

// closable reads a drive whose data may be withheld while it is read.
type closable struct {
	*Drive
	closed func() bool
}

// ReadAt implements io.ReaderAt.
func (c closable) ReadAt(p []byte, off int64) (int, error) { return c.readAt(p, off, c.closed()) }

func (d *Drive) readAt(p []byte, off int64, closed bool) (int, error) {
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
			q.copy(p[from-off:to-off], from, closed)
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
