package bootmedia

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// overlay is what a composed medium has beside its base image: bytes that stand
// in place of the image's own, and a tail behind them. It is immutable.
type overlay struct {
	base  int64  // size of the image
	size  int64  // of the composed medium
	parts []part // ascending, not overlapping; behind base, zeros between them
	etag  string
}

// recipe is what is to be laid over an image.
type recipe struct {
	label string // empty: the image keeps its own
	files []isoFile
	embed []byte // for the image's embed area; nil leaves it alone
	// sums of files, by path, and of embed stand for data that may be withheld.
	sums     map[string]string
	embedSum string
}

// compose computes the overlay that makes an image carry what the recipe says.
// No file of the image is touched: the volume descriptors point to a new root
// directory and new path tables behind the image, where the new files are, too.
// It reads a few sectors of the image and is a pure function of image and
// recipe; tag stands for the image in the entity tag. Errors are for a person.
func compose(r io.ReaderAt, v *volume, rc recipe, tag string) (*overlay, error) {
	if v.udf {
		return nil, errors.New("the image has a UDF file system beside ISO 9660, and a system that reads that one would not see what is added")
	}
	c := composer{r: r, v: v, next: sectors64(v.size)}
	for _, h := range c.hierarchies() {
		desc := bytes.Clone(h.desc)
		forgetSum(desc)
		if err := c.add(desc, h.at); err != nil {
			return nil, err
		}
	}
	if len(rc.files) > 0 {
		if err := c.addFiles(rc.files, rc.sums); err != nil {
			return nil, err
		}
	}
	if rc.label != "" {
		c.relabel(rc.label)
	}
	if rc.embed != nil {
		if err := c.fill(rc.embed, rc.embedSum); err != nil {
			return nil, err
		}
	}
	return c.finish(tag)
}

// composer collects the parts of one overlay.
type composer struct {
	r     io.ReaderAt
	v     *volume
	next  uint32 // first free sector behind the image
	parts []part
}

func sectors64(n int64) uint32 { return uint32((n + sector - 1) / sector) }

func (c *composer) hierarchies() []*hierarchy {
	if c.v.joliet == nil {
		return []*hierarchy{&c.v.primary}
	}
	return []*hierarchy{&c.v.primary, c.v.joliet}
}

var errAcrossEnd = errors.New("the image is damaged: a structure lies across its end")

func (c *composer) add(data []byte, off int64) error {
	if off < c.v.size && int64(len(data)) > c.v.size-off {
		return errAcrossEnd
	}
	c.parts = append(c.parts, part{off: off, data: data})
	return nil
}

// descriptor is the patched copy of a hierarchy's volume descriptor.
func (c *composer) descriptor(h *hierarchy) []byte {
	i := slices.IndexFunc(c.parts, func(p part) bool { return p.off == h.at })
	return c.parts[i].data
}

func (c *composer) relabel(label string) {
	for _, h := range c.hierarchies() {
		view := &view{joliet: h == c.v.joliet}
		view.text(c.descriptor(h)[40:72], label)
	}
}

// addFiles places directories, path tables and data of the new files behind the
// image, and points to them.
func (c *composer) addFiles(files []isoFile, sums map[string]string) error {
	tree, err := buildTree(files, sums)
	if err != nil {
		return err
	}
	for _, n := range tree.children {
		for _, h := range c.hierarchies() {
			if _, taken := findEntry(h.root, n.name, true); taken {
				return fmt.Errorf("the image has %q at its root already, which is where its system looks for bootstrap data: "+
					"remove it from the image, or use osFamily none if its data is built in", n.name)
			}
		}
	}
	var trees []*grafted
	for _, h := range c.hierarchies() {
		g, err := c.graft(h, tree)
		if err != nil {
			return err
		}
		trees = append(trees, g)
	}
	for _, n := range allFiles(tree) {
		n.lba = c.next
		c.next += sectors(len(n.data))
		if len(n.data) > 0 {
			c.parts = append(c.parts, part{off: int64(n.lba) * sector, data: n.data, file: true, sum: n.sum})
		}
	}
	c.next += tailSectors
	for _, g := range trees {
		if err := c.write(g); err != nil {
			return err
		}
	}
	return c.extendPartitions()
}

