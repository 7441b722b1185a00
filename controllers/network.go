package controllers

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"

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

// renderNetwork writes the host's network data in the format that the family reads: see bootmedia.Content.NetworkData. A family
// that reads none says so instead of booting without a network.
func renderNetwork(family bootmedia.Family, n *v1beta1.NetworkData) ([]byte, error) {
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
