package bootmedia

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// wrapIgnition is an Ignition config that has the network files and merges the
// user's, which is in it byte for byte as a data URL: what the user's says wins,
// and its meaning is what it was alone, references and all. The wrapper has the
// version of the user's, which the system is known to read. Version 2, which
// Cluster API's kubeadm provider writes and Flatcar translates, calls merging
// appending.
func wrapIgnition(user []byte, files []netFile) ([]byte, error) {
	var head struct {
		Ignition struct {
			Version string `json:"version"`
		} `json:"ignition"`
	}
	if err := json.Unmarshal(user, &head); err != nil {
		return nil, errors.New("the bootstrap data is no Ignition config (JSON), so that network data cannot be added to it")
	}
	version := head.Ignition.Version
	merge := ""
	switch major, _, _ := strings.Cut(version, "."); major {
	case "2":
		merge = "append"
	case "3":
		merge = "merge"
	default:
		return nil, fmt.Errorf("the bootstrap data is an Ignition config of version %q: network data can be added to versions 2 and 3", clip(version, 16))
	}
	var list []map[string]any
	for _, f := range files {
		one := map[string]any{"path": f.path, "mode": f.mode, "contents": map[string]string{"source": dataURL(f.data)}}
		if merge == "append" {
			one["filesystem"] = "root"
		} else {
			one["overwrite"] = true // of a file that the image has
		}
		list = append(list, one)
	}
	return json.Marshal(map[string]any{
		"ignition": map[string]any{"version": version, "config": map[string]any{merge: []any{map[string]string{"source": dataURL(user)}}}},
		"storage":  map[string]any{"files": list},
	})
}

func dataURL(data []byte) string {
	return "data:;base64," + base64.StdEncoding.EncodeToString(data)
}