// grafted is a hierarchy of the image with new files in it, after its places
// are known and before it is written.
type grafted struct {
	h              *hierarchy
	view           *view // of the new nodes; its root stands for the image's
	root           *node
	paths          []pathEntry
	lTable, mTable uint32
}

func (c *composer) graft(h *hierarchy, tree *node) (*grafted, error) {
	joliet := h == c.v.joliet
	view, err := newView(tree, joliet)
	if err != nil {
		return nil, err
	}
	view.bare, view.serial, view.skip = !joliet && !c.v.rock, c.v.serial, c.v.skip
	g := &grafted{h: h, view: view, root: tree}
	view.rootSize = uint32(len(g.rootData()))
	for _, d := range view.dirs {
		view.lba[d] = c.next
		c.next += view.dirSize(d) / sector
	}
	if g.paths, err = g.mergePaths(); err != nil {
		return nil, err
	}
	n := sectors(len(pathTableOf(g.paths, binary.LittleEndian)))
	g.lTable, g.mTable = c.next, c.next+n
	c.next += 2 * n
	return g, nil
}

// rootData renders the image's root directory with the new entries between its
// own, in the order of identifiers.
func (g *grafted) rootData() []byte {
	var out []byte
	put := func(r []byte) {
		if room := sector - len(out)%sector; len(r) > room {
			out = append(out, make([]byte, room)...)
		}
		out = append(out, r...)
	}
	type record struct{ id, raw []byte }
	var records []record
	for _, e := range g.h.root[2:] {
		records = append(records, record{e.id, e.raw})
	}
	for _, n := range g.view.kids[g.root] {
		records = append(records, record{g.view.id(n), g.view.record(g.view.id(n), n, g.view.rockChild(n))})
	}
	// Stable: the records of a file in several extents share an identifier.
	slices.SortStableFunc(records, func(a, b record) int { return bytes.Compare(a.id, b.id) })
	for _, e := range g.h.root[:2] {
		raw := bytes.Clone(e.raw)
		g.point(raw)
		put(raw)
	}
	for _, r := range records {
		put(r.raw)
	}
	return append(out, make([]byte, (sector-len(out)%sector)%sector)...)
}

// point makes a directory record that stands for the root point to the new one.
func (g *grafted) point(record []byte) {
	copy(record[2:], both32(nil, g.view.lba[g.root]))
	copy(record[10:], both32(nil, g.view.rootSize))
}

// mergePaths adds the new directories to the image's path table, and gives it
// the order that ECMA-119 asks for: by level, number of the parent, identifier. An image without a table gets none: one that lacks
// the image's own directories would be worse.
func (g *grafted) mergePaths() ([]pathEntry, error) {
	if len(g.h.paths) == 0 {
		return nil, nil
	}
	type dir struct {
		pathEntry
		kids []int
	}
	all := make([]dir, 0, len(g.h.paths)+len(g.view.dirs))
	add := func(e pathEntry) int {
		all = append(all, dir{pathEntry: e})
		if n := len(all) - 1; n > 0 {
			all[e.parent].kids = append(all[e.parent].kids, n)
		}
		return len(all) - 1
	}
	for _, e := range g.h.paths {
		add(e)
	}
	all[0].lba = g.view.lba[g.root]
	number := map[*node]int{g.root: 0}
	for _, d := range g.view.dirs[1:] {
		number[d] = add(pathEntry{id: g.view.id(d), lba: g.view.lba[d], parent: number[d.parent]})
	}
	if len(all) > 0xffff {
		return nil, errors.New("the image has more directories than a path table can number")
	}
	out := []pathEntry{all[0].pathEntry}
	for i, at := 0, []int{0}; i < len(at); i++ {
		kids := all[at[i]].kids
		slices.SortStableFunc(kids, func(a, b int) int { return bytes.Compare(all[a].id, all[b].id) })
		for _, k := range kids {
			at = append(at, k)
			out = append(out, pathEntry{id: all[k].id, lba: all[k].lba, parent: i})
		}
	}
	return out, nil
}

func pathTableOf(paths []pathEntry, order byteOrder) []byte {
	var out []byte
	for _, p := range paths {
		out = append(out, byte(len(p.id)), 0)
		out = order.AppendUint32(out, p.lba)
		out = order.AppendUint16(out, uint16(p.parent+1))
		out = append(out, p.id...)
		if len(p.id)%2 == 1 {
			out = append(out, 0)
		}
	}
	return out
}

