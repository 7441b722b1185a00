package bootmedia

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime/metrics"
	"strings"
	"testing"

	"github.com/go-logr/logr"
)

// allocated is what the process has ever taken from its heap, in bytes. Small
// objects are counted a little late.
func allocated() int64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64()) //nolint:gosec // a process does not live that long
}

// allocSlack is what is allowed whatever the input: what a test itself takes, and
// objects that are counted late.
const allocSlack = 4 << 20

// counting counts what is read of an image.
type counting struct {
	io.ReaderAt
	bytes, largest int64
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	c.bytes, c.largest = c.bytes+int64(len(p)), max(c.largest, int64(len(p)))
	return c.ReaderAt.ReadAt(p, off)
}

const (
	// readAgain is how often the same byte of an image may be read in one look:
	// once for each place where a boot configuration may be, in a directory that
	// all of their paths lead through, and a few times for the descriptors.
	readAgain = 40
	// allocPerByte is what may be allocated for a byte that is read: a path table
	// is kept in records of 40 bytes for 10 of its own, in a slice that grows.
	allocPerByte = 24
)

// checkLook has an image looked at and laid over, and reports what that costs
// beyond its due. A stranger's image is to cost what its size allows, not what
// its fields say.
func checkLook(t *testing.T, image []byte) {
	t.Helper()
	size := int64(len(image))
	src := &counting{ReaderAt: bytes.NewReader(image)}
	before := allocated()
	v, err := readVolume(src, size)
	if err == nil {
		if _, err := lookAround(src, v); err != nil {
			t.Error(err)
		}
		o, err := compose(src, v, recipe{label: "cidata", files: []isoFile{{"user-data", []byte("x")}, {"a/b", []byte("y")}}}, "")
		if err == nil && o.size < size {
			t.Errorf("a medium of %d bytes of an image of %d", o.size, size)
		}
	}
	got := allocated() - before
	if most := allocSlack + allocPerByte*src.bytes; got > most {
		t.Errorf("%d bytes allocated for %d that were read of an image of %d", got, src.bytes, size)
	}
	if src.largest > maxPathTableBytes || src.bytes > readAgain*size+64<<10 {
		t.Errorf("%d bytes read, %d at once, of an image of %d", src.bytes, src.largest, size)
	}
	checkWindows(t, image)
}

// checkWindows looks at a streamed image: no window is fetched twice, and no more than are kept.
func checkWindows(t *testing.T, image []byte) {
	t.Helper()
	fetched := map[int64]int{}
	w := &windows{size: int64(len(image)), got: map[int64][]byte{}, read: func(from, to int64) ([]byte, error) {
		fetched[from]++
		if to-from > windowBytes {
			t.Errorf("a window of %d bytes", to-from)
		}
		return image[from:to], nil
	}}
	if _, err := lookInto(w, w.size); err != nil {
		t.Error(err)
	}
	if len(fetched) > maxWindows {
		t.Errorf("%d windows fetched", len(fetched))
	}
	for at, n := range fetched {
		if n > 1 {
			t.Errorf("the window at %d was fetched %d times", at, n)
		}
	}
}

func FuzzReadVolume(f *testing.F) {
	base, _ := baseImage(f, rand.New(rand.NewPCG(1, 2)), "seed")
	f.Add(uint32(16*sector+158), uint32(20), uint32(16*sector+166), uint32(1<<31), uint32(0), uint32(0), uint32(len(base)))
	f.Add(uint32(16*sector+140), uint32(1), uint32(16*sector+132), uint32(1<<20), uint32(embedHeader), uint32(7), uint32(18*sector))
	f.Fuzz(func(t *testing.T, at1, value1, at2, value2, at3, value3, length uint32) {
		image := bytes.Clone(base[:min(int(length), len(base))])
		for _, c := range [][2]uint32{{at1, value1}, {at2, value2}, {at3, value3}} {
			if int(c[0])+4 <= len(image) {
				binary.LittleEndian.PutUint32(image[c[0]:], c[1])
			}
		}
		checkLook(t, image)
	})
}

// An image whose directories and path table are all that is there: the largest
// that are read, of the smallest records, each directory its own parent.
func FuzzReadDirectory(f *testing.F) {
	f.Add([]byte{34, 0}, uint32(maxDirectoryBytes), []byte{1, 0}, uint32(maxPathTableBytes))
	f.Add(bytes.Repeat([]byte{0}, 40), uint32(sector), []byte{9, 9, 9}, uint32(9))
	base := liveImage(f, "live", "linux /k quiet")
	f.Fuzz(func(t *testing.T, record []byte, directory uint32, path []byte, table uint32) {
		if len(record) == 0 || len(path) == 0 || len(record) > 255 || len(path) > 64 {
			return
		}
		room := int(min(directory, maxDirectoryBytes)+min(table, maxPathTableBytes)) + 2*sector
		at := len(base) / sector
		image := append(bytes.Clone(base[:at*sector]), make([]byte, room)...)
		data := image[at*sector:]
		self := image[16*sector+156 : 16*sector+190] // the root's record in the primary descriptor
		binary.LittleEndian.PutUint32(self[2:], uint32(at))
		binary.LittleEndian.PutUint32(self[10:], directory)
		copy(data, self)
		data[0] = 34
		for i := 34; i+len(record) <= int(min(directory, maxDirectoryBytes)); i += len(record) {
			copy(data[i:], record)
		}
		paths := (int(min(directory, maxDirectoryBytes)) + sector - 1) / sector
		binary.LittleEndian.PutUint32(image[16*sector+132:], table)
		binary.LittleEndian.PutUint32(image[16*sector+140:], uint32(at+paths))
		for i := 0; i+len(path) <= int(min(table, maxPathTableBytes)) && paths*sector+i+len(path) <= len(data); i += len(path) {
			copy(data[paths*sector+i:], path)
		}
		checkLook(t, image)
	})
}

