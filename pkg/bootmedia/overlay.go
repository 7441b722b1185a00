package bootmedia

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

func (c *composer) finish(tag string) (*overlay, error) {
	slices.SortFunc(c.parts, func(a, b part) int { return cmp.Compare(a.off, b.off) })
	for i := 1; i < len(c.parts); i++ {
		if before := c.parts[i-1]; before.off+int64(len(before.data)) > c.parts[i].off {
			return nil, errors.New("the image is damaged: two of its structures share sectors")
		}
	}
	o := &overlay{base: c.v.size, size: c.v.size, parts: c.parts}
	if c.next > sectors64(c.v.size) {
		o.size = int64(c.next) * sector
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%q %d", tag, o.size)
	for _, p := range o.parts {
		fmt.Fprintf(sum, " %d %d ", p.off, len(p.data))
		p.tag(sum)
	}
	o.etag = `"` + hex.EncodeToString(sum.Sum(nil))[:32] + `"`
	return o, nil
}

// bytes is what the overlay holds in memory.
func (o *overlay) bytes() int64 {
	n := int64(0)
	for _, p := range o.parts {
		if len(p.data) > 0 && &p.data[0] != &zeroSlab[0] {
			n += int64(len(p.data))
		}
	}
	return n
}

// apply puts the parts that fall into p, which is at off of the medium, over it.
// Closed, files read as zeroes.
func (o *overlay) apply(p []byte, off int64, closed bool) {
	end := off + int64(len(p))
	i, _ := slices.BinarySearchFunc(o.parts, off, partEndsBehind)
	for ; i < len(o.parts) && o.parts[i].off < end; i++ {
		q := o.parts[i]
		from, to := max(off, q.off), min(end, q.off+int64(len(q.data)))
		if from < to {
			q.copy(p[from-off:to-off], from, closed)
		}
	}
}

// composed reads a medium: the image through base, with the overlay over it.
// Only bytes of the image are asked of base.
type composed struct {
	base io.ReadSeeker
	over *overlay
	off  int64
	// closed says whether data are withheld by now; nil: never.
	closed func() bool
}

func (c *composed) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += c.off
	case io.SeekEnd:
		offset += c.over.size
	}
	if offset < 0 {
		return 0, errors.New("seek in medium: negative offset")
	}
	c.off = offset
	return offset, nil
}

func (c *composed) Read(p []byte) (int, error) {
	o := c.over
	if c.off >= o.size {
		return 0, io.EOF
	}
	var n int
	if c.off < o.base {
		if _, err := c.base.Seek(c.off, io.SeekStart); err != nil {
			return 0, err
		}
		var err error
		if n, err = c.base.Read(p[:min(int64(len(p)), o.base-c.off)]); n == 0 && err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
	} else {
		n = int(min(int64(len(p)), o.size-c.off))
		clear(p[:n])
	}
	o.apply(p[:n], c.off, c.closed != nil && c.closed())
	c.off += int64(n)
	return n, nil
}

// straight is the file that the next bytes of the medium stand in as they are,
// at the place where they begin, and how many of them do; nil where they come
// from elsewhere or are too few to be worth it, and then how many are to be read.
func (c *composed) straight(most int64) (*os.File, int64) {
	file, ok := c.base.(*CachedFile)
	if !ok || c.off >= c.over.base {
		return nil, most
	}
	i, _ := slices.BinarySearchFunc(c.over.parts, c.off, partEndsBehind)
	end := min(c.over.base, c.off+most)
	if i < len(c.over.parts) {
		q := c.over.parts[i]
		if end = min(end, max(q.off, c.off)); end-c.off < straightBytes {
			return nil, min(most, max(q.off+int64(len(q.data))-c.off, straightBytes))
		}
	}
	if _, err := file.Seek(c.off, io.SeekStart); err != nil {
		return nil, most // reading will say the same
	}
	return file.File, end - c.off
}

// partEndsBehind orders parts for a search of the first that ends behind a place.
func partEndsBehind(q part, at int64) int { return cmp.Compare(q.off+int64(len(q.data)), at+1) }
