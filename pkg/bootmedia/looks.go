package bootmedia

import (
	"encoding/json"
	"io"
	"regexp"
	"slices"
	"strings"
)

// ImageLooksLike is what was seen inside an image; see Prepared.Looks.
type ImageLooksLike struct {
	// VolumeLabel is the label of the primary volume descriptor.
	VolumeLabel string
	// EmbedBytes is the room that the image reserves for an Ignition config; 0: none.
	EmbedBytes int64
	// EmbedNetwork is true when that room may hold network configuration, too.
	EmbedNetwork bool
	// BootsByLabel is true when a boot loader's configuration in the image looks
	// for the volume by its label, so that it must keep it.
	BootsByLabel bool
	// CommandLines are the kernel command lines of the boot loader's
	// configuration, as far as it is plain text in the file system. Empty: none
	// was found, which says nothing (it may be inside an EFI program).
	CommandLines []string
	// Opaque says in words why nothing can be laid over the image; empty: it can.
	Opaque string
}

// The places where the boot loaders of installation and live images keep their
// configuration. Letters match in either case.
var bootConfigs = []string{
	"boot/grub/grub.cfg", "boot/grub2/grub.cfg", "boot/grub/loopback.cfg", "EFI/BOOT/grub.cfg", "EFI/BOOT/BOOT.conf", "EFI/fedora/grub.cfg",
	"EFI/redhat/grub.cfg", "isolinux/isolinux.cfg", "isolinux/txt.cfg", "isolinux/live.cfg", "boot/isolinux/isolinux.cfg",
	"boot/x86_64/loader/isolinux.cfg", "syslinux/syslinux.cfg", "syslinux.cfg",
}

const (
	maxBootConfig   = 64 << 10
	maxCommandLines = 32
	maxCommandLine  = 1 << 10
)

// lookAround reads what is worth knowing of an image beyond its descriptors.
// What is damaged is left out: whether the image boots is the user's care. The
// error is one of reading.
func lookAround(r io.ReaderAt, v *volume) (ImageLooksLike, error) {
	looks := ImageLooksLike{VolumeLabel: v.label(), EmbedBytes: v.embed.length}
	if _, err := compose(r, v, recipe{label: "x", files: []isoFile{{"beskar7-probe/probe", nil}}}, ""); err != nil {
		if isReadError(err) {
			return looks, err
		}
		looks.Opaque = err.Error()
	}
	if looks.EmbedBytes > 0 {
		text, err := v.readText(r, "coreos/features.json")
		if err != nil {
			return looks, err
		}
		var features map[string]any
		looks.EmbedNetwork = json.Unmarshal([]byte(text), &features) == nil && features["live-initrd-network"] == true
	}
	for _, path := range bootConfigs {
		text, err := v.readText(r, path)
		if err != nil {
			return looks, err
		}
		looks.BootsByLabel = looks.BootsByLabel || namesLabel(text, looks.VolumeLabel)
		for line := range strings.Lines(text) {
			if c := commandLine(line); c != "" && len(looks.CommandLines) < maxCommandLines && !slices.Contains(looks.CommandLines, c) {
				looks.CommandLines = append(looks.CommandLines, c)
			}
		}
	}
	return looks, nil
}

// lookInto looks into an image that is an ISO. What is too damaged to be laid
// over may still boot: that is told, and is no error.
func lookInto(r io.ReaderAt, size int64) (ImageLooksLike, error) {
	v, err := readVolume(r, size)
	if isReadError(err) {
		return ImageLooksLike{}, err
	}
	if err != nil {
		return ImageLooksLike{VolumeLabel: v.label(), EmbedBytes: v.embed.length, Opaque: err.Error()}, nil //nolint:nilerr // told in Opaque
	}
	return lookAround(r, v)
}

// readText is the text of a file of the image; empty when there is none that
// can be made out. The error is one of reading.
func (v *volume) readText(r io.ReaderAt, path string) (string, error) {
	names := strings.Split(path, "/")
	e, ok := v.find(names[0])
	for _, name := range names[1:] {
		if !ok || !e.dir || e.size > maxDirectoryBytes {
			return "", nil
		}
		data, err := readFull(r, v.size, int64(e.lba)*sector, int64(e.size))
		if err != nil {
			return "", onlyReadError(err)
		}
		dir, err := parseDirectory(data, v, !v.rock && v.joliet != nil)
		if err != nil {
			return "", nil //nolint:nilerr // damaged: no text to be had
		}
		e, ok = findEntry(dir, name, true)
	}
	if !ok || e.dir {
		return "", nil
	}
	data, err := readFull(r, v.size, int64(e.lba)*sector, min(int64(e.size), maxBootConfig))
	return string(data), onlyReadError(err)
}

// labelled finds what follows LABEL= (dracut, live-boot, systemd) and --label (GRUB's search).
var labelled = regexp.MustCompile(`(?i)(?:LABEL=|--label[= ]+)(?:"([^"]+)"|'([^']+)'|([^\s"':;,]+))`)

// namesLabel tells whether a configuration looks for the volume by its label.
// dracut writes a space as \x20, live-boot as an underscore.
func namesLabel(text, label string) bool {
	if label == "" {
		return false
	}
	for _, m := range labelled.FindAllStringSubmatch(text, -1) {
		name := strings.NewReplacer(`\x20`, " ", `\040`, " ").Replace(m[1] + m[2] + m[3])
		if strings.EqualFold(name, label) || strings.EqualFold(name, strings.ReplaceAll(label, " ", "_")) {
			return true
		}
	}
	return false
}

// commandLine is the kernel command line of a line of a boot configuration.
func commandLine(line string) string {
	word, rest, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(line, "\t", " ")), " ")
	switch strings.ToLower(word) {
	case "linux", "linuxefi", "linux16", "kernel", "append", "options", "multiboot", "multiboot2", "module", "module2":
		return clip(plain(strings.TrimSpace(rest)), maxCommandLine)
	}
	return ""
}

// lines tells whether any command line was found, and whether one of them has
// an argument that match accepts.
func (l *ImageLooksLike) lines(match func(argument string) bool) (known, found bool) {
	for _, line := range l.CommandLines {
		if slices.ContainsFunc(strings.Fields(line), match) {
			return true, true
		}
	}
	return len(l.CommandLines) > 0, false
}

// argument matches one whole argument, as users write it.
func argument(want ...string) func(string) bool {
	return func(a string) bool { return slices.Contains(want, strings.Trim(a, `"'`)) }
}
