package diskimage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Form is what a file is, by its bytes.
type Form string

// The forms that are taken. What is packed has to hold a raw disk.
const (
	FormRaw   Form = "raw"
	FormQcow2 Form = "qcow2"
	FormGzip  Form = "gzip"
	FormZstd  Form = "zstd"
	FormXZ    Form = "xz"
)

// HeadBytes is how much of the beginning of a file Look wants to see.
const HeadBytes = 128 << 10

// Seen is what a file was seen to be.
type Seen struct {
	Form Form
	// SectorSize is the size of the sectors that the GUID partition table of a raw disk was made for: 512 or 4096; 0 if it has none.
	SectorSize int
}

// Refused says in words for a person why an image is not taken. The same bytes are never taken.
type Refused struct{ Message string }

func (e *Refused) Error() string { return e.Message }

func refuse(format string, args ...any) error { return &Refused{fmt.Sprintf(format, args...)} }

// mark is bytes at a place that only one kind of file has.
type mark struct {
	at   int
	text string
}

// taken are the forms that are told by their first bytes. Formats: RFC 1952, RFC 8878 (a frame, or one that is skipped, as pzstd
// begins with), the .xz file format 1.2.1, and QEMU's docs/interop/qcow2.rst.
var taken = []struct {
	mark
	form Form
}{
	{mark{0, "QFI\xfb"}, FormQcow2},
	{mark{0, "\x1f\x8b"}, FormGzip},
	{mark{0, "\x28\xb5\x2f\xfd"}, FormZstd},
	{mark{1, "\x2a\x4d\x18"}, FormZstd},
	{mark{0, "\xfd7zXZ\x00"}, FormXZ},
}

const (
	convert   = "convert it to raw or qcow2 with qemu-img"
	extract   = "extract the disk image from it"
	wholeDisk = "a disk image begins with a partition table"
)

// others are kinds of files that people take for a disk image. CDs come first: most of them have a partition table, too.
var others = []struct {
	mark
	what, remedy string
}{
	{mark{32769, "CD001"}, "an installer or live image (ISO 9660), which boots no disk",
		"set bootMode to Install or Live, or take a disk image"},
	{mark{32769, "BEA01"}, "an installer or live image (UDF), which boots no disk", "take a disk image"},
	{mark{0, "KDMV"}, "a VMware image (VMDK)", convert},
	{mark{0, "COWD"}, "a VMware image (VMDK)", convert},
	{mark{0, "# Disk DescriptorFile"}, "the description of a VMware image (VMDK), without the image", convert},
	{mark{0, "vhdxfile"}, "a Hyper-V image (VHDX)", convert},
	{mark{0, "conectix"}, "a Hyper-V image (VHD)", convert},
	{mark{64, "\x7f\x10\xda\xbe"}, "a VirtualBox image (VDI)", convert},
	{mark{0, "QED\x00"}, "a QED image", convert},
	{mark{257, "ustar"}, "a tar archive", extract},
	{mark{0, "PK\x03\x04"}, "a zip archive", extract},
	{mark{0, "7z\xbc\xaf\x27\x1c"}, "a 7z archive", extract},
	{mark{0, "BZh"}, "packed with bzip2", "pack it with zstd, xz or gzip"},
	{mark{0, "\x04\x22\x4d\x18"}, "packed with lz4", "pack it with zstd, xz or gzip"},
	{mark{0, "MSWIM\x00"}, "a Windows image (WIM), which is no disk", "take a disk image"},
	{mark{0, "hsqs"}, "a bare file system (SquashFS)", wholeDisk},
	{mark{0, "XFSB"}, "a bare file system (XFS)", wholeDisk},
	{mark{1080, "\x53\xef"}, "a bare file system (ext4 or its like)", wholeDisk},
	{mark{65600, "_BHRfS_M"}, "a bare file system (Btrfs)", wholeDisk},
	{mark{3, "NTFS    "}, "a bare file system (NTFS)", wholeDisk},
	{mark{54, "FAT1"}, "a bare file system (FAT)", wholeDisk},
	{mark{82, "FAT32   "}, "a bare file system (FAT)", wholeDisk},
	{mark{0, "LUKS\xba\xbe"}, "a bare encrypted volume (LUKS)", wholeDisk},
	{mark{0, "LABELONE"}, "a bare LVM volume", wholeDisk},
	{mark{512, "LABELONE"}, "a bare LVM volume", wholeDisk},
	{mark{4086, "SWAPSPACE2"}, "swap space", wholeDisk},
	{mark{0, "\x7fELF"}, "a program (ELF)", "take a disk image"},
	{mark{0, "version https://git-lfs"}, "a pointer of Git LFS, without the image", "take the URL of the image itself"},
}

