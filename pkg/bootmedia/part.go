package bootmedia

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// openPart opens the partial download of an image and keeps other processes off
// it until it is closed. Two processes with one cache folder (an old and a new
// replica on one node) would otherwise write into the same file, and one of them
// could give it its final name while the other has just emptied it.
func (c *Cache) openPart(sum checksum) (*os.File, error) {
	path := c.path(sum, partSuffix)
	for range 10 {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("write image cache: %w", err)
		}
		// Only "somebody has it" is refused: a file system without locks is
		// one that a single process uses, as documented.
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
			_ = f.Close()
			return nil, errors.New("another process is fetching the image into the same cache folder")
		}
		// Whoever had the lock before may have given the file its final name.
		mine, err := f.Stat()
		if err == nil {
			if now, err := os.Stat(path); err == nil && os.SameFile(mine, now) {
				return f, nil
			}
		}
		_ = f.Close()
	}
	return nil, errors.New("the partial download is being replaced by another process")
}

// adopt takes an image that another process with the same folder has finished.
// The caller holds the lock of the part.
func (d *download) adopt() bool {
	path := d.cache.path(d.entry.sum, d.cache.kind.Suffix)
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false
	}
	known, err := d.cache.kind.Know(path)
	if err != nil {
		return false
	}
	if d.cache.reserve(d.entry, size) != nil {
		return false
	}
	d.known, d.have = known, size
	_ = os.Remove(d.part.Name())
	return true
}
