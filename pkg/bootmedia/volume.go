package bootmedia

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf16"
)

// A reader for as much of an ISO 9660 image (ECMA-119, Joliet, SUSP and Rock
// Ridge) as composing needs: its descriptors, its path tables and its root
// directory. The image is a stranger's: every length is checked before it is
// used, and nothing is read that could be large.

const (
	// maxDescriptors bounds the volume descriptor sequence; real ones have up to six.
	maxDescriptors = 64
	// maxDirectoryBytes and maxPathTableBytes bound what is read of one image:
	// installation images stay below 100 KiB and 1 MiB.
	maxDirectoryBytes = 1 << 20
	maxPathTableBytes = 4 << 20
)

// volume is what was read of an image.
type volume struct {
	size    int64 // of the image in bytes
	primary hierarchy
	joliet  *hierarchy // nil: the image has no Joliet view
	// rock tells whether the primary view has Rock Ridge; skip is the number of
	// bytes that SUSP has readers skip in every record but the root's first.
	rock bool
	skip int
	// serial tells whether PX entries end in a serial number, as since RRIP 1.12;
	// strict readers want all of an image's to be of one version.
	serial bool
	// udf tells whether the image has a UDF file system beside.
	udf bool
	// embed is the area that CoreOS images reserve for an Ignition config.
	embed extent
}

// extent is a run of bytes in the image; the zero value is none.
type extent struct{ off, length int64 }

// hierarchy is one of the two directory trees of a volume.
type hierarchy struct {
	at    int64  // offset of its volume descriptor
	desc  []byte // the descriptor, one sector
	root  []dirRecord
	paths []pathEntry
}

// dirRecord is a directory record as it stands in the image.
type dirRecord struct {
	raw  []byte
	id   []byte
	name string // by Rock Ridge, Joliet, or the identifier without version
	lba  uint32
	size uint32
	dir  bool
	// multi: the file goes on in the next record. Those of 4 GiB and more do.
	multi bool
}

// pathEntry is a record of a path table. parent counts from 0.
type pathEntry struct {
	id     []byte
	lba    uint32
	parent int
}

// readVolume reads the structures of an image of size bytes. Errors are for a
// person; what was read until then is returned with them.
func readVolume(r io.ReaderAt, size int64) (*volume, error) {
	v := &volume{size: size}
	if err := v.readDescriptors(r); err != nil {
		return v, err
	}
	if err := v.readEmbedArea(r); err != nil {
		return v, err
	}
	if err := v.primary.read(r, v, false); err != nil {
		return v, err
	}
	if v.joliet != nil {
		if err := v.joliet.read(r, v, true); err != nil {
			return v, fmt.Errorf("joliet: %w", err)
		}
	}
	return v, v.findEmbedArea(r)
}

// readFull reads exactly what was asked for, within the image.
func readFull(r io.ReaderAt, size, off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > size || n > size-off {
		return nil, fmt.Errorf("the image is damaged or cut short: it names bytes %d to %d, and has %d", off, off+n, size)
	}
	out := make([]byte, n)
	if got, err := r.ReadAt(out, off); errors.Is(err, errScattered) {
		return nil, err
	} else if int64(got) < n {
		return nil, &readError{err}
	}
	return out, nil
}

// readError is a failure to read, which says nothing about the image.
type readError struct{ err error }

