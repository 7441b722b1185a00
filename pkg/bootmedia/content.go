package bootmedia

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"sigs.k8s.io/yaml"
)

// ConfigDrive builds the drive a family reads its bootstrap data from. It is a
// pure function: equal contents give equal bytes on any replica, at any time.
// Errors are for a person and never quote user data; a caller may use it to
// check a Content before a server is touched.
func ConfigDrive(c Content) (*Drive, error) {
	if c.Rendered != nil {
		if c.Rendered.Drive == nil {
			return nil, errors.New("no config drive was recorded for the medium")
		}
		return c.Rendered.Drive.drive()
	}
	row, ok := families[c.Family]
	if !ok {
		return nil, fmt.Errorf("unknown osFamily %q: use one of %v", c.Family, Families())
	}
	if err := checkContent(c, row); err != nil {
		return nil, err
	}
	label, files, err := layOut(c, row)
	if err != nil {
		return nil, err
	}
	d, err := buildISO(label, files)
	if err != nil {
		return nil, fmt.Errorf("build config drive: %w", err)
	}
	return d, nil
}

func layOut(c Content, row family) (label string, files []isoFile, err error) {
	switch row.layout {
	case layoutNoCloud:
		if row.talosKeys && isMetalISO(c.Looks) {
			if len(c.NetworkData) > 0 {
				return "", nil, errors.New("an image with talos.config=metal-iso reads nothing but its machine config, and the host declares network data: " +
					"put the network into the machine config, or use an image with talos.platform=nocloud")
			}
			return labelMetalISO, []isoFile{{"config.yaml", c.UserData}}, nil
		}
		files, err = noCloud(c, row)
		return labelNoCloud, files, err
	case layoutConfigDrive:
		files, err = configDrive(c)
		return labelConfigDrive, files, err
	case layoutFirstBoot:
		return firstBoot(c)
	case layoutEmbed:
		return "", nil, fmt.Errorf("osFamily %s reads no drive beside its image", c.Family)
	case layoutNone:
		return "", nil, errors.New("osFamily none has no config drive")
	}
	return "", nil, fmt.Errorf("osFamily %s has no layout", c.Family)
}

func checkContent(c Content, row family) error {
	if row.formats != nil && c.UserDataFormat != "" && !slices.Contains(row.formats, c.UserDataFormat) {
		return fmt.Errorf("osFamily %s reads bootstrap data in the format %s, and the bootstrap provider made %q: set the format there, or choose the osFamily that fits the image",
			c.Family, strings.Join(row.formats, " or "), c.UserDataFormat)
	}
	if c.InstanceID == "" {
		return errors.New("config drive: no instance id")
	}
	if c.Hostname != "" && !validHostname(c.Hostname) {
		return fmt.Errorf("host name %q is no DNS name: lower-case letters, digits and '-' in labels of at most 63 characters, 253 in all", c.Hostname)
	}
	for name, v := range map[string]string{"instance id": c.InstanceID, "provider id": c.ProviderID, "failure domain": c.FailureDomain} {
		if !utf8.ValidString(v) || strings.ContainsFunc(v, unicode.IsControl) {
			return fmt.Errorf("%s %q has characters that no system would read back right", name, v)
		}
	}
	return nil
}

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func validHostname(s string) bool {
	if len(s) > 253 {
		return false
	}
	for _, label := range strings.Split(s, ".") {
		if !dnsLabel.MatchString(label) {
			return false
		}
	}
	return true
}

// noCloud: both user-data and meta-data must exist or cloud-init passes the
// volume over; vendor-data and network-config are optional.
func noCloud(c Content, row family) ([]isoFile, error) {
	meta := map[string]string{"instance-id": c.InstanceID}
	set(meta, "local-hostname", c.Hostname)
	// The keys that templates name, ours ({{ ds.meta_data.provider_id }}) and those
	// of other providers, so that a template need not be written anew: OpenStack has
	// uuid, name, hostname and availability_zone, Metal3 uuid and providerid.
	set(meta, "provider_id", c.ProviderID)
	set(meta, "providerid", c.ProviderID)
	set(meta, "failure_domain", c.FailureDomain)
	set(meta, "availability_zone", c.FailureDomain)
	set(meta, "uuid", c.InstanceID)
	set(meta, "name", c.Hostname)
	set(meta, "hostname", c.Hostname)
	if row.talosKeys {
		set(meta, "provider-id", c.ProviderID)
		set(meta, "zone", c.FailureDomain)
	}
	metaYAML, err := yaml.Marshal(meta)
	if err != nil {
		return nil, fmt.Errorf("write meta-data: %w", err)
	}
	userData := c.UserData
	if c.Family == FamilyKairos {
		if userData, err = kairosConfig(c); err != nil {
			return nil, err
		}
	}
	files := []isoFile{{"meta-data", metaYAML}, {"user-data", userData}}
	if row.phoneHome && c.PhoneHomeURL != "" && !autoinstalls(c.UserData) {
		vendor, err := vendorData(c)
		if err != nil {
			return nil, err
		}
		files = append(files, isoFile{"vendor-data", vendor})
	}
	if len(c.NetworkData) > 0 && c.Family != FamilyKairos {
		files = append(files, isoFile{"network-config", c.NetworkData})
	}
	return files, nil
}

// configDrive is the OpenStack layout, of which Ignition reads user_data alone
// and the metadata agents of the systems the rest. The network is in it twice:
// for those agents, and for a system that has Ignition and none of them.
func configDrive(c Content) ([]isoFile, error) {
	meta := map[string]any{"uuid": c.InstanceID}
	set(meta, "hostname", c.Hostname)
	set(meta, "name", c.Hostname)
	set(meta, "local-hostname", c.Hostname)
	set(meta, "availability_zone", c.FailureDomain)
	set(meta, "provider_id", c.ProviderID)
	set(meta, "providerid", c.ProviderID)
	set(meta, "failure_domain", c.FailureDomain)
	custom := map[string]string{}
	set(custom, "provider_id", c.ProviderID)
	set(custom, "failure_domain", c.FailureDomain)
	meta["meta"] = custom
	metaJSON, err := json.Marshal(meta)
	if err != nil {
		return nil, fmt.Errorf("write meta_data.json: %w", err)
	}
	files := []isoFile{{"openstack/latest/meta_data.json", metaJSON}, {"openstack/latest/user_data", c.UserData}}
	if len(c.NetworkData) == 0 {
		return files, nil
	}
	network, err := networkFiles(c)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(network, func(f netFile) bool { return f.name == OpenStackNetworkFile }); i >= 0 {
		files = append(files, isoFile{"openstack/latest/" + OpenStackNetworkFile, network[i].data})
		network = slices.Delete(network, i, i+1)
	}
	if len(network) > 0 {
		files[1].data, err = wrapIgnition(c.UserData, network)
	}
	return files, err
}

// set leaves out what is empty: a key without a value reads as a value that is
// empty, which is a different thing.
func set[V any](m map[string]V, key, value string) {
	if value == "" {
		return
	}
	m[key] = any(value).(V)
}