// pages are what a server says in place of a file, in small letters.
var pages = []string{"<!doctype html", "<html", "<head", "<?xml", "{"}

// Look says what a file is. head are its first HeadBytes, or all of it where it has fewer. Errors are *Refused.
func Look(head []byte) (Seen, error) {
	if len(head) == 0 {
		return Seen{}, refuse("the image is empty")
	}
	for _, t := range taken {
		if t.found(head) {
			return Seen{Form: t.form}, nil
		}
	}
	for _, o := range others {
		if o.found(head) {
			return Seen{}, refuse("the image is %s: %s", o.what, o.remedy)
		}
	}
	start := bytes.ToLower(bytes.TrimLeft(head[:min(len(head), 512)], " \t\r\n\xef\xbb\xbf"))
	for _, p := range pages {
		if bytes.HasPrefix(start, []byte(p)) {
			return Seen{}, refuse("the image is a page or message of a web server: check the URL")
		}
	}
	if zeroes(head) {
		return Seen{}, refuse("the image begins with nothing but zeroes: it is no disk image, or damaged")
	}
	return lookForTable(head)
}

func (m mark) found(head []byte) bool {
	return len(head) >= m.at+len(m.text) && string(head[m.at:m.at+len(m.text)]) == m.text
}

// lookForTable finds the partition table of a raw disk.
func lookForTable(head []byte) (Seen, error) {
	damaged := false
	for _, sector := range []int{512, 4096} {
		if len(head) < 2*sector || string(head[sector:sector+8]) != "EFI PART" {
			continue
		}
		if validGPT(head[sector : 2*sector]) {
			return Seen{Form: FormRaw, SectorSize: sector}, nil
		}
		damaged = true
	}
	switch {
	case damaged:
		return Seen{}, refuse("the GUID partition table of the image is damaged")
	case hasMBR(head):
		return Seen{Form: FormRaw}, nil
	}
	return Seen{}, refuse("the image has no partition table: it is no disk image, or damaged")
}

// validGPT checks a header (UEFI 2.10, 5.3.2) as far as it is about itself.
func validGPT(header []byte) bool {
	size := binary.LittleEndian.Uint32(header[12:])
	if size < 92 || size > uint32(len(header)) || binary.LittleEndian.Uint64(header[24:]) != 1 {
		return false
	}
	own := bytes.Clone(header[:size])
	clear(own[16:20])
	return crc32.ChecksumIEEE(own) == binary.LittleEndian.Uint32(header[16:])
}

// hasMBR: each of the four entries is active, inactive or unused, and one of them is a partition.
func hasMBR(head []byte) bool {
	if len(head) < 512 || head[510] != 0x55 || head[511] != 0xAA {
		return false
	}
	found := false
	for i := 446; i < 510; i += 16 {
		entry := head[i : i+16]
		if entry[0]&0x7f != 0 {
			return false
		}
		found = found || entry[4] != 0 && !zeroes(entry[8:12]) && !zeroes(entry[12:16])
	}
	return found
}

func zeroes(p []byte) bool {
	for len(p) >= 8 {
		if binary.LittleEndian.Uint64(p) != 0 {
			return false
		}
		p = p[8:]
	}
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}
