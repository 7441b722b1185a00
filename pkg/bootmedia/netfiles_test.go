package bootmedia

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func decoded(t *testing.T, source string) []byte {
	t.Helper()
	text, ok := strings.CutPrefix(source, "data:;base64,")
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil || !ok {
		t.Fatalf("%.40q: %v", source, err)
	}
	return data
}

type source struct {
	Source string `json:"source"`
}

// ignition is what both versions have of a config that is made here.
type ignition struct {
	Ignition struct {
		Version string `json:"version"`
		Config  struct{ Merge, Append []source }
	} `json:"ignition"`
	Storage struct {
		Files []struct {
			Path, Filesystem string
			Mode             int
			Overwrite        bool
			Contents         source
		}
	} `json:"storage"`
}

func TestFlatcarHasItsNetworkAroundTheIgnitionOfTheUser(t *testing.T) {
	for _, version := range []string{"2.3.0", "3.3.0"} {
		c := content(FamilyFlatcar, func(c *Content) {
			c.UserData = []byte(`{"ignition": {"version": "` + version + `"}, "passwd":  {}}` + "\n")
			c.NetworkData = []byte(`{"10-a.network":"[Match]\nName=a\n","network_data.json":"{}"}`)
		})
		_, files := filesOf(t, c)
		var got ignition
		if err := json.Unmarshal(files["openstack/latest/user_data"], &got); err != nil {
			t.Fatal(err)
		}
		merged := got.Ignition.Config.Merge
		if version[0] == '2' {
			merged = got.Ignition.Config.Append
		}
		if got.Ignition.Version != version || len(merged) != 1 || !bytes.Equal(decoded(t, merged[0].Source), c.UserData) || len(got.Storage.Files) != 1 {
			t.Fatalf("%s", files["openstack/latest/user_data"])
		}
		f := got.Storage.Files[0]
		if f.Path != "/etc/systemd/network/10-a.network" || f.Mode != 0o644 || string(decoded(t, f.Contents.Source)) != "[Match]\nName=a\n" ||
			(version[0] == '2') != (f.Filesystem == "root") || (version[0] == '3') != f.Overwrite {
			t.Errorf("%s: %+v", version, f)
		}
		if string(files["openstack/latest/network_data.json"]) != "{}" {
			t.Error("the drive has no network_data.json")
		}
		c.NetworkData = nil
		if _, files = filesOf(t, c); !bytes.Equal(files["openstack/latest/user_data"], c.UserData) {
			t.Error("user data without network data is not as it was")
		}
	}
}

func TestKairosHasItsNetworkInAStage(t *testing.T) {
	user := "#cloud-config\ninstall:\n  auto: true\nwrite_files:\n- path: /x\n  content: |\n    last"
	c := content(FamilyKairos, func(c *Content) {
		c.UserData, c.NetworkData = []byte(user), []byte(`{"a.nmconnection":"[connection]\nid=\"<a>\"\n","10-a.network":"[Match]\n"}`)
	})
	_, files := filesOf(t, c)
	text := files["user-data"]
	if !bytes.HasPrefix(text, []byte(user)) || files["network-config"] != nil {
		t.Fatalf("%s", text)
	}
	var doc struct {
		WriteFiles []struct{ Content string } `json:"write_files"`
		Stages     map[string][]struct {
			Files []struct {
				Path        string
				Permissions int
				Content     string
			}
		}
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	stage := doc.Stages["initramfs"]
	if doc.WriteFiles[0].Content != "last\n" && doc.WriteFiles[0].Content != "last" || len(stage) != 1 || len(stage[0].Files) != 2 {
		t.Fatalf("%+v", doc)
	}
	if f := stage[0].Files[1]; f.Path != "/etc/NetworkManager/system-connections/a.nmconnection" || f.Permissions != 0o600 || f.Content != "[connection]\nid=\"<a>\"\n" {
		t.Errorf("%+v", f)
	}
	if f := stage[0].Files[0]; f.Path != "/etc/systemd/network/10-a.network" || f.Permissions != 0o644 {
		t.Errorf("%+v", f)
	}
	// In one medium with its image, too.
	c.Looks = &ImageLooksLike{}
	if r, err := recipeFor(c); err != nil || len(r.files) != 1 || !bytes.Equal(r.files[0].data, text) {
		t.Errorf("%+v, %v", r, err)
	}
	for _, own := range []string{"#cloud-config\nstages: {}\n", "a: b\n...\n", "a: [", "- a\n", "{a: b}\n"} {
		c.UserData = []byte(own)
		if _, err := ConfigDrive(c); err == nil || !strings.Contains(err.Error(), "configure the network there") {
			t.Errorf("%q: %v", own, err)
		}
	}
}

// run calls a combustion script as its system does, with the connections' folder in another place.
func run(t *testing.T, dir, connections string, args ...string) string {
	t.Helper()
	script := filepath.Join(dir, "script")
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, bytes.ReplaceAll(text, []byte(connectionsDir), []byte(connections+"/")), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"./script"}, args...)...)
	cmd.Dir = dir
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("script %v: %v\n%s", args, err, said)
	}
	return string(said)
}

