package bootmedia

import (
	"bytes"
	"encoding/binary"
	"io"
	"path"
	"slices"
	"strings"
	"testing"
)

// liveImage is an image with a boot loader's configuration.
func liveImage(t testing.TB, label, grub string) []byte {
	t.Helper()
	d, err := buildISO(label, []isoFile{{"boot/grub/grub.cfg", []byte(grub)}, {"live/root.squashfs", bytes.Repeat([]byte("root"), 50_000)}})
	if err != nil {
		t.Fatal(err)
	}
	image, err := io.ReadAll(newSection(d, d.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func lookAtImage(t testing.TB, image []byte) ImageLooksLike {
	t.Helper()
	v, err := readVolume(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	looks, err := lookAround(bytes.NewReader(image), v)
	if err != nil {
		t.Fatal(err)
	}
	return looks
}

func TestBootLoadersThatLookForTheLabelAreSeen(t *testing.T) {
	for text, want := range map[string]bool{
		"linux /k root=live:CDLABEL=My\\x20Disc rd.live.image": true,
		"search --no-floppy --set=root --label 'My Disc'":      true,
		"search --label \"my disc\" --set root":                true,
		"linux /k boot=live findiso LABEL=My_Disc":             true,
		"linux /k inst.stage2=hd:LABEL=My\\x20Disc:/x":         true,
		"menu label My Disc":                                   false,
		"linux /k root=live:CDLABEL=Other":                     false,
		"search --file /live/vmlinuz":                          false,
	} {
		if got := namesLabel(text, "My Disc"); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// composedContent is a content that only the named family shapes.
func composedContent(f Family, format, userData string) Content {
	return Content{Family: f, InstanceID: "i-1", Hostname: "m-1", ProviderID: "beskar7://a/b/c", UserData: []byte(userData), UserDataFormat: format}
}

func TestEachFamilyFindsItsDataInTheImage(t *testing.T) {
	cloud := "#cloud-config\n"
	for name, c := range map[string]struct {
		content Content
		grub    string
		label   string
		files   map[string]string // and their beginnings
	}{
		"cloud-init":       {composedContent(FamilyGeneric, FormatCloudConfig, cloud), "linux /k", "cidata", map[string]string{"user-data": cloud, "meta-data": "hostname: m-1\ninstance-id: i-1"}},
		"seed in a folder": {composedContent(FamilyUbuntu, FormatCloudConfig, cloud), "linux /k \"ds=nocloud;s=/cdrom/seed/\" x", "live", map[string]string{"seed/user-data": cloud, "seed/meta-data": "hostname"}},
		"escaped folder":   {composedContent(FamilyDebian, FormatCloudConfig, cloud), "linux /k ds=nocloud\\;s=file:///cdrom/a/b", "live", map[string]string{"a/b/user-data": cloud, "a/b/meta-data": "hostname"}},
		"kairos":           {composedContent(FamilyKairos, FormatCloudConfig, cloud), "linux /k root=live:CDLABEL=live", "live", map[string]string{"config.yaml": cloud}},
		"talos nocloud":    {composedContent(FamilyTalos, "", "machine:"), "linux /k talos.platform=nocloud", "cidata", map[string]string{"user-data": "machine:", "meta-data": "hostname"}},
		"talos metal":      {composedContent(FamilyTalos, "", "machine:"), "linux /k talos.platform=metal talos.config=metal-iso", "metal-iso", map[string]string{"config.yaml": "machine:"}},
		"flatcar":          {composedContent(FamilyFlatcar, FormatIgnition, "{}"), "linux /k flatcar.oem.id=openstack flatcar.first_boot=1", "config-2", map[string]string{"openstack/latest/user_data": "{}", "openstack/latest/meta_data.json": "{"}},
		"microos":          {composedContent(FamilyMicroOS, FormatIgnition, "{}"), "linux /k", "ignition", map[string]string{"ignition/config.ign": "{}"}},
		"leap micro":       {composedContent(FamilyLeapMicro, "", "#!/bin/sh"), "linux /k", "combustion", map[string]string{"combustion/script": "#!/bin/sh"}},
	} {
		t.Run(name, func(t *testing.T) {
			image := liveImage(t, "live", c.grub)
			looks := lookAtImage(t, image)
			c.content.Looks = &looks
			if err := Check(c.content, Composed); err != nil {
				t.Fatal(err)
			}
			rc, err := recipeFor(c.content)
			if err != nil {
				t.Fatal(err)
			}
			out := mustCompose(t, image, rc)
			if got := lookAtImage(t, out).VolumeLabel; got != c.label {
				t.Errorf("label %q, want %q", got, c.label)
			}
			got := readRockRidge(t, bytes.NewReader(out))
			for path, begins := range c.files {
				if !bytes.HasPrefix(got[path], []byte(begins)) {
					t.Errorf("%s begins with %q", path, clip(string(got[path]), 40))
				}
			}
			if len(got) != len(c.files)+2 {
				t.Errorf("%d files", len(got))
			}
		})
	}
}

func TestAFamilyIsToldWhatItsImageLacks(t *testing.T) {
	for name, c := range map[string]struct {
		content Content
		looks   ImageLooksLike
		medium  Medium
		want    string
	}{
		"boots by label":        {composedContent(FamilyGeneric, "", "x"), ImageLooksLike{VolumeLabel: "live", BootsByLabel: true}, Composed, "one volume has one label"},
		"its own already":       {composedContent(FamilyGeneric, "", "x"), ImageLooksLike{VolumeLabel: "CIDATA", BootsByLabel: true}, Composed, ""},
		"two with a label":      {composedContent(FamilyGeneric, "", "x"), ImageLooksLike{VolumeLabel: "CIDATA"}, Boot, "could not tell the two apart"},
		"opaque":                {composedContent(FamilyGeneric, "", "x"), ImageLooksLike{Opaque: "it has UDF"}, Composed, "cannot be added to the image: it has UDF"},
		"opaque beside a drive": {composedContent(FamilyGeneric, "", "x"), ImageLooksLike{Opaque: "it has UDF"}, Boot, ""},
		"no autoinstall":        {composedContent(FamilyUbuntu, "", "#cloud-config\nautoinstall:\n  version: 1"), ImageLooksLike{CommandLines: []string{"/k quiet"}}, Boot, "wait for a person"},
		"autoinstall":           {composedContent(FamilyUbuntu, "", "#cloud-config\nautoinstall:\n  version: 1"), ImageLooksLike{CommandLines: []string{"/k quiet", "/k autoinstall"}}, Boot, ""},
		"lines unknown":         {composedContent(FamilyTalos, "", "x"), ImageLooksLike{}, Composed, ""},
		"stock talos":           {composedContent(FamilyTalos, "", "x"), ImageLooksLike{CommandLines: []string{"/k talos.platform=metal"}}, Boot, "talos.platform=nocloud or talos.config=metal-iso"},
		"stock flatcar":         {composedContent(FamilyFlatcar, "ignition", "{}"), ImageLooksLike{CommandLines: []string{"/k flatcar.autologin"}}, Composed, "no flatcar.oem.id=openstack"},
		"no embed area":         {composedContent(FamilyRHCOS, "ignition", "{}"), ImageLooksLike{}, Composed, "use the live ISO"},
		"small area":            {composedContent(FamilyFedoraCoreOS, "ignition", "{}"), ImageLooksLike{EmbedBytes: 100}, Composed, "which has 100"},
		"wrong format":          {composedContent(FamilyFedoraCoreOS, "cloud-config", "{}"), ImageLooksLike{EmbedBytes: 1 << 18}, Composed, "the format ignition"},
		"nothing needed":        {composedContent(FamilyNone, "", ""), ImageLooksLike{Opaque: "x"}, Boot, ""},
		"unknown family":        {composedContent("beos", "", ""), ImageLooksLike{}, Boot, "unknown osFamily"},
	} {
		c.content.Looks = &c.looks
		err := Check(c.content, c.medium)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatDependsOnTheImageIsNotJudgedBeforeALook(t *testing.T) {
	for _, c := range []Content{composedContent(FamilyRHCOS, FormatIgnition, "{}"), composedContent(FamilyTalos, "", "x"), composedContent(FamilyGeneric, "", "x")} {
		if err := Check(c, Composed); err != nil {
			t.Errorf("%s: %v", c.Family, err)
		}
	}
	if err := Check(composedContent(FamilyRHCOS, FormatCloudConfig, "x"), Composed); err == nil {
		t.Error("the wrong format was accepted before a look")
	}
}

// initramfs reads an archive as the kernel does: folders end in a slash here.
func initramfs(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	files := map[string]string{}
	for b := archive; ; {
		if string(b[:6]) != "070701" || len(archive)%4 != 0 {
			t.Fatalf("no newc header: %q", b[:6])
		}
		field := func(n int) int { return int(hexDigits(t, b[6+8*n:14+8*n])) }
		size, length := field(6), field(11)
		name := string(b[110 : 110+length-1])
		data := (110 + length + 3) / 4 * 4
		if name == "TRAILER!!!" {
			return files
		}
		if dir := path.Dir(name); dir != "." {
			if _, made := files[dir+"/"]; !made {
				t.Errorf("%s comes before its folder", name)
			}
		}
		if field(1)&0o170000 == 0o40000 {
			name += "/"
		}
		files[name] = string(b[data : data+size])
		b = b[(data+size+3)/4*4:]
	}
}

func TestEmbeddedConfigIsAnInitramfs(t *testing.T) {
	c := composedContent(FamilyFedoraCoreOS, FormatIgnition, `{"ignition":{"version":"3.4.0"}}`)
	c.Looks = &ImageLooksLike{EmbedBytes: 1 << 18}
	rc, err := recipeFor(c)
	if err != nil {
		t.Fatal(err)
	}
	if files := initramfs(t, rc.embed); len(files) != 1 || files["config.ign"] != string(c.UserData) {
		t.Errorf("archive holds %v", files)
	}
}

func TestCoreOSImageTakesNetworkDataInItsEmbedArea(t *testing.T) {
	c := composedContent(FamilyRHCOS, FormatIgnition, "{}")
	c.NetworkData = []byte(`{"b.nmconnection":"[connection]\nid=b\n","a.nmconnection":"[connection]\nid=a\n"}`)
	if err := Check(c, Composed); err != nil {
		t.Errorf("before a look: %v", err)
	}
	c.Looks = &ImageLooksLike{EmbedBytes: 1 << 18}
	if err := Check(c, Composed); err == nil || !strings.Contains(err.Error(), "live-initrd-network") {
		t.Errorf("an image that takes none: %v", err)
	}
	c.Looks.EmbedNetwork = true
	rc, err := recipeFor(c)
	if err != nil {
		t.Fatal(err)
	}
	files := initramfs(t, rc.embed)
	if len(files) != 5 || files["config.ign"] != "{}" || files[keyfileDir+"/a.nmconnection"] != "[connection]\nid=a\n" || files[keyfileDir+"/b.nmconnection"] == "" {
		t.Errorf("archive holds %v", files)
	}
	for _, bad := range []string{"no JSON", `{"../x.nmconnection":""}`, `{"x":""}`} {
		c.NetworkData = []byte(bad)
		if err := Check(c, Composed); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestCoreOSImageSaysWhetherItTakesNetworkData(t *testing.T) {
	for text, want := range map[string]bool{`{"live-initrd-network":true}`: true, `{"live-initrd-network":false}`: false, "junk": false, "": false} {
		d, err := buildISO("fcos", []isoFile{{"coreos/features.json", []byte(text)}, {"images/other.img", make([]byte, 8192)}})
		if err != nil {
			t.Fatal(err)
		}
		image, err := io.ReadAll(newSection(d, d.Size()))
		if err != nil {
			t.Fatal(err)
		}
		if lookAtImage(t, image).EmbedNetwork {
			t.Errorf("%q: without an embed area", text)
		}
		copy(image[embedHeader:], embedMagic)
		binary.LittleEndian.PutUint64(image[embedHeader+8:], uint64(len(image)-8192))
		binary.LittleEndian.PutUint64(image[embedHeader+16:], 8192)
		if got := lookAtImage(t, image).EmbedNetwork; got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func hexDigits(t *testing.T, b []byte) (n uint32) {
	t.Helper()
	for _, c := range b {
		d := slices.Index([]byte("0123456789abcdef"), c)
		if d < 0 {
			t.Fatalf("%q is no number", b)
		}
		n = n<<4 | uint32(d)
	}
	return n
}
