package controllers

import (
	"fmt"

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
	Routes      []map[string]string `json:"routes,omitempty"`
	Nameservers map[string][]string `json:"nameservers,omitempty"`
	Interfaces  []string            `json:"interfaces,omitempty"`
	Parameters  map[string]string   `json:"parameters,omitempty"`
	ID          int32               `json:"id,omitempty"`
	Link        string              `json:"link,omitempty"`
}

// renderNetwork writes the host's network data in the format that the family reads. Families that read another format say so
// instead of booting without a network.
func renderNetwork(family bootmedia.Family, n *v1beta1.NetworkData) ([]byte, error) {
	if n == nil || len(n.Interfaces) == 0 {
		return nil, nil
	}
	if reason := networkUnsupported(family); reason != "" {
		return nil, fmt.Errorf("spec.networkData: %s", reason)
	}
	if family == bootmedia.FamilyFedoraCoreOS || family == bootmedia.FamilyRHCOS {
		return renderKeyfiles(n)
	}
	plan := netplan{Version: 2, Ethernets: map[string]netplanInterface{}, Bonds: map[string]netplanInterface{}, VLANs: map[string]netplanInterface{}}
	for _, i := range n.Interfaces {
		out := netplanInterface{DHCP4: i.DHCP4, MTU: i.MTU, Addresses: i.Addresses}
		for _, route := range i.Routes {
			out.Routes = append(out.Routes, map[string]string{"to": route.To, "via": route.Via})
		}
		if len(i.Addresses) > 0 && len(n.Nameservers)+len(n.SearchDomains) > 0 {
			out.Nameservers = map[string][]string{"addresses": n.Nameservers, "search": n.SearchDomains}
		}
		switch {
		case i.Bond != nil:
			out.Interfaces, out.Parameters = i.Bond.Interfaces, map[string]string{"mode": i.Bond.Mode}
			plan.Bonds[i.Name] = out
		case i.VLAN != nil:
			out.ID, out.Link = i.VLAN.ID, i.VLAN.Link
			plan.VLANs[i.Name] = out
		default:
			out.Match, out.SetName = map[string]string{"macaddress": i.MACAddress}, i.Name
			plan.Ethernets[i.Name] = out
		}
	}
	return yaml.Marshal(plan)
}

// networkUnsupported says why a family cannot be given network data, or "".
func networkUnsupported(family bootmedia.Family) string {
	switch family {
	case bootmedia.FamilyGeneric, bootmedia.FamilyUbuntu, bootmedia.FamilyDebian, bootmedia.FamilyKairos, bootmedia.FamilyTalos,
		bootmedia.FamilyFedoraCoreOS, bootmedia.FamilyRHCOS:
		return ""
	case bootmedia.FamilyFlatcar, bootmedia.FamilyLeapMicro, bootmedia.FamilyMicroOS, bootmedia.FamilyNone:
	}
	return fmt.Sprintf("osFamily %s reads no network data from our media; configure the network in its bootstrap data", family)
}
