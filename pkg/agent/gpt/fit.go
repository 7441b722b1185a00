package gpt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	lib "github.com/diskfs/go-diskfs/partition/gpt"

	"github.com/beskar7/beskar7/pkg/agent/block"
)

// Options are how a table is fitted to a disk.
type Options struct {
	// Grow has the last partition take what is free.
	Grow bool
	// Data is a partition to add at the end of the disk; nil is none.
	Data *Data
}

// Data is a partition to add.
type Data struct {
	// Size in bytes, a multiple of 1 MiB.
	Size int64
	// Type and GUID are GUIDs, Name has at most 36 characters.
	Type, GUID, Name string
}

const align = 1 << 20

// Check says whether an image's table fits a disk, before anything is written.
func Check(head []byte, diskSize int64, blockSize int, o Options) error {
	_, _, err := fitted(head, diskSize, blockSize, o)
	return err
}

// Fit fits the table of a staged disk to the disk: the primary one stays in the stage, the backup is written. It returns the
// table, and the partition that was added, if one was.
func Fit(d *block.Staged, o Options) (*Table, *Partition, error) {
	t, index, err := fitted(d.Head(), d.Size(), d.BlockSize(), o)
	if err != nil {
		return nil, nil, err
	}
	storage := block.Storage(d, 0, d.Size())
	writable, err := storage.Writable()
	if err != nil {
		return nil, nil, err
	}
	if err := t.Write(writable, d.Size()); err != nil {
		return nil, nil, fmt.Errorf("write the partition table: %w", err)
	}
	protect(d.Head(), d.Size()/int64(d.BlockSize()))
	if err := t.Verify(storage, uint64(d.Size())); err != nil {
		return nil, nil, fmt.Errorf("the disk gives back another partition table than was written: %w", err)
	}
	out, err := Read(d.Head())
	if err != nil {
		return nil, nil, fmt.Errorf("after it was fitted to the disk: %w", err)
	}
	for i := range out.Partitions {
		if out.Partitions[i].Index == index {
			return out, &out.Partitions[i], nil
		}
	}
	return out, nil, nil
}

// fitted is the table as it is to be on the disk, with the number of the partition that was added, or 0.
func fitted(head []byte, diskSize int64, blockSize int, o Options) (*table, int, error) {
	t, err := read(head)
	if err != nil {
		return nil, 0, err
	}
	if t.blockSize != blockSize {
		return nil, 0, fmt.Errorf("the image is made for disks with blocks of %d bytes, and this one has %d: use an image for such disks, "+
			"or format the disk to %d", t.blockSize, blockSize, t.blockSize)
	}
	if diskSize < 8*align || diskSize%int64(blockSize) != 0 {
		return nil, 0, fmt.Errorf("the disk has %d bytes, and no system fits into that", diskSize)
	}
	t.Resize(uint64(diskSize))
	t.ProtectiveMBR = false // that is ours to write
	last := t.last()
	if last == nil {
		return nil, 0, errors.New("the partition table of the image is empty")
	}
	size, limit := uint64(blockSize), t.LastDataSector()+1
	if last.End >= limit {
		return nil, 0, fmt.Errorf("the image reaches to byte %d, and the disk only to %d: take a larger disk or a smaller image",
			(last.End+1)*size, limit*size)
	}
	index := 0
	if o.Data != nil {
		own, err := t.add(last.End+1, limit, *o.Data)
		if err != nil {
			return nil, 0, err
		}
		index, limit = own.Index, own.Start
	}
	if o.Grow && last.End < limit-1 {
		last.End = limit - 1
		last.Size = (last.End - last.Start + 1) * size
	}
	return t, index, nil
}

// last is the partition with the last place.
func (t *table) last() *lib.Partition {
	var last *lib.Partition
	for _, p := range t.Partitions {
		if last == nil || p.End > last.End {
			last = p
		}
	}
	return last
}

// add puts a partition between two blocks, at the end. Both of its own ends are on whole MiB, as all tools do it.
func (t *table) add(from, limit uint64, d Data) (*lib.Partition, error) {
	size := uint64(t.blockSize)
	mib, blocks := align/size, uint64(d.Size)/size
	if d.Size <= 0 || d.Size%align != 0 || limit < blocks || (limit-blocks)/mib*mib < from {
		return nil, fmt.Errorf("behind the image, which reaches to byte %d, the disk has no room for %d bytes of configuration: "+
			"take a larger disk or a smaller image", from*size, d.Size)
	}
	index, err := t.free()
	if err != nil {
		return nil, err
	}
	start := (limit - blocks) / mib * mib
	own := &lib.Partition{Index: index, Start: start, End: start + blocks - 1, Size: uint64(d.Size), Type: lib.Type(d.Type), GUID: d.GUID,
		Name: d.Name}
	t.Partitions = append(t.Partitions, own)
	return own, nil
}

// free is an entry that is not in use: the one behind all others if there is one, as that is where people look.
func (t *table) free() (int, error) {
	used, highest := map[int]bool{}, 0
	for _, p := range t.Partitions {
		used[p.Index], highest = true, max(highest, p.Index)
	}
	if highest < t.entries {
		return highest + 1, nil
	}
	for index := 1; index <= t.entries; index++ {
		if !used[index] {
			return index, nil
		}
	}
	return 0, fmt.Errorf("all %d entries of the image's partition table are in use: none is left for its configuration", t.entries)
}

// protect sets the length of the protective MBR's partition (UEFI 2.10, 5.2.3): to the disk's end, or to what fits into 32 bits.
// Boot code and whatever else is in the block stay.
func protect(head []byte, blocks int64) {
	const list, size, protective = 446, 16, 0xEE
	for at := list; at < list+4*size; at += size {
		if head[at+4] != protective {
			continue
		}
		first := int64(binary.LittleEndian.Uint32(head[at+8:]))
		binary.LittleEndian.PutUint32(head[at+12:], uint32(min(max(blocks-first, 0), math.MaxUint32)))
	}
}
