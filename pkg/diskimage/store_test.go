package diskimage

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/beskar7/beskar7/pkg/agent/image"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// asTheAgent unpacks what is served as the agent does.
func asTheAgent(t testing.TB, ready Ready, served []byte) []byte {
	t.Helper()
	if sha256Of(served) != ready.Digest || int64(len(served)) != ready.Size {
		t.Fatalf("%d bytes of %s are served, %+v was said", len(served), sha256Of(served), ready)
	}
	r, err := image.Unpack(protocol.Format(ready.Format), bytes.NewReader(served))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(out)) != ready.UnpackedSize {
		t.Errorf("a disk of %d bytes, %+v was said", len(out), ready)
	}
	return out
}

func TestImagesThatAreDisksAreServedAsTheyAre(t *testing.T) {
	for form, format := range map[Form]Format{FormRaw: FormatRaw, FormGzip: FormatRawGzip, FormZstd: FormatRawZstd, FormXZ: FormatRawXZ} {
		for _, sector := range []int{512, 4096} {
			want := disk(sector)
			file := pack(t, form, want)
			o := newOrigin(t, file)
			for _, sum := range []string{sha256Of(file), sha512Of(file)} {
				r := newRig(t)
				ready, err := r.prepare(t, o.URL+"/named-as.qcow2", sum)
				if err != nil {
					t.Fatalf("%s: %v", form, err)
				}
				served := r.contents(t, ready.Digest)
				if ready.Format != format || ready.SectorSize != sector || !bytes.Equal(served, file) {
					t.Errorf("%s: %+v", form, ready)
				}
				if !bytes.Equal(asTheAgent(t, ready, served), want) {
					t.Errorf("%s: another disk is served", form)
				}
			}
		}
	}
}

func TestSourcesThatAreRefused(t *testing.T) {
	r := newRig(t)
	o := newOrigin(t, disk(512))
	for name, c := range map[string]struct{ url, sum, says string }{
		"no checksum":  {o.URL + "/x", "", "needs a checksum"},
		"bad checksum": {o.URL + "/x", "md5:abc", "sha256:<64 hex digits>"},
		"no URL":       {"ftp://h/x", sha256Of(nil), "http, https or oci"},
		"other bytes":  {o.URL + "/x", sha256Of([]byte("other")), "checksum mismatch"},
	} {
		_, err := r.prepare(t, c.url, c.sum)
		if refused := new(Refused); !errors.As(err, &refused) || !strings.Contains(refused.Message, c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := r.Open(sha256Of(disk(512))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is served that was refused: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(r.dir, "*"+imageSuffix)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestTinyDisksAreRefused(t *testing.T) {
	file := disk(512)[:mib-1]
	o := newOrigin(t, file)
	_, err := newRig(t).prepare(t, o.URL+"/x", sha256Of(file))
	if refused := new(Refused); !errors.As(err, &refused) || !strings.Contains(refused.Message, "disk of 1048575 bytes") {
		t.Error(err)
	}
}

// TestFixedVHDIsRefused: a raw disk with a footer, by which alone it is told.
func TestFixedVHDIsRefused(t *testing.T) {
	footer := make([]byte, 512)
	copy(footer, "conectix")
	file := append(disk(512), footer...)
	if hasProgram(t, "qemu-img") {
		vhd := filepath.Join(t.TempDir(), "x.vhd")
		run(t, "qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=fixed,force_size", write(t, disk(512)), vhd)
		if made := read(t, vhd); string(made[len(made)-512:][:8]) != "conectix" {
			t.Error("qemu-img writes another footer")
		} else {
			file = made
		}
	}
	o := newOrigin(t, file)
	_, err := newRig(t).prepare(t, o.URL+"/x", sha256Of(file))
	if refused := new(Refused); !errors.As(err, &refused) || !strings.Contains(refused.Message, "(VHD) of fixed size") {
		t.Error(err)
	}
}
