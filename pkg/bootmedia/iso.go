package bootmedia

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// A small ISO 9660 writer for config drives. It exists because a medium must be
// the same on every replica, and the writers at hand stamp the clock into it
// and offer no Joliet names. It writes three views of one set of files:
// the primary one (ECMA-119 with relaxed, lower-case names, so that a reader
// without any extension still sees "user-data"), Rock Ridge (RRIP 1.09, which
// Linux prefers) and Joliet (level 3).

const (
	sector = 2048
	// tailSectors pads the end: drives and kernels read ahead past the last
	// file, and some report an error when the medium ends there.
	tailSectors = 150
	// maxName is Joliet's limit on a name, in characters.
	maxName = 64
	// maxPrimaryName keeps names of the primary view within ISO 9660 level 2.
	maxPrimaryName = 30
	// maxDepth is ECMA-119's limit on directory levels, the root included.
	maxDepth = 8
	// maxFileBytes is the limit of one extent, less than 4 GiB.
	maxFileBytes = 1<<32 - sector
)

// isoFile is one file of a drive. Elements of its path are separated by "/".
type isoFile struct {
	path string
	data []byte
}

// node is a file or directory in the tree that all views share.
type node struct {
	name     string
	parent   *node // the root is its own parent, as on the disc
	dir      bool
	children []*node
	data     []byte
	sum      string // of a file whose data may be withheld; empty: of data
	lba      uint32 // of a file's data; a directory has one per view
}

// buildISO makes a volume of the files. Equal arguments give equal bytes,
// whatever the order of files. Names are limited to letters, digits, ".", "_"
// and "-", so no view has to change one.
func buildISO(label string, files []isoFile) (*Drive, error) {
	return buildVolume(label, files, nil)
}

// buildVolume is buildISO for files whose data may be withheld: sums has what
// stands for them in the entity tag, by path.
func buildVolume(label string, files []isoFile, sums map[string]string) (*Drive, error) {
	if len(label) == 0 || len(label) > 16 || !validName(label) {
		return nil, fmt.Errorf("volume label %q: 1 to 16 letters, digits, '.', '_' or '-' wanted", label)
	}
	root, err := buildTree(files, sums)
	if err != nil {
		return nil, err
	}
	primary, err := newView(root, false)
	if err != nil {
		return nil, err
	}
	joliet, err := newView(root, true)
	if err != nil {
		return nil, err
	}
	// 16 sectors system area, two volume descriptors, the terminator.
	next := primary.place(joliet.placeTables(primary.placeTables(19)))
	next = joliet.place(next)
	headerEnd := next
	parts := []part{{}}
	for _, n := range allFiles(root) {
		n.lba = next
		if len(n.data) > 0 {
			parts = append(parts, part{off: int64(next) * sector, data: n.data, file: true, sum: n.sum})
			next += sectors(len(n.data))
		}
	}
	next += tailSectors

	header := make([]byte, int(headerEnd)*sector)
	primary.descriptor(header[16*sector:17*sector], label, next)
	joliet.descriptor(header[17*sector:18*sector], label, next)
	copy(header[18*sector:], []byte{255, 'C', 'D', '0', '0', '1', 1})
	for _, v := range []*view{primary, joliet} {
		copy(header[int(v.lTable)*sector:], v.pathTable(binary.LittleEndian))
		copy(header[int(v.mTable)*sector:], v.pathTable(binary.BigEndian))
		for _, d := range v.dirs {
			copy(header[int(v.lba[d])*sector:], v.dirData(d))
		}
	}
	parts[0].data = header
	return newDrive(int64(next)*sector, parts), nil
}

func sectors(n int) uint32 { return uint32((n + sector - 1) / sector) }

func buildTree(files []isoFile, sums map[string]string) (*node, error) {
	root := &node{dir: true}
	root.parent = root
	for _, f := range files {
		if int64(len(f.data)) > maxFileBytes {
			return nil, fmt.Errorf("file %q: %d bytes are too many for one extent", f.path, len(f.data))
		}
		names := strings.Split(f.path, "/")
		if len(names) > maxDepth {
			return nil, fmt.Errorf("file %q: more than %d levels", f.path, maxDepth)
		}
		dir := root
		for i, name := range names {
			if !validName(name) {
				return nil, fmt.Errorf("file %q: name %q has characters other than letters, digits, '.', '_', '-', or is too long", f.path, name)
			}
			last := i == len(names)-1
			at := slices.IndexFunc(dir.children, func(c *node) bool { return c.name == name })
			if at >= 0 && (last || !dir.children[at].dir) {
				return nil, fmt.Errorf("file %q: name %q is taken", f.path, name)
			}
			if at < 0 {
				dir.children = append(dir.children, &node{name: name, parent: dir, dir: !last})
				at = len(dir.children) - 1
			}
			dir = dir.children[at]
		}
		dir.data, dir.sum = f.data, sums[f.path]
	}
	return root, nil
}

