package diskimage

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"runtime"

	"github.com/ulikunitz/xz/lzma"
)

// xzReader reads the container of the .xz file format 1.2.1 around the LZMA2 of a library, which takes as much memory as a file asks
// for: up to 4 GiB. Here a file that asks for more than it may have is not begun.
type xzReader struct {
	r      *counted
	window uint64

	check    byte
	sum      hash.Hash // of the block, as check says
	block    io.Reader // nil between blocks
	begun    int64     // where the block began
	unpacked uint64    // of the block
	// blocks and listed are hashes of the sizes of all blocks: as they were, and as the index has them.
	blocks, listed hash.Hash
	count          uint64
	// taken is the memory of all blocks together, total what they unpacked to.
	taken, total uint64
}

// freeMemory is how much blocks may take together, beyond spareMemory times what they unpack to. Blocks of the program xz are larger than
// their dictionaries; many small ones with large dictionaries are made to keep others busy.
const freeMemory, spareMemory = 1 << 30, 8

var (
	errXZ = errors.New("it is damaged, or no xz file")
	// errWindow: it refers further back than it may.
	errWindow = errors.New("it needs too much memory to be unpacked")
	// errBlocks: it would keep a processor busy with making room.
	errBlocks = errors.New("it is packed in blocks that are far smaller than the memory that they ask for")
	// errFilter: LZMA2 alone is what xz makes of disk images unless it is told otherwise.
	errFilter = errors.New("it is packed with filters of xz that are not known here: pack it without --x86 and the like")
)

func newXZ(r io.Reader, window uint64) (*xzReader, error) {
	x := &xzReader{r: &counted{Reader: bufio.NewReaderSize(r, 1<<16)}, window: window}
	return x, x.stream()
}

// stream reads the header of a stream.
func (x *xzReader) stream() error {
	var h [12]byte
	if err := x.full(h[:]); err != nil {
		return err
	}
	if string(h[:7]) != "\xfd7zXZ\x00\x00" || binary.LittleEndian.Uint32(h[8:]) != crc32.ChecksumIEEE(h[6:8]) {
		return errXZ
	}
	x.check, x.count = h[7], 0
	x.blocks, x.listed = sha256.New(), sha256.New()
	switch x.check {
	case 0:
		x.sum = nil
	case 1:
		x.sum = crc32.NewIEEE()
	case 4:
		x.sum = crc64.New(crc64.MakeTable(crc64.ECMA))
	case 10:
		x.sum = sha256.New()
	default:
		return errFilter
	}
	return nil
}

