package block

import "io"

// Device is an open disk. Nobody else has it open for writing.
type Device interface {
	io.ReaderAt
	io.WriterAt
	// Size is in bytes, BlockSize is the logical one.
	Size() int64
	BlockSize() int
	// Zero makes a range read as zeroes; offset and length are whole blocks.
	Zero(offset, length int64) error
	// Sync returns once all that was written is on the disk; what is read after it comes from there and from no cache.
	Sync() error
	io.Closer
}

// Zeroes says whether all bytes are zero.
func Zeroes(p []byte) bool {
	for len(p) >= 8 {
		if p[0]|p[1]|p[2]|p[3]|p[4]|p[5]|p[6]|p[7] != 0 {
			return false
		}
		p = p[8:]
	}
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}
