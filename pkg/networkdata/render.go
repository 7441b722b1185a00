package networkdata

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/bootmedia"
)

// netplan is version 2 of cloud-init's network configuration: what the NoCloud families read from the file network-config.
type netplan struct {
	Version   int                         `json:"version"`
	Ethernets map[string]netplanInterface `json:"ethernets,omitempty"`
	Bonds     map[string]netplanInterface `json:"bonds,omitempty"`
	VLANs     map[string]netplanInterface `json:"vlans,omitempty"`
}

type netplanInterface struct {
	Match       map[string]string   `json:"match,omitempty"`
	SetName     string              `json:"set-name,omitempty"`
	DHCP4       bool                `json:"dhcp4,omitempty"`
	MTU         int32               `json:"mtu,omitempty"`
	Addresses   []string            `json:"addresses,omitempty"`
	Gateway6    string              `json:"gateway6,omitempty"`
	Routes      []map[string]string `json:"routes,omitempty"`
	Nameservers map[string][]string `json:"nameservers,omitempty"`
	Interfaces  []string            `json:"interfaces,omitempty"`
	Parameters  map[string]any      `json:"parameters,omitempty"`
	ID          int32               `json:"id,omitempty"`
	Link        string              `json:"link,omitempty"`
}

// linkMonitor is how often a bond looks at its links, in milliseconds. The kernel's default is never, with which an
// active-backup bond never fails over.
const linkMonitor = 100

// Render writes the host's network data in the format that the family reads: see bootmedia.Content.NetworkData. A family
// that reads none says so instead of booting without a network.
func Render(family bootmedia.Family, n *v1beta1.NetworkData) ([]byte, error) {
	if n == nil || len(n.Interfaces) == 0 {
		return nil, nil
	}
	if err := checkNetwork(n); err != nil {
		return nil, fmt.Errorf("spec.networkData: %w", err)
	}
	switch family {
	case bootmedia.FamilyGeneric, bootmedia.FamilyUbuntu, bootmedia.FamilyDebian, bootmedia.FamilyTalos:
		return yaml.Marshal(renderNetplan(n))
	case bootmedia.FamilyFedoraCoreOS, bootmedia.FamilyRHCOS, bootmedia.FamilyLeapMicro, bootmedia.FamilyMicroOS:
		return json.Marshal(keyfiles(n))
	case bootmedia.FamilyFlatcar:
		files := networkdFiles(n)
		text, err := renderOpenStack(n)
		if err != nil {
			return nil, fmt.Errorf("spec.networkData: %w", err)
		}
		files[bootmedia.OpenStackNetworkFile] = text
		return json.Marshal(files)
	case bootmedia.FamilyKairos:
		// It is built on distributions of which some have one service and some the other.
		files := networkdFiles(n)
		maps.Copy(files, keyfiles(n))
		return json.Marshal(files)
	case bootmedia.FamilyNone:
	}
	return nil, fmt.Errorf("spec.networkData: osFamily %s reads no network data from our media; configure the network in its bootstrap data", family)
}

var anyIPv6 = netip.PrefixFrom(netip.IPv6Unspecified(), 0)

func hasIPv6(addresses []string) bool {
	return slices.ContainsFunc(addresses, func(a string) bool {
		p, err := netip.ParsePrefix(a)
		return err == nil && p.Addr().Is6()
	})
}

