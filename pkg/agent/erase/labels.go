package erase

import (
	"strings"

	"github.com/beskar7/beskar7/pkg/agent/block"
)

// labels are where file systems have theirs: FAT12 and FAT16, FAT32, ISO 9660, ext2 to ext4, XFS. Only FAT and ISO 9660 are used for
// configuration by most systems; some look at any.
var labels = []struct {
	magicAt int64
	magic   string
	at      int64
	length  int
}{
	{54, "FAT", 43, 11},
	{82, "FAT32", 71, 11},
	{32769, "CD001", 32808, 32},
	{1080, "\x53\xef", 1144, 16},
	{0, "XFSB", 108, 12},
}

// Labelled says whether the disk, or a partition on it, has a file system with a label, in capital or small letters. What cannot be
// read has none.
func Labelled(d block.Device, label string) bool {
	for _, p := range append(partitions(d), place{0, d.Size()}) {
		for _, l := range labels {
			if text(d, p.off+l.magicAt, len(l.magic)) == l.magic && strings.EqualFold(strings.Trim(text(d, p.off+l.at, l.length),
				" \x00"), label) {
				return true
			}
		}
	}
	return false
}

func text(d block.Device, off int64, length int) string {
	p := make([]byte, length)
	if off < 0 || off > d.Size()-int64(length) {
		return ""
	}
	if _, err := d.ReadAt(p, off); err != nil {
		return ""
	}
	return string(p)
}
