package bootmedia

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
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

// readRockRidge reads all files with a reader that is not ours.
func readRockRidge(t testing.TB, d io.ReaderAt) map[string][]byte {
	t.Helper()
	image, err := iso9660.OpenImage(d)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	root, err := image.RootDir()
	if err != nil {
		t.Fatalf("root: %v", err)
	}
	out := map[string][]byte{}
	var walk func(prefix string, dir *iso9660.File)
	walk = func(prefix string, dir *iso9660.File) {
		children, err := dir.GetChildren()
		if err != nil {
			t.Fatalf("children of %q: %v", prefix, err)
		}
		for _, c := range children {
			if c.IsDir() {
				walk(prefix+c.Name()+"/", c)
				continue
			}
			data, err := io.ReadAll(c.Reader())
			if err != nil {
				t.Fatalf("read %s: %v", c.Name(), err)
			}
			out[prefix+c.Name()] = data
		}
	}
	walk("", root)
	return out
}

// rockName finds the NM entry of a record's system use field.
func rockName(r []byte) string {
	use := 33 + int(r[32]) + (int(r[32])+1)%2
	for use+4 <= len(r) {
		if string(r[use:use+2]) == "NM" {
			return string(r[use+5 : use+int(r[use+2])])
		}
		use += int(r[use+2])
	}
	return ""
}

// readView walks one view by its directory records: descriptor sector 16 is the
// primary view, 17 is Joliet. It also checks what the writer must keep of
// ECMA-119 on the way.
func readView(t testing.TB, image []byte, descriptor int, rock bool) map[string][]byte {
	t.Helper()
	head := image[descriptor*sector:]
	joliet := head[0] == 2
	out := map[string][]byte{}
	var walk func(prefix string, lba, size uint32)
	walk = func(prefix string, lba, size uint32) {
		data := image[int(lba)*sector : int(lba)*sector+int(size)]
		var last []byte
		for at := 0; at < len(data); {
			n := int(data[at])
			if n == 0 {
				at = (at/sector + 1) * sector
				continue
			}
			r := data[at : at+n]
			if at/sector != (at+n-1)/sector {
				t.Fatalf("a record of %q crosses a sector", prefix)
			}
			at += n
			id := r[33 : 33+int(r[32])]
			childLBA, childSize := binary.LittleEndian.Uint32(r[2:]), binary.LittleEndian.Uint32(r[10:])
			if childLBA != binary.BigEndian.Uint32(r[6:]) || childSize != binary.BigEndian.Uint32(r[14:]) {
				t.Fatalf("byte orders differ in %q", prefix)
			}
			if len(id) == 1 && id[0] < 2 {
				continue
			}
			if bytes.Compare(last, id) >= 0 {
				t.Fatalf("directory %q is not sorted", prefix)
			}
			last = id
			name := string(id)
			if joliet {
				name = strings.ReplaceAll(name, "\x00", "")
			}
			if rock {
				name = rockName(r)
			}
			if r[25]&2 != 0 {
				walk(prefix+name+"/", childLBA, childSize)
			} else {
				out[prefix+name] = image[int(childLBA)*sector : int(childLBA)*sector+int(childSize)]
			}
		}
	}
	walk("", binary.LittleEndian.Uint32(head[158:]), binary.LittleEndian.Uint32(head[166:]))
	return out
}

func bytesOf(t testing.TB, d *Drive) []byte {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(d, 0, d.Size()))
	if err != nil || int64(len(b)) != d.Size() {
		t.Fatalf("read drive: %d of %d bytes, %v", len(b), d.Size(), err)
	}
	return b
}

func sameFiles(t testing.TB, view string, got, want map[string][]byte) {
	t.Helper()
	if !maps.EqualFunc(got, want, bytes.Equal) {
		for name, data := range want {
			if !bytes.Equal(got[name], data) {
				t.Fatalf("%s view: file %q differs (%d of %d files)", view, name, len(got), len(want))
			}
		}
		t.Fatalf("%s view has %d files, want %d", view, len(got), len(want))
	}
}

// oneSectorDirs: the foreign reader mixes up Rock Ridge names in a directory of
// more than one sector (it reuses its buffer under what it returned).
func oneSectorDirs(t testing.TB, files []isoFile) bool {
	t.Helper()
	root, err := buildTree(files, nil)
	if err != nil {
		t.Fatal(err)
	}
	v, err := newView(root, false)
	if err != nil {
		t.Fatal(err)
	}
	return !slices.ContainsFunc(v.dirs, func(d *node) bool { return v.dirSize(d) > sector })
}

func checkISO(t testing.TB, files []isoFile) {
	t.Helper()
	d, err := buildISO("cidata", files)
	if err != nil {
		t.Fatal(err)
	}
	want, plain := map[string][]byte{}, map[string][]byte{}
	for _, f := range files {
		want[f.path] = f.data
		var names []string
		for _, name := range strings.Split(f.path, "/") {
			names = append(names, string((&view{}).id(&node{name: name})))
		}
		plain[strings.Join(names, "/")] = f.data
	}
	image := bytesOf(t, d)
	if oneSectorDirs(t, files) {
		sameFiles(t, "foreign reader's", readRockRidge(t, d), want)
	}
	sameFiles(t, "Rock Ridge", readView(t, image, 16, true), want)
	sameFiles(t, "Joliet", readView(t, image, 17, false), want)
	sameFiles(t, "primary", readView(t, image, 16, false), plain)
	if got := int64(binary.LittleEndian.Uint32(image[16*sector+80:])) * sector; got != d.Size() {
		t.Fatalf("volume says %d bytes, is %d", got, d.Size())
	}
	rand.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	again, err := buildISO("cidata", files)
	if err != nil || again.ETag() != d.ETag() || !bytes.Equal(bytesOf(t, again), image) {
		t.Fatalf("the order of the files shows (%v)", err)
	}
}

