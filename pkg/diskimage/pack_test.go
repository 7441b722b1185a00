package diskimage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// packedBy packs what write gives.
func packedBy(t testing.TB, write func(Sink) error) (*packer, []byte) {
	t.Helper()
	var out bytes.Buffer
	p, err := newPacker(t.Context(), &out, func(int64) error { return nil })
	if err == nil {
		err = errors.Join(write(p), p.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if p.out.digest() != sha256Of(out.Bytes()) || p.out.size != int64(out.Len()) {
		t.Errorf("%d bytes of %s were packed, and %d of %s are said", out.Len(), sha256Of(out.Bytes()), p.out.size, p.out.digest())
	}
	return p, out.Bytes()
}

// TestHolesCostNothing: a terabyte of them is packed in no time and hardly takes room.
func TestHolesCostNothing(t *testing.T) {
	p, out := packedBy(t, func(s Sink) error {
		_, err := s.Write(disk(512))
		return errors.Join(err, s.Zeroes(MaxDisk-8*mib))
	})
	if len(out) > 40*mib || p.seen.size != MaxDisk-4*mib {
		t.Errorf("%d bytes of a disk of %d", len(out), p.seen.size)
	}
}

// TestPackedIsWhatWasThere: contents and holes of all sizes, in any order, unpacked by Go and by zstd itself.
func TestPackedIsWhatWasThere(t *testing.T) {
	var want plainSink
	fill := func(s Sink) error {
		for i, n := range []int64{1, 100, zeroRun - 1, 5, zeroRun, 70000, 3*zeroRun + 4097, 1, 2 * zeroRun} {
			if _, err := s.Write(noise(1000*(i+1), uint64(i))); err != nil {
				return err
			}
			// Holes that lie side by side are one.
			if err := errors.Join(s.Zeroes(n/3), s.Zeroes(n-n/3)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := fill(&want); err != nil {
		t.Fatal(err)
	}
	_, out := packedBy(t, fill)
	_, again := packedBy(t, fill)
	if !bytes.Equal(out, again) {
		t.Error("the same disk is packed in two ways")
	}
	got := asTheAgent(t, Ready{Digest: sha256Of(out), Format: FormatRawZstd, Size: int64(len(out)), UnpackedSize: int64(want.Len())}, out)
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("another disk is packed")
	}
	if !hasProgram(t, "zstd") {
		return
	}
	unpacked := filepath.Join(t.TempDir(), "unpacked")
	run(t, "zstd", "-q", "-d", "-o", unpacked, write(t, out))
	if !bytes.Equal(read(t, unpacked), want.Bytes()) {
		t.Error("zstd unpacks another disk")
	}
}

// TestPackingEnds: with the context, and where there is no room.
func TestPackingEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, err := newPacker(ctx, io.Discard, func(int64) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := p.Write(noise(100, 1)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := p.Zeroes(zeroRun); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	full := errors.New("full")
	p, err = newPacker(t.Context(), io.Discard, func(int64) error { return full })
	if err != nil {
		t.Fatal(err)
	}
	if _, err = p.Write(noise(mib, 1)); err == nil {
		err = p.Close()
	}
	if !errors.Is(err, full) {
		t.Errorf("without room: %v", err)
	}
}

// TestFullDisk: Linux has a file for that.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	p, err := newPacker(t.Context(), full, func(int64) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err = p.Write(noise(mib, 1)); err == nil {
		err = p.Close()
	}
	if refused := new(Refused); !errors.Is(err, syscall.ENOSPC) || errors.As(err, &refused) || strings.Contains(err.Error(), "/dev/full") {
		t.Error(err)
	}
}

// windowed says in a zstd stream that it refers further back: the byte behind the descriptor of its first frame (RFC 8878, 3.1.1.1.2).
func windowed(t *testing.T, data []byte, log int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data[:len(data)/2]); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Flush(), func() error { _, err := w.Write(data[len(data)/2:]); return err }(), w.Close()); err != nil {
		t.Fatal(err)
	}
	b := out.Bytes()
	if b[4]&0x20 != 0 {
		t.Fatal("the frame has no window")
	}
	b[5] = byte(log-10) << 3
	return b
}

// dictionaried says in an xz file that it refers further back, in the header of its block.
func dictionaried(t *testing.T, data []byte, bits byte) []byte {
	t.Helper()
	b := pack(t, FormXZ, data)
	header := b[12 : 12+(int(b[12])+1)*4]
	at := bytes.Index(header, []byte{0x21, 1})
	if at < 0 {
		t.Fatal("no filter")
	}
	header[at+2] = bits
	binary.LittleEndian.PutUint32(header[len(header)-4:], crc32.ChecksumIEEE(header[:len(header)-4]))
	return b
}

// TestImagesThatNeedMuchMemory are packed anew, so that the agent needs less; and refused where they need more than a replica has.
func TestImagesThatNeedMuchMemory(t *testing.T) {
	want := disk(512)
	for name, c := range map[string]struct {
		file []byte
		want Format
	}{
		"zstd, 32 MiB":  {windowed(t, want, 25), FormatRawZstd},
		"zstd, 128 MiB": {windowed(t, want, 27), FormatRawZstd},
		"zstd, 2 GiB":   {windowed(t, want, 31), ""},
		"xz, 16 MiB":    {dictionaried(t, want, 24), FormatRawXZ},
		"xz, 24 MiB":    {dictionaried(t, want, 25), FormatRawZstd},
		"xz, 64 MiB":    {dictionaried(t, want, 28), FormatRawZstd},
		"xz, 96 MiB":    {dictionaried(t, want, 29), ""},
		"xz, 4 GiB":     {dictionaried(t, want, 40), ""},
	} {
		o := newOrigin(t, c.file)
		r := newRig(t)
		ready, err := r.prepare(t, o.URL+"/x", sha256Of(c.file))
		if c.want == "" {
			if refused := new(Refused); !errors.As(err, &refused) || !strings.Contains(refused.Message, "MiB of memory") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		same := ready.Digest == sha256Of(c.file)
		if ready.Format != c.want || same != (name == "zstd, 32 MiB" || name == "xz, 16 MiB") || ready.SectorSize != 512 ||
			!bytes.Equal(asTheAgent(t, ready, r.contents(t, ready.Digest)), want) {
			t.Errorf("%s: %+v", name, ready)
		}
	}
}

// TestBombsEnd: what unpacks to more than a disk may be is not unpacked to its end.
func TestBombsEnd(t *testing.T) {
	for _, form := range []Form{FormGzip, FormZstd, FormXZ} {
		bomb := pack(t, form, make([]byte, 4*mib))
		var got int64
		err := unpack(t.Context(), form, bytes.NewReader(bomb), bounds{agentWindow, mib}, func(p []byte) error {
			got += int64(len(p))
			return nil
		})
		if refused := new(Refused); !errors.As(err, &refused) || got > mib {
			t.Errorf("%s: %d bytes, %v", form, got, err)
		}
	}
}

// TestManySmallBlocks: each of them takes its memory anew, which is work.
func TestManySmallBlocks(t *testing.T) {
	bomb := bytes.Repeat(dictionaried(t, make([]byte, 100), 28), 40)
	err := unpack(t.Context(), FormXZ, bytes.NewReader(bomb), bounds{maxWindow, MaxUnpacked}, func([]byte) error { return nil })
	if refused := new(Refused); !errors.As(err, &refused) || !strings.Contains(refused.Message, "blocks that are far smaller") {
		t.Error(err)
	}
}

// TestContentsAreBounded, and holes are not.
func TestContentsAreBounded(t *testing.T) {
	p, err := newPacker(t.Context(), io.Discard, func(int64) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	p.most = mib
	if _, err := p.Write(noise(mib, 1)); errors.Join(err, p.Zeroes(4*mib)) != nil {
		t.Fatal(err)
	}
	_, err = p.Write([]byte("more"))
	if refused := new(Refused); !errors.As(err, &refused) {
		t.Error(err)
	}
}

// TestXZAsXZWritesIt: blocks, checks and streams as the program makes them.
func TestXZAsXZWritesIt(t *testing.T) {
	if !hasProgram(t, "xz") {
		return
	}
	data := patchy(3 * mib)
	file := write(t, data)
	packWith := func(arguments ...string) []byte {
		run(t, "xz", append(append([]string{"-k", "-f"}, arguments...), file)...)
		return read(t, file+".xz")
	}
	for _, arguments := range [][]string{
		{"-0"}, {"-6"}, {"-T2", "--block-size=500KiB"}, {"--check=none"}, {"--check=crc32"}, {"--check=sha256"},
	} {
		b := packWith(append([]string{"-1"}, arguments...)...)
		for name, stream := range map[string][]byte{"one": b, "two": append(append(bytes.Clone(b), 0, 0, 0, 0), b...)} {
			want := bytes.Repeat(data, map[string]int{"one": 1, "two": 2}[name])
			x, err := newXZ(bytes.NewReader(stream), agentWindow)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(x); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v, %s: %d bytes, %v", arguments, name, len(got), err)
			}
		}
		for _, at := range []int{3, 7, 20, len(b) / 2, len(b) - 30, len(b) - 1} {
			broken := bytes.Clone(b)
			broken[at] ^= 1
			x, err := newXZ(bytes.NewReader(broken), agentWindow)
			if err == nil {
				_, err = io.ReadAll(x)
			}
			if err == nil && fmt.Sprint(arguments) != "[--check=none]" {
				t.Errorf("%v: broken at %d, and nothing was noticed", arguments, at)
			}
		}
	}
	b := packWith("--x86", "--lzma2")
	x, err := newXZ(bytes.NewReader(b), agentWindow)
	if err == nil {
		_, err = io.ReadAll(x)
	}
	if !errors.Is(err, errFilter) {
		t.Errorf("another filter: %v", err)
	}
	_ = os.Remove(file + ".xz")
}

// FuzzXZ: nothing panics, and what is read is what the library reads that the agent has.
func FuzzXZ(f *testing.F) {
	var out bytes.Buffer
	w, err := xz.WriterConfig{BlockSize: 300}.NewWriter(&out)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := w.Write(bytes.Repeat([]byte("words that come again"), 50)); err != nil {
		f.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	f.Add(append(bytes.Clone(out.Bytes()), out.Bytes()...))
	f.Fuzz(func(t *testing.T, file []byte) {
		x, err := newXZ(bytes.NewReader(file), mib)
		if err != nil {
			return
		}
		got, err := io.ReadAll(io.LimitReader(x, mib))
		if err != nil || len(got) == mib {
			return
		}
		library, err := xz.NewReader(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		want, err := io.ReadAll(library)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, the library has %d, %v", len(got), len(want), err)
		}
	})
}
