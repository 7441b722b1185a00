package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/diskfs/go-diskfs/backend/file"
	diskiso "github.com/diskfs/go-diskfs/filesystem/iso9660"
	"github.com/diskfs/go-diskfs/partition/gpt"

	"github.com/beskar7/beskar7/pkg/bootmedia"
)

// baseFiles are what is in the user's image: enough for directories of several sectors.
func baseFiles() map[string][]byte {
	files := map[string][]byte{"boot/loader.img": bytes.Repeat([]byte{0xEB}, 4096), "boot/grub/grub.cfg": []byte("linux /live/vmlinuz quiet\n"), "live/filesystem.squashfs": bytes.Repeat([]byte("squash"), 300_000)}
	for i := range 60 {
		files[fmt.Sprintf("pool/Package_with-a.long_name-%d.deb", i)] = bytes.Repeat([]byte{byte(i)}, 100*i)
		files[fmt.Sprintf("file-at-the-root-%d", i)] = []byte{byte(i)}
	}
	return files
}

// gptImage is made as current Ubuntu and Debian images are: its EFI system partition stands behind its files, in a GPT.
const gptImage = "xorriso gpt"

// baseImages are images by writers that are not ours: bootable ones, with Rock Ridge, with Joliet, with neither.
func baseImages(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{"go-diskfs": diskfsImage(t, writeTree(t))} // it removes the tree
	tree := writeTree(t)
	if _, err := exec.LookPath("xorriso"); err != nil {
		t.Log("xorriso is not installed: one writer only")
		return out
	}
	boot := []string{"-b", "boot/loader.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", "-eltorito-alt-boot", "-e", "boot/loader.img", "-no-emul-boot"}
	for name, args := range map[string][]string{
		"xorriso rock ridge": append([]string{"-R"}, boot...), "xorriso both": append([]string{"-R", "-J", "-joliet-long"}, boot...),
		"xorriso joliet": append([]string{"-J", "-joliet-long", "-iso-level", "3"}, boot...), "xorriso hybrid": append([]string{"-R", "-J", "-joliet-long", "-partition_offset", "16"}, boot...),
		gptImage: append([]string{"-R", "-J", "-joliet-long", "-append_partition", "2", "0xef", filepath.Join(tree, "boot/loader.img"), "-appended_part_as_gpt"}, boot...),
	} {
		path := filepath.Join(t.TempDir(), "base.iso")
		args = append([]string{"-as", "mkisofs", "-quiet", "-V", "BASE", "-o", path}, append(args, tree)...)
		if said, err := exec.CommandContext(t.Context(), "xorriso", args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, said)
		}
		image, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = image
	}
	return out
}

