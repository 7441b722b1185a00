package bootmedia

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// kubeadmIgnition is what the kubeadm bootstrap provider (v1.14) writes for format ignition.
const kubeadmIgnition = `{"ignition":{"config":{},"security":{"tls":{}},"timeouts":{},"version":"2.3.0"},"networkd":{},"passwd":{},` +
	`"storage":{"files":[{"filesystem":"root","path":"/etc/kubeadm.yml","contents":{"source":"data:,x"},"mode":384}]},` +
	`"systemd":{"units":[{"enabled":true,"name":"kubeadm.service"}]}}`

func TestDataAndImageThatDoNotFitAreRefusedByWhatTheyAre(t *testing.T) {
	lines := func(l ...string) ImageLooksLike {
		return ImageLooksLike{VolumeLabel: "x", EmbedBytes: 1 << 18, CommandLines: l}
	}
	const cloud = "## template: jinja\n#cloud-config\nruncmd:\n- kubeadm init\n"
	ubuntu, debian, unlisted := lines("/casper/vmlinuz ---"), lines("vga=788 --- quiet"), lines("boot=live components")
	checks, other := lines("/k rd.live.image rd.live.check quiet"), lines("/k rd.live.image rd.live.check quiet")
	checks.ImplantedSum = true
	ubuntu.VolumeLabel, debian.VolumeLabel, unlisted.WithoutCloudInit = "Ubuntu-Server 24.04.3 LTS amd64", "Debian 12.5.0 amd64 n", true
	for name, c := range map[string]struct {
		content Content
		looks   ImageLooksLike
		want    string
	}{
		"coreos, ignition 2": {composedContent(FamilyFedoraCoreOS, FormatIgnition, kubeadmIgnition), lines(),
			"reads version 3 only"},
		"rhcos, ignition 2":      {composedContent(FamilyRHCOS, "", kubeadmIgnition), lines(), "reads version 3 only"},
		"microos, ignition 2":    {composedContent(FamilyMicroOS, FormatIgnition, kubeadmIgnition), lines(), "reads version 3 only"},
		"leap micro, ignition 2": {composedContent(FamilyLeapMicro, FormatIgnition, kubeadmIgnition), lines(), "reads version 3 only"},
		"coreos, ignition 3":     {composedContent(FamilyFedoraCoreOS, FormatIgnition, `{"ignition":{"version":"3.4.0"}}`), lines(), ""},
		"coreos, cloud-config":   {composedContent(FamilyFedoraCoreOS, "", cloud), lines(), "is for cloud-init"},
		"ubuntu, ignition":       {composedContent(FamilyUbuntu, "", kubeadmIgnition), lines(), "reads cloud-init user data"},
		"flatcar, ignition 2": {composedContent(FamilyFlatcar, FormatIgnition, kubeadmIgnition), lines("flatcar.first_boot=1 " +
			"flatcar.oem.id=openstack"), ""},
		"flatcar, no first boot": {composedContent(FamilyFlatcar, FormatIgnition, kubeadmIgnition),
			lines("flatcar.autologin flatcar.oem.id=openstack"), "flatcar.first_boot=1"},
		"talos that halts": {composedContent(FamilyTalos, "", "version: v1alpha1\n"), lines("talos.platform=nocloud " +
			"talos.halt_if_installed=1"), "waits for a person"},
		"talos that does not": {composedContent(FamilyTalos, "", "version: v1alpha1\n"), lines("talos.platform=nocloud " +
			"talos.halt_if_installed=0"), ""},
		"ubuntu's installer": {composedContent(FamilyUbuntu, FormatCloudConfig, cloud), ubuntu, "Ubuntu's installer"},
		"debian's installer": {composedContent(FamilyDebian, FormatCloudConfig, cloud), debian, "Debian's installer"},
		"anaconda": {composedContent(FamilyGeneric, FormatCloudConfig, cloud), lines("/k inst.stage2=hd:/dev/sr0"),
			"Anaconda"},
		"checks its own sum":      {composedContent(FamilyGeneric, FormatCloudConfig, cloud), checks, "rd.live.check"},
		"has no sum to check":     {composedContent(FamilyGeneric, FormatCloudConfig, cloud), other, ""},
		"live, no cloud-init":     {composedContent(FamilyDebian, FormatCloudConfig, cloud), unlisted, "cloud-init is not in it"},
		"its own data, installer": {composedContent(FamilyNone, "", ""), ubuntu, ""},
	} {
		c.content.Looks = &c.looks
		err := Check(c.content, Composed)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheFilesOfAnImageSayWhatItStarts(t *testing.T) {
	for name, c := range map[string]struct {
		files     []isoFile
		installer string
		without   bool
	}{
		"nothing said": {nil, "", false},
		"subiquity":    {[]isoFile{{"casper/install-sources.yaml", []byte("- id: x\n")}}, installerSubiquity, false},
		"live-build": {[]isoFile{{"live/filesystem.packages", []byte("adduser 3.134\ncloud-init-x " +
			"1\nzstd\t1.5\n")}}, "", true},
		"live-build, cloud-init": {[]isoFile{{"live/filesystem.packages", []byte("adduser 3.134\ncloud-init\t22.4.2-1\n")}}, "", false},
		"casper, foreign":        {[]isoFile{{"casper/filesystem.manifest", []byte("cloud-init:all 25.1\n")}}, "", false},
	} {
		d, err := buildISO("x", append(c.files, isoFile{"a", nil}))
		if err != nil {
			t.Fatal(err)
		}
		looks := lookAtImage(t, bytesOf(t, d))
		if looks.installer() != c.installer || looks.WithoutCloudInit != c.without {
			t.Errorf("%s: %q, %v", name, looks.installer(), looks.WithoutCloudInit)
		}
	}
}

func TestALabelIsKeptInWhateverFormItIsLookedFor(t *testing.T) {
	for text, want := range map[string]bool{
		"search --no-floppy --set=root -l 'NODE IMG'":                                               true,
		"search --no-floppy -l \"NODE IMG\" --set root":                                             true,
		"search -nl NODE\\ IMG --set=root --hint cd0":                                               true,
		"search --no-floppy --label --set=root \"NODE IMG\"":                                        true,
		"search.fs_label \"NODE IMG\" root":                                                         true,
		"if search --label \"NODE IMG\" --set root; then":                                           true,
		"linux /k root=/dev/disk/by-label/NODE\\x20IMG":                                             true,
		"linux /k archisolabel=NODE_IMG":                                                            true,
		"linux /k root=install:CDLABEL=NODE\\040IMG":                                                true,
		"set isolabel=\"NODE IMG\"\nlinux /k root=live:CDLABEL=${isolabel} quiet":                   true,
		"set l='NODE IMG'\nsearch --label \"$l\" --set root":                                        true,
		"search --set=root --file /NODE_IMG":                                                        false,
		"search --fs-uuid --set=root 2026-01-01":                                                    false,
		"menuentry 'NODE IMG' {":                                                                    false,
		"set isolabel=other\nlinux /k root=live:CDLABEL=${isolabel}\nmenuentry \"NODE IMG\" { true": false,
	} {
		if got := namesLabel(text, "NODE IMG"); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if !namesLabel("linux /k coreos.liveiso=fedora-coreos-43 quiet", "fedora-coreos-43") {
		t.Error("CoreOS's own argument is not seen")
	}
}

func TestASelfInstallImageKeepsTheLabelThatCombustionReads(t *testing.T) {
	looks := ImageLooksLike{VolumeLabel: "INSTALL", BootsByLabel: true}
	for _, family := range []Family{FamilyLeapMicro, FamilyMicroOS} {
		c := composedContent(family, "", "#!/bin/sh\n# combustion: network\ntrue\n")
		c.Looks = &looks
		rc, err := recipeFor(c)
		if err != nil || rc.label != "" || Check(c, Composed) != nil {
			t.Errorf("%s: label %q, %v", family, rc.label, err)
		}
		c.UserData, c.UserDataFormat = []byte(`{"ignition":{"version":"3.4.0"}}`), FormatIgnition
		if err := Check(c, Composed); err == nil {
			t.Errorf("%s: Ignition does not look under INSTALL", family)
		}
	}
}

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestTheReporterIsKeptWhateverFormUserDataHave(t *testing.T) {
	const with, without = "#cloud-config\nbootcmd:\n- [ modprobe, br_netfilter ]\n", "#cloud-config\nruncmd: [echo]\n"
	mixed := func(encoding, body string) string {
		return "Content-Type: multipart/mixed; boundary=\"B\"\nMIME-Version: 1.0\n\n--B\nContent-Type: " +
			"text/cloud-config\nContent-Transfer-Encoding: " + encoding + "\n\n" + body + "\n--B--\n"
	}
	coded := base64.StdEncoding.EncodeToString
	for name, c := range map[string]struct {
		data   string
		script bool
	}{
		"plain":                 {with, true},
		"plain without":         {without, false},
		"gzip":                  {string(gzipped(t, with)), true},
		"gzip without":          {string(gzipped(t, without)), false},
		"gzip, cut":             {string(gzipped(t, without)[:20]), true},
		"base64":                {coded([]byte(with)), true},
		"base64 of gzip":        {coded(gzipped(t, with)) + "\n", true},
		"base64 without":        {coded([]byte(without)), false},
		"MIME":                  {mixed("7bit", with), true},
		"MIME, base64":          {mixed("base64", coded([]byte(with))), true},
		"MIME, base64 of gzip":  {mixed("base64", coded(gzipped(t, with))), true},
		"MIME without":          {mixed("7bit", without), false},
		"MIME, cut":             {strings.TrimSuffix(mixed("7bit", without), "--B--\n"), true},
		"MIME, quoted":          {mixed("quoted-printable", "#cloud-config\nboo=\ntcmd: []\n"), true},
		"flow YAML":             {"#cloud-config\n{bootcmd: [[modprobe, br_netfilter]]}\n", true},
		"indented, quoted":      {"#cloud-config\n{\n  \"bootcmd\": []}\n", true},
		"Jinja, unknown":        {"## template: jinja\n#cloud-config\n{% if ds.meta_data.no_such %}\nbootcmd: [x]\n{% endif %}\n", true},
		"Jinja without":         {"## template: jinja\n#cloud-config\nhostname: {{ ds.meta_data.no_such }}\n", false},
		"fetched at boot":       {"#include\nhttps://192.0.2.1/user-data\n", true},
		"script that mentions":  {"#!/bin/sh\necho bootcmd\n", true},
		"nothing, as from none": {"", false},
	} {
		cc := content(FamilyUbuntu, func(x *Content) { x.UserData, x.PhoneHomeURL = []byte(c.data), "https://192.0.2.1/p/x" })
		_, files := filesOf(t, cc)
		if got := bytes.HasPrefix(files["vendor-data"], []byte("#!/bin/sh\n")); got != c.script || len(files["vendor-data"]) == 0 {
			t.Errorf("%s: vendor data begins with %q", name, clip(string(files["vendor-data"]), 16))
		}
		if why := Unreported(cc); why != "" {
			t.Errorf("%s: %s", name, why)
		}
	}
}

func TestWhoWillNotReportIsTold(t *testing.T) {
	const install = "#cloud-config\nautoinstall:\n  version: 1\n"
	for data, want := range map[string]string{
		install: "Ubuntu's installer",
		"#cloud-config\n{autoinstall: {version: 1}}\n":                                          "Ubuntu's installer",
		string(gzipped(t, install)):                                                             "Ubuntu's installer",
		"#cloud-config\nvendor_data: {enabled: false}\n":                                        "vendor_data.enabled",
		"#cloud-config\nbootcmd: []\ncloud_final_modules: [runcmd, [scripts-user, always]]\n":   "scripts_vendor",
		"#cloud-config\nbootcmd: []\ncloud_final_modules: [[scripts-vendor, always], runcmd]\n": "",
		"#cloud-config\nruncmd: [true]\n":                                                       "",
	} {
		c := content(FamilyUbuntu, func(x *Content) { x.UserData, x.PhoneHomeURL = []byte(data), "https://192.0.2.1/p/x" })
		if got := Unreported(c); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: %q", clip(data, 60), got)
		}
		_, files := filesOf(t, c)
		if _, watched := files["vendor-data"]; watched == (want == "Ubuntu's installer") {
			t.Errorf("%q: vendor data are there: %v", clip(data, 60), watched)
		}
	}
}

// ignitionOf is a config with a number of Pods in it, as control planes carry them.
func ignitionOf(pods int) []byte {
	var files []string
	for i := range pods {
		files = append(files, fmt.Sprintf(`{"path":"/etc/kubernetes/manifests/pod-%d.yaml","mode":420,"contents":{"source":"data:,%s"}}`, i,
			strings.Repeat("apiVersion%3A%20v1%0Akind%3A%20Pod%0Ametadata%3A%0A%20%20labels%3A%0A", 80)))
	}
	return []byte(`{"ignition":{"version":"3.4.0"},"storage":{"files":[` + strings.Join(files, ",") + `]}}`)
}

func TestAConfigThatFitsCompressedGoesIntoTheEmbedArea(t *testing.T) {
	c := composedContent(FamilyFedoraCoreOS, FormatIgnition, string(ignitionOf(60)))
	c.Looks = &ImageLooksLike{EmbedBytes: 256 << 10}
	rc, err := recipeFor(c)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(rc.embed))
	if err != nil {
		t.Fatal(err)
	}
	archive, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if files := initramfs(t, archive); files["config.ign"] != string(c.UserData) {
		t.Error("the config in the archive is another")
	}
	// Frozen: replicas of all versions write the same bytes.
	if got, want := fmt.Sprint(len(rc.embed), " ", digestOf(rc.embed)), packedGolden; got != want {
		t.Errorf("compressed to %s, want %s", got, want)
	}
}

func TestWhatIsPackedIsReadBack(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	for name, data := range map[string][]byte{
		"a byte": {7}, "one value": bytes.Repeat([]byte("a"), 200_000), "noise": noise, "text": ignitionOf(20),
		"base64": []byte(base64.StdEncoding.EncodeToString(noise)), "far": append(append(bytes.Clone(noise[:300]), make([]byte,
			32<<10)...), noise[:300]...),
		"fibonacci": fibonacci(),
	} {
		z, err := gzip.NewReader(bytes.NewReader(packed(data)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %v, %d bytes of %d", name, err, len(got), len(data))
		}
	}
	if n := len(packed([]byte(base64.StdEncoding.EncodeToString(noise)))); n > 104_000 {
		t.Errorf("base64 of %d bytes takes %d", len(noise), n)
	}
}

// fibonacci has counts that make Huffman's tree deeper than the format allows.
func fibonacci() []byte {
	var out []byte
	for a, b, v := 1, 1, byte(0); v < 22; a, b, v = b, a+b, v+1 {
		for i := range a {
			out = append(out, v, byte(i*7+100))
		}
	}
	return out
}

const packedGolden = "1883 a31e5f9cfdf28788f69a6ee84a53ee7ac7a5c39c50bc89bcb3336ac649da97ba"

func TestTheEmbedAreaIsWhereIgnInfoSaysItIs(t *testing.T) {
	for name, c := range map[string]struct {
		info  string
		files []isoFile
		area  int64
		data  string // the area begins with; in the file that has it
		fails bool
	}{
		"whole file": {`{"file":"images/ignition.img"}`, []isoFile{{"images/ignition.img", []byte("area" + strings.Repeat("\x00",
			996))}}, 1000, "area", false},
		"part of a file": {`{"file":"/images/cdboot.img","offset":100,"length":200}`, []isoFile{{"images/cdboot.img",
			[]byte(strings.Repeat("k", 100) + "part" + strings.Repeat("\x00", 400))}}, 200, "part", false},
		"from a place on": {`{"file":"images/cdboot.img","offset":100}`, []isoFile{{"images/cdboot.img", []byte(strings.Repeat("k",
			100) + "part")}}, 4, "part", false},
		"no info":          {"", []isoFile{{"images/ignition.img", []byte("area")}}, 4, "area", false},
		"neither":          {"", []isoFile{{"images/vmlinuz", []byte("k")}}, 0, "", false},
		"file is missing":  {`{"file":"images/x.img"}`, []isoFile{{"images/ignition.img", []byte("area")}}, 0, "", true},
		"is a folder":      {`{"file":"images"}`, []isoFile{{"images/ignition.img", []byte("area")}}, 0, "", true},
		"longer than file": {`{"file":"images/i","offset":2,"length":3}`, []isoFile{{"images/i", []byte("area")}}, 0, "", true},
		"offset beyond":    {`{"file":"images/i","offset":9223372036854775807}`, []isoFile{{"images/i", []byte("area")}}, 0, "", true},
		"no JSON":          {`{"file":`, []isoFile{{"images/i", []byte("area")}}, 0, "", true},
	} {
		if c.info != "" {
			c.files = append(c.files, isoFile{ignInfoPath, []byte(c.info)})
		}
		d, err := buildISO("fcos", c.files)
		if err != nil {
			t.Fatal(err)
		}
		image := bytesOf(t, d)
		v, err := readVolume(bytes.NewReader(image), int64(len(image)))
		if (err != nil) != c.fails {
			t.Errorf("%s: %v", name, err)
		}
		if v.embed.length != c.area || !bytes.HasPrefix(image[v.embed.off:], []byte(c.data)) {
			t.Errorf("%s: area %+v", name, v.embed)
		}
	}
}

func FuzzUserData(f *testing.F) {
	for _, seed := range []string{"#cloud-config\n", "Content-Type: multipart/mixed; boundary=B\n\n--B\n\nx\n--B--",
		"I2Nsb3VkLWNvbmZpZwo=", "\x1f\x8b", "#include\nx"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		u := unpack(data)
		total := 0
		for _, p := range u.parts {
			total += len(p)
		}
		if total > maxUnpacked+len(data) {
			t.Errorf("%d bytes were unpacked", total)
		}
		_ = Unreported(Content{Family: FamilyUbuntu, UserData: data})
	})
}

func FuzzPacked(f *testing.F) {
	f.Add([]byte("aaaaaaaaaaaaabc"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		z, err := gzip.NewReader(bytes.NewReader(packed(data)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%v, from %s", err, hex.EncodeToString(data))
		}
	})
}

func FuzzIgnInfo(f *testing.F) {
	f.Add([]byte(`{"file":"images/ignition.img","offset":1,"length":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if info, err := parseIgnInfo(data); err == nil && (info.Offset < 0 || info.Length != nil && *info.Length <= 0) {
			t.Errorf("%+v", info)
		}
	})
}

func FuzzNamesLabel(f *testing.F) {
	f.Add("set a=$b\nset b=$a\nlinux CDLABEL=${a}", "x")
	f.Fuzz(func(_ *testing.T, text, label string) { namesLabel(text, label) })
}