func TestRandomFileSetsReadBack(t *testing.T) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789._-"
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 7))
		name := func() string {
			out := make([]byte, 1+r.IntN([]int{4, 12, maxName}[r.IntN(3)]))
			for i := range out {
				out[i] = letters[r.IntN(len(letters))]
			}
			return string(out)
		}
		dirs, taken := []string{""}, map[string]bool{".": true, "..": true}
		var files []isoFile
		for range r.IntN([]int{12, 60}[seed%2]) {
			n := name()
			prefix := dirs[r.IntN(len(dirs))]
			if taken[prefix+n] || n == "." || n == ".." {
				continue
			}
			taken[prefix+n] = true
			if r.IntN(4) == 0 && strings.Count(prefix, "/") < maxDepth-2 {
				dirs = append(dirs, prefix+n+"/")
				n += "/" + name()
				if taken[prefix+n] || strings.HasSuffix(n, "/.") || strings.HasSuffix(n, "/..") {
					continue
				}
				taken[prefix+n] = true
			}
			data := make([]byte, r.IntN([]int{1, 100, sector + 2, 5 * sector}[r.IntN(4)]))
			for i := range data {
				data[i] = byte(r.Uint32())
			}
			files = append(files, isoFile{prefix + n, data})
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) { checkISO(t, files) })
	}
}

// The golden digests hold the bytes of each kind of drive still: a replica of
// another version must serve what this one began, so a change here is a change
// of what running machines see, and needs a reason.
func TestDrivesAreFrozen(t *testing.T) {
	content := Content{
		InstanceID: "beskar7-0123456789abcdef", Hostname: "cp-0", ProviderID: "beskar7://default/host-1/0123456789abcdef", FailureDomain: "rack-1",
		UserData: []byte("#cloud-config\nruncmd: [echo]\n"), PhoneHomeURL: "https://192.0.2.1:8443/p/key", NetworkData: []byte(`{"version": 2}`),
	}
	for f, want := range map[Family]string{
		FamilyGeneric: "773067308e0b5250d208848db69dae54d8d2324d233d9ccb34a85ba6e192d45e", FamilyTalos: "941b46fe5690797bfda131d33c41593ef8e8255af5c12b5196075d09d4d9cce8", FamilyFlatcar: "b492b9f4ed7944c53c388ec1729c8f22e0b836b709c962f56f497cd23c639524",
	} {
		content.Family = f
		if f == FamilyFlatcar {
			content.NetworkData = []byte(`{"network_data.json":"{\"version\": 2}"}`)
		} else {
			content.NetworkData = []byte(`{"version": 2}`)
		}
		d, err := ConfigDrive(content)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(bytesOf(t, d))
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("drive of %s: sha256 %s, want %s", f, got, want)
		}
	}
}

func TestISORefuses(t *testing.T) {
	for name, files := range map[string][]isoFile{
		"space":     {{"a b", nil}},
		"twice":     {{"a", nil}, {"a", nil}},
		"file, dir": {{"a", nil}, {"a/b", nil}},
		"dir, file": {{"a/b", nil}, {"a", nil}},
		"deep":      {{"1/2/3/4/5/6/7/8/9", nil}},
		"empty":     {{"", nil}},
		"up":        {{"../a", nil}},
		"long":      {{strings.Repeat("x", maxName+1), nil}},
	} {
		if _, err := buildISO("cidata", files); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := buildISO("no spaces", nil); err == nil {
		t.Error("label accepted")
	}
}

func TestDriveReadsAnywhere(t *testing.T) {
	d, err := buildISO("cidata", []isoFile{{"a", bytes.Repeat([]byte("x"), 3000)}, {"b", []byte("y")}})
	if err != nil {
		t.Fatal(err)
	}
	whole := bytesOf(t, d)
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		off := r.Int64N(d.Size() + 10)
		p := bytes.Repeat([]byte{0xAA}, r.IntN(9000))
		n, err := d.ReadAt(p, off)
		want := whole[min(off, d.Size()):min(off+int64(len(p)), d.Size())]
		if !bytes.Equal(p[:n], want) || (n < len(p)) != errors.Is(err, io.EOF) {
			if len(p) > 0 || off < d.Size() {
				t.Fatalf("ReadAt(%d, %d) = %d, %v", len(p), off, n, err)
			}
		}
	}
	if _, err := d.ReadAt(nil, -1); err == nil {
		t.Error("negative offset accepted")
	}
}

func FuzzISOContent(f *testing.F) {
	f.Add("user-data", 14, 2048)
	f.Add("openstack/latest/user_data", 0, 2049)
	f.Fuzz(func(t *testing.T, path string, a, b int) {
		if a < 0 || b < 0 || a > 1<<20 || b > 1<<20 {
			return
		}
		files := []isoFile{{path, bytes.Repeat([]byte{1}, a)}, {"meta-data", bytes.Repeat([]byte{2}, b)}}
		if _, err := buildISO("cidata", files); err != nil {
			return
		}
		checkISO(t, files)
	})
}
