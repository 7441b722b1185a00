package image

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/beskar7/beskar7/pkg/agent/block"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

const benchSize = 256 * mib

// benchImage is as hard to pack as a system: words that come again, and a quarter of noise. It has no zeroes, which would be left
// out by one side and not by the other.
func benchImage(b *testing.B) (file string, size int64) {
	b.Helper()
	random := rand.New(rand.NewPCG(7, 7)) //nolint:gosec // the same in every run
	words := make([][]byte, 4096)
	for i := range words {
		words[i] = make([]byte, 8+random.IntN(24))
		for n := range words[i] {
			words[i][n] = byte(random.Uint32())
		}
	}
	var raw bytes.Buffer
	for raw.Len() < benchSize {
		if raw.Len()>>16%4 == 3 {
			raw.Write([]byte{byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())})
			continue
		}
		raw.Write(words[random.IntN(len(words))])
	}
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := w.Write(raw.Bytes()); err != nil {
		b.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	file = filepath.Join(b.TempDir(), "image.raw.zst")
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	return file, int64(raw.Len())
}

func benchDisk(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		b.Fatal(err)
	}
	if err := os.Truncate(path, benchSize+64*mib); err != nil {
		b.Fatal(err)
	}
	return path
}

// BenchmarkWritePath compares the agent with what a shell would do with the same image: both check the stream, unpack it, and have
// it on the disk at the end. The agent is to come to 0.8 of the shell's MB/s.
func BenchmarkWritePath(b *testing.B) {
	file, size := benchImage(b)
	packed, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	digest := digestOf(packed)
	b.Run("agent", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			d, err := block.OpenFile(benchDisk(b), 512)
			if err != nil {
				b.Fatal(err)
			}
			s := Source{Format: protocol.FormatRawZstd, Digest: digest, Open: func(context.Context) io.ReadCloser {
				f, err := os.Open(file)
				if err != nil {
					b.Error(err)
				}
				return f
			}}
			if _, err := Write(b.Context(), d, s, ignore); err != nil {
				b.Fatal(err)
			}
			_ = d.Close()
		}
	})
	b.Run("shell", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			line := `tee >(sha256sum >&2) <"$0" | zstd -dc | dd of="$1" bs=1M iflag=fullblock conv=notrunc,fsync status=none`
			if out, err := exec.CommandContext(b.Context(), "bash", "-c", line, file, benchDisk(b)).CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}
	})
}
