package bootmedia

import (
	"encoding/binary"
	"strings"
)

// stamp7 is the one time on a drive, 2000-01-01 00:00:00 UTC, in the 7-byte form
// of directory records; stamp17 is the form of volume descriptors. The clock
// must not show: replicas build the same medium at different times.
var (
	stamp7  = []byte{100, 1, 1, 0, 0, 0, 0}
	stamp17 = append([]byte("2000010100000000"), 0)
)

// File modes in Rock Ridge. Bootstrap data is for root, also on a machine that
// leaves the drive mounted.
const (
	modeFile = 0o100400
	modeDir  = 0o040555
)

// rockDot is the system use field of a directory's own entry. That of the root
// announces the extensions (SUSP SP and ER).
func (v *view) rockDot(d *node) []byte {
	if v.joliet || v.bare {
		return nil
	}
	if d.parent != d {
		return v.rockNode(d)
	}
	const id = "RRIP_1991A"
	out := []byte{'S', 'P', 7, 1, 0xBE, 0xEF, 0}
	out = append(out, v.rockNode(d)...)
	out = append(out, 'E', 'R', 8+byte(len(id)), 1, byte(len(id)), 0, 0, 1)
	return append(out, id...)
}

// rockChild is the system use field of an entry with a name.
func (v *view) rockChild(n *node) []byte {
	if v.joliet || v.bare {
		return nil
	}
	out := append(v.rockNode(n), 'N', 'M', 5+byte(len(n.name)), 1, 0)
	return append(out, n.name...)
}

// pxLength is that of a PX entry in RRIP 1.09.
const pxLength = 36

// rockNode holds mode and times (PX, TF).
func (v *view) rockNode(n *node) []byte {
	if v.joliet || v.bare {
		return nil
	}
	mode, links := uint32(modeFile), uint32(1)
	if n.dir {
		mode, links = modeDir, 2
		for _, c := range n.children {
			if c.dir {
				links++
			}
		}
	}
	fields := []uint32{mode, links, 0, 0}
	length := byte(pxLength)
	if v.serial {
		fields, length = append(fields, v.address(n)), pxLength+8
	}
	out := append(make([]byte, v.skip), 'P', 'X', length, 1)
	for _, f := range fields {
		out = both32(out, f)
	}
	const modified, accessed, changed = 2, 4, 8
	out = append(out, 'T', 'F', 5+3*7, 1, modified|accessed|changed)
	for range 3 {
		out = append(out, stamp7...)
	}
	return out
}

// address is the first sector of a node in this view.
func (v *view) address(n *node) uint32 {
	if n.dir {
		return v.lba[n]
	}
	return n.lba
}

// descriptor renders a volume descriptor (ECMA-119 8.4 and 8.5).
func (v *view) descriptor(out []byte, label string, volumeSectors uint32) {
	kind := byte(1)
	if v.joliet {
		kind = 2
		copy(out[88:], "%/E") // UCS-2 level 3
	}
	copy(out, []byte{kind, 'C', 'D', '0', '0', '1', 1})
	v.text(out[8:40], "")
	v.text(out[40:72], label)
	copy(out[80:], both32(nil, volumeSectors))
	copy(out[120:], both16(nil, 1)) // volumes in the set
	copy(out[124:], both16(nil, 1)) // this one
	copy(out[128:], both16(nil, sector))
	copy(out[132:], both32(nil, uint32(len(v.pathTable(binary.LittleEndian)))))
	binary.LittleEndian.PutUint32(out[140:], v.lTable)
	binary.BigEndian.PutUint32(out[148:], v.mTable)
	root := v.dirs[0]
	copy(out[156:190], v.record([]byte{0}, root, nil))
	for _, field := range [][2]int{{190, 318}, {318, 446}, {446, 574}, {574, 702}, {702, 739}, {739, 776}, {776, 813}} {
		v.text(out[field[0]:field[1]], "")
	}
	copy(out[813:], stamp17) // created
	copy(out[830:], stamp17) // modified
	copy(out[847:], never)   // expires
	copy(out[864:], never)   // effective
	out[881] = 1             // file structure version
}

// never is an unset time in a volume descriptor: digits zero, zone zero.
var never = append([]byte(strings.Repeat("0", 16)), 0)

// text fills a field of a descriptor, padded with spaces of the view's coding.
// An odd last byte of a Joliet field stays zero.
func (v *view) text(field []byte, s string) {
	if !v.joliet {
		copy(field, s+strings.Repeat(" ", len(field)-len(s)))
		return
	}
	copy(field, ucs2(s+strings.Repeat(" ", len(field)/2-len(s))))
}
