package imagetest

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"unicode/utf16"

	"github.com/google/uuid"
)

// Partition is one to make; Start and Blocks are in blocks of the image.
type Partition struct {
	Type, GUID, Name string
	Start, Blocks    uint64
	Attributes       uint64
}

// Image is one to make.
type Image struct {
	Size, BlockSize int
	Partitions      []Partition
	// Entries of the table; 0 is 128.
	Entries int
	// Seed of what is in the partitions.
	Seed uint64
}

// ESP and Root are the types of partitions that most images have.
const (
	ESP  = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
	Root = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
	// DiskGUID is that of every image.
	DiskGUID = "D1D1D1D1-0001-4002-8003-0000000000D1"
)

// Typical is an image with boot code, an ESP and a root partition, and zeroes in between, as cloud images have it.
func Typical(size, blockSize int) Image {
	mib := uint64(1<<20) / uint64(blockSize)
	end := uint64(size)/uint64(blockSize) - mib
	return Image{Size: size, BlockSize: blockSize, Seed: 1, Partitions: []Partition{
		{Type: ESP, GUID: "AAAAAAAA-0001-4002-8003-0000000000A1", Name: "ESP", Start: mib, Blocks: mib},
		{Type: Root, GUID: "AAAAAAAA-0001-4002-8003-0000000000A2", Name: "rootfs ä", Start: 2 * mib, Blocks: end - 2*mib,
			Attributes: 1 << 59},
	}}
}

// Bytes makes it.
func (i Image) Bytes() []byte {
	out := make([]byte, i.Size)
	random := rand.New(rand.NewPCG(i.Seed, 0)) //nolint:gosec // contents that are the same in every run
	for n := range 440 {
		out[n] = byte(random.Uint32()) // boot code
	}
	out[440] |= 1
	blocks := uint64(i.Size / i.BlockSize)
	mbr := out[446:462]
	mbr[4] = 0xEE
	binary.LittleEndian.PutUint32(mbr[8:], 1)
	binary.LittleEndian.PutUint32(mbr[12:], uint32(blocks-1))
	out[510], out[511] = 0x55, 0xAA
	entries := i.entries()
	array := uint64(len(entries) / i.BlockSize)
	copy(out[2*i.BlockSize:], entries)
	copy(out[i.BlockSize:], i.header(entries, 1, blocks-1, 2))
	copy(out[int(blocks-1-array)*i.BlockSize:], entries)
	copy(out[int(blocks-1)*i.BlockSize:], i.header(entries, blocks-1, 1, blocks-1-array))
	for _, p := range i.Partitions {
		from, to := int(p.Start)*i.BlockSize, min(len(out), int(p.Start+p.Blocks)*i.BlockSize)
		for at := from; at+8 <= to; at += 8 {
			if at>>20%3 == 2 || at>>16%2 == 0 && at>>20%3 == 0 { // much of an image is empty
				binary.LittleEndian.PutUint64(out[at:], random.Uint64())
			}
		}
	}
	return out
}

func (i Image) entries() []byte {
	count := i.Entries
	if count == 0 {
		count = 128
	}
	out := make([]byte, count*128)
	for n, p := range i.Partitions {
		e := out[n*128:]
		copy(e, guid(p.Type))
		copy(e[16:], guid(p.GUID))
		binary.LittleEndian.PutUint64(e[32:], p.Start)
		binary.LittleEndian.PutUint64(e[40:], p.Start+p.Blocks-1)
		binary.LittleEndian.PutUint64(e[48:], p.Attributes)
		for k, unit := range utf16.Encode([]rune(p.Name)) {
			binary.LittleEndian.PutUint16(e[56+2*k:], unit)
		}
	}
	return out
}

func (i Image) header(entries []byte, own, other, list uint64) []byte {
	array := uint64(len(entries) / i.BlockSize)
	h := make([]byte, 92)
	copy(h, "EFI PART")
	le := binary.LittleEndian
	le.PutUint32(h[8:], 0x10000)
	le.PutUint32(h[12:], 92)
	le.PutUint64(h[24:], own)
	le.PutUint64(h[32:], other)
	le.PutUint64(h[40:], 2+array)
	le.PutUint64(h[48:], uint64(i.Size/i.BlockSize)-array-2)
	copy(h[56:], guid(DiskGUID))
	le.PutUint64(h[72:], list)
	le.PutUint32(h[80:], uint32(len(entries)/128))
	le.PutUint32(h[84:], 128)
	le.PutUint32(h[88:], crc32.ChecksumIEEE(entries))
	le.PutUint32(h[16:], crc32.ChecksumIEEE(h))
	return h
}

// guid is in the order of bytes that disks have.
func guid(text string) []byte {
	u := uuid.MustParse(text)
	return []byte{u[3], u[2], u[1], u[0], u[5], u[4], u[7], u[6], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]}
}

// Rechecksum makes the checksums of a primary table right again after a change of its entries or its header.
func Rechecksum(image []byte, blockSize int) {
	le := binary.LittleEndian
	h := image[blockSize : blockSize+92]
	count := int(min(le.Uint32(h[80:]), 4096))
	if end := 2*blockSize + count*128; end <= len(image) {
		le.PutUint32(h[88:], crc32.ChecksumIEEE(image[2*blockSize:end]))
	}
	le.PutUint32(h[16:], 0)
	le.PutUint32(h[16:], crc32.ChecksumIEEE(h))
}
