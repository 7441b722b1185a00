package controllers

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// networkdFiles are network data as files of systemd-networkd, by their names. Ports are matched by the address that is burnt
// into them: a bond and a VLAN take over the address of a port, and ports of a bond share one.
func networkdFiles(n *v1beta1.NetworkData) map[string]string {
	files := map[string]string{}
	for _, i := range n.Interfaces {
		if text := netdev(&i); text != "" {
			files["10-"+i.Name+".netdev"] = text
		}
		files["10-"+i.Name+".network"] = networkdNetwork(&i, n)
	}
	return files
}

// netdev makes a device that is not there by itself.
func netdev(i *v1beta1.NetworkInterface) string {
	var f strings.Builder
	head := func(kind string) {
		fmt.Fprintf(&f, "[NetDev]\nName=%s\nKind=%s\n", i.Name, kind)
		if i.MTU > 0 {
			fmt.Fprintf(&f, "MTUBytes=%d\n", i.MTU)
		}
	}
	switch {
	case i.Bond != nil:
		head("bond")
		fmt.Fprintf(&f, "\n[Bond]\nMode=%s\nMIIMonitorSec=%dms\n", i.Bond.Mode, linkMonitor)
	case i.VLAN != nil:
		head("vlan")
		fmt.Fprintf(&f, "\n[VLAN]\nId=%d\n", i.VLAN.ID)
	}
	return f.String()
}

func networkdNetwork(i *v1beta1.NetworkInterface, n *v1beta1.NetworkData) string {
	var f strings.Builder
	set := func(key, value string) { fmt.Fprintf(&f, "%s=%s\n", key, value) }
	f.WriteString("[Match]\n")
	if i.MACAddress != "" {
		set("PermanentMACAddress", strings.ToLower(i.MACAddress))
	} else {
		set("Name", i.Name)
	}
	if i.MTU > 0 && i.MACAddress != "" {
		f.WriteString("\n[Link]\n")
		set("MTUBytes", fmt.Sprint(i.MTU))
	}
	f.WriteString("\n[Network]\n")
	for _, other := range n.Interfaces {
		if other.VLAN != nil && other.VLAN.Link == i.Name {
			set("VLAN", other.Name)
		}
	}
	if bond := bondOf(n)[i.Name]; bond != "" {
		set("LinkLocalAddressing", "no")
		set("Bond", bond)
		return f.String() // a port of a bond has no addresses of its own
	}
	if i.DHCP4 {
		set("DHCP", "ipv4")
	}
	for _, a := range i.Addresses {
		set("Address", a)
	}
	if len(i.Addresses) > 0 {
		for _, s := range n.Nameservers {
			set("DNS", s)
		}
		if len(n.SearchDomains) > 0 {
			set("Domains", strings.Join(n.SearchDomains, " "))
		}
	}
	for _, r := range i.Routes {
		f.WriteString("\n[Route]\n")
		set("Destination", r.To)
		set("Gateway", r.Via)
	}
	return f.String()
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
