package networkdata

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/bootmedia"
)

// declared is a bond of two ports by their MAC addresses, and a VLAN on it with static addresses.
func declared() *v1beta1.NetworkData {
	return &v1beta1.NetworkData{Nameservers: []string{"192.0.2.53", "2001:db8::53"}, SearchDomains: []string{"example.org"}, Interfaces: []v1beta1.NetworkInterface{
		{Name: "p1", MACAddress: "02:00:00:00:00:0a"}, {Name: "p2", MACAddress: "02:00:00:00:00:0b"},
		{Name: "bond0", Bond: &v1beta1.Bond{Mode: "802.3ad", Interfaces: []string{"p1", "p2"}}, MTU: 9000},
		{Name: "bond0.7", VLAN: &v1beta1.VLAN{ID: 7, Link: "bond0"}, Addresses: []string{"192.0.2.10/24", "2001:db8::10/64"},
			Routes: []v1beta1.Route{{To: "0.0.0.0/0", Via: "192.0.2.1"}, {To: "::/0", Via: "2001:db8::1"}}},
		{Name: "oob", MACAddress: "02:00:00:00:00:0c", DHCP4: true},
	}}
}

func TestNetplanOfABondAndAVLAN(t *testing.T) {
	for _, family := range []bootmedia.Family{bootmedia.FamilyGeneric, bootmedia.FamilyUbuntu, bootmedia.FamilyDebian, bootmedia.FamilyTalos} {
		raw, err := Render(family, declared())
		if err != nil {
			t.Fatal(err)
		}
		var plan netplan
		if err := yaml.UnmarshalStrict(raw, &plan); err != nil {
			t.Fatal(err)
		}
		bond, vlan := plan.Bonds["bond0"], plan.VLANs["bond0.7"]
		if plan.Version != 2 || plan.Ethernets["p1"].Match["macaddress"] != "02:00:00:00:00:0a" || plan.Ethernets["p1"].SetName != "p1" || !plan.Ethernets["oob"].DHCP4 ||
			strings.Join(bond.Interfaces, " ") != "p1 p2" || bond.Parameters["mode"] != "802.3ad" || bond.Parameters["mii-monitor-interval"] != 100.0 || bond.MTU != 9000 ||
			vlan.ID != 7 || vlan.Link != "bond0" || len(vlan.Addresses) != 2 || len(vlan.Routes) != 1 || vlan.Routes[0]["via"] != "192.0.2.1" || vlan.Gateway6 != "2001:db8::1" || len(vlan.Nameservers["addresses"]) != 2 {
			t.Errorf("%s:\n%s", family, raw)
		}
	}
}

// sections reads a keyfile: section, key, value.
func sections(text string) map[string]map[string]string {
	out, at := map[string]map[string]string{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "["); ok {
			at = strings.TrimSuffix(name, "]")
			out[at] = map[string]string{}
		} else if key, value, ok := strings.Cut(line, "="); ok {
			out[at][key] = value
		}
	}
	return out
}

func TestKeyfilesOfABondAndAVLAN(t *testing.T) {
	raw, err := Render(bootmedia.FamilyFedoraCoreOS, declared())
	if err != nil {
		t.Fatal(err)
	}
	var files map[string]string
	if err := json.Unmarshal(raw, &files); err != nil || len(files) != 5 {
		t.Fatalf("%v in %s", err, raw)
	}
	is := func(file, section, key, want string) {
		t.Helper()
		if got := sections(files[file+".nmconnection"])[section][key]; got != want {
			t.Errorf("%s: [%s] %s is %q, want %q", file, section, key, got, want)
		}
	}
	bond := sections(files["bond0.nmconnection"])["connection"]["uuid"]
	if len(bond) != 36 || bond[14] != '8' {
		t.Errorf("uuid %q", bond)
	}
	is("p1", "connection", "type", "ethernet")
	is("p1", "ethernet", "mac-address", "02:00:00:00:00:0A")
	is("p1", "connection", "master", bond)
	is("p1", "ipv4", "method", "")
	is("bond0", "bond", "mode", "802.3ad")
	is("bond0", "connection", "interface-name", "bond0")
	is("bond0", "ipv4", "method", "disabled")
	is("bond0", "ethernet", "mtu", "9000")
	is("bond0.7", "vlan", "id", "7")
	is("bond0.7", "vlan", "parent", bond)
	is("bond0.7", "ipv4", "method", "manual")
	is("bond0.7", "ipv4", "address1", "192.0.2.10/24")
	is("bond0.7", "ipv4", "route1", "0.0.0.0/0,192.0.2.1")
	is("bond0.7", "ipv4", "dns", "192.0.2.53;")
	is("bond0.7", "ipv6", "address1", "2001:db8::10/64")
	is("bond0.7", "ipv6", "dns", "2001:db8::53;")
	is("bond0.7", "ipv6", "dns-search", "example.org;")
	is("oob", "ipv4", "method", "auto")
	is("oob", "connection", "interface-name", "")
	if again, _ := Render(bootmedia.FamilyRHCOS, declared()); string(again) != string(raw) {
		t.Error("two renderings differ")
	}
	// What is rendered is what the media take.
	c := bootmedia.Content{Family: bootmedia.FamilyFedoraCoreOS, InstanceID: "i", UserData: []byte("{}"), UserDataFormat: bootmedia.FormatIgnition, NetworkData: raw,
		Looks: &bootmedia.ImageLooksLike{EmbedBytes: 1 << 18, EmbedNetwork: true}}
	if err := bootmedia.Check(c, bootmedia.Composed); err != nil {
		t.Error(err)
	}
}

