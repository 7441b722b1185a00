package bootmedia

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Images as Debian's programs make and read them. Where a program is missing its
// test says so and ends: what it holds is held by images of our own elsewhere.

func hasPrograms(t *testing.T, names ...string) bool {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Logf("%s is not installed: nothing is tried here", name)
			return false
		}
	}
	return true
}

func runProgram(t *testing.T, name string, arguments ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, arguments...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func writeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	tree := t.TempDir()
	for path, text := range files {
		full := filepath.Join(tree, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

// made is an image that a program wrote from files.
func made(t *testing.T, files map[string]string, program ...string) []byte {
	t.Helper()
	iso := filepath.Join(t.TempDir(), "image.iso")
	runProgram(t, program[0], append(program[1:], "-o", iso, writeTree(t, files))...)
	image, err := os.ReadFile(iso)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestProgramsReadTheComposedMedium(t *testing.T) {
	if !hasPrograms(t, "xorriso", "genisoimage", "isoinfo") {
		return
	}
	files := map[string]string{
		"boot/grub/grub.cfg": "linux /live/vmlinuz quiet\n", "live/vmlinuz": "kernel", "live/Root.squashfs": strings.Repeat("root",
			50_000),
		"live/empty": "", "boot/isolinux.bin": strings.Repeat("b", 4096), "a file with a long name.and.dots": "x",
	}
	for name, program := range map[string][]string{
		"xorriso, El Torito": {"xorriso", "-as", "mkisofs", "-quiet", "-r", "-J", "-V", "LIVE", "-b", "boot/isolinux.bin", "-c",
			"boot/boot.cat", "-no-emul-boot", "-boot-info-table"},
		"xorriso, Rock Ridge": {"xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", "LIVE", "-iso-level", "3"},
		"genisoimage":         {"genisoimage", "-quiet", "-r", "-J", "-V", "LIVE"},
		"genisoimage, padded": {"genisoimage", "-quiet", "-R", "-pad", "-V", "LIVE", "-b", "boot/isolinux.bin", "-c", "boot/boot.cat",
			"-no-emul-boot"},
		"genisoimage, no root": {"genisoimage", "-quiet", "-R", "-no-pad", "-V", "LIVE"},
	} {
		t.Run(name, func(t *testing.T) {
			image := made(t, files, program...)
			out := mustCompose(t, image, recipe{label: labelNoCloud, files: []isoFile{{"meta-data", []byte("m")}, {"user-data",
				[]byte("#cloud-config\n")}}})
			path, tree := filepath.Join(t.TempDir(), "composed.iso"), t.TempDir()
			if err := os.WriteFile(path, out, 0o600); err != nil {
				t.Fatal(err)
			}
			runProgram(t, "xorriso", "-osirrox", "on", "-indev", path, "-extract", "/", tree)
			want := map[string]string{"meta-data": "m", "user-data": "#cloud-config\n"}
			for p, text := range files {
				want[p] = text
			}
			for p, text := range want {
				if p == "boot/isolinux.bin" {
					continue // a table of its place may be in it
				}
				if got, err := os.ReadFile(filepath.Join(tree, p)); err != nil || string(got) != text {
					t.Errorf("xorriso: %s: %v, %d bytes", p, err, len(got))
				}
			}
			if listed := runProgram(t, "isoinfo", "-R", "-f", "-i", path); !strings.Contains(listed,
				"/user-data\n") || !strings.Contains(listed, "/live/Root.squashfs\n") {
				t.Errorf("isoinfo lists\n%s", listed)
			}
			if said := runProgram(t, "xorriso", "-indev", path, "-pvd_info", "-report_el_torito", "plain"); !strings.Contains(said,
				"cidata") ||
				strings.Contains(strings.Join(program, " "), "-b ") != strings.Contains(said, "El Torito cat") {
				t.Errorf("xorriso says\n%s", said)
			}
		})
	}
}

// fedoraCoreOS is the tree that osbuild's stage org.osbuild.coreos.live-artifacts
// makes since 2024: no header "coreiso+" in the system area.
func fedoraCoreOS(change ...func(map[string]string)) map[string]string {
	files := map[string]string{
		"images/ignition.img":  strings.Repeat("\x00", 256<<10),
		"coreos/igninfo.json":  "{\n  \"file\": \"images/ignition.img\"\n}\n",
		"coreos/features.json": "{\n  \"installer-config\": true,\n  \"live-initrd-network\": true\n}\n",
		"EFI/fedora/grub.cfg": "\tlinux /images/pxeboot/vmlinuz coreos.liveiso=fedora-coreos-43 ignition.firstboot " +
			"ignition.platform.id=metal\n",
		"images/pxeboot/vmlinuz":    "kernel",
		"images/pxeboot/initrd.img": "initrd",
	}
	for _, f := range change {
		f(files)
	}
	return files
}

func TestCoreOSImageOfXorrisoTakesItsConfig(t *testing.T) {
	if !hasPrograms(t, "xorriso") {
		return
	}
	image := made(t, fedoraCoreOS(), "xorriso", "-as", "mkisofs", "-quiet", "-rational-rock", "-J", "-joliet-long", "-V",
		"fedora-coreos-43")
	for _, family := range []Family{FamilyFedoraCoreOS, FamilyRHCOS} {
		c := composedContent(family, FormatIgnition, `{"ignition":{"version":"3.4.0"}}`)
		looks := lookAtImage(t, image)
		c.Looks = &looks
		if err := Check(c, Composed); err != nil {
			t.Fatalf("%s: %v", family, err)
		}
		rc, err := recipeFor(c)
		if err != nil {
			t.Fatal(err)
		}
		path, tree := filepath.Join(t.TempDir(), "composed.iso"), t.TempDir()
		if err := os.WriteFile(path, mustCompose(t, image, rc), 0o600); err != nil {
			t.Fatal(err)
		}
		runProgram(t, "xorriso", "-osirrox", "on", "-indev", path, "-extract", "/", tree)
		area, err := os.ReadFile(filepath.Join(tree, "images/ignition.img"))
		if err != nil || len(area) != 256<<10 || !bytes.HasPrefix(area, rc.embed) || len(bytes.Trim(area[len(rc.embed):], "\x00")) > 0 {
			t.Errorf("%s: images/ignition.img does not hold the config and zeroes behind it: %v", family, err)
		}
		if files := initramfs(t, rc.embed); files["config.ign"] != string(c.UserData) {
			t.Errorf("%s: %v", family, files)
		}
	}
}

func TestAnImplantedSumIsToldOrTakenOut(t *testing.T) {
	if !hasPrograms(t, "xorriso", "implantisomd5", "checkisomd5") {
		return
	}
	for line, refused := range map[string]bool{"linux /k root=live:/dev/sr0 rd.live.image rd.live.check quiet": true,
		"linux /k rd.live.image": false} {
		iso := filepath.Join(t.TempDir(), "image.iso")
		runProgram(t, "xorriso", "-as", "mkisofs", "-quiet", "-r", "-J", "-V", "NODE", "-o", iso, writeTree(t,
			map[string]string{"EFI/BOOT/grub.cfg": line + "\n", "LiveOS/squashfs.img": strings.Repeat("s", 2<<20)}))
		runProgram(t, "implantisomd5", iso)
		runProgram(t, "checkisomd5", iso)
		image, err := os.ReadFile(iso)
		if err != nil {
			t.Fatal(err)
		}
		c := composedContent(FamilyGeneric, "", "#cloud-config\n")
		looks := lookAtImage(t, image)
		c.Looks = &looks
		if err := Check(c, Composed); (err != nil) != refused || refused && !strings.Contains(err.Error(), "rd.live.check") {
			t.Errorf("%s: %v", line, err)
		}
		if err := Check(c, Boot); err != nil {
			t.Errorf("%s: beside a drive of its own: %v", line, err)
		}
		composedISO := filepath.Join(t.TempDir(), "composed.iso")
		if err := os.WriteFile(composedISO, mustCompose(t, image, recipe{label: labelNoCloud, files: []isoFile{{"user-data", nil}}}),
			0o600); err != nil {
			t.Fatal(err)
		}
		if out, _ := exec.CommandContext(t.Context(), "checkisomd5", composedISO).CombinedOutput(); !strings.Contains(string(out),
			"No checksum information") {
			t.Errorf("checkisomd5 says %s", out)
		}
	}
}
