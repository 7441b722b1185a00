package block

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// File is a disk in a file: of a fixed size, and written in whole blocks as a disk is. Zeroes take no space in it.
type File struct {
	file      *os.File
	size      int64
	blockSize int
}

// OpenFile opens a file as a disk with blocks of a size. The file has the size of the disk.
func OpenFile(path string, blockSize int) (*File, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	if blockSize < 512 || info.Size()%int64(blockSize) != 0 {
		_ = file.Close()
		return nil, fmt.Errorf("%s: %d bytes are no whole number of blocks of %d", path, info.Size(), blockSize)
	}
	return &File{file, info.Size(), blockSize}, nil
}

// Size implements Device.
func (f *File) Size() int64 { return f.size }

// BlockSize implements Device.
func (f *File) BlockSize() int { return f.blockSize }

// ReadAt implements Device.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.file.ReadAt(p, off) }

// WriteAt implements Device. It refuses what a disk would: to grow.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if err := f.inside(off, int64(len(p))); err != nil {
		return 0, err
	}
	return f.file.WriteAt(p, off)
}

// Zero implements Device.
func (f *File) Zero(off, length int64) error {
	if err := f.inside(off, length); err != nil {
		return err
	}
	if off%int64(f.blockSize) != 0 || length%int64(f.blockSize) != 0 {
		return fmt.Errorf("zero %d bytes at %d: no whole blocks of %d", length, off, f.blockSize)
	}
	if length == 0 {
		return nil
	}
	err := unix.Fallocate(int(f.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length)
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	return WriteZeroes(f, off, length)
}

// WriteZeroes writes them, where a device has no other way.
func WriteZeroes(d Device, off, length int64) error {
	zeroes := make([]byte, min(length, 1<<20))
	for length > 0 {
		n, err := d.WriteAt(zeroes[:min(length, int64(len(zeroes)))], off)
		if err != nil {
			return err
		}
		off, length = off+int64(n), length-int64(n)
	}
	return nil
}

func (f *File) inside(off, length int64) error {
	if off < 0 || length < 0 || off > f.size-length {
		return fmt.Errorf("write %d bytes at %d: %w", length, off, unix.ENOSPC)
	}
	return nil
}

// Sync implements Device.
func (f *File) Sync() error {
	if err := f.file.Sync(); err != nil {
		return err
	}
	// What is not in the cache is read from the disk. A file system that keeps files in memory has no other place.
	_ = unix.Fadvise(int(f.file.Fd()), 0, 0, unix.FADV_DONTNEED)
	return nil
}

// Close implements Device.
func (f *File) Close() error { return f.file.Close() }
