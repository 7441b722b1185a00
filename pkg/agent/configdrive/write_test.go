package configdrive

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/beskar7/beskar7/pkg/agent/block"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

const mib = 1 << 20

func disk(t *testing.T, blockSize int) (*block.File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, Size(blockSize)+4*mib); err != nil {
		t.Fatal(err)
	}
	d, err := block.OpenFile(path, blockSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d, path
}

func data() *protocol.Data {
	return &protocol.Data{Label: "cidata", Files: []protocol.File{
		{Path: "meta-data", Content: []byte("instance-id: i\n")},
		{Path: "user-data", Content: bytes.Repeat([]byte("#cloud-config\n"), 100_000)},
		{Path: "network-config"},
		{Path: "openstack/latest/meta_data.json", Content: []byte("{}")},
		{Path: "openstack/latest/user_data", Content: []byte("x")},
	}}
}

func TestADriveIsReadByOthers(t *testing.T) {
	for _, blockSize := range []int{512, 4096} {
		d, file := disk(t, blockSize)
		if _, err := d.WriteAt(bytes.Repeat([]byte{0xA5}, 3*mib), 0); err != nil {
			t.Fatal(err)
		}
		if err := Write(d, mib, Size(blockSize), data()); err != nil {
			t.Fatalf("blocks of %d: %v", blockSize, err)
		}
		edge := make([]byte, mib)
		if _, err := d.ReadAt(edge, 0); err != nil || !bytes.Equal(edge, bytes.Repeat([]byte{0xA5}, mib)) {
			t.Errorf("blocks of %d: what is before the partition was written to", blockSize)
		}
		boot := edge[:512]
		if _, err := d.ReadAt(boot, mib); err != nil || string(boot[71:77]) != "cidata" || string(boot[82:87]) != "FAT32" {
			t.Errorf("blocks of %d: the label is %q of %q", blockSize, boot[71:82], boot[82:90])
		}
		for _, f := range data().Files {
			if got, ok := mtools(t, file, f.Path); ok && !bytes.Equal(got, f.Content) {
				t.Errorf("blocks of %d: mtools reads %d bytes of %s", blockSize, len(got), f.Path)
			}
		}
	}
}

// mtools reads a file with a program that others wrote, where it is installed.
func mtools(t *testing.T, image, name string) ([]byte, bool) {
	t.Helper()
	mcopy, err := exec.LookPath("mcopy")
	if err != nil {
		return nil, false
	}
	command := exec.CommandContext(t.Context(), mcopy, "-i", image+"@@1M", "::/"+name, "-")
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Errorf("mcopy %s: %v: %s", name, err, stderr.String())
	}
	return out, true
}

// forgetful is a disk that loses what is written behind a place.
type forgetful struct {
	block.Device
	from int64
}

func (f forgetful) WriteAt(p []byte, off int64) (int, error) {
	if off >= f.from {
		return len(p), nil
	}
	return f.Device.WriteAt(p, off)
}

func TestADiskThatForgetsIsNoticed(t *testing.T) {
	d, _ := disk(t, 512)
	one := &protocol.Data{Label: "cidata", Files: data().Files[1:2]} // its end is in what is lost, and nothing else
	if err := Write(forgetful{d, 3 * mib}, mib, Size(512), one); err == nil || !strings.Contains(err.Error(), "reads otherwise") {
		t.Errorf("a drive is written whose files are not there: %v", err)
	}
}

// broken is a disk that fails.
type broken struct{ block.Device }

var errBroken = errors.New("broken")

func (broken) Zero(int64, int64) error { return errBroken }

func TestADiskThatFails(t *testing.T) {
	d, _ := disk(t, 512)
	if err := Write(broken{d}, mib, Size(512), data()); !errors.Is(err, errBroken) {
		t.Errorf("%v", err)
	}
}
