package erase_test

import (
	"testing"

	"github.com/beskar7/beskar7/pkg/agent/configdrive"
	"github.com/beskar7/beskar7/pkg/agent/erase"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

func TestLabels(t *testing.T) {
	for name, c := range map[string]struct {
		off   int64
		magic string
		at    int64
		label string
		found bool
	}{
		"FAT32 on a partition":       {82, "FAT32   ", 71, "CIDATA     ", true},
		"FAT16 on a partition":       {54, "FAT16   ", 43, "cidata     ", true},
		"ISO 9660":                   {32769, "CD001", 32808, "cidata                          ", true},
		"ext4":                       {1080, "\x53\xef", 1144, "cidata\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", true},
		"another label":              {82, "FAT32   ", 71, "cidata2    ", false},
		"a label and no file system": {82, "NTFS", 71, "cidata     ", false},
	} {
		for _, from := range []int64{0, 2 * mib} { // the whole disk, or its second partition
			d := used(t, 512)
			if from == 0 {
				write(t, d, make([]byte, mib), 0)
			}
			write(t, d, []byte(c.magic), from+c.off)
			write(t, d, []byte(c.label), from+c.at)
			if got := erase.Labelled(d, "cidata"); got != c.found {
				t.Errorf("%s, at %d: %v", name, from, got)
			}
		}
	}
	d := used(t, 512)
	if err := configdrive.Write(d, 2*mib, configdrive.Size(512), &protocol.Data{Label: "config-2",
		Files: []protocol.File{{Path: "a"}}}); err != nil {
		t.Fatal(err)
	}
	if !erase.Labelled(d, "config-2") || erase.Labelled(d, "cidata") {
		t.Error("what the agent itself writes is not known again")
	}
}