// An image with its structures in more windows than are fetched is given up
// without more requests than windows.
func TestAScatteredImageCostsNoMoreThanItsWindows(t *testing.T) {
	w := &windows{size: 1 << 40, got: map[int64][]byte{}}
	fetched := 0
	w.read = func(from, to int64) ([]byte, error) {
		fetched++
		return make([]byte, to-from), nil
	}
	for i := range int64(3 * maxWindows) {
		_, _ = w.ReadAt(make([]byte, 1), i*windowBytes)
	}
	if fetched != maxWindows {
		t.Errorf("%d windows fetched, %d are kept", fetched, maxWindows)
	}
}

// discard is an answer whose body is compared as it comes, not kept.
type discard struct {
	header http.Header
	status int
	sum    uint64
	bytes  int64
}

func (d *discard) Header() http.Header { return d.header }

func (d *discard) WriteHeader(status int) {
	if d.status == 0 {
		d.status = status
	}
}

func (d *discard) Write(p []byte) (int, error) {
	d.WriteHeader(http.StatusOK)
	for _, b := range p {
		d.sum = d.sum*1099511628211 + uint64(b)
	}
	d.bytes += int64(len(p))
	return len(p), nil
}

// A range costs what is sent: no request to the image's server but those of its
// ranges, no byte from there that is not sent on, and no memory beyond a buffer.
func FuzzRange(f *testing.F) {
	image := liveImage(f, "live", "linux /k quiet")
	r := newRig(f, image, func(o *Options) { o.Log = logr.Discard() }) // what is kept of a log grows
	silent := func(g *Grant) { g.PhoneHomeBase = "" }                  // its capability is another for every token
	plain, sum := r.grant(f, "", silent), r.grant(f, sha256Of(image), silent)
	for _, h := range []string{
		"bytes=0-1", "bytes=-5", "bytes=1-2,3-4", "bytes=70000-", "bytes=0-18446744073709551616", "bytes= 1 - 2", "bytes=--1", "bytes=1-2,,4-",
		"bytes=0-0" + strings.Repeat(",0-0", 2*maxRanges), "bytes=" + strings.Repeat("5-,", 15) + "5-", "bytes=,", "bytes=1-,5-5", "bytes=2-9,0-1", "bytes=+0-+1", "bytes=-0", "bytes=0-9223372036854775807", fmt.Sprintf("bytes=%d-", len(image)-1), fmt.Sprintf("bytes=%d-%d", len(image)-1, len(image)+1),
	} {
		f.Add(h)
	}
	ask := func(path, header string) (d *discard, requests int, upstream int64) {
		req := httptest.NewRequest(http.MethodGet, path, nil)
		req.Header["Range"] = []string{header}
		d = &discard{header: http.Header{}}
		r.origin.change(func(o *origin) { o.requests = o.requests[:0] })
		sent := r.origin.sentBytes()
		r.Handler().ServeHTTP(d, req)
		return d, r.origin.count(), r.origin.sentBytes() - sent
	}
	ask(ComposedURL("", plain), "bytes=0-0") // the look into the image is had once
	ask(ComposedURL("", sum), "bytes=0-0")
	f.Fuzz(func(t *testing.T, header string) {
		for name, url := range map[string]func(string, Token) string{"boot": BootURL, "composed": ComposedURL} {
			before := allocated()
			a, requests, sent := ask(url("", plain), header)
			b, _, _ := ask(url("", sum), header)
			if got := allocated() - before; got > allocSlack+int64(len(header))*64 {
				t.Errorf("%s %q: %d bytes allocated for %d that were sent", name, clip(header, 80), got, a.bytes)
			}
			if a.status != b.status || a.header.Get("Content-Range") != b.header.Get("Content-Range") {
				t.Fatalf("%s %q: streamed %d %s, cached %d %s", name, header, a.status, a.header.Get("Content-Range"), b.status, b.header.Get("Content-Range"))
			}
			if !strings.HasPrefix(a.header.Get("Content-Type"), "multipart/") && (a.sum != b.sum || a.bytes != b.bytes) {
				t.Fatalf("%s %q: bodies differ", name, header)
			}
			if requests > maxRanges || sent > a.bytes {
				t.Errorf("%s %q: %d requests upstream and %d bytes for %d bytes that were sent", name, clip(header, 80), requests, sent, a.bytes)
			}
		}
	})
}
