package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

func unpack(t *testing.T, archive []byte) (map[string][]byte, map[string]*tar.Header) {
	t.Helper()
	contents, headers := map[string][]byte{}, map[string]*tar.Header{}
	reader := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return contents, headers
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		contents[header.Name], headers[header.Name] = content, header
	}
}

func parse(t *testing.T, content []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatalf("%v: %s", err, content)
	}
}

func sample(t *testing.T) ([]byte, string) {
	t.Helper()
	archive, digest, err := build(Image{
		Name: "beskar7/controller:v9", Architecture: "arm64", Files: files([]byte("program")), Config: config(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return archive, digest
}

func TestEveryDescriptorLeadsToItsBlob(t *testing.T) {
	archive, digest := sample(t)
	blobs, _ := unpack(t, archive)
	var index struct{ Manifests []descriptor }
	parse(t, blobs["index.json"], &index)
	if len(index.Manifests) != 1 || index.Manifests[0].Digest != digest {
		t.Fatalf("index: %s", blobs["index.json"])
	}
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	parse(t, blobs[blobPath(digest)], &manifest)
	for _, d := range append(manifest.Layers, manifest.Config, index.Manifests[0]) {
		blob, ok := blobs[blobPath(d.Digest)]
		if !ok || len(blob) != d.Size || sum(blob) != d.Digest {
			t.Errorf("descriptor %+v does not describe its blob", d)
		}
	}
	var image struct {
		Architecture string
		Config       RunConfig
		RootFS       struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	parse(t, blobs[blobPath(manifest.Config.Digest)], &image)
	layer := gunzip(t, blobs[blobPath(manifest.Layers[0].Digest)])
	if image.Architecture != "arm64" || image.Config.User != "1000:2000" || image.RootFS.DiffIDs[0] != sum(layer) {
		t.Errorf("configuration: %+v", image)
	}
	var docker []struct{ Config, Layers, RepoTags any }
	parse(t, blobs["manifest.json"], &docker)
	if docker[0].Config != blobPath(manifest.Config.Digest) {
		t.Errorf("manifest.json: %+v", docker)
	}
}

func gunzip(t *testing.T, content []byte) []byte {
	t.Helper()
	reader, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLayer(t *testing.T) {
	layer, err := pack(files([]byte("program")))
	if err != nil {
		t.Fatal(err)
	}
	contents, headers := unpack(t, layer)
	if string(contents["manager"]) != "program" || headers["manager"].Mode != 0o755 || headers["manager"].Uid != 0 {
		t.Error("the executable is not in its place, or not root's")
	}
	if headers["tmp/"].Mode != 0o1777 || headers["home/controller/"].Uid != userID {
		t.Errorf("tmp: %o, home: %d", headers["tmp/"].Mode, headers["home/controller/"].Uid)
	}
	if n := strings.Count(string(contents["etc/ssl/certs/ca-certificates.crt"]), "BEGIN CERTIFICATE"); n < 50 {
		t.Errorf("only %d root certificates", n)
	}
}

func TestSameInputsSameBytes(t *testing.T) {
	one, _ := sample(t)
	two, _ := sample(t)
	if !bytes.Equal(one, two) {
		t.Error("two builds differ")
	}
}

func TestRefusals(t *testing.T) {
	if _, _, err := build(Image{Name: "beskar7/controller"}); err == nil {
		t.Error("a name without a tag was taken")
	}
	if err := run("", "x:y", "amd64", "z"); err == nil {
		t.Error("no executable was taken")
	}
	if err := run("main.go", "x:y", "amd64", t.TempDir()+"/image.tar"); err == nil || !strings.Contains(err.Error(), "no executable") {
		t.Errorf("a source file was packed: %v", err)
	}
}
