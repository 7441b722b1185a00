package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// Image is what to pack.
type Image struct {
	Name         string // repository:tag
	Architecture string
	Files        []Entry
	Config       RunConfig
}

// Entry is a file or, with a trailing slash and fs.ModeDir, a folder of the image's only layer.
type Entry struct {
	Path  string
	Mode  fs.FileMode
	Text  []byte
	Owned bool // by the image's user; by root otherwise
}

// RunConfig is the "config" of an OCI image configuration.
type RunConfig struct {
	User       string            `json:"User"`
	Env        []string          `json:"Env"`
	Entrypoint []string          `json:"Entrypoint"`
	WorkingDir string            `json:"WorkingDir"`
	Labels     map[string]string `json:"Labels"`
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *platform         `json:"platform,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

const (
	indexType    = "application/vnd.oci.image.index.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// epoch stamps everything, so that the image depends on nothing but its inputs.
var epoch = time.Unix(0, 0).UTC()

// build returns the tar file of the image and the digest of its manifest.
func build(image Image) (archive []byte, digest string, err error) {
	if !strings.Contains(image.Name, ":") {
		return nil, "", fmt.Errorf("image name %q has no tag", image.Name)
	}
	layer, err := pack(image.Files)
	if err != nil {
		return nil, "", err
	}
	compressed, err := compress(layer)
	if err != nil {
		return nil, "", err
	}
	blobs := &blobs{}
	layerBlob := blobs.add(layerType, compressed)
	configBlob, err := blobs.addJSON(configType, map[string]any{
		"created": epoch, "architecture": image.Architecture, "os": "linux", "config": image.Config,
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{sum(layer)}},
		"history": []map[string]any{{"created": epoch, "comment": "one static binary"}},
	})
	if err != nil {
		return nil, "", err
	}
	manifest, err := blobs.addJSON(manifestType, map[string]any{
		"schemaVersion": 2, "mediaType": manifestType, "config": configBlob, "layers": []descriptor{layerBlob},
	})
	if err != nil {
		return nil, "", err
	}
	manifest.Platform = &platform{Architecture: image.Architecture, OS: "linux"}
	manifest.Annotations = map[string]string{"org.opencontainers.image.ref.name": tag(image.Name), "io.containerd.image.name": image.Name}
	archive, err = blobs.layout(image, manifest, configBlob, layerBlob)
	return archive, manifest.Digest, err
}

func tag(name string) string { return name[strings.LastIndex(name, ":")+1:] }

func sum(content []byte) string {
	hash := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(hash[:])
}

func blobPath(digest string) string { return "blobs/" + strings.Replace(digest, ":", "/", 1) }

type blobs struct{ entries []Entry }

func (b *blobs) add(mediaType string, content []byte) descriptor {
	digest := sum(content)
	b.entries = append(b.entries, Entry{Path: blobPath(digest), Mode: 0o644, Text: content})
	return descriptor{MediaType: mediaType, Digest: digest, Size: len(content)}
}

func (b *blobs) addJSON(mediaType string, value any) (descriptor, error) {
	content, err := json.Marshal(value)
	if err != nil {
		return descriptor{}, fmt.Errorf("encode %s: %w", mediaType, err)
	}
	return b.add(mediaType, content), nil
}

// layout is the outer tar file: an OCI layout, and manifest.json for "docker load" of older versions.
func (b *blobs) layout(image Image, manifest, config, layer descriptor) ([]byte, error) {
	entries := []Entry{{Path: "blobs/", Mode: fs.ModeDir | 0o755}, {Path: "blobs/sha256/", Mode: fs.ModeDir | 0o755}}
	entries = append(entries, b.entries...)
	for _, file := range []struct {
		path  string
		value any
	}{
		{"index.json", map[string]any{"schemaVersion": 2, "mediaType": indexType, "manifests": []descriptor{manifest}}},
		{"manifest.json", []map[string]any{{
			"Config": blobPath(config.Digest), "RepoTags": []string{image.Name}, "Layers": []string{blobPath(layer.Digest)},
		}}},
		{"oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"}},
	} {
		content, err := json.Marshal(file.value)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", file.path, err)
		}
		entries = append(entries, Entry{Path: file.path, Mode: 0o644, Text: content})
	}
	return pack(entries)
}

func pack(entries []Entry) ([]byte, error) {
	var out bytes.Buffer
	writer := tar.NewWriter(&out)
	for _, entry := range entries {
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: entry.Path, Mode: int64(entry.Mode.Perm()), Size: int64(len(entry.Text)), ModTime: epoch,
			Format: tar.FormatPAX,
		}
		if entry.Mode.IsDir() {
			header.Typeflag = tar.TypeDir
		}
		if entry.Mode&fs.ModeSticky != 0 {
			header.Mode |= 0o1000
		}
		if entry.Owned {
			header.Uid, header.Gid = userID, groupID
		}
		if err := writer.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("pack %s: %w", entry.Path, err)
		}
		if _, err := writer.Write(entry.Text); err != nil {
			return nil, fmt.Errorf("pack %s: %w", entry.Path, err)
		}
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	return out.Bytes(), nil
}

func compress(content []byte) ([]byte, error) {
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	if _, err := writer.Write(content); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return out.Bytes(), nil
}
