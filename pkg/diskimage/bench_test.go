package diskimage

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
)

// benchDisk is a disk of a GiB, a quarter of it noise, a quarter zeroes and the rest words, as a system is; as raw file and as qcow2.
func benchDisk(b *testing.B) (raw, qcow2 string) {
	b.Helper()
	raw = filepath.Join(b.TempDir(), "disk.raw")
	f, err := os.Create(raw)
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriterSize(f, mib)
	_, _ = w.Write(disk(512))
	words := strings.Fields(string(read(b, "qcow2.go")))
	for i := 4; i < 1024; i++ {
		piece := make([]byte, 0, mib+100)
		switch i / 16 % 4 {
		case 0:
			piece = append(piece, noise(mib, uint64(i))...)
		case 1:
			piece = piece[:mib]
		default:
			for n := i; len(piece) < mib; n = n*1103515245 + 12345 {
				piece = append(piece, words[(n>>8&0xffff)%len(words)]...)
				piece = append(piece, byte(n>>4))
			}
		}
		_, _ = w.Write(piece[:mib])
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	qcow2 = filepath.Join(b.TempDir(), "disk.qcow2")
	run(b, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2)
	return raw, qcow2
}

// peak is the largest memory of this process since it was forgotten, in MiB.
func peak(b *testing.B) float64 {
	b.Helper()
	var kib float64
	for line := range strings.Lines(string(read(b, "/proc/self/status"))) {
		if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kib); err == nil {
			return kib / 1024
		}
	}
	b.Fatal("the kernel does not say it")
	return 0
}

func forgetPeak(b *testing.B) {
	b.Helper()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o200); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkConvert compares the conversion of a qcow2 image of 1 GiB with what a shell would do, on one processor each: both read the
// image, pack it at zstd's fastest and sum it up.
func BenchmarkConvert(b *testing.B) {
	if !hasProgram(b, "qemu-img", "zstd", "sha256sum") {
		return
	}
	_, qcow2 := benchDisk(b)
	b.Run("ours", func(b *testing.B) {
		b.SetBytes(1 << 30)
		forgetPeak(b)
		for b.Loop() {
			in, err := os.Open(qcow2)
			if err != nil {
				b.Fatal(err)
			}
			info, err := in.Stat()
			if err != nil {
				b.Fatal(err)
			}
			out, err := os.Create(filepath.Join(b.TempDir(), "out"))
			if err != nil {
				b.Fatal(err)
			}
			q, err := OpenQcow2(in, info.Size())
			if err != nil {
				b.Fatal(err)
			}
			p, err := newPacker(context.Background(), out, func(int64) error { return nil })
			if err != nil {
				b.Fatal(err)
			}
			if err := q.CopyTo(p); err != nil {
				b.Fatal(err)
			}
			if err := p.Close(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(p.out.size)/mib, "packed-MiB")
			_, _ = in.Close(), out.Close()
		}
		b.ReportMetric(peak(b), "peak-MiB")
	})
	b.Run("shell", func(b *testing.B) {
		b.SetBytes(1 << 30)
		for b.Loop() {
			line := `qemu-img convert -f qcow2 -O raw "$0" "$1/raw" && zstd -q -1 -T1 -c "$1/raw" | tee "$1/out" | sha256sum`
			out, err := exec.CommandContext(b.Context(), "taskset", "-c", "0", "bash", "-c", line, qcow2, b.TempDir()).CombinedOutput()
			if err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}
	})
}

// BenchmarkServe serves a file of 256 MiB to a hundred readers at one time, who ask for it in ranges of 16 MiB. The memory is that of
// server and readers together.
func BenchmarkServe(b *testing.B) {
	const size, readers, piece = 256 * mib, 100, 16 * mib
	path := write(b, append(disk(512), make([]byte, size-4*mib)...))
	file := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) }))
	b.Cleanup(file.Close)
	sum := sha256Of(read(b, path))
	for name, serve := range map[string]func(http.Handler) *httptest.Server{"plain": httptest.NewServer, "TLS": httptest.NewTLSServer} {
		b.Run(name, func(b *testing.B) {
			r := newRig(b)
			if _, err := r.prepare(b, file.URL, sum); err != nil {
				b.Fatal(err)
			}
			web := serve(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { r.Serve(w, q, sum) }))
			b.Cleanup(web.Close)
			client := web.Client()
			client.Transport.(*http.Transport).MaxIdleConnsPerHost = readers
			b.SetBytes(readers * 2 * piece)
			forgetPeak(b)
			for b.Loop() {
				var wg sync.WaitGroup
				for i := range readers {
					wg.Go(func() {
						for n := range 2 {
							req, _ := http.NewRequestWithContext(b.Context(), http.MethodGet, web.URL, nil)
							at := (i + n*7) % 16 * piece
							req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", at, at+piece-1))
							resp, err := client.Do(req)
							if err != nil {
								b.Error(err)
								return
							}
							if got, err := io.Copy(io.Discard, resp.Body); err != nil || got != piece {
								b.Errorf("%d bytes, %v", got, err)
							}
							_ = resp.Body.Close()
						}
					})
				}
				wg.Wait()
			}
			b.ReportMetric(peak(b), "peak-MiB")
		})
	}
}
