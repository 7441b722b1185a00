package bootmedia

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// The volume label under which Talos looks for a machine config when its command
// line says talos.config=metal-iso.
const labelMetalISO = "metal-iso"

// Check says, before a server is touched, whether the media of a content can be
// made and whether the system in the image would find its bootstrap data there.
// m is Composed, or Boot for an image whose data is in a drive of its own or
// nowhere. Errors are for a person and quote no bootstrap data.
func Check(c Content, m Medium) error {
	row, ok := families[c.Family]
	if !ok {
		return fmt.Errorf("unknown osFamily %q: use one of %v", c.Family, Families())
	}
	if row.layout == layoutNone {
		return nil
	}
	if c.Looks == nil {
		c.Looks = &ImageLooksLike{EmbedBytes: maxEmbedBytes, EmbedNetwork: true}
	}
	if err := checkSystem(c, row); err != nil {
		return err
	}
	if m == Composed {
		if c.Looks.Opaque != "" {
			return fmt.Errorf("bootstrap data cannot be added to the image: %s", c.Looks.Opaque)
		}
		if err := checkOwnSum(c.Looks); err != nil {
			return err
		}
		_, err := recipeFor(c)
		return err
	}
	if err := checkClash(c, row); err != nil {
		return err
	}
	_, err := ConfigDrive(c)
	return err
}

// recipeFor says what is laid over the image for a content.
func recipeFor(c Content) (recipe, error) {
	row, ok := families[c.Family]
	if !ok {
		return recipe{}, fmt.Errorf("unknown osFamily %q: use one of %v", c.Family, Families())
	}
	if err := checkContent(c, row); err != nil {
		return recipe{}, err
	}
	if row.layout == layoutEmbed {
		return embedRecipe(c)
	}
	if row.rootFile != "" {
		config, err := kairosConfig(c)
		if err != nil {
			return recipe{}, err
		}
		return recipe{files: []isoFile{{row.rootFile, config}}}, nil
	}
	label, files, err := layOut(c, row)
	if err != nil {
		return recipe{}, err
	}
	if dir := seedDir(c.Looks); dir != "" && row.layout == layoutNoCloud {
		for i := range files {
			files[i].path = dir + "/" + files[i].path
		}
		return recipe{files: files}, nil
	}
	switch {
	case strings.EqualFold(c.Looks.VolumeLabel, label), label == labelCombustion && c.Looks.VolumeLabel == labelSelfInstall:
		label = ""
	case c.Looks.BootsByLabel:
		return recipe{}, fmt.Errorf("the boot loader of the image looks for the volume label %q, and osFamily %s looks for its bootstrap data under the label %q: one volume has one label. "+
			"Use a host whose BMC has a second virtual medium, or an image that boots without its label", c.Looks.VolumeLabel, c.Family, label)
	}
	return recipe{label: label, files: files}, nil
}

// embedRecipe: a CoreOS image reads an initramfs with the Ignition config from
// its embed area (coreos-installer, docs/iso-embed-ignition.md).
func embedRecipe(c Content) (recipe, error) {
	files := []isoFile{{"config.ign", c.UserData}}
	if len(c.NetworkData) > 0 {
		keyfiles, err := keyfilesOf(c)
		if err != nil {
			return recipe{}, err
		}
		files = append(files, keyfiles...)
	}
	archive := cpio(files)
	if c.Looks.EmbedBytes < int64(len(archive)) {
		archive = packed(archive)
	}
	if c.Looks.EmbedBytes < int64(len(archive)) {
		if c.Looks.EmbedBytes == 0 {
			return recipe{}, fmt.Errorf("osFamily %s reads its configuration from the embed area of a live image, and this image has none: use the live ISO", c.Family)
		}
		return recipe{}, fmt.Errorf("the bootstrap data takes %d bytes, compressed, in the image's embed area, which has %d: make it smaller, for example by fetching files instead of carrying them", len(archive), c.Looks.EmbedBytes)
	}
	return recipe{embed: archive}, nil
}

// keyfileDir is where the initramfs of a CoreOS live image takes NetworkManager's
// keyfiles from, if the image says that it does (coreos/features.json).
const keyfileDir = "etc/coreos-firstboot-network"

// keyfilesOf are the network data of a CoreOS image as files of its initramfs.
func keyfilesOf(c Content) ([]isoFile, error) {
	if !c.Looks.EmbedNetwork {
		return nil, fmt.Errorf("the image does not say that it takes network data (live-initrd-network in its coreos/features.json): "+
			"use a newer live ISO of osFamily %s, or put the network into the Ignition config", c.Family)
	}
	files, err := networkFiles(c)
	if err != nil {
		return nil, err
	}
	var out []isoFile
	for _, f := range files {
		out = append(out, isoFile{keyfileDir + "/" + f.name, f.data})
	}
	return out, nil
}

// cpio is an archive of files in the "newc" format of initramfs, with the
// folders that they are in: the kernel makes none by itself.
func cpio(files []isoFile) []byte {
	var out bytes.Buffer
	put := func(name string, mode, links int, data []byte) {
		// Inode, mode, owner, group, links, time, size, device (2), of device (2), length of the name, checksum.
		fmt.Fprintf(&out, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 0, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
		out.WriteString(name + "\x00")
		pad4(&out)
		out.Write(data)
		pad4(&out)
	}
	made := map[string]bool{}
	for _, f := range files {
		for i, c := range f.path {
			if dir := f.path[:i]; c == '/' && !made[dir] {
				made[dir] = true
				put(dir, 0o40755, 2, nil)
			}
		}
		put(f.path, 0o100600, 1, f.data)
	}
	put("TRAILER!!!", 0, 1, nil)
	return out.Bytes()
}

func pad4(b *bytes.Buffer) { b.Write(make([]byte, (4-b.Len()%4)%4)) }

// seedPath is cloud-init's argument for a seed in a folder of the medium, which
// Ubuntu's and Debian's live systems mount under /cdrom. GRUB needs the
// semicolon escaped or quoted.
var seedPath = regexp.MustCompile(`^["']?ds=nocloud(?:-net)?\\?;s=(?:file://)?/cdrom/([A-Za-z0-9._/-]+?)/*["']?$`)

// seedDir is the folder in which the image's own command line has cloud-init look; empty: none.
func seedDir(l *ImageLooksLike) string {
	for _, line := range l.CommandLines {
		for _, a := range strings.Fields(line) {
			if m := seedPath.FindStringSubmatch(a); m != nil {
				return m[1]
			}
		}
	}
	return ""
}

func isMetalISO(l *ImageLooksLike) bool {
	if l == nil {
		return false
	}
	_, found := l.lines(argument("talos.config=metal-iso"))
	return found
}

// checkClash refuses an image whose label is the one its system looks for on
// another volume: of two volumes with that label it may take the wrong one.
func checkClash(c Content, row family) error {
	for _, label := range row.labels {
		if strings.EqualFold(c.Looks.VolumeLabel, label) {
			return fmt.Errorf("the image's own volume label is %q, the one under which osFamily %s looks for its bootstrap data: "+
				"the system could not tell the two apart; relabel the image, or use osFamily none if its data is built in", c.Looks.VolumeLabel, c.Family)
		}
	}
	return nil
}