// write adds the parts of a grafted hierarchy, now that all addresses are known.
func (c *composer) write(g *grafted) error {
	little, big := pathTableOf(g.paths, binary.LittleEndian), pathTableOf(g.paths, binary.BigEndian)
	if len(little) > 0 {
		c.parts = append(c.parts, part{off: int64(g.lTable) * sector, data: little}, part{off: int64(g.mTable) * sector, data: big})
	}
	c.parts = append(c.parts, part{off: int64(g.view.lba[g.root]) * sector, data: g.rootData()})
	for _, d := range g.view.dirs[1:] {
		c.parts = append(c.parts, part{off: int64(g.view.lba[d]) * sector, data: g.view.dirData(d)})
	}
	desc := c.descriptor(g.h)
	copy(desc[80:], both32(nil, c.next))
	copy(desc[132:], both32(nil, uint32(len(little))))
	binary.LittleEndian.PutUint32(desc[140:], g.lTable)
	binary.BigEndian.PutUint32(desc[148:], g.mTable)
	clear(desc[144:148]) // the optional second tables are the image's own, and now wrong
	clear(desc[152:156])
	g.point(desc[156:190])
	return c.repoint(g)
}

// repoint has the directories in the image's root name the new root as parent.
func (c *composer) repoint(g *grafted) error {
	for _, e := range g.h.root[2:] {
		if !e.dir || e.size == 0 {
			continue
		}
		first, err := readFull(c.r, c.v.size, int64(e.lba)*sector, sector)
		if err != nil {
			return err
		}
		n := int(first[0])
		if n < 34 || n+34 > sector || first[n] < 34 || !bytes.Equal(first[n+32:n+34], []byte{1, 1}) {
			return fmt.Errorf("the image is damaged: its directory %q does not begin as one", plain(e.name))
		}
		patch := slices.Concat(both32(nil, g.view.lba[g.root]), both32(nil, g.view.rootSize))
		if err := c.add(patch, int64(e.lba)*sector+int64(n)+2); err != nil {
			return err
		}
	}
	return nil
}

// extendPartitions: a hybrid image has an MBR partition over all of itself. A
// system that was given the medium as a disk may look for the label there.
func (c *composer) extendPartitions() error {
	mbr, err := readFull(c.r, c.v.size, 0, 512)
	if err != nil {
		return err
	}
	if mbr[510] != 0x55 || mbr[511] != 0xAA {
		return nil
	}
	for i := range 4 {
		p := mbr[446+16*i : 462+16*i]
		start, blocks := int64(binary.LittleEndian.Uint32(p[8:])), int64(binary.LittleEndian.Uint32(p[12:]))
		const protective = 0xEE
		if start != 0 || p[4] == protective || p[4] == 0 && blocks == 0 || blocks < c.v.size/512/2 {
			continue
		}
		blocks = min(int64(c.next)*(sector/512), 1<<32-1)
		if err := c.add(binary.LittleEndian.AppendUint32(nil, uint32(blocks)), int64(446+16*i+12)); err != nil {
			return err
		}
	}
	return nil
}

// maxEmbedBytes is far above the 256 KiB that CoreOS images reserve.
const maxEmbedBytes = 16 << 20

// fill replaces the whole embed area, so that nothing of an earlier content is
// left. An image may name a large area: its rest takes no memory.
func (c *composer) fill(data []byte, sum string) error {
	area := c.v.embed
	switch {
	case area.length == 0:
		return errors.New("the image has no embed area for an Ignition config")
	case area.length > maxEmbedBytes:
		return fmt.Errorf("the image is damaged: it names an embed area of %d bytes", area.length)
	case int64(len(data)) > area.length:
		return fmt.Errorf("the bootstrap data needs %d bytes in the image's embed area, which has %d: make it smaller, for example by fetching files instead of carrying them", len(data), area.length)
	}
	if area.off < c.v.size && area.length > c.v.size-area.off {
		return errAcrossEnd
	}
	c.parts = append(c.parts, part{off: area.off, data: data, file: true, sum: sum})
	for at := int64(len(data)); at < area.length; at += int64(len(zeroSlab)) {
		c.parts = append(c.parts, part{off: area.off + at, data: zeroes(int(min(area.length-at, int64(len(zeroSlab)))))})
	}
	return nil
}
