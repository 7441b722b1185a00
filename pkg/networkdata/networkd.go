package networkdata

import (
	"fmt"
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