func (e *readError) Error() string { return "read image: " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

func isReadError(err error) bool {
	_, ok := errors.AsType[*readError](err)
	return ok
}

func onlyReadError(err error) error {
	if isReadError(err) {
		return err
	}
	return nil
}

func (v *volume) readDescriptors(r io.ReaderAt) error {
	at := int64(pvdSector * sector)
	ended := false
	for range maxDescriptors {
		d, err := readFull(r, v.size, at, sector)
		if isReadError(err) {
			return err
		}
		if err != nil {
			break // what follows the last descriptor of a short image
		}
		standard := string(d[1:6])
		switch {
		case standard == "NSR02" || standard == "NSR03":
			v.udf = true
		case standard != "CD001" && standard != "BEA01" && standard != "TEA01" && standard != "BOOT2":
			return v.checkDescriptors()
		case ended || standard != "CD001":
		case d[0] == 1 && v.primary.desc == nil:
			v.primary.at, v.primary.desc = at, d
		case d[0] == 2 && v.joliet == nil && isJoliet(d):
			v.joliet = &hierarchy{at: at, desc: d}
		case d[0] == 255:
			ended = true
		}
		at += sector
	}
	return v.checkDescriptors()
}

func (v *volume) checkDescriptors() error {
	if v.primary.desc == nil {
		return errNotISO
	}
	for _, h := range []*hierarchy{&v.primary, v.joliet} {
		if h != nil && binary.LittleEndian.Uint16(h.desc[128:]) != sector {
			return fmt.Errorf("the image has blocks of %d bytes, and only 2048 are in use on discs", binary.LittleEndian.Uint16(h.desc[128:]))
		}
	}
	return nil
}

// pvdSector is where the volume descriptors begin.
const pvdSector = 16

// isJoliet: the escape sequences of UCS-2 level 1, 2 and 3.
func isJoliet(d []byte) bool {
	return slices.ContainsFunc([]string{"%/@", "%/C", "%/E"}, func(s string) bool { return bytes.HasPrefix(d[88:120], []byte(s)) })
}

// read fills in the root directory and the path table.
func (h *hierarchy) read(r io.ReaderAt, v *volume, joliet bool) error {
	record := h.desc[156:190]
	lba, length := binary.LittleEndian.Uint32(record[2:]), int64(binary.LittleEndian.Uint32(record[10:]))
	if length == 0 || length > maxDirectoryBytes {
		return fmt.Errorf("the image is damaged: its root directory has %d bytes", length)
	}
	data, err := readFull(r, v.size, int64(lba)*sector, length)
	if err != nil {
		return err
	}
	if !joliet {
		v.findRockRidge(data)
	}
	if h.root, err = parseDirectory(data, v, joliet); err != nil {
		return err
	}
	if len(h.root) < 2 || h.root[0].lba != lba {
		return errors.New("the image is damaged: its root directory does not begin with itself")
	}
	return h.readPaths(r, v.size)
}

// findRockRidge looks for SUSP's SP entry in the first record of the root, and
// for the entries of Rock Ridge behind it.
func (v *volume) findRockRidge(root []byte) {
	n := int(root[0])
	if n < 34 || n > len(root) {
		return
	}
	use := root[34:n]
	if len(use) < 7 || string(use[:2]) != "SP" || use[4] != 0xBE || use[5] != 0xEF {
		return
	}
	v.skip = int(use[6])
	for len(use) >= 4 && int(use[2]) >= 4 && int(use[2]) <= len(use) {
		switch string(use[:2]) {
		case "PX":
			v.rock, v.serial = true, use[2] == pxLength+8
		case "RR", "TF":
			v.rock = true
		}
		use = use[use[2]:]
	}
}

// parseDirectory splits a directory into its records. Records do not cross
// sectors; a zero length is the rest of one.
func parseDirectory(data []byte, v *volume, joliet bool) ([]dirRecord, error) {
	var out []dirRecord
	for at := 0; at < len(data); {
		n := int(data[at])
		if n == 0 {
			at = (at/sector + 1) * sector
			continue
		}
		room := min(len(data), (at/sector+1)*sector) - at
		if n < 34 || n > room || 33+int(data[at+32]) > n {
			return nil, fmt.Errorf("the image is damaged: a directory record has %d bytes where %d fit", n, room)
		}
		raw := data[at : at+n]
		e := dirRecord{raw: raw, id: raw[33 : 33+int(raw[32])], lba: binary.LittleEndian.Uint32(raw[2:]), size: binary.LittleEndian.Uint32(raw[10:]), dir: raw[25]&2 != 0, multi: raw[25]&0x80 != 0}
		e.name = v.nameOf(e, joliet)
		out = append(out, e)
		at += n
	}
	return out, nil
}

// nameOf is the name that a reader shows.
func (v *volume) nameOf(e dirRecord, joliet bool) string {
	if len(e.id) == 1 && e.id[0] < 2 {
		return ""
	}
	if joliet {
		units := make([]uint16, len(e.id)/2)
		for i := range units {
			units[i] = binary.BigEndian.Uint16(e.id[2*i:])
		}
		return withoutVersion(string(utf16.Decode(units)))
	}
	if name := v.rockName(e.raw); name != "" {
		return name
	}
	return withoutVersion(string(e.id))
}

func withoutVersion(id string) string {
	name, _, _ := strings.Cut(id, ";")
	return strings.TrimSuffix(name, ".")
}

// rockName joins the NM entries of a record. Those in a continuation area are
// left out: the name is then cut short, which no name of ours is mistaken for.
func (v *volume) rockName(raw []byte) string {
	if !v.rock {
		return ""
	}
	start := 33 + int(raw[32]) + (int(raw[32])+1)%2 + v.skip
	name := ""
	for start+4 <= len(raw) {
		n := int(raw[start+2])
		if n < 4 || start+n > len(raw) {
			break
		}
		if string(raw[start:start+2]) == "NM" && n > 5 {
			name += string(raw[start+5 : start+n])
		}
		start += n
	}
	return name
}

// readPaths reads the little-endian path table. Go's usual writer of such images (kdomanski/iso9660) leaves it out, and no operating
// system of today misses it: all go by directories.
func (h *hierarchy) readPaths(r io.ReaderAt, size int64) error {
	length := int64(binary.LittleEndian.Uint32(h.desc[132:]))
	if length == 0 {
		return nil
	}
	if length > maxPathTableBytes {
		return fmt.Errorf("the image is damaged: its path table has %d bytes", length)
	}
	data, err := readFull(r, size, int64(binary.LittleEndian.Uint32(h.desc[140:]))*sector, length)
	if err != nil {
		return err
	}
	for at := 0; at+8 <= len(data); {
		n := int(data[at])
		parent := int(binary.LittleEndian.Uint16(data[at+6:]))
		if n == 0 || at+8+n > len(data) || parent < 1 || parent > max(1, len(h.paths)) {
			return errors.New("the image is damaged: its path table cannot be read")
		}
		h.paths = append(h.paths, pathEntry{id: data[at+8 : at+8+n], lba: binary.LittleEndian.Uint32(data[at+2:]), parent: parent - 1})
		at += 8 + n + n%2
	}
	return nil
}

// embedHeader is the place of CoreOS's pointer to its embed area: the last 24
// bytes of the system area hold a magic, an offset and a length (coreos-installer,
// docs/iso-embed-ignition.md).
const embedHeader, embedMagic = pvdSector*sector - 24, "coreiso+"

func (v *volume) readEmbedArea(r io.ReaderAt) error {
	h, err := readFull(r, v.size, embedHeader, 24)
	if err != nil {
		return err
	}
	if string(h[:8]) != embedMagic {
		return nil
	}
	off, length := binary.LittleEndian.Uint64(h[8:]), binary.LittleEndian.Uint64(h[16:])
	if off < pvdSector*sector || off > uint64(v.size) || length > uint64(v.size)-off || length == 0 {
		return errors.New("the image is damaged: its embed area lies outside of it")
	}
	v.embed = extent{int64(off), int64(length)}
	return nil
}

// label is the volume label of the primary view, without its padding.
func (v *volume) label() string {
	if v.primary.desc == nil {
		return ""
	}
	return plain(strings.TrimRight(string(v.primary.desc[40:72]), " \x00"))
}
