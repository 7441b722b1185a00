package bootmedia

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func content(f Family, change ...func(*Content)) Content {
	c := Content{
		Family: f, InstanceID: "i-1", Hostname: "m-1", FailureDomain: `rack "1": #a`,
		ProviderID: "beskar7://ns/host/0123456789abcdef", UserData: []byte("\x00user\r\ndata \xff no newline"),
	}
	for _, g := range change {
		g(&c)
	}
	return c
}

func filesOf(t *testing.T, c Content) (label string, files map[string][]byte) {
	t.Helper()
	d, err := ConfigDrive(c)
	if err != nil {
		t.Fatal(err)
	}
	image := bytesOf(t, d)
	return strings.TrimRight(string(image[32808:32840]), " "), readRockRidge(t, d)
}

func TestNoCloudDrive(t *testing.T) {
	c := content(FamilyTalos, func(c *Content) { c.NetworkData = []byte("version: 2\n") })
	label, files := filesOf(t, c)
	if label != "cidata" || !bytes.Equal(files["user-data"], c.UserData) || !bytes.Equal(files["network-config"], c.NetworkData) || len(files) != 3 {
		t.Errorf("label %q, files %v", label, files)
	}
	var meta map[string]string
	if err := yaml.UnmarshalStrict(files["meta-data"], &meta); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"instance-id": "i-1", "local-hostname": "m-1", "provider_id": c.ProviderID, "provider-id": c.ProviderID, "failure_domain": c.FailureDomain, "zone": c.FailureDomain,
	} {
		if meta[key] != want {
			t.Errorf("meta-data %s is %q, want %q", key, meta[key], want)
		}
	}
	_, files = filesOf(t, Content{Family: FamilyKairos, InstanceID: "i", PhoneHomeURL: "http://h/p/x"})
	if got := string(files["meta-data"]); got != "instance-id: i\nuuid: i\n" || len(files) != 2 {
		t.Errorf("the least drive has %q, %d files", got, len(files))
	}
}

func TestConfig2Drive(t *testing.T) {
	c := content(FamilyFlatcar, func(c *Content) {
		c.UserDataFormat, c.NetworkData = FormatIgnition, []byte(`{"network_data.json":"{\"links\":[]}"}`)
	})
	label, files := filesOf(t, c)
	if label != "config-2" || !bytes.Equal(files["openstack/latest/user_data"], c.UserData) || string(files["openstack/latest/network_data.json"]) != `{"links":[]}` {
		t.Errorf("label %q, files %v", label, files)
	}
	var meta struct {
		UUID, Hostname string
		Zone           string            `json:"availability_zone"`
		Meta           map[string]string `json:"meta"`
	}
	if err := json.Unmarshal(files["openstack/latest/meta_data.json"], &meta); err != nil {
		t.Fatal(err)
	}
	if meta.UUID != "i-1" || meta.Hostname != "m-1" || meta.Zone != c.FailureDomain || meta.Meta["provider_id"] != c.ProviderID {
		t.Errorf("meta_data %+v", meta)
	}
}

func TestFirstBootDrive(t *testing.T) {
	ignition := content(FamilyMicroOS, func(c *Content) { c.UserDataFormat = FormatIgnition })
	label, files := filesOf(t, ignition)
	if label != "ignition" || !bytes.Equal(files["ignition/config.ign"], ignition.UserData) {
		t.Errorf("label %q, files %v", label, files)
	}
	script := content(FamilyLeapMicro, func(c *Content) { c.UserData = []byte("#!/bin/bash\n") })
	label, files = filesOf(t, script)
	if label != "combustion" || !bytes.Equal(files["combustion/script"], script.UserData) {
		t.Errorf("label %q, files %v", label, files)
	}
}

