package diskimage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// MaxDisk bounds the disk of a qcow2 image, in bytes: systems grow on the disk that they are written to.
	MaxDisk = 1 << 40
	// MaxUnpacked bounds what is unpacked or packed anew of an image, in bytes, its holes not counted: a small file can unpack to
	// terabytes, which would keep a replica at work for hours.
	MaxUnpacked = 256 << 30
)

const (
	// maxL1 is QEMU's bound of an L1 table, in bytes.
	maxL1 = 32 << 20
	// piece is how much is read at a time where clusters lie one behind the other.
	piece = 1 << 20
	// Masks of table entries, as docs/interop/qcow2.rst has them.
	offsetMask = 0x00fffffffffffe00
	compressed = 1 << 62
	reads0     = 1
	subs       = 32 // of an extended entry

	incompatibleDirty    = 1 << 0
	incompatibleCorrupt  = 1 << 1
	incompatibleDataFile = 1 << 2
	incompatiblePacking  = 1 << 3
	incompatibleExtended = 1 << 4
	incompatibleKnown    = incompatibleDirty | incompatibleCorrupt | incompatibleDataFile | incompatiblePacking | incompatibleExtended
)

// Sink takes the contents of a disk in their order.
type Sink interface {
	io.Writer
	// Zeroes takes n bytes that are zero.
	Zeroes(n int64) error
}

// Qcow2 reads an image of QEMU's format qcow2, of version 2 or 3. Whatever the bytes, it takes less than 16 MiB of memory. What stands
// in QEMU's docs/interop/qcow2.rst is read here, but for what only a writer needs (counts of references) and snapshots, which are
// passed over.
type Qcow2 struct {
	r        io.ReaderAt
	fileSize int64
	size     int64 // of the disk
	bits     uint  // of a cluster
	version  uint32
	extended bool
	zstd     bool
	l1       int64 // where the L1 table is
	l1Count  int64
}

// OpenQcow2 reads the header of an image that is a file of fileSize bytes. Errors are *Refused, or r's.
func OpenQcow2(r io.ReaderAt, fileSize int64) (*Qcow2, error) {
	header := make([]byte, 112)
	n, err := r.ReadAt(header, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read image: %w", err)
	}
	if n < 72 || string(header[:4]) != "QFI\xfb" {
		return nil, refuse("the image is no qcow2 image, or cut short")
	}
	q := &Qcow2{r: r, fileSize: fileSize, version: binary.BigEndian.Uint32(header[4:]), bits: uint(binary.BigEndian.Uint32(header[20:]))}
	if q.version != 2 && q.version != 3 {
		return nil, refuse("the image is a qcow2 image of version %d: versions 2 and 3 are taken", q.version)
	}
	if q.version == 3 {
		if err := q.features(header[:n]); err != nil {
			return nil, err
		}
	}
	switch {
	case binary.BigEndian.Uint64(header[8:]) != 0:
		return nil, refuse("the image is only the difference to another one (a qcow2 image with a backing file): join them with qemu-img convert")
	case binary.BigEndian.Uint32(header[32:]) != 0:
		return nil, refuse("the image is encrypted (qcow2): decrypt it with qemu-img convert")
	case q.bits < 9 || q.bits > 21:
		return nil, damaged("its clusters have a size that no qcow2 image has")
	}
	return q, q.geometry(header)
}

// features reads what version 3 added.
func (q *Qcow2) features(header []byte) error {
	if len(header) < 104 {
		return damaged("it is cut short in its header")
	}
	switch incompatible := binary.BigEndian.Uint64(header[72:]); {
	case incompatible&^incompatibleKnown != 0:
		return refuse("the image needs features of qcow2 that are not known here (bits %#x): convert it with qemu-img convert -O qcow2",
			incompatible&^incompatibleKnown)
	case incompatible&incompatibleCorrupt != 0:
		return refuse("the image is marked as corrupt (qcow2): repair it with qemu-img check, or take another one")
	case incompatible&incompatibleDirty != 0:
		return refuse("the image was not closed after it was written (qcow2's dirty bit): repair it with qemu-img check -r all")
	case incompatible&incompatibleDataFile != 0:
		return refuse("the image has its data in another file (qcow2): join them with qemu-img convert")
	default:
		q.extended = incompatible&incompatibleExtended != 0
		if incompatible&incompatiblePacking == 0 {
			return nil
		}
	}
	if length := binary.BigEndian.Uint32(header[100:]); length <= 104 || len(header) <= 104 {
		return damaged("its header does not say how it is compressed")
	}
	switch header[104] {
	case 0:
	case 1:
		q.zstd = true
	default:
		return refuse("the image is compressed in a way of qcow2 that is not known here (%d)", header[104])
	}
	return nil
}

// geometry reads sizes and places.
func (q *Qcow2) geometry(header []byte) error {
	size, l1 := binary.BigEndian.Uint64(header[24:]), binary.BigEndian.Uint64(header[40:])
	q.l1Count = int64(binary.BigEndian.Uint32(header[36:]))
	switch {
	case size == 0:
		return refuse("the image is an empty disk (qcow2)")
	case size > MaxDisk:
		return refuse("the image is a disk of %d GiB, and at most %d are taken", size>>30, MaxDisk>>30)
	case q.extended && q.bits < 14:
		return damaged("its clusters are too small for their parts")
	}
	q.size = int64(size)
	span := q.perTable() << q.bits
	needed := (q.size + span - 1) / span
	switch {
	case q.l1Count < needed || needed*8 > maxL1:
		return damaged("its tables do not fit its size")
	case l1 == 0 || l1&(q.cluster()-1) != 0 || l1 > uint64(q.fileSize) || int64(l1)+needed*8 > q.fileSize:
		return damaged("its first table lies outside of it: it is cut short")
	}
	q.l1, q.l1Count = int64(l1), needed
	return nil
}

func damaged(how string) error { return refuse("the image is damaged (qcow2): %s", how) }

// Size of the disk in bytes.
func (q *Qcow2) Size() int64 { return q.size }

func (q *Qcow2) cluster() uint64 { return 1 << q.bits }

func (q *Qcow2) entryBytes() int64 {
	if q.extended {
		return 16
	}
	return 8
}

// perTable is how many entries an L2 table has.
func (q *Qcow2) perTable() int64 { return int64(q.cluster()) / q.entryBytes() }

// CopyTo gives the disk to a sink. Errors are *Refused, the reader's, or the sink's.
func (q *Qcow2) CopyTo(s Sink) error {
	c := newCopier(q, s)
	defer c.close()
	page := make([]byte, 4096)
	for i := int64(0); i < q.l1Count; i++ {
		if i%512 == 0 {
			page = page[:min(4096, (q.l1Count-i)*8)]
			if err := q.readAt(page, q.l1+i*8); err != nil {
				return err
			}
		}
		if err := c.table(binary.BigEndian.Uint64(page[i%512*8:]) & offsetMask); err != nil {
			return err
		}
	}
	return c.flush()
}

// readAt reads what has to be there.
func (q *Qcow2) readAt(p []byte, off int64) error {
	n, err := q.r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return damaged("it is cut short")
	}
	return fmt.Errorf("read image: %w", err)
}
