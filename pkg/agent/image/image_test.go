package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/beskar7/beskar7/pkg/agent/block"
	"github.com/beskar7/beskar7/pkg/agent/gpt"
	"github.com/beskar7/beskar7/pkg/agent/imagetest"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

const mib = 1 << 20

var formats = []protocol.Format{protocol.FormatRaw, protocol.FormatRawZstd, protocol.FormatRawGzip, protocol.FormatRawXZ}

// pack packs. The packer for xz is slow, so that what was packed once is kept.
func pack(t testing.TB, format protocol.Format, data []byte) []byte {
	t.Helper()
	key := string(format) + digestOf(data)
	if kept, ok := packed.Load(key); ok {
		return kept.([]byte)
	}
	out := packNow(t, format, data)
	packed.Store(key, out)
	return out
}

var packed sync.Map

func packNow(t testing.TB, format protocol.Format, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch format {
	case protocol.FormatRaw:
		return data
	case protocol.FormatRawZstd:
		w, err = zstd.NewWriter(&out)
	case protocol.FormatRawGzip:
		w = gzip.NewWriter(&out)
	case protocol.FormatRawXZ:
		w, err = xz.NewWriter(&out)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func digestOf(p []byte) string {
	sum := sha256.Sum256(p)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// usedDisk is one with a former system on it, that boots.
func usedDisk(t testing.TB, size int64, blockSize int) *block.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	old := imagetest.Typical(int(size), blockSize)
	old.Seed = 99
	if err := os.WriteFile(path, old.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := block.OpenFile(path, blockSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func source(format protocol.Format, packed []byte) Source {
	return Source{Format: format, Digest: digestOf(packed),
		Open: func(context.Context) io.ReadCloser { return io.NopCloser(bytes.NewReader(packed)) }}
}

func ignore(int64) {}

func contentsOf(t testing.TB, d block.Device) []byte {
	t.Helper()
	p := make([]byte, d.Size())
	if _, err := d.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

// bootless: nothing is left from which firmware boots, or restores what boots.
func bootless(t *testing.T, what string, d block.Device) {
	t.Helper()
	all := contentsOf(t, d)
	if !block.Zeroes(all[:mib]) || bytes.Contains(all[len(all)-mib:], []byte("EFI PART")) {
		t.Errorf("%s: a disk is left that may boot", what)
	}
}

func TestAnImageIsWritten(t *testing.T) {
	data := imagetest.Typical(6*mib, 512).Bytes()
	for _, format := range formats {
		for name, image := range map[string][]byte{"whole": data, "no whole blocks": data[:len(data)-100]} {
			packed := pack(t, format, image)
			d := usedDisk(t, 9*mib, 512)
			var seen []int64
			w, err := Write(t.Context(), d, source(format, packed), func(n int64) { seen = append(seen, n) })
			if err != nil {
				t.Fatalf("%s, %s: %v", format, name, err)
			}
			bootless(t, string(format)+" before its end", d)
			if w.Bytes != int64(len(image)) || w.Contents != digestOf(image) || !bytes.Equal(w.Head, image[:mib]) {
				t.Errorf("%s, %s: %d bytes, %s", format, name, w.Bytes, w.Contents)
			}
			if !slices.IsSorted(seen) || seen[len(seen)-1] != w.Bytes {
				t.Errorf("%s, %s: progress was %v", format, name, seen)
			}
			staged := block.Stage(d, w.Head)
			if err := Verify(t.Context(), staged, w, ignore); err != nil {
				t.Errorf("%s, %s: %v", format, name, err)
			}
			if err := staged.Commit(); err != nil {
				t.Errorf("%s, %s: %v", format, name, err)
			}
			if all := contentsOf(t, d); !bytes.Equal(all[:len(image)], image) {
				t.Errorf("%s, %s: the disk has another image", format, name)
			}
		}
	}
}

func TestStreamsThatAreRefused(t *testing.T) {
	data := imagetest.Typical(6*mib, 512).Bytes()
	for _, format := range formats {
		packed := pack(t, format, data)
		tampered := bytes.Clone(packed)
		tampered[len(tampered)/2] ^= 1
		for name, c := range map[string]struct {
			stream []byte
			size   int64
			disk   int64
			reason protocol.Reason
			says   string
		}{
			"truncated":           {packed[:len(packed)*2/3], 0, 9 * mib, protocol.ReasonImage, ""},
			"cut at its very end": {packed[:len(packed)-1], 0, 9 * mib, protocol.ReasonImage, ""},
			"tampered":            {tampered, 0, 9 * mib, protocol.ReasonImage, ""},
			"something behind":    {append(bytes.Clone(packed), 0, 0, 0, 0), 0, 9 * mib, protocol.ReasonImage, ""},
			"of another length":   {packed, 5 * mib, 9 * mib, protocol.ReasonImage, "6291456 bytes, and the plan says 5242880"},
			"too large":           {packed, 0, 4 * mib, protocol.ReasonImage, "larger than the disk, which has 4194304"},
			"empty":               {nil, 0, 9 * mib, protocol.ReasonImage, ""},
			"short":               {pack(t, format, data[:1000]), 0, 9 * mib, protocol.ReasonImage, ""},
		} {
			d := usedDisk(t, c.disk, 512)
			s := source(format, c.stream)
			s.UnpackedSize = c.size
			if name != "of another length" && name != "too large" {
				s.Digest = digestOf(packed)
			}
			w, err := Write(t.Context(), d, s, ignore)
			failed, ok := errors.AsType[*protocol.Failure](err)
			if !ok || w != nil || failed.Reason != c.reason || !strings.Contains(failed.Message, c.says) {
				t.Errorf("%s, %s: %v", format, name, err)
			}
			bootless(t, string(format)+", "+name, d)
		}
	}
}

func TestAnImageThatIsRightAndShortIsRefused(t *testing.T) {
	d := usedDisk(t, 9*mib, 512)
	if _, err := Write(t.Context(), d, source(protocol.FormatRaw, make([]byte, 5000)), ignore); err == nil ||
		!strings.Contains(err.Error(), "5000 bytes") {
		t.Errorf("%v", err)
	}
	bootless(t, "short", d)
}

// failing is a stream that breaks.
type failing struct {
	io.Reader
	err error
}

func (f failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = f.err
	}
	return n, err
}

func TestADownloadThatFails(t *testing.T) {
	packed := pack(t, protocol.FormatRawZstd, imagetest.Typical(6*mib, 512).Bytes())
	for _, err := range []error{errors.New("connection reset"), io.ErrUnexpectedEOF} {
		s := source(protocol.FormatRawZstd, packed)
		s.Open = func(context.Context) io.ReadCloser {
			return io.NopCloser(failing{bytes.NewReader(packed[:len(packed)/2]), err})
		}
		d := usedDisk(t, 9*mib, 512)
		_, got := Write(t.Context(), d, s, ignore)
		if failed, ok := errors.AsType[*protocol.Failure](got); !ok || failed.Reason != protocol.ReasonDownload ||
			!strings.Contains(failed.Message, err.Error()) {
			t.Errorf("%v", got)
		}
		bootless(t, "a broken download", d)
	}
}

// faulty is a disk of which a place cannot be written.
type faulty struct {
	block.Device
	at int64
}

func (f faulty) WriteAt(p []byte, off int64) (int, error) {
	if off <= f.at && f.at < off+int64(len(p)) {
		return 0, errors.New("input/output error")
	}
	return f.Device.WriteAt(p, off)
}

func TestADiskThatFails(t *testing.T) {
	d := usedDisk(t, 9*mib, 512)
	data := imagetest.Typical(6*mib, 512).Bytes()
	_, err := Write(t.Context(), faulty{d, 3 * mib}, source(protocol.FormatRaw, data), ignore)
	if failed, ok := errors.AsType[*protocol.Failure](err); !ok || failed.Reason != protocol.ReasonDisk {
		t.Errorf("%v", err)
	}
	bootless(t, "a faulty disk", d)
}

func TestADiskThatForgetsIsNoticed(t *testing.T) {
	d := usedDisk(t, 9*mib, 512)
	w, err := Write(t.Context(), d, source(protocol.FormatRaw, imagetest.Typical(6*mib, 512).Bytes()), ignore)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.WriteAt([]byte{0xFF, 0xFE}, 4*mib+17); err != nil {
		t.Fatal(err)
	}
	if err := Verify(t.Context(), block.Stage(d, w.Head), w, ignore); err == nil || !strings.Contains(err.Error(), "replace it") {
		t.Errorf("%v", err)
	}
}

func TestAnAbortLeavesNothingThatBoots(t *testing.T) {
	cause := errors.New("told to stop")
	data := imagetest.Typical(6*mib, 512).Bytes()
	for _, at := range []int64{mib, 4 * mib} {
		ctx, cancel := context.WithCancelCause(t.Context())
		d := usedDisk(t, 9*mib, 512)
		_, err := Write(ctx, d, source(protocol.FormatRawGzip, pack(t, protocol.FormatRawGzip, data)), func(n int64) {
			if n >= at {
				cancel(cause)
			}
		})
		if !errors.Is(err, cause) {
			t.Errorf("at %d: %v", at, err)
		}
		bootless(t, "aborted", d)
	}
}

func TestLook(t *testing.T) {
	typical := imagetest.Typical(6*mib, 512).Bytes()[:mib]
	change := func(do func(p []byte)) []byte {
		p := bytes.Clone(typical)
		do(p)
		return p
	}
	mbr := change(func(p []byte) { clear(p[512:]); p[450] = 0x83 })
	target := Target{Size: 64 * mib, BlockSize: 512, UEFI: true}
	native := Target{Size: 64 * mib, BlockSize: 4096}
	data := Target{Size: 64 * mib, BlockSize: 512, Table: gpt.Options{Data: &gpt.Data{Size: 1 * mib, Type: gpt.TypeLinux}}}
	noESP := imagetest.Typical(6*mib, 512)
	noESP.Partitions = noESP.Partitions[1:]
	for name, c := range map[string]struct {
		head   []byte
		target Target
		says   string
		note   string
	}{
		"an image":         {typical, target, "", ""},
		"an image for 4Kn": {imagetest.Typical(16*mib, 4096).Bytes()[:mib], native, "", ""},
		"512 on 4Kn":       {typical, native, "blocks of 512 bytes, and this one has 4096", ""},
		"4Kn on 512": {imagetest.Typical(16*mib, 4096).Bytes()[:mib], target, "blocks of 4096 bytes, and this one has 512",
			""},
		"an old table":               {mbr, target, "", ""},
		"an old table, and data":     {mbr, data, "no GUID partition table", ""},
		"an old table on 4Kn":        {mbr, native, "blocks of 512 bytes", ""},
		"no table":                   {make([]byte, mib), target, "no partition table", ""},
		"a broken table":             {change(func(p []byte) { p[600] ^= 1 }), target, "checksum of its header", ""},
		"qcow2":                      {change(func(p []byte) { copy(p, "QFI\xfb") }), target, "qcow2", ""},
		"packed, and nobody says so": {pack(t, protocol.FormatRawZstd, typical), target, "packed with zstd", ""},
		"packed with gzip":           {pack(t, protocol.FormatRawGzip, typical), target, "packed with gzip", ""},
		"packed with xz":             {pack(t, protocol.FormatRawXZ, typical), target, "packed with xz", ""},
		"a CD":                       {change(func(p []byte) { copy(p[32769:], "CD001") }), target, "is a CD", ""},
		"short":                      {typical[:5000], target, "5000 bytes", ""},
		"no ESP under UEFI":          {noESP.Bytes()[:mib], target, "", "no EFI system partition"},
		"no ESP under BIOS":          {noESP.Bytes()[:mib], Target{Size: 64 * mib, BlockSize: 512}, "", ""},
		"too large for the disk": {imagetest.Typical(12*mib, 512).Bytes()[:mib], Target{Size: 8 * mib, BlockSize: 512},
			"the disk only to", ""},
		"no room for the configuration": {imagetest.Typical(8*mib, 512).Bytes()[:mib], Target{Size: 8 * mib, BlockSize: 512,
			Table: data.Table}, "no room", ""},
	} {
		note, err := Look(c.head, c.target)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) || (note == "") != (c.note == "") ||
			!strings.Contains(note, c.note) {
			t.Errorf("%s: %q, %v", name, note, err)
		}
	}
}

func TestReadHead(t *testing.T) {
	data := imagetest.Typical(6*mib, 512).Bytes()
	for _, format := range formats {
		head, err := ReadHead(format, bytes.NewReader(pack(t, format, data)))
		if err != nil || !bytes.Equal(head, data[:mib]) {
			t.Errorf("%s: %d bytes, %v", format, len(head), err)
		}
		if format == protocol.FormatRaw {
			continue
		}
		if _, err := ReadHead(format, bytes.NewReader(data)); err == nil {
			t.Errorf("%s: raw bytes are taken for it", format)
		}
	}
	if head, err := ReadHead(protocol.FormatRaw, strings.NewReader("short")); err != nil || string(head) != "short" {
		t.Errorf("%q, %v", head, err)
	}
}

func TestAWindowThatTakesTooMuchMemory(t *testing.T) {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithWindowSize(128<<20), zstd.WithSingleSegment(false))
	if err != nil {
		t.Fatal(err)
	}
	for range 8 {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadHead(protocol.FormatRawZstd, &out); err == nil || !strings.Contains(err.Error(), "window") {
		t.Errorf("%v", err)
	}
}
