package block

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// diary notes what is done to a device, and fails from an operation on, as if the power failed.
type diary struct {
	*File
	done []string
	left int // operations until the power fails; below 0 is never
	// flips is an offset at which other bytes are stored than were written; 0 is none.
	flips int64
}

var errPower = errors.New("power failed")

func (d *diary) note(what string) error {
	if d.left == 0 {
		return errPower
	}
	d.left--
	d.done = append(d.done, what)
	return nil
}

func (d *diary) WriteAt(p []byte, off int64) (int, error) {
	what := "head"
	if off == 0 {
		what = "first"
	}
	if off >= HeadSize {
		what = "rest"
	}
	if err := d.note(what); err != nil {
		return 0, err
	}
	if off <= d.flips && d.flips < off+int64(len(p)) && d.flips > 0 {
		p = bytes.Clone(p)
		p[d.flips-off] ^= 1
	}
	return d.File.WriteAt(p, off)
}

func (d *diary) Sync() error {
	if err := d.note("sync"); err != nil {
		return err
	}
	return d.File.Sync()
}

func headOf(b byte) []byte { return bytes.Repeat([]byte{b}, HeadSize) }

func TestTheFirstBlockComesLast(t *testing.T) {
	f, _ := open(t, 4<<20, 512)
	d := &diary{File: f, left: -1}
	s := Stage(d, headOf(7))
	if _, err := s.WriteAt([]byte{1, 2}, HeadSize-1); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(d.done, " "), "rest sync head sync first sync"; got != want {
		t.Errorf("the order is %s, not %s", got, want)
	}
	got := make([]byte, HeadSize+1)
	if _, err := f.ReadAt(got, 0); err != nil || got[0] != 7 || got[HeadSize-2] != 7 || got[HeadSize-1] != 1 || got[HeadSize] != 2 {
		t.Errorf("the disk has %x, %v", got[HeadSize-2:], err)
	}
}

// Whenever the power fails, either the first block is not there, or everything is.
func TestAPowerFailureDuringTheCommit(t *testing.T) {
	for left := range 10 {
		f, _ := open(t, 4<<20, 512)
		d := &diary{File: f, left: left}
		err := Stage(d, headOf(7)).Commit()
		got := make([]byte, HeadSize)
		if _, err := f.ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
		if boots := !Zeroes(got[:512]); boots && !bytes.Equal(got, headOf(7)) {
			t.Errorf("after %d operations (%v) the disk boots with half of its head", left, d.done)
		}
		if (err == nil) != (left >= 5) {
			t.Errorf("after %d operations: %v", left, err)
		}
	}
}

func TestADiskThatForgetsItsHead(t *testing.T) {
	f, _ := open(t, 4<<20, 512)
	if err := Stage(&diary{File: f, left: -1, flips: 1000}, headOf(7)).Commit(); err == nil || !strings.Contains(err.Error(),
		"replace it") {
		t.Errorf("%v", err)
	}
}

func TestAStageReadsWhatWillBeThere(t *testing.T) {
	f, _ := open(t, 4<<20, 512)
	if _, err := f.WriteAt(bytes.Repeat([]byte{9}, 4<<20), 0); err != nil {
		t.Fatal(err)
	}
	s := Stage(f, headOf(7))
	if err := s.Zero(HeadSize-512, 1024); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 2048)
	if _, err := s.ReadAt(got, HeadSize-1024); err != nil {
		t.Fatal(err)
	}
	want := append(append(bytes.Repeat([]byte{7}, 512), make([]byte, 1024)...), bytes.Repeat([]byte{9}, 512)...)
	if !bytes.Equal(got, want) {
		t.Errorf("read %x", got)
	}
	if _, err := s.ReadAt(got, 2<<20); err != nil || got[0] != 9 {
		t.Errorf("behind the head: %x, %v", got[0], err)
	}
	if _, err := f.ReadAt(got, 0); err != nil || got[0] != 9 {
		t.Errorf("the head is on the disk before its time: %x, %v", got[0], err)
	}
}

func TestBlank(t *testing.T) {
	for _, size := range []int64{512, 1 << 20, 3<<20 + 4096, 8 << 20} {
		f, _ := open(t, size, 512)
		if _, err := f.WriteAt(bytes.Repeat([]byte{9}, int(size)), 0); err != nil {
			t.Fatal(err)
		}
		if err := Blank(f); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, size)
		if _, err := f.ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
		tail := max(0, size-HeadSize)
		if !Zeroes(got[:min(HeadSize, size)]) || !Zeroes(got[tail:]) {
			t.Errorf("%d bytes: the head or the tail is still there", size)
		}
		if size > 4<<20 && got[3<<20] != 9 {
			t.Errorf("%d bytes: what is between is gone", size)
		}
	}
}
