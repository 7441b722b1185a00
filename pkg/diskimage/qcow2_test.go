package diskimage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
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

// fixture is a file that testdata/qcow2/make.sh made.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(read(t, filepath.Join("testdata", "qcow2", name+".gz"))))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var converted = []string{"v2", "v2-packed", "v3", "v3-512", "v3-2m", "v3-packed", "v3-zstd", "extended", "extended-packed", "snapshot"}

// TestQcow2OfQEMU reads what qemu-img and qemu-io made once.
func TestQcow2OfQEMU(t *testing.T) {
	want := fixture(t, "disk.raw")
	for _, name := range converted {
		if got, err := readQcow2(t, fixture(t, name+".qcow2")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	clear(want[262144 : 262144+131072])
	for _, name := range []string{"zeroes", "extended-zeroes"} {
		if got, err := readQcow2(t, fixture(t, name+".qcow2")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// TestHolesAreKnown: what is not on the file is not read, however large.
func TestHolesAreKnown(t *testing.T) {
	for _, name := range []string{"v2", "v3", "v3-2m", "extended", "zeroes", "extended-zeroes"} {
		file := fixture(t, name+".qcow2")
		q, err := OpenQcow2(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		var s holes
		if err := q.CopyTo(&s); err != nil {
			t.Fatal(err)
		}
		if s.zero+s.data != q.Size() || s.data > 512<<10 && name != "v3-2m" {
			t.Errorf("%s: %d bytes of contents, %d of zeroes", name, s.data, s.zero)
		}
	}
}

type holes struct{ data, zero int64 }

func (h *holes) Write(p []byte) (int, error) { h.data += int64(len(p)); return len(p), nil }
func (h *holes) Zeroes(n int64) error        { h.zero += n; return nil }

func TestQcow2ThatIsRefused(t *testing.T) {
	change := func(at int, b ...byte) func([]byte) []byte {
		return func(f []byte) []byte { copy(f[at:], b); return f }
	}
	same := func(f []byte) []byte { return f }
	for name, c := range map[string]struct {
		file   string
		change func([]byte) []byte
		says   string
	}{
		"backing file":        {"backing", same, "backing file"},
		"data file":           {"data-file", same, "data in another file"},
		"encrypted":           {"encrypted", same, "encrypted"},
		"dirty":               {"dirty", same, "was not closed"},
		"corrupt":             {"v3", change(79, 2), "marked as corrupt"},
		"unknown feature":     {"v3", change(78, 1), "features of qcow2 that are not known"},
		"version 1":           {"v3", change(7, 1), "version 1"},
		"version 4":           {"v3", change(7, 4), "version 4"},
		"other packing":       {"v3-zstd", change(104, 9), "compressed in a way"},
		"packing not said":    {"v3-zstd", change(103, 104), "does not say how"},
		"tiny clusters":       {"v3", change(23, 8), "clusters have a size"},
		"huge clusters":       {"v3", change(20, 1, 0, 0, 16), "clusters have a size"},
		"small with parts":    {"extended", change(23, 12), "damaged"},
		"empty disk":          {"v3", change(24, make([]byte, 8)...), "empty disk"},
		"endless disk":        {"v3", change(24, 0xff), "at most 1024 are taken"},
		"table too short":     {"v3", change(36, 0, 0, 0, 0), "tables do not fit"},
		"table elsewhere":     {"v3", change(40, 0x7f), "lies outside"},
		"table nowhere":       {"v3", change(40, make([]byte, 8)...), "lies outside"},
		"table askew":         {"v3", change(47, 1), "lies outside"},
		"cut in the header":   {"v3", func(f []byte) []byte { return f[:50] }, "cut short"},
		"cut behind it":       {"v3", func(f []byte) []byte { return f[:1000] }, "cut short"},
		"cut in its clusters": {"v3", func(f []byte) []byte { return f[:len(f)/2] }, "cut short"},
		"cut when packed":     {"v3-packed", func(f []byte) []byte { return f[:len(f)/2] }, "damaged"},
		"nothing":             {"v3", func([]byte) []byte { return nil }, "no qcow2 image"},
	} {
		got, err := readQcow2(t, c.change(fixture(t, c.file+".qcow2")))
		if refused := new(Refused); !errors.As(err, &refused) || !strings.Contains(refused.Message, c.says) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// TestQcow2TablesThatLie: entries that lead outside of the file, or nowhere.
func TestQcow2TablesThatLie(t *testing.T) {
	for _, name := range []string{"v2", "v3", "v3-packed", "v3-zstd", "extended", "extended-packed"} {
		good := fixture(t, name+".qcow2")
		l1 := binary.BigEndian.Uint64(good[40:])
		l2 := binary.BigEndian.Uint64(good[l1:]) & offsetMask
		for what, entry := range map[string]struct{ at, value uint64 }{
			"a table outside":        {l1, 1 << 50},
			"a table askew":          {l1, l2 + 512},
			"a cluster outside":      {l2, 1 << 50},
			"a cluster askew":        {l2, l2 + 512},
			"a packed one outside":   {l2, compressed | 1<<45},
			"a packed one elsewhere": {l2, compressed | 0x100},
		} {
			file := bytes.Clone(good)
			binary.BigEndian.PutUint64(file[entry.at:], entry.value)
			if strings.HasPrefix(name, "extended") {
				binary.BigEndian.PutUint64(file[l2+8:], 0xffffffff)
			}
			if name == "v2" && what == "a table askew" || what == "a packed one outside" && strings.HasPrefix(name, "v") {
				// With these sizes of clusters the bits mean something else; nothing may panic.
				_, _ = readQcow2(t, file)
				continue
			}
			got, err := readQcow2(t, file)
			if refused := new(Refused); !errors.As(err, &refused) {
				t.Errorf("%s, %s: %d bytes, %v", name, what, len(got), err)
			}
		}
	}
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

// TestQcow2AsQEMUWritesIt reads what qemu-img makes here and now, of every version, size of clusters and compression.
func TestQcow2AsQEMUWritesIt(t *testing.T) {
	if !hasProgram(t, "qemu-img") {
		return
	}
	want := patchy(3*mib + 1536)
	raw := write(t, want)
	options := []string{"compression_type=zstd", "compression_type=zstd,cluster_size=2M", "preallocation=metadata", "refcount_bits=64"}
	for bits := 9; bits <= 21; bits += 3 {
		options = append(options, fmt.Sprintf("compat=0.10,cluster_size=%d", 1<<bits), fmt.Sprintf("cluster_size=%d", 1<<bits))
		if bits >= 14 {
			options = append(options, fmt.Sprintf("extended_l2=on,cluster_size=%d", 1<<bits))
		}
	}
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

// bounded is a sink that ends after what no test reads.
type bounded struct {
	holes
	calls int
}

var errEnough = errors.New("enough")

func (b *bounded) Write(p []byte) (int, error) {
	if b.data += int64(len(p)); b.data > 64*mib {
		return 0, errEnough
	}
	return len(p), nil
}

func (b *bounded) Zeroes(n int64) error {
	if b.calls++; b.calls > 1e6 {
		return errEnough
	}
	return b.holes.Zeroes(n)
}

// FuzzQcow2 changes images of QEMU's where it matters, in the header and in the tables, as random bytes are no image: whatever the
// bytes, nothing panics, and either all of the disk comes or an error that says why.
func FuzzQcow2(f *testing.F) {
	var files [][]byte
	for _, name := range append(converted, "zeroes", "extended-zeroes", "backing", "data-file", "encrypted", "dirty") {
		if name != "v3-2m" {
			files = append(files, fixture(f, name+".qcow2"))
			f.Add(byte(len(files)-1), []byte("\x01\x00\x00\x55\x02\x00\x03\xff"), uint32(0))
		}
	}
	f.Fuzz(func(t *testing.T, which byte, edits []byte, cut uint32) {
		good := files[int(which)%len(files)]
		l1 := binary.BigEndian.Uint64(good[40:])
		l2 := uint64(0)
		if l1+8 <= uint64(len(good)) {
			l2 = binary.BigEndian.Uint64(good[l1:]) & offsetMask
		}
		file := bytes.Clone(good)
		for ; len(edits) >= 4; edits = edits[4:] {
			at := uint64(binary.BigEndian.Uint16(edits[1:]))
			switch edits[0] % 4 {
			case 0:
				at %= 112
			case 1:
				at = l1 + at%64
			case 2:
				at += l2
			case 3:
				at *= 16
			}
			file[at%uint64(len(file))] = edits[3]
		}
		file = file[:len(file)-int(cut)%(len(file)+1)]
		q, err := OpenQcow2(bytes.NewReader(file), int64(len(file)))
		if err == nil {
			var b bounded
			if err = q.CopyTo(&b); err == nil && b.data+b.zero != q.Size() {
				t.Fatalf("%d and %d of %d bytes", b.data, b.zero, q.Size())
			}
		}
		if refused := new(Refused); err != nil && !errors.As(err, &refused) && !errors.Is(err, errEnough) {
			t.Fatalf("no words: %v", err)
		}
	})
}
