package gpt

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/diskfs/go-diskfs/backend"
	lib "github.com/diskfs/go-diskfs/partition/gpt"

	"github.com/beskar7/beskar7/pkg/agent/block"
)

// Table is what is in a partition table. Offsets and sizes are in bytes.
type Table struct {
	// BlockSize is that of the disks the table is made for.
	BlockSize  int
	Partitions []Partition // by their place
	// End is where the last partition ends.
	End int64
}

// Partition is an entry.
type Partition struct {
	Index       int // from 1
	Start, Size int64
	// Type and GUID are in upper case.
	Type, GUID, Name string
}

// TypeESP is the type of the partition that UEFI firmware boots from; TypeLinux that of Linux data.
const (
	TypeESP   = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
	TypeLinux = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
)

// ErrNone says that there is no table.
var ErrNone = errors.New("there is no GUID partition table")

// Find is the first partition of a type.
func (t *Table) Find(kind string) (Partition, bool) {
	i := slices.IndexFunc(t.Partitions, func(p Partition) bool { return p.Type == kind })
	if i < 0 {
		return Partition{}, false
	}
	return t.Partitions[i], true
}

const (
	headerSize = 92
	entrySize  = 128
	maxEntries = 1024
)

var signature = []byte("EFI PART")

// Read reads the table at the beginning of an image, for disks with blocks of 512 or of 4096 bytes. head has up to
// block.HeadSize bytes.
func Read(head []byte) (*Table, error) {
	t, err := read(head)
	if err != nil {
		return nil, err
	}
	return t.contents(), nil
}

// table is one of go-diskfs, with what it does not say.
type table struct {
	*lib.Table
	blockSize, entries int
}

// find says for which blocks a table is made: the header is in the second one.
func find(head []byte) (int, error) {
	for _, blockSize := range []int{512, 4096} {
		if len(head) >= 2*blockSize && bytes.HasPrefix(head[blockSize:], signature) {
			return blockSize, nil
		}
	}
	return 0, ErrNone
}

// read checks a table and has go-diskfs read it.
func read(head []byte) (*table, error) {
	blockSize, err := find(head)
	if err != nil {
		return nil, err
	}
	count, err := check(head, blockSize)
	if err != nil {
		return nil, fmt.Errorf("the partition table of the image cannot be used: %w", err)
	}
	t, err := lib.Read(memory(head), blockSize, blockSize)
	if err != nil {
		return nil, fmt.Errorf("the partition table of the image cannot be read: %w", err)
	}
	return &table{t, blockSize, count}, nil
}

// check holds header and entries to what is written back, and counts the entries: go-diskfs keeps them, with 128 bytes each,
// right behind the header.
func check(head []byte, blockSize int) (int, error) {
	header := bytes.Clone(head[blockSize : blockSize+headerSize])
	word := func(at int) uint32 { return binary.LittleEndian.Uint32(header[at:]) }
	long := func(at int) uint64 { return binary.LittleEndian.Uint64(header[at:]) }
	sum, count, first, last := word(16), uint64(word(80)), long(40), long(48)
	clear(header[16:20])
	end := uint64(2*blockSize) + count*entrySize //nolint:gosec // a block size is positive
	switch {
	case word(12) != headerSize:
		return 0, fmt.Errorf("its header has %d bytes, and %d are known", word(12), headerSize)
	case crc32.ChecksumIEEE(header) != sum:
		return 0, errors.New("the checksum of its header is wrong")
	case long(24) != 1 || long(72) != 2:
		return 0, errors.New("its header or its entries are in another place than usual")
	case word(84) != entrySize:
		return 0, fmt.Errorf("its entries have %d bytes, and %d are known", word(84), entrySize)
	case count == 0 || count > maxEntries || count*entrySize%uint64(blockSize) != 0:
		return 0, fmt.Errorf("it has %d entries, and up to %d in whole blocks are known", count, maxEntries)
	case end > uint64(len(head)):
		return 0, errors.New("its entries reach beyond its beginning")
	case crc32.ChecksumIEEE(head[2*blockSize:end]) != word(88):
		return 0, errors.New("the checksum of its entries is wrong")
	case first < end/uint64(blockSize) || last < first || last > maxByte/uint64(blockSize):
		return 0, errors.New("the blocks that it gives to partitions are none")
	}
	return int(count), entries(head[2*blockSize:end], first, last)
}

// maxByte is beyond any disk, and so small that sums of two stay in range.
const maxByte = 1 << 61

// entries: each one within the usable blocks, and none over another.
func entries(list []byte, first, last uint64) error {
	type span struct{ from, to uint64 }
	var spans []span
	for at := 0; at < len(list); at += entrySize {
		entry := list[at : at+entrySize]
		if block.Zeroes(entry[:16]) {
			continue
		}
		s := span{binary.LittleEndian.Uint64(entry[32:]), binary.LittleEndian.Uint64(entry[40:])}
		if s.from < first || s.to > last || s.from > s.to {
			return fmt.Errorf("its entry %d is for blocks %d to %d, and %d to %d are there", at/entrySize+1, s.from, s.to, first, last)
		}
		spans = append(spans, s)
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for i := 1; i < len(spans); i++ {
		if spans[i].from <= spans[i-1].to {
			return errors.New("two of its partitions have the same blocks")
		}
	}
	return nil
}

func (t *table) contents() *Table {
	out := &Table{BlockSize: t.blockSize}
	for _, p := range t.Partitions {
		part := Partition{Index: p.Index, Start: int64(p.Start) * int64(t.blockSize), Size: int64(p.Size), //nolint:gosec // below maxByte
			Type: string(p.Type), GUID: p.GUID, Name: p.Name}
		out.Partitions = append(out.Partitions, part)
		out.End = max(out.End, part.Start+part.Size)
	}
	slices.SortFunc(out.Partitions, func(a, b Partition) int { return cmp.Compare(a.Start, b.Start) })
	return out
}

// memory is a head as go-diskfs reads it. There is nothing behind it, so that no backup is looked for where there cannot be one.
func memory(head []byte) backend.Storage {
	return block.Storage(onlyHead{bytes.NewReader(head)}, 0, int64(len(head)))
}

// onlyHead is a device of nothing but a head, which is only read.
type onlyHead struct{ *bytes.Reader }

func (onlyHead) WriteAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }
func (onlyHead) Zero(int64, int64) error            { return errors.ErrUnsupported }
func (onlyHead) BlockSize() int                     { return 512 }
func (onlyHead) Sync() error                        { return nil }
func (onlyHead) Close() error                       { return nil }
