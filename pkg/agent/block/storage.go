package block

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/diskfs/go-diskfs/backend"
)

// Storage is a range of a device as go-diskfs takes it. Its file system code reads and writes at offsets only.
func Storage(d Device, off, length int64) backend.Storage {
	return &storage{device: d, off: off, length: length}
}

// storage implements backend.Storage.
type storage struct {
	device      Device
	off, length int64
	at          int64
}

func (s *storage) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= s.length {
		return 0, io.EOF
	}
	n, err := s.device.ReadAt(p[:min(int64(len(p)), s.length-off)], s.off+off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (s *storage) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > s.length-int64(len(p)) {
		return 0, io.ErrShortWrite
	}
	return s.device.WriteAt(p, s.off+off)
}

func (s *storage) Read(p []byte) (int, error) {
	n, err := s.ReadAt(p, s.at)
	s.at += int64(n)
	return n, err
}

func (s *storage) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += s.length
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	s.at = offset
	return offset, nil
}

// Sync implements what go-diskfs asks of files.
func (s *storage) Sync() error { return s.device.Sync() }

// Close leaves the device to who opened it.
func (s *storage) Close() error                            { return nil }
func (s *storage) Stat() (fs.FileInfo, error)              { return info(s.length), nil }
func (s *storage) Sys() (*os.File, error)                  { return nil, backend.ErrNotSuitable }
func (s *storage) Writable() (backend.WritableFile, error) { return s, nil }
func (s *storage) Path() string                            { return "" }

// info is what there is to say of a range: its length.
type info int64

func (i info) Name() string       { return "disk" }
func (i info) Size() int64        { return int64(i) }
func (i info) Mode() fs.FileMode  { return fs.ModeDevice }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return false }
func (i info) Sys() any           { return nil }
