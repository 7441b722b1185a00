package erase

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/beskar7/beskar7/pkg/agent/block"
)

// place is a range of a disk, in whole blocks.
type place struct{ off, length int64 }

const (
	sampleCount = 256
	sampleSize  = 4096
)

// sample is a place with what was written there before the erasure: a disk that does nothing gives it back.
type sample struct {
	place
	mark []byte
}

// mark writes something at places that are spread over the whole disk, and nobody can know before.
func mark(d block.Device) ([]sample, error) {
	samples := make([]sample, 0, sampleCount)
	step := max(sampleSize, d.Size()/sampleCount/sampleSize*sampleSize)
	for at := int64(0); at+sampleSize <= d.Size(); at += step {
		jitter, err := below(step / sampleSize)
		if err != nil {
			return nil, err
		}
		s := sample{place{min(at+jitter*sampleSize, (d.Size()-sampleSize)/sampleSize*sampleSize), sampleSize}, make([]byte, sampleSize)}
		if _, err := rand.Read(s.mark); err != nil {
			return nil, err
		}
		if _, err := d.WriteAt(s.mark, s.off); err != nil {
			return nil, fmt.Errorf("it cannot be written at byte %d: %w: replace it", s.off, err)
		}
		samples = append(samples, s)
	}
	if len(samples) == 0 {
		return nil, fmt.Errorf("it has %d bytes, too few to see whether it is erased", d.Size())
	}
	if err := d.Sync(); err != nil {
		return nil, fmt.Errorf("it fails: %w: replace it", err)
	}
	kept, err := anyMarked(d, samples)
	if err == nil && !kept {
		err = fmt.Errorf("what is written to it cannot be read back: replace it")
	}
	return samples, err
}

func below(n int64) (int64, error) {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return 0, err
	}
	return int64(binary.LittleEndian.Uint64(random[:]) % uint64(max(n, 1))), nil //nolint:gosec // a remainder is smaller than n
}

// anyMarked says whether anything is left of a mark.
func anyMarked(d block.Device, samples []sample) (bool, error) {
	got := make([]byte, sampleSize)
	for _, s := range samples {
		if _, err := d.ReadAt(got, s.off); err != nil {
			return false, fmt.Errorf("it cannot be read at byte %d: %w: replace it", s.off, err)
		}
		// One block of 512 bytes that is kept is enough.
		for from := 0; from < sampleSize; from += 512 {
			if bytes.Equal(got[from:from+512], s.mark[from:from+512]) {
				return true, nil
			}
		}
	}
	return false, nil
}

// allZero says whether all samples, and both ends of the disk, read as zeroes.
func allZero(d block.Device, samples []sample) (bool, error) {
	places := []place{{0, min(mib, d.Size())}, {max(0, d.Size()-mib), min(mib, d.Size())}}
	for _, s := range samples {
		places = append(places, s.place)
	}
	for _, p := range places {
		if zero, err := readsZero(d, p); err != nil || !zero {
			return false, err
		}
	}
	return true, nil
}

func readsZero(d block.Device, p place) (bool, error) {
	got := make([]byte, p.length)
	if _, err := d.ReadAt(got, p.off); err != nil {
		return false, fmt.Errorf("it cannot be read at byte %d: %w: replace it", p.off, err)
	}
	return block.Zeroes(got), nil
}

// landmarks are where systems look for what is on a disk, and on its partitions. Those of the disk itself come last: a second run,
// after a power failure, finds the partitions as long as their table is there.
func landmarks(d block.Device) []place {
	var out []place
	for _, whole := range append(partitions(d), place{0, d.Size()}) {
		// The beginning has nearly all, the end ZFS's copies and arrays of versions 0.90 and 1.0. btrfs has copies at 64 MiB and
		// 256 GiB, from which its tools restore it.
		for _, p := range []place{{256 << 30, mib}, {64 * mib, mib}, {whole.length - mib, mib}, {0, mib}} {
			from, to := max(p.off, 0)+whole.off, p.off+p.length+whole.off
			size := int64(d.BlockSize())
			from, to = max(from, 0)/size*size, min(to, whole.off+whole.length, d.Size())/size*size
			if from < to {
				out = append(out, place{from, to - from})
			}
		}
	}
	return out
}
