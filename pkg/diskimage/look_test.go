package diskimage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// put is a file of zeroes with bytes at a place.
func put(at int, text string) []byte {
	b := make([]byte, HeadBytes)
	copy(b[at:], text)
	return b
}

func TestWhatAFileIs(t *testing.T) {
	mbr := make([]byte, HeadBytes)
	copy(mbr[446:], "\x80\x01\x01\x00\x83\xfe\xff\xff\x00\x08\x00\x00\x00\x00\x10\x00")
	mbr[510], mbr[511] = 0x55, 0xAA
	for name, c := range map[string]struct {
		head []byte
		want Seen
	}{
		"GPT of 512":   {disk(512)[:HeadBytes], Seen{FormRaw, 512}},
		"GPT of 4096":  {disk(4096)[:HeadBytes], Seen{FormRaw, 4096}},
		"short GPT":    {disk(512)[:1024], Seen{FormRaw, 512}},
		"MBR":          {mbr, Seen{Form: FormRaw}},
		"qcow2":        {fixture(t, "v3.qcow2")[:HeadBytes], Seen{Form: FormQcow2}},
		"gzip":         {pack(t, FormGzip, mbr), Seen{Form: FormGzip}},
		"zstd":         {pack(t, FormZstd, mbr), Seen{Form: FormZstd}},
		"xz":           {pack(t, FormXZ, mbr), Seen{Form: FormXZ}},
		"zstd, behind": {[]byte("\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"), Seen{Form: FormZstd}},
	} {
		if got, err := Look(c.head); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestWhatIsNoDiskImage(t *testing.T) {
	damaged := disk(512)[:HeadBytes]
	damaged[520] ^= 1
	hybrid := disk(512)[:HeadBytes]
	copy(hybrid[32769:], "CD001")
	boot := put(54, "FAT16   ") // a boot sector is signed as an MBR is
	boot[510], boot[511] = 0x55, 0xAA
	code := put(0, "\xeb\x3c\x90 some loader")
	copy(code[446:], noise(64, 3))
	code[510], code[511] = 0x55, 0xAA
	for name, c := range map[string]struct {
		head []byte
		says string
	}{
		"nothing":         {nil, "is empty"},
		"zeroes":          {put(0, ""), "nothing but zeroes"},
		"noise":           {noise(HeadBytes, 1), "no partition table"},
		"damaged":         {damaged, "table of the image is damaged"},
		"ISO":             {put(32769, "CD001"), "installer or live image (ISO 9660), which boots no disk: set bootMode to Install or Live"},
		"hybrid ISO":      {hybrid, "installer or live image"},
		"UDF":             {put(32769, "BEA01"), "UDF"},
		"HTML":            {[]byte("\r\n<!DOCTYPE HTML>\n<html>sign in"), "page or message of a web server"},
		"XML":             {[]byte(`<?xml version="1.0"?><Error><Code>AccessDenied`), "page or message of a web server"},
		"JSON":            {[]byte(`{"errors": []}`), "page or message of a web server"},
		"ext4":            {put(1080, "\x53\xef"), "bare file system"},
		"LVM":             {put(512, "LABELONE"), "bare LVM volume"},
		"LUKS":            {put(0, "LUKS\xba\xbe"), "LUKS"},
		"FAT":             {boot, "bare file system (FAT)"},
		"boot code":       {code, "no partition table"},
		"tar":             {put(257, "ustar"), "tar archive"},
		"VMDK":            {put(0, "KDMV"), "VMware"},
		"VMDK, described": {put(0, "# Disk DescriptorFile"), "without the image"},
		"bzip2":           {put(0, "BZh9"), "pack it with"},
	} {
		seen, err := Look(c.head)
		if refused := new(Refused); !errors.As(err, &refused) || !strings.Contains(refused.Message, c.says) {
			t.Errorf("%s: %+v, %v", name, seen, err)
		}
	}
}

// TestFilesOfOtherPrograms: what QEMU, mkfs, tar and others write is known by what it is.
func TestFilesOfOtherPrograms(t *testing.T) {
	if !hasProgram(t, "qemu-img", "mkfs.ext4", "tar", "mkswap") {
		return
	}
	raw := write(t, disk(512))
	made := filepath.Join(t.TempDir(), "made")
	for name, c := range map[string]struct {
		program []string
		says    string
	}{
		"vmdk":   {[]string{"qemu-img", "convert", "-f", "raw", "-O", "vmdk", raw, made}, "VMDK"},
		"stream": {[]string{"qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, made}, "VMDK"},
		"vhdx":   {[]string{"qemu-img", "convert", "-f", "raw", "-O", "vhdx", raw, made}, "VHDX"},
		"vhd":    {[]string{"qemu-img", "convert", "-f", "raw", "-O", "vpc", raw, made}, "VHD"},
		"vdi":    {[]string{"qemu-img", "convert", "-f", "raw", "-O", "vdi", raw, made}, "VDI"},
		"qed":    {[]string{"qemu-img", "convert", "-f", "raw", "-O", "qed", raw, made}, "QED"},
		"ext4":   {[]string{"mkfs.ext4", "-q", "-F", made, "1M"}, "ext4"},
		"tar":    {[]string{"tar", "-C", filepath.Dir(raw), "-cf", made, "file"}, "tar archive"},
		"swap":   {[]string{"mkswap", made}, "swap"},
	} {
		if name != "swap" {
			_ = os.Remove(made)
		}
		if name == "swap" || name == "ext4" {
			if err := os.WriteFile(made, make([]byte, mib), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		run(t, c.program[0], c.program[1:]...)
		b := read(t, made)
		if _, err := Look(b[:min(len(b), HeadBytes)]); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzLook: whatever the bytes, nothing panics, and what is taken is of a form that there is.
func FuzzLook(f *testing.F) {
	f.Add(disk(512)[:HeadBytes])
	f.Add(put(32769, "CD001"))
	header := disk(512)[:1024]
	binary.LittleEndian.PutUint32(header[524:], 1<<31)
	f.Add(header)
	f.Add(bytes.Repeat([]byte{0x55, 0xAA}, 300))
	f.Fuzz(func(t *testing.T, head []byte) {
		seen, err := Look(head)
		if (err == nil) != (seen.Form != "") {
			t.Fatalf("%+v, %v", seen, err)
		}
	})
}

// TestThePageNamesWhatIsRefused: docs/images.md is in the words of the code.
func TestThePageNamesWhatIsRefused(t *testing.T) {
	page := string(read(t, filepath.Join("..", "..", "docs", "images.md")))
	for _, o := range others {
		what, kind, _ := strings.Cut(strings.TrimSuffix(o.what, ", which boots no disk"), " (")
		kind, _, _ = strings.Cut(kind, ")")
		if what, _, _ = strings.Cut(what, ","); !strings.Contains(page, strings.TrimPrefix(what, "the ")) || !strings.Contains(page, kind) {
			t.Errorf("the page does not name %q", o.what)
		}
	}
}
