package diskimage

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// plainSink takes a disk as bytes.
type plainSink struct{ bytes.Buffer }

func (s *plainSink) Zeroes(n int64) error {
	_, err := s.Write(make([]byte, n))
	return err
}

func readQcow2(t testing.TB, file []byte) ([]byte, error) {
	t.Helper()
	q, err := OpenQcow2(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, err
	}
	var s plainSink
	err = q.CopyTo(&s)
	return s.Bytes(), err
}

// patchy is a disk with runs of contents, zeroes and contents that pack well, in all sizes.
func patchy(size int) []byte {
	b := make([]byte, size)
	copy(b, disk(512)[:2*mib])
	for i, at := 0, 2*mib; at < size; i++ {
		n := min(700<<(i%12), size-at)
		switch i % 3 {
		case 0:
			copy(b[at:at+n], noise(n, uint64(i)))
		case 1:
			copy(b[at:at+n], bytes.Repeat([]byte("words that come again; "), n/23+1))
		}
		at += n
	}
	return b
}

// TestQcow2AsQEMUWritesIt reads what qemu-img makes, of every version, cluster size and compression.
func TestQcow2AsQEMUWritesIt(t *testing.T) {
	if !hasProgram(t, "qemu-img") {
		return
	}
	want := patchy(5*mib + 1536)
	raw := write(t, want)
	var options []string
	for bits := 9; bits <= 21; bits++ {
		options = append(options, fmt.Sprintf("compat=0.10,cluster_size=%d", 1<<bits), fmt.Sprintf("compat=1.1,cluster_size=%d", 1<<bits))
		if bits >= 14 {
			options = append(options, fmt.Sprintf("compat=1.1,extended_l2=on,cluster_size=%d", 1<<bits))
		}
	}
	options = append(options, "compat=1.1,compression_type=zstd", "compat=1.1,compression_type=zstd,cluster_size=2M",
		"compat=1.1,preallocation=metadata", "compat=1.1,lazy_refcounts=on", "compat=1.1,refcount_bits=64")
	for _, o := range options {
		for _, packing := range [][]string{nil, {"-c"}} {
			if packing != nil && strings.Contains(o, "preallocation") {
				continue
			}
			file := filepath.Join(t.TempDir(), "x.qcow2")
			run(t, "qemu-img", append(append([]string{"convert", "-f", "raw", "-O", "qcow2", "-o", o}, packing...), raw, file)...)
			got, err := readQcow2(t, read(t, file))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s %v: %d bytes, %v", o, packing, len(got), err)
			}
		}
	}
}
