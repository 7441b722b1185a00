package block

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func open(t *testing.T, size int64, blockSize int) (*File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(path, blockSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f, path
}

func TestAFileIsADisk(t *testing.T) {
	f, path := open(t, 1<<20, 512)
	if f.Size() != 1<<20 || f.BlockSize() != 512 {
		t.Fatalf("%d bytes in blocks of %d", f.Size(), f.BlockSize())
	}
	mark := bytes.Repeat([]byte{0xA5}, 1024)
	if _, err := f.WriteAt(mark, 512); err != nil {
		t.Fatal(err)
	}
	if err := f.Zero(512, 512); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1024)
	if _, err := f.ReadAt(got, 512); err != nil || !Zeroes(got[:512]) || !bytes.Equal(got[512:], mark[512:]) {
		t.Errorf("read %x, %v", got, err)
	}
	for _, off := range []int64{-1, 1<<20 - 1023, 1 << 21} {
		if _, err := f.WriteAt(mark, off); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("a write at %d: %v", off, err)
		}
	}
	if f.Zero(0, 1<<20+512) == nil || f.Zero(1, 512) == nil || f.Zero(0, 100) == nil {
		t.Error("a part of a block is zeroed, or more than the disk")
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 1<<20 {
		t.Errorf("the disk has another size: %v, %v", info, err)
	}
}

func TestAFileThatIsNoDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, 4096+512), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFile(path, 4096); err == nil {
		t.Error("half a block is taken for a disk")
	}
	if _, err := OpenFile(path+"x", 512); err == nil {
		t.Error("no file is taken for a disk")
	}
}

func TestZeroes(t *testing.T) {
	p := make([]byte, 1023)
	if !Zeroes(p) || !Zeroes(nil) {
		t.Error("zeroes are none")
	}
	for i := range p {
		p[i] = 1
		if Zeroes(p) {
			t.Fatalf("byte %d is passed over", i)
		}
		p[i] = 0
	}
}

func TestWriteZeroes(t *testing.T) {
	f, _ := open(t, 4<<20, 512)
	if _, err := f.WriteAt(bytes.Repeat([]byte{1}, 4<<20), 0); err != nil {
		t.Fatal(err)
	}
	if err := WriteZeroes(f, 512, 3<<20); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4<<20)
	if _, err := f.ReadAt(got, 0); err != nil || got[511] != 1 || !Zeroes(got[512:512+3<<20]) || got[512+3<<20] != 1 {
		t.Errorf("other bytes are zero: %v", err)
	}
}