func TestCombustionWritesTheNetworkAndGoesOnWithTheScriptOfTheUser(t *testing.T) {
	for name, v := range map[string]struct {
		script, format     string
		label, flags       string
		prepared, executed string
	}{
		"a script":                {"#!/bin/sh\necho \"own $*\"\n", "", "combustion", "prepare", "", "own \n"},
		"one that prepares, too":  {"#!/bin/sh\n# combustion: network prepare\necho \"own $*\"\n", "", "combustion", "prepare network", "own --prepare\n", "own \n"},
		"one that needs the net":  {"#!/bin/sh\n# combustion: network\necho \"own $*\"\n", "", "combustion", "prepare network", "", "own \n"},
		"an Ignition config, and": {`{"ignition":{"version":"3.3.0"}}`, FormatIgnition, "ignition", "prepare", "", ""},
	} {
		c := content(FamilyLeapMicro, func(c *Content) {
			c.UserData, c.UserDataFormat, c.NetworkData = []byte(v.script), v.format, []byte(`{"b.nmconnection":"[b]\n","a.nmconnection":"[a]\n"}`)
		})
		label, files := filesOf(t, c)
		own := "combustion/" + ownScript
		if v.format == FormatIgnition {
			own = "ignition/config.ign"
		}
		if label != v.label || !bytes.Equal(files[own], c.UserData) || !strings.HasPrefix(string(files["combustion/script"]), "#!/bin/sh\n# combustion: "+v.flags+"\n") {
			t.Fatalf("%s: label %q, %s", name, label, files["combustion/script"])
		}
		dir, connections := t.TempDir(), filepath.Join(t.TempDir(), "connections")
		for path, data := range files {
			to := filepath.Join(dir, strings.TrimPrefix(path, "combustion/"))
			if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, data, 0o400); err != nil { // as on a medium
				t.Fatal(err)
			}
		}
		if err := os.Chmod(filepath.Join(dir, "script"), 0o700); err != nil { //nolint:gosec // it is rewritten
			t.Fatal(err)
		}
		for _, step := range []struct {
			args []string
			said string
		}{{[]string{"--prepare"}, v.prepared}, {nil, v.executed}} {
			if err := os.RemoveAll(connections); err != nil {
				t.Fatal(err)
			}
			if said := run(t, dir, connections, step.args...); said != step.said {
				t.Errorf("%s %v: said %q, want %q", name, step.args, said, step.said)
			}
			info, err := os.Stat(filepath.Join(connections, "b.nmconnection"))
			text, _ := os.ReadFile(filepath.Join(connections, "a.nmconnection"))
			if err != nil || info.Mode() != 0o600 || string(text) != "[a]\n" {
				t.Errorf("%s %v: %v, %q", name, step.args, err, text)
			}
		}
	}
}

func TestFirstBootDriveTakesKeyfilesOnly(t *testing.T) {
	c := content(FamilyMicroOS, func(c *Content) {
		c.UserData, c.NetworkData = []byte("#!/bin/sh\n"), []byte(`{"../a.nmconnection":""}`)
	})
	if _, err := ConfigDrive(c); err == nil || !strings.Contains(err.Error(), "no name of a file") {
		t.Errorf("%v", err)
	}
}