func TestDrivesRefusedInWords(t *testing.T) {
	for want, c := range map[string]Content{
		"reads no drive beside its image": content(FamilyFedoraCoreOS),
		"has no config drive":             content(FamilyNone),
		"unknown osFamily":                content("beos"),
		"set the format there":            content(FamilyFlatcar, func(c *Content) { c.UserDataFormat = FormatCloudConfig }),
		"no instance id":                  content(FamilyUbuntu, func(c *Content) { c.InstanceID = "" }),
		"no DNS name":                     content(FamilyUbuntu, func(c *Content) { c.Hostname = "a_b" }),
		"provider id":                     content(FamilyUbuntu, func(c *Content) { c.ProviderID = "a\nb: c" }),
		"failure domain":                  content(FamilyUbuntu, func(c *Content) { c.FailureDomain = "\xff" }),
		"combustion script":               content(FamilyMicroOS, func(c *Content) { c.UserDataFormat = FormatCloudConfig }),
		"nothing but its machine config": content(FamilyTalos, func(c *Content) {
			c.NetworkData, c.Looks = []byte("{}"), &ImageLooksLike{CommandLines: []string{"talos.config=metal-iso"}}
		}),
		"files by their names":   content(FamilyFlatcar, func(c *Content) { c.NetworkData = []byte("x: y") }),
		"no name of a file that": content(FamilyFlatcar, func(c *Content) { c.NetworkData = []byte(`{"a.nmconnection":""}`) }),
		"no Ignition config":     content(FamilyFlatcar, func(c *Content) { c.NetworkData = []byte(`{"a.network":""}`) }),
		"version \"1.0\"": content(FamilyFlatcar, func(c *Content) {
			c.NetworkData, c.UserData = []byte(`{"a.network":""}`), []byte(`{"ignition":{"version":"1.0"}}`)
		}),
		"phone-home URL": content(FamilyUbuntu, func(c *Content) { c.PhoneHomeURL = "ftp://h" }),
	} {
		d, err := ConfigDrive(c)
		if err == nil || !strings.Contains(err.Error(), want) || d != nil {
			t.Errorf("want an error with %q, got %v", want, err)
		}
		if err != nil && strings.Contains(err.Error(), "user\r\ndata") {
			t.Errorf("user data in the error: %v", err)
		}
	}
}

func TestHostnames(t *testing.T) {
	long := strings.Repeat("a", 63)
	for name, want := range map[string]bool{
		"a": true, "a-1.b": true, long: true, long + "a": false, "-a": false, "a-": false, "A": false, "a..b": false, "a.": false, "": false, "a\nb": false,
		strings.Repeat(long+".", 3) + long[:61]: true, strings.Repeat(long+".", 3) + long[:62]: false,
	} {
		if validHostname(name) != want {
			t.Errorf("validHostname(%q) is %v", name, !want)
		}
	}
}

func TestVendorData(t *testing.T) {
	url := `https://192.0.2.1:8443/p/key`
	vendor := func(userData string) []byte {
		_, files := filesOf(t, content(FamilyUbuntu, func(c *Content) {
			c.UserData, c.PhoneHomeURL, c.PhoneHomeCA = []byte(userData), url, []byte("-----BEGIN CERTIFICATE-----\n\"'\\\n\u00e9\n")
		}))
		return files["vendor-data"]
	}
	plain := vendor("#cloud-config\nruncmd: []\n")
	var doc struct {
		Bootcmd [][]string `json:"bootcmd"`
	}
	if err := yaml.UnmarshalStrict(plain, &doc); err != nil || !bytes.HasPrefix(plain, []byte("#cloud-config\n")) {
		t.Fatalf("%v in %.40q", err, plain)
	}
	if len(doc.Bootcmd) != 1 || len(doc.Bootcmd[0]) != 3 {
		t.Fatalf("bootcmd %v", doc.Bootcmd)
	}
	script := doc.Bootcmd[0][2]
	for _, want := range []string{`URL = "` + url + `"`, `CA = "-----BEGIN CERTIFICATE-----\n\"'\\\n\u00e9\n"`} {
		if !strings.Contains(script, want) {
			t.Errorf("the script lacks %s", want)
		}
	}
	// User data with a bootcmd would replace ours.
	own := vendor("#cloud-config\nbootcmd:\n- [true]\n")
	if !bytes.Equal(own, []byte("#!/bin/sh\n"+script)) {
		t.Errorf("vendor data beside a bootcmd: %.60q", own)
	}
}
