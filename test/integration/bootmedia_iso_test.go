package integration

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs/backend/file"
	diskiso "github.com/diskfs/go-diskfs/filesystem/iso9660"
	"github.com/kdomanski/iso9660"

	"github.com/beskar7/beskar7/pkg/bootmedia"
)

// drives are one config drive of each layout, with the files it must hold.
func drives() map[string]struct {
	content bootmedia.Content
	label   string
	files   []string
} {
	base := bootmedia.Content{
		InstanceID: "beskar7-0123456789abcdef", Hostname: "worker-0", ProviderID: "beskar7://default/host-1/0123456789abcdef", FailureDomain: "rack-1",
		UserData: bytes.Repeat([]byte("#!/bin/sh\x00\xff\r\n"), 5000), PhoneHomeURL: "https://192.0.2.1:8443/p/key",
	}
	with := func(f bootmedia.Family, format, network string) bootmedia.Content {
		c := base
		c.Family, c.UserDataFormat, c.NetworkData = f, format, []byte(network)
		return c
	}
	type drive = struct {
		content bootmedia.Content
		label   string
		files   []string
	}
	return map[string]drive{
		"nocloud":  {with(bootmedia.FamilyUbuntu, bootmedia.FormatCloudConfig, "version: 2\n"), "cidata", []string{"user-data", "meta-data", "vendor-data", "network-config"}},
		"config-2": {with(bootmedia.FamilyFlatcar, bootmedia.FormatIgnition, `{"network_data.json":"{}"}`), "config-2", []string{"openstack/latest/user_data", "openstack/latest/meta_data.json", "openstack/latest/network_data.json"}},
		"ignition": {with(bootmedia.FamilyMicroOS, bootmedia.FormatIgnition, ""), "ignition", []string{"ignition/config.ign"}},
		"combustion and its network": {with(bootmedia.FamilyLeapMicro, "", `{"a.nmconnection":"[connection]\n"}`), "combustion",
			[]string{"combustion/own-script", "combustion/script", "combustion/network/a.nmconnection"}},
		"combustion": {with(bootmedia.FamilyLeapMicro, "", ""), "combustion", []string{"combustion/script"}},
	}
}

// TestConfigDriveReaders reads our drives back with ISO 9660 readers that share
// no code with our writer, and compares what they see.
func TestConfigDriveReaders(t *testing.T) {
	for name, d := range drives() {
		t.Run(name, func(t *testing.T) {
			drive, err := bootmedia.ConfigDrive(d.content)
			if err != nil {
				t.Fatal(err)
			}
			image, err := io.ReadAll(io.NewSectionReader(drive, 0, drive.Size()))
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "config.iso")
			if err := os.WriteFile(path, image, 0o600); err != nil {
				t.Fatal(err)
			}
			seen := map[string]map[string][]byte{"kdomanski/iso9660": readKdomanski(t, image, d.label), "go-diskfs": readDiskfs(t, path, d.label)}
			if _, err := exec.LookPath("xorriso"); err == nil {
				seen["xorriso"] = readXorriso(t, path)
			} else {
				t.Log("xorriso is not installed: read with the two Go readers only")
			}
			for reader, files := range seen {
				if len(files) != len(d.files) {
					t.Errorf("%s sees %d files, want %v", reader, len(files), d.files)
				}
				for _, f := range d.files {
					if !maps.EqualFunc(map[string][]byte{f: files[f]}, map[string][]byte{f: seen["go-diskfs"][f]}, bytes.Equal) || len(files[f]) == 0 {
						t.Errorf("%s reads %s otherwise than go-diskfs", reader, f)
					}
				}
				if !bytes.Equal(files[userData(d.files)], d.content.UserData) {
					t.Errorf("%s does not read the user data byte for byte", reader)
				}
			}
		})
	}
}

func userData(files []string) string { return files[0] }

func readKdomanski(t *testing.T, image []byte, label string) map[string][]byte {
	t.Helper()
	opened, err := iso9660.OpenImage(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := opened.Label(); err != nil || strings.TrimRight(got, " ") != label {
		t.Errorf("label %q, %v", got, err)
	}
	root, err := opened.RootDir()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	var walk func(prefix string, dir *iso9660.File) error
	walk = func(prefix string, dir *iso9660.File) error {
		children, err := dir.GetChildren()
		if err != nil {
			return err
		}
		for _, c := range children {
			if c.IsDir() {
				if err := walk(prefix+c.Name()+"/", c); err != nil {
					return err
				}
				continue
			}
			if out[prefix+c.Name()], err = io.ReadAll(c.Reader()); err != nil {
				return fmt.Errorf("read %s: %w", c.Name(), err)
			}
		}
		return nil
	}
	if err := walk("", root); err != nil {
		t.Fatal(err)
	}
	return out
}

func readDiskfs(t *testing.T, path, label string) map[string][]byte {
	t.Helper()
	backend, err := file.OpenFromPath(path, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = backend.Close() })
	volume, err := diskiso.Read(backend, 0, 0, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimRight(volume.Label(), " \x00"); got != label {
		t.Errorf("label %q", got)
	}
	out := map[string][]byte{}
	err = fs.WalkDir(volume, ".", func(p string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		out[p], err = fs.ReadFile(volume, p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func readXorriso(t *testing.T, path string) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	said, err := exec.CommandContext(t.Context(), "xorriso", "-osirrox", "on", "-indev", path, "-extract", "/", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("xorriso: %v\n%s", err, said)
	}
	out := map[string][]byte{}
	err = filepath.WalkDir(dir, func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.Chmod(p, 0o700)
		}
		relative, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		out[filepath.ToSlash(relative)], err = os.ReadFile(p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
