package gpt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/beskar7/beskar7/pkg/agent/block"
	"github.com/beskar7/beskar7/pkg/agent/imagetest"
)

const mib = 1 << 20

var own = Data{Size: 4 * mib, Type: TypeLinux, GUID: "BBBBBBBB-0001-4002-8003-0000000000B1", Name: "cidata"}

// sparse is an empty disk.
func sparse(t testing.TB, size int64, blockSize int) *block.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	f, err := block.OpenFile(path, blockSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// written is a disk with an image on it, but for its head.
func written(t testing.TB, image imagetest.Image, size int64) *block.Staged {
	t.Helper()
	data, disk := image.Bytes(), sparse(t, size, image.BlockSize)
	if _, err := disk.WriteAt(data[mib:], mib); err != nil {
		t.Fatal(err)
	}
	return block.Stage(disk, bytes.Clone(data[:mib]))
}

func TestReadSaysWhatAnImageHas(t *testing.T) {
	for _, blockSize := range []int{512, 4096} {
		table, err := Read(imagetest.Typical(16*mib, blockSize).Bytes()[:mib])
		if err != nil {
			t.Fatal(err)
		}
		want := Partition{Index: 2, Start: 2 * mib, Size: 13 * mib, Type: imagetest.Root, GUID: "AAAAAAAA-0001-4002-8003-0000000000A2",
			Name: "rootfs ä"}
		if table.BlockSize != blockSize || table.End != 15*mib || len(table.Partitions) != 2 || table.Partitions[1] != want {
			t.Errorf("blocks of %d: %+v", blockSize, table)
		}
		if esp, ok := table.Find(TypeESP); !ok || esp.Index != 1 || esp.Start != mib {
			t.Errorf("blocks of %d: the ESP is %+v", blockSize, esp)
		}
		if _, ok := table.Find(TypeLinux); ok {
			t.Error("a partition is found that is not there")
		}
	}
}

func TestFitToALargerDisk(t *testing.T) {
	for _, blockSize := range []int{512, 4096} {
		for name, c := range map[string]struct {
			size int64
			o    Options
			root int64 // size of the root partition after it
		}{
			"nothing is asked":           {64 * mib, Options{}, 13 * mib},
			"data":                       {64 * mib, Options{Data: &own}, 13 * mib},
			"grow":                       {64 * mib, Options{Grow: true}, 0},
			"grow and data":              {64 * mib, Options{Grow: true, Data: &own}, 64*mib - 2*mib - 5*mib},
			"beyond 2 TiB":               {3 << 40, Options{Data: &own}, 13 * mib},
			"a disk of the image's size": {16 * mib, Options{}, 13 * mib},
		} {
			d := written(t, imagetest.Typical(16*mib, blockSize), c.size)
			boot := bytes.Clone(d.Head()[:446])
			table, data, err := Fit(d, c.o)
			if err != nil {
				t.Fatalf("%s, blocks of %d: %v", name, blockSize, err)
			}
			root := table.Partitions[1]
			if c.root != 0 && root.Size != c.root || c.root == 0 && c.size-root.Start-root.Size > mib {
				t.Errorf("%s, blocks of %d: the root partition has %d bytes", name, blockSize, root.Size)
			}
			if (data != nil) != (c.o.Data != nil) || data != nil && (data.Size != own.Size || data.GUID != own.GUID ||
				data.Name != own.Name ||
				data.Start%mib != 0 || data.Index != 3 || c.size-data.Start-data.Size > 2*mib) {
				t.Errorf("%s, blocks of %d: the data are in %+v", name, blockSize, data)
			}
			if !bytes.Equal(d.Head()[:446], boot) {
				t.Errorf("%s, blocks of %d: the boot code is gone", name, blockSize)
			}
			valid(t, d, blockSize)
		}
	}
}

// valid judges a disk by the specification, with code of its own.
func valid(t *testing.T, d block.Device, blockSize int) {
	t.Helper()
	le, blocks := binary.LittleEndian, d.Size()/int64(blockSize)
	at := func(block, n int64) []byte {
		p := make([]byte, n)
		if _, err := d.ReadAt(p, block*int64(blockSize)); err != nil {
			t.Fatal(err)
		}
		return p
	}
	mbr := at(0, 512)
	if length := le.Uint32(mbr[458:]); mbr[450] != 0xEE || mbr[510] != 0x55 || int64(length) != min(blocks-1, 0xFFFFFFFF) {
		t.Errorf("the protective MBR has %#x blocks of %d", length, blocks-1)
	}
	var lists [2][]byte
	for i, place := range []int64{1, blocks - 1} {
		h := at(place, 92)
		sum := le.Uint32(h[16:])
		clear(h[16:20])
		list := at(int64(le.Uint64(h[72:])), int64(le.Uint32(h[80:]))*128)
		if string(h[:8]) != "EFI PART" || crc32.ChecksumIEEE(h) != sum || int64(le.Uint64(h[24:])) != place ||
			int64(le.Uint64(h[32:])) != blocks-place {
			t.Errorf("header %d of %d blocks: %x", place, blocks, h)
		}
		if crc32.ChecksumIEEE(list) != le.Uint32(h[88:]) {
			t.Errorf("the entries of header %d do not have their checksum", place)
		}
		if last := int64(le.Uint64(h[48:])); last != blocks-2-int64(len(list)/blockSize) {
			t.Errorf("header %d gives blocks up to %d of %d", place, last, blocks)
		}
		lists[i] = list
	}
	if !bytes.Equal(lists[0], lists[1]) {
		t.Error("the two tables differ")
	}
	if guid := at(1, 92)[56:72]; !bytes.Equal(guid, imagetest.Typical(16*mib, blockSize).Bytes()[blockSize+56:blockSize+72]) {
		t.Error("the disk has another GUID")
	}
	if attributes := le.Uint64(lists[0][128+48:]); attributes != 1<<59 {
		t.Errorf("the attributes are %#x", attributes)
	}
}

func TestImagesThatDoNotFit(t *testing.T) {
	for says, c := range map[string]struct {
		image imagetest.Image
		size  int64
		block int
		o     Options
	}{
		"blocks of 512 bytes, and this one has 4096": {imagetest.Typical(16*mib, 512), 64 * mib, 4096, Options{}},
		"blocks of 4096 bytes, and this one has 512": {imagetest.Typical(16*mib, 4096), 64 * mib, 512, Options{}},
		"the disk only to":                           {imagetest.Typical(32*mib, 512), 16 * mib, 512, Options{}},
		"no room for 4194304 bytes of configuration": {imagetest.Typical(16*mib, 512), 18 * mib, 512, Options{Data: &own}},
		"no system fits":                             {imagetest.Typical(16*mib, 512), 4 * mib, 512, Options{}},
		"is empty":                                   {imagetest.Image{Size: 16 * mib, BlockSize: 512}, 64 * mib, 512, Options{}},
	} {
		head := c.image.Bytes()[:mib]
		err := Check(head, c.size, c.block, c.o)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
		disk := sparse(t, c.size, c.block)
		if _, _, err := Fit(block.Stage(disk, head), c.o); err == nil {
			t.Errorf("%s: it is fitted nevertheless", says)
		}
		all := make([]byte, c.size)
		if _, err := disk.ReadAt(all, 0); err != nil || !block.Zeroes(all) {
			t.Errorf("%s: the disk was changed", says)
		}
	}
	if _, err := Read(make([]byte, mib)); !errors.Is(err, ErrNone) {
		t.Errorf("no table: %v", err)
	}
}

func TestTablesThatAreRefused(t *testing.T) {
	le := binary.LittleEndian
	for says, change := range map[string]func(header, entries []byte) bool{
		"checksum of its header":   func(h, _ []byte) bool { h[56]++; return false },
		"checksum of its entries":  func(_, e []byte) bool { e[0]++; return false },
		"its header has 512":       func(h, _ []byte) bool { le.PutUint32(h[12:], 512); return true },
		"another place":            func(h, _ []byte) bool { le.PutUint64(h[72:], 34); return true },
		"its entries have 256":     func(h, _ []byte) bool { le.PutUint32(h[84:], 256); return true },
		"it has 0 entries":         func(h, _ []byte) bool { le.PutUint32(h[80:], 0); return true },
		"it has 4294967295":        func(h, _ []byte) bool { le.PutUint32(h[80:], 0xFFFFFFFF); return true },
		"it has 127 entries":       func(h, _ []byte) bool { le.PutUint32(h[80:], 127); return true },
		"gives to partitions":      func(h, _ []byte) bool { le.PutUint64(h[40:], 3); return true },
		"its entry 1 is for":       func(_, e []byte) bool { le.PutUint64(e[32:], 1); return true },
		"its entry 2 is for":       func(_, e []byte) bool { le.PutUint64(e[128+40:], 1<<40); return true },
		"two of its partitions":    func(_, e []byte) bool { le.PutUint64(e[128+32:], 2048); return true },
		"blocks that it gives to ": func(h, _ []byte) bool { le.PutUint64(h[48:], 1<<63); return true },
	} {
		head := imagetest.Typical(16*mib, 512).Bytes()[:mib]
		if change(head[512:604], head[1024:1024+128*128]) {
			imagetest.Rechecksum(head, 512)
		}
		if _, err := Read(head); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	head := imagetest.Typical(16*mib, 512).Bytes()[:2000]
	if _, err := Read(head); err == nil {
		t.Error("a table is read that is cut short")
	}
}

func TestTheEntryOfTheData(t *testing.T) {
	image := imagetest.Typical(32*mib, 512)
	image.Entries = 4
	for len(image.Partitions) < 4 {
		image.Partitions = append(image.Partitions, imagetest.Partition{})
	}
	image.Partitions[1].Blocks = 2048
	last := image.Partitions[1]
	last.Start, last.GUID = 4*2048, "AAAAAAAA-0001-4002-8003-0000000000A4"
	// The last entry is in use, the third is free.
	image.Partitions[2], image.Partitions[3] = imagetest.Partition{Type: "00000000-0000-0000-0000-000000000000",
		GUID: "00000000-0000-0000-0000-000000000000", Blocks: 1}, last
	d := written(t, image, 64*mib)
	if _, data, err := Fit(d, Options{Data: &own}); err != nil || data.Index != 3 {
		t.Errorf("%+v, %v", data, err)
	}
	third := last
	third.Start, third.GUID = 6*2048, "AAAAAAAA-0001-4002-8003-0000000000A3"
	image.Partitions[2] = third
	if err := Check(image.Bytes()[:mib], 64*mib, 512, Options{Data: &own}); err == nil || !strings.Contains(err.Error(), "all 4 entries") {
		t.Errorf("%v", err)
	}
}

// thin is a disk in memory that keeps what was written to it: whole blocks.
type thin struct {
	size      int64
	blockSize int
	written   map[int64][512]byte
}

func (d *thin) ReadAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); {
		part := d.written[(off+int64(n))/512]
		n += copy(p[n:], part[(off+int64(n))%512:])
	}
	return len(p), nil
}