func renderNetplan(n *v1beta1.NetworkData) netplan {
	plan := netplan{Version: 2, Ethernets: map[string]netplanInterface{}, Bonds: map[string]netplanInterface{}, VLANs: map[string]netplanInterface{}}
	for _, i := range n.Interfaces {
		out := netplanInterface{DHCP4: i.DHCP4, MTU: i.MTU, Addresses: i.Addresses}
		for _, route := range i.Routes {
			// cloud-init 22.4 (Debian 12) makes of a route to ::/0 one to ::/64, in all renderers but netplan's.
			if to, err := netip.ParsePrefix(route.To); err == nil && to == anyIPv6 && out.Gateway6 == "" && hasIPv6(i.Addresses) {
				out.Gateway6 = route.Via
				continue
			}
			out.Routes = append(out.Routes, map[string]string{"to": route.To, "via": route.Via})
		}
		if len(i.Addresses) > 0 && len(n.Nameservers)+len(n.SearchDomains) > 0 {
			out.Nameservers = map[string][]string{"addresses": n.Nameservers, "search": n.SearchDomains}
		}
		switch {
		case i.Bond != nil:
			out.Interfaces, out.Parameters = i.Bond.Interfaces, map[string]any{"mode": i.Bond.Mode, "mii-monitor-interval": linkMonitor}
			plan.Bonds[i.Name] = out
		case i.VLAN != nil:
			out.ID, out.Link = i.VLAN.ID, i.VLAN.Link
			plan.VLANs[i.Name] = out
		default:
			out.Match, out.SetName = map[string]string{"macaddress": i.MACAddress}, i.Name
			plan.Ethernets[i.Name] = out
		}
	}
	return plan
}

// bondOf says by its name which bond a port belongs to.
func bondOf(n *v1beta1.NetworkData) map[string]string {
	out := map[string]string{}
	for _, i := range n.Interfaces {
		if i.Bond != nil {
			for _, port := range i.Bond.Interfaces {
				out[port] = i.Name
			}
		}
	}
	return out
}

// checkNetwork refuses network data that no system would come up with, in words and before a server is touched: what is written
// into a file of a booted system is not seen to be wrong until somebody stands before its console.
func checkNetwork(n *v1beta1.NetworkData) error {
	by := map[string]*v1beta1.NetworkInterface{}
	for i := range n.Interfaces {
		by[n.Interfaces[i].Name] = &n.Interfaces[i]
	}
	for _, server := range n.Nameservers {
		if _, err := netip.ParseAddr(server); err != nil {
			return fmt.Errorf("name server %q is no IP address", server)
		}
	}
	for _, domain := range n.SearchDomains {
		if strings.ContainsFunc(domain, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`;,"'\`, r) }) || domain == "" {
			return fmt.Errorf("search domain %q is no DNS name", domain)
		}
	}
	bonded := map[string]string{}
	for i := range n.Interfaces {
		if err := checkInterface(&n.Interfaces[i], by, bonded); err != nil {
			return fmt.Errorf("interface %s: %w", n.Interfaces[i].Name, err)
		}
	}
	for port, bond := range bonded {
		if i := by[port]; i.DHCP4 || len(i.Addresses)+len(i.Routes) > 0 {
			return fmt.Errorf("interface %s is a port of %s, and has addresses of its own: give them to %s", port, bond, bond)
		}
	}
	return nil
}

func checkInterface(i *v1beta1.NetworkInterface, by map[string]*v1beta1.NetworkInterface, bonded map[string]string) error {
	for _, a := range i.Addresses {
		if p, err := netip.ParsePrefix(a); err != nil || p.Addr().Zone() != "" {
			return fmt.Errorf("address %q is not of the form 192.0.2.10/24", a)
		}
	}
	for _, r := range i.Routes {
		to, err := netip.ParsePrefix(r.To)
		via, viaErr := netip.ParseAddr(r.Via)
		if err != nil || viaErr != nil || via.Zone() != "" || to.Addr().Is4() != via.Is4() {
			return fmt.Errorf("route to %q via %q is not one of a prefix such as 0.0.0.0/0 via an address of the same kind", r.To, r.Via)
		}
	}
	switch {
	case i.VLAN != nil:
		if below := by[i.VLAN.Link]; below == nil || below.VLAN != nil {
			return fmt.Errorf("its link %q is no port or bond of this host", i.VLAN.Link)
		}
	case i.Bond != nil:
		for _, port := range i.Bond.Interfaces {
			if p := by[port]; p == nil || p.MACAddress == "" {
				return fmt.Errorf("%q is no port of this host (an interface with a macAddress)", port)
			}
			if other := bonded[port]; other != "" {
				return fmt.Errorf("port %s belongs to %s, too", port, other)
			}
			bonded[port] = i.Name
		}
	}
	return nil
}
