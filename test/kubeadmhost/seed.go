package kubeadmhost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/beskar7/beskar7/test/emulator"
)

// seed is the configuration a server found, as delivered. It has a JSON form
// because an installed system keeps it on its disk.
type seed struct {
	// Source is where it came from: "NoCloud" or "ConfigDrive".
	Source     string `json:"source"`
	UserData   []byte `json:"userData"`
	MetaData   []byte `json:"metaData"`
	VendorData []byte `json:"vendorData,omitempty"`
	// Marker is what the boot image says about itself (see the package comment).
	Marker map[string]string `json:"marker,omitempty"`
	// fromDisk says that the system started from the disk, with all it knew.
	fromDisk bool
}

// installed says that the system is on the disk and outlives its power. Any
// other is in memory only.
func (s *seed) installed() bool { return s.Marker["mode"] == "install" }

// diskKey is where an installed system keeps its seed.
const diskKey = "var/lib/cloud/seed"

// metadata is the meta-data in the words cloud-init gives to templates.
type metadata struct {
	values     map[string]any
	instanceID string
	hostname   string
}

// loadSeed finds the seed of a boot from virtual media, or of an installed
// system when the server booted from its disk.
func loadSeed(ctx context.Context, boot emulator.Boot) (*seed, error) {
	if boot.Slot == "" && boot.Device != "Cd" && boot.Device != "Usb" {
		return installedSeed(boot.Disk)
	}
	volumes := make([]*volume, 0, len(boot.Media))
	for _, medium := range boot.Media {
		v, err := openVolume(ctx, medium)
		if err != nil {
			return nil, err
		}
		volumes = append(volumes, v)
	}
	marker, err := bootMarker(volumes, boot.Slot)
	if err != nil {
		return nil, err
	}
	found, err := findSeed(volumes)
	if err != nil {
		return nil, err
	}
	found.Marker = marker
	if found.installed() {
		blob, err := json.Marshal(found)
		if err != nil {
			return nil, fmt.Errorf("install: %w", err)
		}
		boot.Disk.Put(diskKey, blob)
	}
	return found, nil
}

func installedSeed(disk *emulator.Disk) (*seed, error) {
	blob, ok := disk.Get(diskKey)
	if !ok {
		return nil, errors.New("no operating system on the disk")
	}
	found := seed{fromDisk: true}
	if err := json.Unmarshal(blob, &found); err != nil {
		return nil, fmt.Errorf("read installed configuration: %w", err)
	}
	return &found, nil
}

// bootMarker reads /boot-marker of the volume in the slot booted from.
func bootMarker(volumes []*volume, slot string) (map[string]string, error) {
	if len(volumes) == 0 {
		return nil, errors.New("no medium inserted")
	}
	boot := volumes[0]
	for _, v := range volumes {
		if v.slot == slot {
			boot = v
		}
	}
	content, found, err := boot.file("boot-marker")
	if err != nil || !found {
		return nil, err
	}
	marker := map[string]string{}
	for line := range strings.Lines(string(content)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			marker[key] = value
		}
	}
	return marker, nil
}

// findSeed looks for the data sources in the order cloud-init tries them.
func findSeed(volumes []*volume) (*seed, error) {
	labels := make([]string, 0, len(volumes))
	for _, v := range volumes {
		if v.label == "cidata" || v.label == "CIDATA" {
			return noCloudSeed(v)
		}
		labels = append(labels, fmt.Sprintf("%s in slot %s", v.label, v.slot))
	}
	for _, v := range volumes {
		if v.label == "config-2" || v.label == "CONFIG-2" {
			return configDriveSeed(v)
		}
	}
	return nil, fmt.Errorf("no volume labelled cidata or config-2 (found: %s)", strings.Join(labels, ", "))
}

func noCloudSeed(v *volume) (*seed, error) {
	found := &seed{Source: "NoCloud"}
	var err error
	if found.UserData, err = v.required("user-data"); err != nil {
		return nil, err
	}
	if found.MetaData, err = v.required("meta-data"); err != nil {
		return nil, err
	}
	found.VendorData, _, err = v.file("vendor-data")
	return found, err
}

func configDriveSeed(v *volume) (*seed, error) {
	found := &seed{Source: "ConfigDrive"}
	var err error
	if found.UserData, err = v.required("openstack/latest/user_data"); err != nil {
		return nil, err
	}
	if found.MetaData, err = v.required("openstack/latest/meta_data.json"); err != nil {
		return nil, err
	}
	vendor, ok, err := v.file("openstack/latest/vendor_data.json")
	if err != nil || !ok {
		return found, err
	}
	// ConfigDrive vendor data is JSON: a string, or an object with "cloud-init".
	var text string
	if json.Unmarshal(vendor, &text) == nil {
		found.VendorData = []byte(text)
		return found, nil
	}
	var object map[string]any
	if err := json.Unmarshal(vendor, &object); err != nil {
		return nil, fmt.Errorf("vendor_data.json: %w", err)
	}
	if text, ok := object["cloud-init"].(string); ok {
		found.VendorData = []byte(text)
	}
	return found, nil
}

func (v *volume) required(path string) ([]byte, error) {
	content, found, err := v.file(path)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("volume %s in slot %s has no %s", v.label, v.slot, path)
	}
	if len(content) == 0 {
		return nil, fmt.Errorf("%s on volume %s in slot %s is empty", path, v.label, v.slot)
	}
	return content, nil
}

// metadata parses the meta-data and demands an instance id and a host name.
func (s *seed) metadata() (*metadata, error) {
	meta := &metadata{values: map[string]any{}}
	if s.Source == "ConfigDrive" {
		if err := json.Unmarshal(s.MetaData, &meta.values); err != nil {
			return nil, fmt.Errorf("meta_data.json: %w", err)
		}
		// cloud-init copies these to the names that all data sources have.
		for from, to := range map[string]string{"uuid": "instance-id", "hostname": "local-hostname"} {
			if value, ok := meta.values[from]; ok && meta.values[to] == nil {
				meta.values[to] = value
			}
		}
	} else if err := yaml.UnmarshalStrict(s.MetaData, &meta.values); err != nil {
		return nil, fmt.Errorf("meta-data: %w", err)
	}
	meta.instanceID, _ = meta.values["instance-id"].(string)
	if meta.instanceID == "" {
		return nil, errors.New("meta-data has no instance id")
	}
	meta.hostname, _ = meta.values["local-hostname"].(string)
	if meta.hostname == "" {
		return nil, errors.New("meta-data has no local host name")
	}
	return meta, nil
}
