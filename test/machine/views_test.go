//go:build e2emachine

package machine_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/test/machine"
)

// viewData makes a machine that booted from a composed medium (sr0), and has the image as it is in its second slot (sr1), read all
// files of both, through each of the trees that the kernel finds on an ISO 9660 medium. A loop device of its own for each makes the
// kernel look again: it reads a mounted device in one way only.
//
// The kernel and systemd are told to leave the console to it.
const viewData = `#cloud-config
runcmd:
- sh /run/views.sh
write_files:
- path: /run/views.sh
  content: |
    set -u
    dmesg -n 1
    kill -55 1 # SIGRTMIN+21: no status lines
    say() { sed "s/^/view-record $* /" >/dev/ttyS0; }
    sums() { # DEVICE OPTIONS
      loop=$(losetup -r -f --show /dev/$1) && mount -t iso9660 -o $2 "$loop" /mnt || return 1
      (cd /mnt && find . -type f | LC_ALL=C sort | xargs -d '\n' sha256sum)
      umount /mnt && losetup -d "$loop"
    }
    for view in rockridge:ro joliet:ro,norock plain:ro,norock,nojoliet; do
      name=${view%%:*}
      sums sr1 ${view#*:} >/run/image && sums sr0 ${view#*:} >/run/medium || echo failed | say error
      diff /run/image /run/medium | grep '^[<>]' | say $name diff
      wc -l </run/image | say $name files
      [ $name != rockridge ] || diff /run/expected /run/medium | grep '^[<>]' | say $name expected
    done
    echo end | say
`

// The kernel reads every file of the image byte for byte on a composed medium, in each tree of names, and nothing beside them but
// what was added.
func TestTheKernelReadsTheImageOnAComposedMedium(t *testing.T) {
	r := newRig(t, "generic", machine.Options{})
	path, err := machine.FindImage(repository(t))
	if err != nil {
		t.Fatal(err)
	}
	image, err := machine.ServeImage(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = image.Close() })
	want := imageSums(t, path)
	userData := viewData + "- path: /run/expected\n  content: |\n" + want.list("    ")
	r.media.grant.Content.UserData = []byte(userData)
	r.bootOnce(bootmedia.ComposedURL(r.base, r.token), image.URL())
	r.await(1, "view-record  end")
	records := viewRecords(r.machine.Serial().Cycle(1))
	if e := records["error"]; len(e) > 0 {
		t.Errorf("the kernel could not mount a view: %v", e)
	}
	for _, view := range []string{"rockridge", "joliet", "plain"} {
		files := records[view+" files"]
		if len(files) != 1 || files[0] != strconv.Itoa(len(want)) {
			t.Errorf("%s: the image has %v files, want %d", view, files, len(want))
		}
		checkAdded(t, view, records[view+" diff"], sum(strings.NewReader(userData)))
	}
	checkAdded(t, "rockridge", records["rockridge expected"], sum(strings.NewReader(userData)))
}

// checkAdded expects lines of diff that only add, among them the user data.
func checkAdded(t *testing.T, view string, diff []string, userData string) {
	t.Helper()
	var names []string
	found := false
	for _, line := range diff {
		rest, added := strings.CutPrefix(line, "> ")
		if !added {
			t.Errorf("%s: a file of the image is not as it was: %s", view, line)
			continue
		}
		hash, name, _ := strings.Cut(rest, "  ./")
		names = append(names, strings.ToLower(name))
		found = found || hash == userData
	}
	if !found || len(names) != 3 {
		t.Errorf("%s: added are %v; the user data is among them: %v", view, names, found)
	}
	if view != "plain" && !slices.Equal(names, []string{"meta-data", "user-data", "vendor-data"}) {
		t.Errorf("%s: added are %v", view, names)
	}
}

// viewRecords are the lines that viewData wrote, by view and kind.
func viewRecords(console string) map[string][]string {
	out := map[string][]string{}
	for line := range strings.Lines(console) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "view-record ")
		if !ok {
			continue
		}
		words := strings.SplitN(rest, " ", 3)
		if words[0] == "error" {
			out["error"] = append(out["error"], rest)
		} else if len(words) == 3 {
			key := words[0] + " " + words[1]
			out[key] = append(out[key], words[2])
		}
	}
	return out
}

// sums are the checksums of files by name.
type sums map[string]string

// list is the sums as sha256sum writes them, in the order of names, each line after a margin.
func (s sums) list(margin string) string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		out.WriteString(margin + s[name] + "  ./" + name + "\n")
	}
	return out.String()
}

// imageSums are the checksums of all files of an image, as xorriso reads them.
func imageSums(t *testing.T, image string) sums {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "xorriso", "-osirrox", "on:auto_chmod_on", "-indev", image, "-extract", "/", dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("xorriso: %v\n%s", err, out)
	}
	found := sums{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		name, err := filepath.Rel(dir, path)
		found[name] = sum(file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func sum(r io.Reader) string {
	h := sha256.New()
	_, _ = io.Copy(h, r) // a short sum is a wrong one
	return hex.EncodeToString(h.Sum(nil))
}
