package networkdata

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// openStack is OpenStack's network_data.json, which is part of a config drive: links, the networks on them, and services.
type openStack struct {
	Links    []openStackLink    `json:"links"`
	Networks []openStackNetwork `json:"networks"`
	Services []openStackService `json:"services"`
}

type openStackLink struct {
	ID        string   `json:"id"`
	Name      string   `json:"name,omitempty"`
	Type      string   `json:"type"`
	MAC       string   `json:"ethernet_mac_address,omitempty"`
	MTU       int32    `json:"mtu,omitempty"`
	BondLinks []string `json:"bond_links,omitempty"`
	BondMode  string   `json:"bond_mode,omitempty"`
	BondMII   int      `json:"bond_miimon,omitempty"`
	VLANLink  string   `json:"vlan_link,omitempty"`
	VLANID    int32    `json:"vlan_id,omitempty"`
	VLANMAC   string   `json:"vlan_mac_address,omitempty"`
}

type openStackNetwork struct {
	ID       string             `json:"id"`
	Link     string             `json:"link"`
	Type     string             `json:"type"`
	Address  string             `json:"ip_address,omitempty"`
	Netmask  string             `json:"netmask,omitempty"`
	Routes   []openStackRoute   `json:"routes,omitempty"`
	Services []openStackService `json:"services,omitempty"`
}

type openStackRoute struct {
	Network string `json:"network"`
	Netmask string `json:"netmask"`
	Gateway string `json:"gateway"`
}

type openStackService struct {
	Type    string `json:"type"`
	Address string `json:"address"`
}

// renderOpenStack writes network data as network_data.json. It has no place for search domains.
func renderOpenStack(n *v1beta1.NetworkData) (string, error) {
	out := openStack{Links: []openStackLink{}, Networks: []openStackNetwork{}, Services: []openStackService{}}
	for _, s := range n.Nameservers {
		out.Services = append(out.Services, openStackService{"dns", s})
	}
	for _, i := range n.Interfaces {
		out.Links = append(out.Links, openStackLinkOf(&i, n))
		out.Networks = append(out.Networks, openStackNetworksOf(&i, out.Services)...)
	}
	raw, err := json.Marshal(out)
	return string(raw), err
}

func openStackLinkOf(i *v1beta1.NetworkInterface, n *v1beta1.NetworkData) openStackLink {
	link := openStackLink{ID: i.Name, Name: i.Name, MTU: i.MTU}
	switch {
	case i.Bond != nil:
		link.Type, link.BondLinks, link.BondMode, link.BondMII = "bond", i.Bond.Interfaces, i.Bond.Mode, linkMonitor
		link.MAC = firstPort(n, i.Name)
	case i.VLAN != nil:
		link.Type, link.VLANLink, link.VLANID = "vlan", i.VLAN.Link, i.VLAN.ID
		link.VLANMAC = firstPort(n, i.Name) // readers want one
	default:
		link.Type, link.MAC = "phy", firstPort(n, i.Name)
	}
	return link
}

// openStackNetworksOf is one network for each address. A route belongs to the first network of its kind.
func openStackNetworksOf(i *v1beta1.NetworkInterface, servers []openStackService) (out []openStackNetwork) {
	name := func() string { return fmt.Sprintf("%s-%d", i.Name, len(out)) }
	if i.DHCP4 {
		out = append(out, openStackNetwork{ID: name(), Link: i.Name, Type: "ipv4_dhcp"})
	}
	for _, text := range i.Addresses {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			continue // checked before
		}
		kind := "ipv4"
		if p.Addr().Is6() {
			kind = "ipv6"
		}
		out = append(out, openStackNetwork{ID: name(), Link: i.Name, Type: kind, Address: p.Addr().String(), Netmask: netmask(p), Services: servers})
	}
	for _, r := range i.Routes {
		to, err := netip.ParsePrefix(r.To)
		if err != nil {
			continue // checked before
		}
		for at := range out {
			if six := out[at].Type == "ipv6"; six == to.Addr().Is6() {
				out[at].Routes = append(out[at].Routes, openStackRoute{to.Masked().Addr().String(), netmask(to), r.Via})
				break
			}
		}
	}
	return out
}

func netmask(p netip.Prefix) string {
	ones := bytes.Repeat([]byte{0xff}, p.Addr().BitLen()/8)
	all, _ := netip.AddrFromSlice(ones)
	return netip.PrefixFrom(all, p.Bits()).Masked().Addr().String()
}

// firstPort is the port whose address a device of one or several ports has until it is told otherwise.
func firstPort(n *v1beta1.NetworkData, name string) string {
	for range len(n.Interfaces) {
		at := slices.IndexFunc(n.Interfaces, func(i v1beta1.NetworkInterface) bool { return i.Name == name })
		if at < 0 {
			return ""
		}
		switch i := n.Interfaces[at]; {
		case i.VLAN != nil:
			name = i.VLAN.Link
		case i.Bond != nil:
			name = i.Bond.Interfaces[0]
		default:
			return strings.ToLower(i.MACAddress)
		}
	}
	return ""
}