func validName(s string) bool {
	if s == "" || s == "." || s == ".." || len(s) > maxName {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// allFiles lists the files in the order in which their data lies on the disc:
// by name, so the order of the caller does not show.
func allFiles(d *node) []*node {
	var out []*node
	kids := slices.Clone(d.children)
	slices.SortFunc(kids, func(a, b *node) int { return strings.Compare(a.name, b.name) })
	for _, c := range kids {
		if c.dir {
			out = append(out, allFiles(c)...)
		} else {
			out = append(out, c)
		}
	}
	return out
}

// view is one of the two directory hierarchies of a volume.
type view struct {
	joliet         bool
	dirs           []*node // breadth first: the order of the path table
	kids           map[*node][]*node
	lba            map[*node]uint32
	lTable, mTable uint32
	// rootSize, when set, is the length of a root directory that has more in it
	// than the nodes of this view.
	rootSize uint32
	// bare: no Rock Ridge. serial: its PX entries end in a serial number. skip:
	// bytes that SUSP readers skip in each record.
	bare, serial bool
	skip         int
}

func newView(root *node, joliet bool) (*view, error) {
	v := &view{joliet: joliet, kids: map[*node][]*node{}, lba: map[*node]uint32{}, dirs: []*node{root}}
	for i := 0; i < len(v.dirs); i++ {
		d := v.dirs[i]
		kids := slices.Clone(d.children)
		slices.SortFunc(kids, func(a, b *node) int { return bytes.Compare(v.id(a), v.id(b)) })
		for j, c := range kids {
			if j > 0 && bytes.Equal(v.id(kids[j-1]), v.id(c)) {
				return nil, fmt.Errorf("names %q and %q cannot be told apart", kids[j-1].name, c.name)
			}
			if c.dir {
				v.dirs = append(v.dirs, c)
			}
		}
		v.kids[d] = kids
	}
	return v, nil
}

// id is the identifier of a node in the directory records of this view.
func (v *view) id(n *node) []byte {
	if v.joliet {
		return ucs2(n.name)
	}
	if len(n.name) <= maxPrimaryName {
		return []byte(n.name)
	}
	sum := sha256.Sum256([]byte(n.name))
	return []byte(n.name[:20] + "_" + hex.EncodeToString(sum[:4]))
}

func ucs2(s string) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		out = binary.BigEndian.AppendUint16(out, u)
	}
	return out
}

func (v *view) placeTables(next uint32) uint32 {
	n := sectors(len(v.pathTable(binary.LittleEndian)))
	v.lTable, v.mTable = next, next+n
	return next + 2*n
}

func (v *view) place(next uint32) uint32 {
	for _, d := range v.dirs {
		v.lba[d] = next
		next += sectors(len(v.dirData(d)))
	}
	return next
}

// byteOrder is what the two path tables differ in.
type byteOrder interface {
	AppendUint16([]byte, uint16) []byte
	AppendUint32([]byte, uint32) []byte
}

func (v *view) pathTable(order byteOrder) []byte {
	number := map[*node]uint16{}
	var out []byte
	for i, d := range v.dirs {
		number[d] = uint16(i + 1)
		id := []byte{0}
		if d.parent != d {
			id = v.id(d)
		}
		out = append(out, byte(len(id)), 0)
		out = order.AppendUint32(out, v.lba[d])
		out = order.AppendUint16(out, number[d.parent])
		out = append(out, id...)
		if len(id)%2 == 1 {
			out = append(out, 0)
		}
	}
	return out
}

// dirData renders a directory. No record crosses a sector, as ECMA-119 asks,
// and its length does not depend on any address: it may be asked for before
// the addresses are known.
func (v *view) dirData(d *node) []byte {
	records := [][]byte{
		v.record([]byte{0}, d, v.rockDot(d)),
		v.record([]byte{1}, d.parent, v.rockNode(d.parent)),
	}
	for _, c := range v.kids[d] {
		records = append(records, v.record(v.id(c), c, v.rockChild(c)))
	}
	var out []byte
	for _, r := range records {
		if room := sector - len(out)%sector; len(r) > room {
			out = append(out, make([]byte, room)...)
		}
		out = append(out, r...)
	}
	return append(out, make([]byte, (sector-len(out)%sector)%sector)...)
}

// record is a directory record (ECMA-119 9.1) with its system use field.
func (v *view) record(id []byte, n *node, use []byte) []byte {
	lba, size, flags := n.lba, uint32(len(n.data)), byte(0)
	if n.dir {
		lba, size, flags = v.lba[n], v.dirSize(n), 2
	}
	out := []byte{0, 0}
	out = both32(out, lba)
	out = both32(out, size)
	out = append(out, stamp7...)
	out = append(out, flags, 0, 0)
	out = both16(out, 1)
	out = append(out, byte(len(id)))
	out = append(out, id...)
	if len(id)%2 == 0 {
		out = append(out, 0)
	}
	out = append(out, use...)
	if len(out)%2 == 1 {
		out = append(out, 0)
	}
	out[0] = byte(len(out))
	return out
}

// dirSize adds up record lengths without rendering, since rendering a directory
// asks for the sizes of its parent and children.
func (v *view) dirSize(d *node) uint32 {
	if d.parent == d && v.rootSize > 0 {
		return v.rootSize
	}
	total := 0
	add := func(idLen, useLen int) {
		n := 33 + idLen + (idLen+1)%2 + useLen
		n += n % 2
		if room := sector - total%sector; n > room {
			total += room
		}
		total += n
	}
	add(1, len(v.rockDot(d)))
	add(1, len(v.rockNode(d.parent)))
	for _, c := range v.kids[d] {
		add(len(v.id(c)), len(v.rockChild(c)))
	}
	return sectors(total) * sector
}

func both16(out []byte, n uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.LittleEndian.AppendUint16(out, n), n)
}

func both32(out []byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.LittleEndian.AppendUint32(out, n), n)
}
