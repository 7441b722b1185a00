package kubeadmhost

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/diskfs/go-diskfs/backend/file"
	disk "github.com/diskfs/go-diskfs/filesystem/iso9660"
	. "github.com/onsi/gomega"

	"github.com/beskar7/beskar7/test/emulator"
)

func TestRender(t *testing.T) {
	meta := &metadata{instanceID: "i-1", hostname: "h1", values: map[string]any{
		"local-hostname": "h1", "provider_id": "beskar7://a/b/c", "cores": float64(8), "tags": map[string]any{"rack": "r1"},
	}}
	for text, want := range map[string]string{
		"plain":                                        "plain",
		"{{ ds.meta_data.local_hostname }}":            "h1",
		`{{ ds.meta_data["local-hostname"] }}`:         "h1",
		"{{ds.meta_data['provider_id']}}":              "beskar7://a/b/c",
		"{{ ds.meta_data.cores }}":                     "8",
		"{{- ds.meta_data.tags.rack -}}":               "r1",
		"{{ v1.local_hostname }}-{{ v1.instance_id }}": "h1-i-1",
	} {
		got, err := render(text, meta)
		NewWithT(t).Expect(err).NotTo(HaveOccurred(), text)
		NewWithT(t).Expect(got).To(Equal(want), text)
	}
	for _, text := range []string{
		"{{ ds.meta_data.nothing }}", "{{ nothing }}", "{{ ds.meta_data }}", "{{ ds.meta_data.cores.x }}", "{{ 1 + 1 }}",
		"{{ v1.region }}", "{% if x %}", "{# note #}", "{{ v1.instance_id", "{{ v1.instance_id | lower }}", "{{ }}",
	} {
		_, err := render(text, meta)
		NewWithT(t).Expect(err).To(HaveOccurred(), text)
	}
}

func TestDecodeContent(t *testing.T) {
	g := NewWithT(t)
	var zipped bytes.Buffer
	writer := gzip.NewWriter(&zipped)
	_, err := writer.Write([]byte("hello"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(writer.Close()).To(Succeed())
	coded := base64.StdEncoding.EncodeToString(zipped.Bytes())
	for encoding, content := range map[string]string{
		"": "hello", "b64": "aGVsbG8=", "base64": "aGVs\nbG8=\n", "gz": zipped.String(), "gzip": zipped.String(), "gz+b64": coded, "gzip+base64": coded,
	} {
		got, err := decodeContent(content, encoding)
		g.Expect(err).NotTo(HaveOccurred(), encoding)
		g.Expect(string(got)).To(Equal("hello"), encoding)
	}
	for encoding, content := range map[string]string{"b64": "!!", "gz": "hello", "rot13": "uryyb", "gz+b64": "aGVsbG8="} {
		_, err := decodeContent(content, encoding)
		g.Expect(err).To(HaveOccurred(), encoding)
	}
}

func TestCloudConfigMerge(t *testing.T) {
	g := NewWithT(t)
	meta := &metadata{instanceID: "i", hostname: "h", values: map[string]any{}}
	config, err := parseCloudConfig(&seed{
		UserData:   []byte("#cloud-config\nwrite_files:\n- path: /a\n  content: one\n- path: /a\n  content: two\n  append: true\nruncmd:\n- [echo, 1]\nntp: {}\n"),
		VendorData: []byte("#cloud-config\nruncmd: [lost]\nphone_home: {url: 'https://x/p', post: all}\n"),
	}, meta)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(config.files["/a"])).To(Equal("onetwo"))
	g.Expect(config.commands).To(Equal([]string{"echo 1"}), "user data wins over vendor data")
	g.Expect(config.phoneHome.fields).To(HaveLen(6))
	g.Expect(config.ignored).To(Equal([]string{"ntp"}))
	for _, bad := range []string{
		"", "#!/bin/sh\n", "#cloud-config\na: 1\n", "#cloud-config\nruncmd: x\n", "#cloud-config\nruncmd: [{a: b}]\n",
		"#cloud-config\nwrite_files: [{path: relative}]\n", "#cloud-config\nwrite_files: [{path: /a, contents: x}]\n", "#cloud-config\nruncmd: []\nruncmd: []\n",
	} {
		_, err := parseCloudConfig(&seed{UserData: []byte(bad)}, meta)
		g.Expect(err).To(HaveOccurred(), bad)
	}
}

func TestKubeadmCommand(t *testing.T) {
	g := NewWithT(t)
	verb, args, ok := kubeadmCommand("sudo /usr/bin/kubeadm join --config /x.yaml --v 5 && echo success > /run/ok")
	g.Expect(ok).To(BeTrue())
	g.Expect(verb).To(Equal("join"))
	g.Expect(args).To(Equal([]string{"--config", "/x.yaml", "--v", "5"}))
	for _, line := range []string{"kubeadm config images pull", "echo join", "kubeadm"} {
		_, _, ok = kubeadmCommand(line)
		g.Expect(ok).To(BeFalse(), line)
	}
}

// TestRockRidge reads POSIX names from an image of another writer.
func TestRockRidge(t *testing.T) {
	g := NewWithT(t)
	path, work := filepath.Join(t.TempDir(), "x.iso"), t.TempDir()
	storage, err := file.CreateFromPath(path, 4<<20)
	g.Expect(err).NotTo(HaveOccurred())
	fs, err := disk.Create(storage, 0, 0, sectorSize, work)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(os.WriteFile(filepath.Join(work, "meta-data"), []byte("instance-id: a\n"), 0o600)).To(Succeed())
	g.Expect(os.WriteFile(filepath.Join(work, "user-data"), []byte("#cloud-config\n"), 0o600)).To(Succeed())
	g.Expect(fs.Finalize(disk.FinalizeOptions{RockRidge: true, VolumeIdentifier: "cidata"})).To(Succeed())
	content, err := os.ReadFile(path)
	g.Expect(err).NotTo(HaveOccurred())
	// That writer gives the extension its later name, which our reader does not
	// know; mkisofs, xorriso and everything made with them use the older one.
	content = bytes.ReplaceAll(content, []byte("IEEE_P1282"), []byte("RRIP_1991A"))
	v, err := openVolume(t.Context(), emulator.Medium{Slot: "CD2", Open: func(context.Context) (io.ReaderAt, int64, error) {
		return bytes.NewReader(content), int64(len(content)), nil
	}})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(v.rockRidge).To(BeTrue())
	found, err := findSeed([]*volume{v})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(found.MetaData)).To(Equal("instance-id: a\n"))
	_, ok, err := v.file("META-DATA")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(ok).To(BeFalse(), "names are case-sensitive")
}