func TestFamiliesThatTakeNoNetworkDataSaySo(t *testing.T) {
	if _, err := Render(bootmedia.FamilyNone, declared()); err == nil || !strings.Contains(err.Error(), "bootstrap data") {
		t.Error(err)
	}
	for _, family := range bootmedia.Families() {
		if raw, err := Render(family, nil); err != nil || raw != nil {
			t.Errorf("%s without: %q, %v", family, raw, err)
		}
	}
}

var update = flag.Bool("update", false, "write testdata/network from what is rendered now")

// What a family is given is frozen: the media of a machine are read for as long as it lives, by replicas of two versions.
func TestNetworkDataOfEachFamily(t *testing.T) {
	for _, family := range bootmedia.Families() {
		if family == bootmedia.FamilyNone {
			continue
		}
		raw, err := Render(family, declared())
		if err != nil {
			t.Fatal(err)
		}
		text := string(raw)
		var files map[string]string
		if json.Unmarshal(raw, &files) == nil {
			text = ""
			for _, name := range slices.Sorted(maps.Keys(files)) {
				text += "-- " + name + " --\n" + strings.TrimRight(files[name], "\n") + "\n"
			}
		}
		path := filepath.Join("testdata", "network", string(family)+".txt")
		if *update {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if text != string(want) {
			t.Errorf("%s is given\n%s\nand was given\n%s", family, text, want)
		}
		c := bootmedia.Content{Family: family, InstanceID: "i", NetworkData: raw, Looks: &bootmedia.ImageLooksLike{EmbedBytes: 1 << 18, EmbedNetwork: true},
			UserData: []byte(`{"ignition":{"version":"3.3.0"}}`), UserDataFormat: bootmedia.FormatIgnition}
		medium := bootmedia.Config
		switch family {
		case bootmedia.FamilyFlatcar, bootmedia.FamilyLeapMicro, bootmedia.FamilyMicroOS:
		case bootmedia.FamilyFedoraCoreOS, bootmedia.FamilyRHCOS:
			medium = bootmedia.Composed
		default:
			c.UserData, c.UserDataFormat = []byte("#cloud-config\n"), bootmedia.FormatCloudConfig
		}
		if err := bootmedia.Check(c, medium); err != nil {
			t.Errorf("the media do not take what %s is given: %v", family, err)
		}
	}
}

func TestNetworkDataIsCheckedBeforeItIsWritten(t *testing.T) {
	for want, spoil := range map[string]func(*v1beta1.NetworkData){
		"name server":            func(n *v1beta1.NetworkData) { n.Nameservers[0] = "dns.example.org" },
		"search domain":          func(n *v1beta1.NetworkData) { n.SearchDomains[0] = "a\nDNS=192.0.2.1" },
		"not of the form":        func(n *v1beta1.NetworkData) { n.Interfaces[3].Addresses[0] = "192.0.2.10" },
		"is not one of a prefix": func(n *v1beta1.NetworkData) { n.Interfaces[3].Routes[0].To = "default" },
		"same kind":              func(n *v1beta1.NetworkData) { n.Interfaces[3].Routes[0].Via = "2001:db8::1" },
		"no port or bond":        func(n *v1beta1.NetworkData) { n.Interfaces[3].VLAN.Link = "bond1" },
		"no port of this host":   func(n *v1beta1.NetworkData) { n.Interfaces[2].Bond.Interfaces[1] = "bond0.7" },
		"belongs to bond0, too":  func(n *v1beta1.NetworkData) { n.Interfaces[2].Bond.Interfaces = []string{"p1", "p1"} },
		"give them to bond0":     func(n *v1beta1.NetworkData) { n.Interfaces[0].DHCP4 = true },
		"bond0.7: its link \"oob.1\"": func(n *v1beta1.NetworkData) {
			n.Interfaces[4].Name, n.Interfaces[4].MACAddress, n.Interfaces[4].VLAN = "oob.1", "", &v1beta1.VLAN{ID: 1, Link: "p1"}
			n.Interfaces[3].VLAN.Link = "oob.1"
		},
	} {
		n := declared()
		spoil(n)
		for _, family := range bootmedia.Families() {
			if family == bootmedia.FamilyNone {
				continue
			}
			if _, err := Render(family, n); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: want an error with %q, got %v", family, want, err)
			}
		}
	}
}