func writeTree(t *testing.T) string {
	t.Helper()
	tree := t.TempDir()
	for name, data := range baseFiles() {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func diskfsImage(t *testing.T, tree string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "base.iso")
	backend, err := file.CreateFromPath(path, 16<<20)
	if err != nil {
		t.Fatal(err)
	}
	volume, err := diskiso.Create(backend, 0, 0, 2048, tree)
	if err != nil {
		t.Fatal(err)
	}
	if err := volume.Finalize(diskiso.FinalizeOptions{RockRidge: true, VolumeIdentifier: "BASE",
		ElTorito: &diskiso.ElTorito{Entries: []*diskiso.ElToritoEntry{{Platform: diskiso.EFI, Emulation: diskiso.NoEmulation, BootFile: "/boot/loader.img"}}}}); err != nil {
		t.Fatal(err)
	}
	if err := backend.Close(); err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// oneGrant is a source of a single medium.
type oneGrant struct {
	hash  string
	grant bootmedia.Grant
}

func (o *oneGrant) Grant(_ context.Context, hash string) (bootmedia.Grant, error) {
	if hash != o.hash {
		return bootmedia.Grant{}, bootmedia.ErrUnknown
	}
	return o.grant, nil
}

func (*oneGrant) PhoneHome(context.Context, string, bootmedia.Outcome, string) error {
	return bootmedia.ErrUnknown
}

// fetchComposed has our server compose an image, and reads the whole medium over HTTP.
func fetchComposed(t *testing.T, image []byte, c bootmedia.Content) []byte {
	t.Helper()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "base.iso", time.Time{}, bytes.NewReader(image))
	}))
	t.Cleanup(origin.Close)
	source := &oneGrant{}
	server := bootmedia.New(bootmedia.Options{Source: source, Recorder: source})
	t.Cleanup(server.Close)
	woken := make(chan string, 10)
	server.Notify(func(u string) { woken <- u })
	c.ImageURL = origin.URL + "/base.iso"
	prepared, err := server.Prepare(t.Context(), c.ImageURL, "")
	for err == nil && !prepared.Ready {
		<-woken
		prepared, err = server.Prepare(t.Context(), c.ImageURL, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	checked := c
	checked.Looks = &prepared.Looks
	if err := bootmedia.Check(checked, bootmedia.Composed); err != nil {
		t.Fatal(err)
	}
	token, err := bootmedia.NewToken()
	if err != nil {
		t.Fatal(err)
	}
	c.ImagePin = prepared.Pin
	source.hash, source.grant = token.Hash(), bootmedia.Grant{Host: "default/host-1", Content: c}
	web := httptest.NewServer(server.Handler())
	t.Cleanup(web.Close)
	resp, err := http.Get(bootmedia.ComposedURL(web.URL, token)) //nolint:noctx // a test server
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	return out
}

// TestComposedImageReaders composes images of other writers and reads them back with other readers: every file of the image
// as it was, the new ones beside them, and what firmware boots from untouched.
func TestComposedImageReaders(t *testing.T) {
	content := drives()["nocloud"].content
	added := []string{"user-data", "meta-data", "vendor-data", "network-config"}
	for name, image := range baseImages(t) {
		t.Run(name, func(t *testing.T) {
			out := fetchComposed(t, image, content)
			path := filepath.Join(t.TempDir(), "composed.iso")
			if err := os.WriteFile(path, out, 0o600); err != nil {
				t.Fatal(err)
			}
			seen := map[string]map[string][]byte{"go-diskfs": readDiskfs(t, path, "cidata")}
			if _, err := exec.LookPath("xorriso"); err == nil {
				seen["xorriso"] = readXorriso(t, path)
				before := filepath.Join(t.TempDir(), "base.iso")
				if err := os.WriteFile(before, image, 0o600); err != nil {
					t.Fatal(err)
				}
				if a, b := elTorito(t, before), elTorito(t, path); a == "" || a != b {
					t.Errorf("firmware saw\n%s\nand sees\n%s", a, b)
				}
			}
			if name == gptImage {
				checkGPT(t, path, int64(len(image)))
			}
			for reader, files := range seen {
				checkComposed(t, reader, files, added, content.UserData)
			}
		})
	}
}

// checkGPT: the medium is longer than its image, so the backup GPT is not at its end any more. Firmware and kernels look for it
// where the primary one says, and use both only if their checksums hold: they do, and the partitions are those of the image.
func checkGPT(t *testing.T, path string, imageBytes int64) {
	t.Helper()
	medium, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer medium.Close()
	table, err := gpt.Read(file.New(medium, true), 512, 512)
	if err != nil {
		t.Fatalf("the partition table: %v", err)
	}
	found := false
	for _, p := range table.Partitions {
		if p.Type != gpt.EFISystemPartition {
			continue
		}
		found = true
		got, want := make([]byte, 4096), bytes.Repeat([]byte{0xEB}, 4096)
		if _, err := medium.ReadAt(got, int64(p.Start)*512); err != nil || !bytes.Equal(got, want) {
			t.Errorf("what firmware boots from is not the image's own: %v", err)
		}
	}
	if !found {
		t.Error("the EFI system partition is not in the table")
	}
	header := make([]byte, 512)
	if _, err := medium.ReadAt(header, 512); err != nil {
		t.Fatal(err)
	}
	backup := int64(binary.LittleEndian.Uint64(header[32:])) * 512
	if backup+512 > imageBytes {
		t.Fatalf("the backup table is at %d, behind the image of %d bytes", backup, imageBytes)
	}
	if _, err := medium.ReadAt(header, backup); err != nil {
		t.Fatal(err)
	}
	sum := binary.LittleEndian.Uint32(header[16:])
	clear(header[16:20])
	if string(header[:8]) != "EFI PART" || crc32.ChecksumIEEE(header[:92]) != sum {
		t.Error("the backup table is damaged")
	}
}

// checkComposed compares by name without its case, as plain ISO 9660 keeps none.
func checkComposed(t *testing.T, reader string, files map[string][]byte, added []string, userData []byte) {
	t.Helper()
	folded := map[string][]byte{}
	for name, data := range files {
		folded[strings.ToLower(name)] = data
	}
	delete(folded, "boot.catalog") // xorriso shows El Torito's catalog as a file
	want := baseFiles()
	if len(folded) != len(want)+len(added) {
		t.Errorf("%s sees %d files, want %d: %v", reader, len(folded), len(want)+len(added), slices.Sorted(maps.Keys(folded)))
	}
	for name, data := range want {
		// xorriso patches the boot-info-table into the loader itself.
		if got := folded[strings.ToLower(name)]; !bytes.Equal(got, data) && name != "boot/loader.img" {
			t.Errorf("%s reads %s otherwise: %d bytes of %d", reader, name, len(got), len(data))
		}
	}
	if !bytes.Equal(folded["user-data"], userData) {
		t.Errorf("%s does not read the user data byte for byte", reader)
	}
}

// elTorito is what firmware finds to boot in an image, by xorriso.
func elTorito(t *testing.T, path string) string {
	t.Helper()
	said, err := exec.CommandContext(t.Context(), "xorriso", "-indev", path, "-report_el_torito", "plain").Output()
	if err != nil {
		t.Fatalf("xorriso: %v", err)
	}
	return string(said)
}
