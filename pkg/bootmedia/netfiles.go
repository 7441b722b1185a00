package bootmedia

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// OpenStackNetworkFile is the file of a config drive's network data, beside which
// the network data of config-2 families may hold files of systemd-networkd.
const OpenStackNetworkFile = "network_data.json"

// The folders in which the network services of Linux take their files.
const (
	connectionsDir = "/etc/NetworkManager/system-connections/"
	networkdDir    = "/etc/systemd/network/"
)

var (
	keyfileName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\.nmconnection$`)
	networkdName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\.(network|netdev|link)$`)
)

// netFile is one file of network data, with where its service looks for it.
type netFile struct {
	name, path string
	mode       int
	data       []byte
}

// networkFiles are the network data of a family that takes files, sorted by name.
func networkFiles(c Content) ([]netFile, error) {
	var files map[string]string
	if err := json.Unmarshal(c.NetworkData, &files); err != nil {
		return nil, fmt.Errorf("osFamily %s takes network data as a JSON object of files by their names, and what was given is none", c.Family)
	}
	var out []netFile
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f := netFile{name: name, data: []byte(files[name])}
		switch {
		case keyfileName.MatchString(name) && c.Family != FamilyFlatcar:
			f.path, f.mode = connectionsDir+name, 0o600 // others than root's alone are not read
		case networkdName.MatchString(name) && (c.Family == FamilyFlatcar || c.Family == FamilyKairos):
			f.path, f.mode = networkdDir+name, 0o644
		case name == OpenStackNetworkFile && c.Family == FamilyFlatcar:
		default:
			return nil, fmt.Errorf("network data: %q is no name of a file that osFamily %s takes", clip(name, 64), c.Family)
		}
		out = append(out, f)
	}
	return out, nil
}

// kairosConfig is the user data of Kairos with its network. Kairos reads nothing
// but its cloud config, whose stages write files: they are added as text, which
// leaves every byte of the user's as it is. A config with stages of its own is
// not guessed at.
func kairosConfig(c Content) ([]byte, error) {
	if len(c.NetworkData) == 0 {
		return c.UserData, nil
	}
	files, err := networkFiles(c)
	if err != nil {
		return nil, err
	}
	own, err := topLevel(c.UserData)
	if err != nil || slices.Contains(own, "stages") {
		return nil, fmt.Errorf("osFamily %s takes network data in the stages of its cloud config, and the bootstrap data has stages of its own or is no plain YAML: configure the network there", c.Family)
	}
	type file struct {
		Path        string `json:"path"`
		Permissions int    `json:"permissions"`
		Content     string `json:"content"`
	}
	var list []file
	for _, f := range files {
		list = append(list, file{f.path, f.mode, string(f.data)})
	}
	// JSON is YAML, on one line and whatever the content.
	stage, err := json.Marshal(map[string]any{"initramfs": []any{map[string]any{"name": "beskar7 network", "files": list}}})
	if err != nil {
		return nil, fmt.Errorf("write network data: %w", err)
	}
	whole := string(c.UserData)
	if !strings.HasSuffix(whole, "\n") {
		whole += "\n"
	}
	whole += "stages: " + string(stage) + "\n"
	if now, err := topLevel([]byte(whole)); err != nil || len(now) != len(own)+1 {
		return nil, fmt.Errorf("osFamily %s takes network data in its cloud config, to which nothing can be added: configure the network there", c.Family)
	}
	return []byte(whole), nil
}

// topLevel are the keys of a YAML document.
func topLevel(text []byte) ([]string, error) {
	var doc map[string]any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(doc)), nil
}