func (x *xzReader) Read(p []byte) (int, error) {
	for {
		if x.block == nil {
			if err := x.next(); err != nil {
				return 0, err
			}
			continue
		}
		n, err := x.block.Read(p)
		x.unpacked += uint64(n)
		x.total += uint64(n)
		if x.sum != nil {
			x.sum.Write(p[:n])
		}
		if errors.Is(err, io.EOF) {
			err = x.endBlock()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// next begins the next block, or ends the stream; io.EOF when there is nothing more.
func (x *xzReader) next() error {
	if x.blocks == nil {
		return x.another()
	}
	x.begun = x.r.n
	size, err := x.r.ReadByte()
	if err != nil {
		return cutShort(err)
	}
	if size == 0 {
		return x.index()
	}
	h := make([]byte, (int(size)+1)*4)
	h[0] = size
	if err := x.full(h[1:]); err != nil {
		return err
	}
	end := len(h) - 4
	if binary.LittleEndian.Uint32(h[end:]) != crc32.ChecksumIEEE(h[:end]) {
		return errXZ
	}
	dictionary, err := dictionaryOf(h[1:end])
	if err != nil {
		return err
	}
	if 2*dictionary > x.window { // the library has it twice
		return errWindow
	}
	if x.taken += dictionary; x.taken > freeMemory+spareMemory*x.total {
		return errBlocks
	}
	if x.sum != nil {
		x.sum.Reset()
	}
	if x.total > 0 && dictionary >= 8<<20 {
		runtime.GC() // what the last block had is to be gone before this one takes as much
	}
	x.unpacked = 0
	x.block, err = lzma.Reader2Config{DictCap: int(max(dictionary, lzma.MinDictCap))}.NewReader2(x.r)
	return err
}

// dictionaryOf is how far back a block refers, from its header.
func dictionaryOf(h []byte) (uint64, error) {
	flags, r := h[0], bytes.NewReader(h[1:])
	if flags&0x3f != 0 {
		return 0, errFilter
	}
	for _, size := range []byte{0x40, 0x80} { // packed and unpacked; both stand in the index, too
		if flags&size != 0 {
			if _, err := binary.ReadUvarint(r); err != nil {
				return 0, errXZ
			}
		}
	}
	var filter [3]byte
	if _, err := io.ReadFull(r, filter[:]); err != nil {
		return 0, errXZ
	}
	bits := filter[2]
	switch {
	case filter[0] != 0x21 || filter[1] != 1:
		return 0, errFilter
	case bits > 40:
		return 0, errXZ
	case bits == 40:
		return 1<<32 - 1, nil
	}
	return uint64(2|bits&1) << (bits/2 + 11), nil
}

// endBlock reads what is behind a block.
func (x *xzReader) endBlock() error {
	x.block = nil
	packed := x.r.n - x.begun
	if err := x.pad(packed); err != nil {
		return err
	}
	if x.sum != nil {
		stored := make([]byte, x.sum.Size())
		if err := x.full(stored); err != nil {
			return err
		}
		own := x.sum.Sum(nil)
		if x.check != 10 { // sums of bytes are stored with the low byte first
			for i, j := 0, len(own)-1; i < j; i, j = i+1, j-1 {
				own[i], own[j] = own[j], own[i]
			}
		}
		if !bytes.Equal(own, stored) {
			return errXZ
		}
		packed += int64(len(stored))
	}
	x.count++
	note(x.blocks, uint64(packed), x.unpacked)
	return nil
}

// index reads the index of a stream, whose first byte was read, and its footer.
func (x *xzReader) index() error {
	count, err := binary.ReadUvarint(x.r)
	if err != nil || count != x.count {
		return errXZ
	}
	for range count {
		packed, err1 := binary.ReadUvarint(x.r)
		unpacked, err2 := binary.ReadUvarint(x.r)
		if err := errors.Join(err1, err2); err != nil {
			return cutShort(err)
		}
		note(x.listed, packed, unpacked)
	}
	if err := x.pad(x.r.n - x.begun); err != nil {
		return err
	}
	size := x.r.n - x.begun + 4
	var end [4 + 12]byte // the index's sum, and the footer
	if err := x.full(end[:]); err != nil {
		return err
	}
	footer := end[4:]
	if !bytes.Equal(x.blocks.Sum(nil), x.listed.Sum(nil)) || string(footer[10:]) != "YZ" || footer[8] != 0 || footer[9] != x.check ||
		binary.LittleEndian.Uint32(footer) != crc32.ChecksumIEEE(footer[4:10]) ||
		int64(binary.LittleEndian.Uint32(footer[4:])+1)*4 != size {
		return errXZ
	}
	x.blocks = nil
	return nil
}

// another begins the stream behind one that has ended. Between them there may be zeroes, four by four.
func (x *xzReader) another() error {
	for {
		four, err := x.r.Peek(4)
		switch {
		case len(four) == 0 && errors.Is(err, io.EOF):
			return io.EOF
		case err != nil:
			return cutShort(err)
		case !zeroes(four):
			return x.stream()
		}
		_, _ = x.r.Discard(4)
	}
}

// pad reads zeroes up to a multiple of four.
func (x *xzReader) pad(read int64) error {
	var p [4]byte
	rest := p[:-read&3]
	if err := x.full(rest); err != nil {
		return err
	}
	if !zeroes(rest) {
		return errXZ
	}
	return nil
}

func (x *xzReader) full(p []byte) error {
	_, err := io.ReadFull(x.r, p)
	return cutShort(err)
}

// cutShort: an end where there may be none.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func note(h hash.Hash, sizes ...uint64) {
	for _, n := range sizes {
		fmt.Fprintln(h, n)
	}
}

// counted counts what is read. It is read byte by byte where that is wanted, so that nothing is taken that belongs to others.
type counted struct {
	*bufio.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counted) ReadByte() (byte, error) {
	b, err := c.Reader.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}