func (d *thin) WriteAt(p []byte, off int64) (int, error) {
	for n := 0; n+512 <= len(p); n += 512 {
		d.written[(off+int64(n))/512] = [512]byte(p[n:])
	}
	return len(p), nil
}

func (d *thin) Zero(int64, int64) error { return errors.ErrUnsupported }
func (d *thin) Size() int64             { return d.size }
func (d *thin) BlockSize() int          { return d.blockSize }
func (d *thin) Sync() error             { return nil }
func (d *thin) Close() error            { return nil }

func FuzzFit(f *testing.F) {
	for _, blockSize := range []int{512, 4096} {
		f.Add(imagetest.Typical(16*mib, blockSize).Bytes()[:2*blockSize+4*4096], int64(64*mib), false)
	}
	f.Fuzz(func(t *testing.T, start []byte, size int64, grow bool) {
		head := make([]byte, mib)
		copy(head, start)
		blockSize, err := find(head)
		if err != nil {
			return
		}
		imagetest.Rechecksum(head, blockSize) // else nothing comes past the checksums
		size = min(max(size, 0), 4<<40) / int64(blockSize) * int64(blockSize)
		before, _ := Read(head)
		d := block.Stage(&thin{size: size, blockSize: blockSize, written: map[int64][512]byte{}}, head)
		o := Options{Grow: grow, Data: &own}
		checked := Check(head, size, blockSize, o)
		after, data, err := Fit(d, o)
		if (checked == nil) != (err == nil) {
			t.Fatalf("checked: %v; fitted: %v", checked, err)
		}
		if err != nil {
			return
		}
		if data.Start < before.End || data.Start+data.Size > size || len(after.Partitions) != len(before.Partitions)+1 {
			t.Errorf("before %+v, after %+v", before, after)
		}
		for i, p := range before.Partitions {
			got := after.Partitions[i]
			if got.Start != p.Start || got.Type != p.Type || got.GUID != p.GUID || got.Size < p.Size || got.Size != p.Size && (!grow ||
				i != len(before.Partitions)-1) {
				t.Errorf("partition %+v is now %+v", p, got)
			}
		}
	})
}
