package bootmedia

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kdomanski/iso9660"
)

// bytesOf reads a whole composed medium, in pieces of odd sizes.
func wholeOf(t testing.TB, base []byte, o *overlay) []byte {
	t.Helper()
	r := &composed{base: bytes.NewReader(base), over: o}
	var out []byte
	for piece := 1; ; piece = piece*7%65521 + 1 {
		buf := make([]byte, piece)
		n, err := r.Read(buf)
		out = append(out, buf[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if int64(len(out)) != o.size {
		t.Fatalf("read %d bytes of %d", len(out), o.size)
	}
	return out
}

func mustCompose(t testing.TB, base []byte, rc recipe) []byte {
	t.Helper()
	v, err := readVolume(bytes.NewReader(base), int64(len(base)))
	if err != nil {
		t.Fatal(err)
	}
	o, err := compose(bytes.NewReader(base), v, rc, "tag")
	if err != nil {
		t.Fatal(err)
	}
	return wholeOf(t, base, o)
}

// baseImage is an image with files at random depths.
func baseImage(t testing.TB, r *rand.Rand, label string) (image []byte, files map[string][]byte) {
	t.Helper()
	files = map[string][]byte{}
	var list []isoFile
	for i := range 1 + r.IntN(60) {
		path := strings.Repeat(fmt.Sprintf("d%d/", r.IntN(4)), r.IntN(4)) + fmt.Sprintf("f%d.bin", i)
		data := make([]byte, r.IntN(5000))
		for j := range data {
			data[j] = byte(r.Uint32())
		}
		files[path] = data
		list = append(list, isoFile{path, data})
	}
	d, err := buildISO(label, list)
	if err != nil {
		t.Fatal(err)
	}
	image, err = io.ReadAll(newSection(d, d.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return image, files
}

func TestComposedImagesKeepEveryFileAndShowTheNewOnes(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		base, files := baseImage(t, r, "base")
		added := map[string][]byte{}
		var list []isoFile
		for i := range 1 + r.IntN(30) {
			path := []string{"", "openstack/latest/", "nocloud/"}[r.IntN(3)] + fmt.Sprintf("added-%d", i)
			added[path] = bytes.Repeat([]byte{byte(i + 1)}, r.IntN(9000))
			list = append(list, isoFile{path, added[path]})
		}
		out := mustCompose(t, base, recipe{label: "cidata", files: list})
		want := maps.Clone(files)
		maps.Copy(want, added)
		views := map[string]map[string][]byte{"rock ridge": readView(t, out, 16, true), "joliet": readView(t, out, 17, false)}
		// That reader mixes up the names in a directory of more than one sector; bsdtar and xorriso read those in the test module.
		if len(files)+len(list) < 12 {
			views["another reader"] = readRockRidge(t, bytes.NewReader(out))
		}
		for name, got := range views {
			if len(got) != len(want) {
				t.Errorf("seed %d, %s: %d files, want %d", seed, name, len(got), len(want))
			}
			for path, data := range want {
				if !bytes.Equal(got[path], data) {
					t.Errorf("seed %d, %s: %s differs", seed, name, path)
				}
			}
		}
		checkStructures(t, out)
		if t.Failed() {
			return
		}
	}
}

// checkStructures reads the composed image as one of its own kind and compares what it says twice.
func checkStructures(t *testing.T, image []byte) {
	t.Helper()
	v, err := readVolume(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	if v.label() != "cidata" {
		t.Errorf("label %q", v.label())
	}
	for _, h := range []*hierarchy{&v.primary, v.joliet} {
		if got := int64(binary.LittleEndian.Uint32(h.desc[80:])) * sector; got != int64(len(image)) {
			t.Errorf("volume of %d bytes, image of %d", got, len(image))
		}
		little := pathTableOf(h.paths, binary.LittleEndian)
		big := image[int(binary.BigEndian.Uint32(h.desc[148:]))*sector:][:len(little)]
		if !bytes.Equal(big, pathTableOf(h.paths, binary.BigEndian)) {
			t.Error("the two path tables differ")
		}
		for i, p := range h.paths {
			first := image[int(p.lba)*sector:]
			up := first[first[0]:]
			if binary.LittleEndian.Uint32(first[2:]) != p.lba {
				t.Errorf("directory %d of the path table does not begin with itself", i)
			}
			if binary.LittleEndian.Uint32(up[2:]) != h.paths[p.parent].lba {
				t.Errorf("directory %q names another parent than the path table", p.id)
			}
			if i > 1 && (h.paths[i-1].parent > p.parent || h.paths[i-1].parent == p.parent && bytes.Compare(h.paths[i-1].id, p.id) >= 0) {
				t.Errorf("path table out of order at %d", i)
			}
		}
	}
}

func TestComposingTouchesOnlyWhatItMust(t *testing.T) {
	base, _ := baseImage(t, rand.New(rand.NewPCG(5, 5)), "base")
	out := mustCompose(t, base, recipe{label: "cidata", files: []isoFile{{"user-data", []byte("x")}}})
	v, err := readVolume(bytes.NewReader(base), int64(len(base)))
	if err != nil {
		t.Fatal(err)
	}
	allowed := []extent{{v.primary.at, sector}, {v.joliet.at, sector}}
	for _, h := range []*hierarchy{&v.primary, v.joliet} {
		for _, e := range h.root[2:] {
			if e.dir {
				allowed = append(allowed, extent{int64(e.lba) * sector, 512})
			}
		}
	}
	for i := range base {
		if base[i] != out[i] && !slices.ContainsFunc(allowed, func(x extent) bool { return int64(i) >= x.off && int64(i) < x.off+x.length }) {
			t.Fatalf("byte %d of the image was changed", i)
		}
	}
}

func TestComposedBytesAreAFunctionOfTheirInputs(t *testing.T) {
	base, _ := baseImage(t, rand.New(rand.NewPCG(6, 6)), "base")
	v, _ := readVolume(bytes.NewReader(base), int64(len(base)))
	etags := map[string]bool{}
	for range 2 {
		for _, rc := range []recipe{{label: "cidata"}, {label: "config-2"}, {files: []isoFile{{"a", []byte("1")}}}, {files: []isoFile{{"a", []byte("2")}}}, {files: []isoFile{{"b", []byte("2")}}}} {
			o, err := compose(bytes.NewReader(base), v, rc, "tag")
			if err != nil {
				t.Fatal(err)
			}
			etags[o.etag] = true
		}
	}
	other, err := compose(bytes.NewReader(base), v, recipe{label: "cidata"}, "another image")
	if err != nil {
		t.Fatal(err)
	}
	etags[other.etag] = true
	if len(etags) != 6 {
		t.Errorf("%d entity tags for 6 media", len(etags))
	}
}

func TestTakenNamesAndDamagedImagesAreRefusedInWords(t *testing.T) {
	base, _ := baseImage(t, rand.New(rand.NewPCG(7, 7)), "base")
	d, err := buildISO("x", []isoFile{{"User-Data", []byte("theirs")}})
	if err != nil {
		t.Fatal(err)
	}
	taken, _ := io.ReadAll(newSection(d, d.Size()))
	damage := func(f func(image []byte)) []byte {
		out := bytes.Clone(base)
		f(out)
		return out
	}
	root := int(binary.LittleEndian.Uint32(base[16*sector+158:])) * sector
	for name, c := range map[string]struct {
		image []byte
		want  string
	}{
		"taken":      {taken, "has \"user-data\" at its root already"},
		"no ISO":     {make([]byte, 1<<16), "not an ISO 9660 image"},
		"short":      {base[:17*sector], "cut short"},
		"root size":  {damage(func(b []byte) { binary.LittleEndian.PutUint32(b[16*sector+166:], 1<<30) }), "its root directory has"},
		"root place": {damage(func(b []byte) { binary.LittleEndian.PutUint32(b[16*sector+158:], 1<<30) }), "damaged or cut short"},
		"record":     {damage(func(b []byte) { second := root + int(b[root]); b[second], b[second+32] = 255, 254 }), "a directory record has"},
		"path table": {damage(func(b []byte) { b[int(binary.LittleEndian.Uint32(b[16*sector+140:]))*sector] = 0 }), "path table cannot be read"},
		"udf":        {damage(func(b []byte) { copy(b[17*sector:], b[18*sector:19*sector]); copy(b[18*sector:], "\x00NSR02") }), "UDF"},
		"blocks":     {damage(func(b []byte) { binary.LittleEndian.PutUint16(b[16*sector+128:], 512) }), "blocks of 512 bytes"},
	} {
		_, err := func() (*overlay, error) {
			v, err := readVolume(bytes.NewReader(c.image), int64(len(c.image)))
			if err != nil {
				return nil, err
			}
			return compose(bytes.NewReader(c.image), v, recipe{files: []isoFile{{"user-data", nil}}}, "")
		}()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Go's usual writer of such images writes no path table; the images that it makes boot all the same.
func TestAnImageWithoutPathTableIsComposed(t *testing.T) {
	w, err := iso9660.NewWriter()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Cleanup() }()
	if err := w.AddFile(strings.NewReader("text"), "DIR/README.TXT"); err != nil {
		t.Fatal(err)
	}
	var base bytes.Buffer
	if err := w.WriteTo(&base, "LIVEIMAGE"); err != nil {
		t.Fatal(err)
	}
	if n := binary.LittleEndian.Uint32(base.Bytes()[16*sector+132:]); n != 0 {
		t.Fatalf("that writer makes a path table of %d bytes now: the case needs another one", n)
	}
	files := []isoFile{{"user-data", []byte("#cloud-config\n")}, {"nocloud/x", []byte("x")}}
	out := mustCompose(t, base.Bytes(), recipe{label: "cidata", files: files})
	got := readView(t, out, 16, false)
	for path, want := range map[string]string{"dir/readme.txt;1": "text", "user-data": "#cloud-config\n", "nocloud/x": "x"} {
		if string(got[path]) != want {
			t.Errorf("%s holds %q; there are %v", path, got[path], slices.Sorted(maps.Keys(got)))
		}
	}
}

func TestEmbedAreaIsFilledWhole(t *testing.T) {
	base, _ := baseImage(t, rand.New(rand.NewPCG(8, 8)), "base")
	off := len(base)
	base = append(base, bytes.Repeat([]byte("old"), 4096)...)
	copy(base[embedHeader:], embedMagic)
	binary.LittleEndian.PutUint64(base[embedHeader+8:], uint64(off))
	binary.LittleEndian.PutUint64(base[embedHeader+16:], 12288)
	out := mustCompose(t, base, recipe{embed: []byte("new")})
	if len(out) != len(base) || !bytes.Equal(out[:off], base[:off]) || string(bytes.TrimRight(out[off:], "\x00")) != "new" {
		t.Error("the area does not hold the new data alone")
	}
	v, _ := readVolume(bytes.NewReader(base), int64(len(base)))
	if _, err := compose(bytes.NewReader(base), v, recipe{embed: make([]byte, 12289)}, ""); err == nil || !strings.Contains(err.Error(), "needs 12289 bytes") {
		t.Errorf("too much: %v", err)
	}
}

func TestPartitionOverTheWholeImageGrowsWithIt(t *testing.T) {
	base, _ := baseImage(t, rand.New(rand.NewPCG(9, 9)), "base")
	base[510], base[511] = 0x55, 0xAA
	entry := base[446:]
	entry[4] = 0x17
	binary.LittleEndian.PutUint32(entry[12:], uint32(len(base)/512))
	out := mustCompose(t, base, recipe{files: []isoFile{{"a", []byte("1")}}})
	if got := int(binary.LittleEndian.Uint32(out[446+12:])) * 512; got != len(out) {
		t.Errorf("the partition has %d bytes, the medium %d", got, len(out))
	}
}

// FuzzReadVolume changes three words of an image, which may also be cut short.
