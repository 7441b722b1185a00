package block

import (
	"bytes"
	"errors"
	"fmt"
)

// HeadSize is how much of a disk's beginning is held back. The boot code, the primary partition table of either block size and
// all of its usual entries are in it: without it nothing boots from the disk.
const HeadSize = 1 << 20

// Staged is a disk whose head is in memory until Commit. What is written meanwhile cannot be booted, whenever the power fails.
type Staged struct {
	Device
	head []byte
}

// Stage takes the head that the disk is to have. Its length is HeadSize.
func Stage(d Device, head []byte) *Staged { return &Staged{d, head} }

// Head is what the disk will begin with. It may be changed.
func (s *Staged) Head() []byte { return s.head }

// Blank makes the disk one from which nothing boots: without its head, and without the backup of a partition table at its end,
// from which firmware restores the head.
func Blank(d Device) error {
	tail := max(min(HeadSize, d.Size()), d.Size()/HeadSize*HeadSize-HeadSize) // whole blocks of any size
	for _, part := range []struct{ off, length int64 }{{0, min(HeadSize, d.Size())}, {tail, d.Size() - tail}} {
		if part.length <= 0 {
			continue
		}
		if err := d.Zero(part.off, part.length); err != nil {
			return err
		}
	}
	return d.Sync()
}

// ReadAt implements Device: it reads what will be there.
func (s *Staged) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= HeadSize {
		return s.Device.ReadAt(p, off)
	}
	n := copy(p, s.head[off:])
	if n == len(p) {
		return n, nil
	}
	more, err := s.Device.ReadAt(p[n:], HeadSize)
	return n + more, err
}

// WriteAt implements Device.
func (s *Staged) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= HeadSize {
		return s.Device.WriteAt(p, off)
	}
	n := copy(s.head[off:], p)
	if n == len(p) {
		return n, nil
	}
	more, err := s.Device.WriteAt(p[n:], HeadSize)
	return n + more, err
}

// Zero implements Device.
func (s *Staged) Zero(off, length int64) error {
	if off < 0 || off >= HeadSize {
		return s.Device.Zero(off, length)
	}
	n := min(length, HeadSize-off)
	clear(s.head[off : off+n])
	if n == length {
		return nil
	}
	return s.Device.Zero(HeadSize, length-n)
}

// Commit puts the head onto the disk, after all else is there. The very first block comes last: without it neither firmware
// looks for the rest. Then it is read back.
func (s *Staged) Commit() error {
	if err := s.Sync(); err != nil {
		return err
	}
	first := s.BlockSize()
	if _, err := s.Device.WriteAt(s.head[first:], int64(first)); err != nil {
		return fmt.Errorf("write the beginning of the disk: %w", err)
	}
	if err := s.Sync(); err != nil {
		return err
	}
	if _, err := s.Device.WriteAt(s.head[:first], 0); err != nil {
		return fmt.Errorf("write the first block of the disk: %w", err)
	}
	if err := s.Sync(); err != nil {
		return err
	}
	got := make([]byte, HeadSize)
	if _, err := s.Device.ReadAt(got, 0); err != nil {
		return fmt.Errorf("read the beginning of the disk: %w", err)
	}
	if !bytes.Equal(got, s.head) {
		return errors.New("the disk gives back other bytes than were written to its beginning: replace it")
	}
	return nil
}
