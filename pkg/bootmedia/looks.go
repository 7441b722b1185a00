package bootmedia

import (
	"encoding/json"
	"io"
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
	// ImplantedSum is true when the image has the sum of itself in its descriptor
	// (isomd5sum's implantisomd5, SUSE's tagmedia), which its system may check.
	ImplantedSum bool
	// Installer names the program that the image starts, if it is an operating
	// system's installer, which reads nothing but answers to its own questions.
	Installer string
	// WithoutCloudInit is true when the image lists its packages, and cloud-init is
	// none of them.
	WithoutCloudInit bool
	// Opaque says in words why nothing can be laid over the image; empty: it can.
	Opaque string
}

// The places where the boot loaders of installation and live images keep their
// configuration. Letters match in either case; * stands for the rest of a name.
var bootConfigs = []string{
	"boot/grub/*.cfg", "boot/grub2/*.cfg", "EFI/BOOT/*.cfg", "EFI/BOOT/*.conf", "EFI/fedora/*.cfg", "EFI/redhat/*.cfg",
	"EFI/centos/*.cfg", "EFI/debian/*.cfg",
	"loader/entries/*.conf", "isolinux/*.cfg", "boot/isolinux/*.cfg", "boot/x86_64/loader/*.cfg", "boot/aarch64/loader/*.cfg",
	"boot/syslinux/*.cfg", "syslinux/*.cfg", "syslinux.cfg",
}

const (
	maxBootConfig   = 64 << 10
	maxBootConfigs  = 32 // in one folder
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
	texts, err := v.bootTexts(r)
	if err != nil {
		return looks, err
	}
	for _, text := range texts {
		looks.BootsByLabel = looks.BootsByLabel || namesLabel(text, looks.VolumeLabel)
		for line := range strings.Lines(text) {
			if c := commandLine(line); c != "" && len(looks.CommandLines) < maxCommandLines && !slices.Contains(looks.CommandLines, c) {
				looks.CommandLines = append(looks.CommandLines, c)
			}
		}
	}
	looks.ImplantedSum = implantedSum.Match(v.primary.desc[applicationUse:])
	return looks, v.lookForSystem(r, &looks)
}

// bootTexts are the configurations of the boot loaders.
func (v *volume) bootTexts(r io.ReaderAt) ([]string, error) {
	var texts []string
	for _, pattern := range bootConfigs {
		folder, suffix, several := strings.Cut(pattern, "/*")
		if !several {
			text, err := v.readText(r, pattern)
			if err != nil {
				return nil, err
			}
			texts = append(texts, text)
			continue
		}
		dir, found, err := v.lookUp(r, folder)
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		entries, err := v.list(r, dir)
		if err != nil {
			return nil, err
		}
		left := maxBootConfigs
		for _, e := range entries {
			if e.dir || left == 0 || !strings.HasSuffix(strings.ToLower(e.name), suffix) {
				continue
			}
			left--
			text, _, err := v.readEntry(r, e, maxBootConfig)
			if err != nil {
				return nil, err
			}
			texts = append(texts, text)
		}
	}
	return texts, nil
}

// lookInto looks into an image that is an ISO. What is too damaged to be laid
// over may still boot: that is told, and is no error.
func lookInto(r io.ReaderAt, size int64) (ImageLooksLike, error) {
	v, err := readVolume(r, size)
	if isReadError(err) {
		return ImageLooksLike{}, err
	}
	if err != nil {
		opaque := ImageLooksLike{VolumeLabel: v.label(), EmbedBytes: v.embed.length, Opaque: err.Error()}
		return opaque, nil //nolint:nilerr // told in Opaque
	}
	return lookAround(r, v)
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
