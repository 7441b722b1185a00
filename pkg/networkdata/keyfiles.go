package networkdata

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"strings"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// keyfiles are network data as keyfiles of NetworkManager, by their names. Interfaces name each other by the ids of their
// connections, as an Ethernet port keeps the name that the kernel gave it.
func keyfiles(n *v1beta1.NetworkData) map[string]string {
	bonds, files := bondOf(n), map[string]string{}
	for _, i := range n.Interfaces {
		files[i.Name+".nmconnection"] = keyfile(&i, bonds[i.Name], n)
	}
	return files
}

func keyfile(i *v1beta1.NetworkInterface, bond string, n *v1beta1.NetworkData) string {
	var f strings.Builder
	set := func(key, value string) { fmt.Fprintf(&f, "%s=%s\n", key, value) }
	kind := "ethernet"
	switch {
	case i.Bond != nil:
		kind = "bond"
	case i.VLAN != nil:
		kind = "vlan"
	}
	f.WriteString("[connection]\n")
	set("id", i.Name)
	set("uuid", connectionID(i.Name))
	set("type", kind)
	set("autoconnect", "true")
	if kind != "ethernet" {
		set("interface-name", i.Name)
	}
	if bond != "" {
		set("master", connectionID(bond))
		set("slave-type", "bond")
	}
	switch {
	case i.Bond != nil:
		f.WriteString("\n[bond]\n")
		set("mode", i.Bond.Mode)
		set("miimon", fmt.Sprint(linkMonitor))
	case i.VLAN != nil:
		f.WriteString("\n[vlan]\n")
		set("id", fmt.Sprint(i.VLAN.ID))
		set("parent", connectionID(i.VLAN.Link))
	}
	if i.MACAddress != "" || i.MTU > 0 {
		f.WriteString("\n[ethernet]\n")
		if i.MACAddress != "" {
			set("mac-address", strings.ToUpper(i.MACAddress))
		}
		if i.MTU > 0 {
			set("mtu", fmt.Sprint(i.MTU))
		}
	}
	if bond == "" { // a port of a bond has no addresses of its own
		f.WriteString(keyfileIP(i, n, true) + keyfileIP(i, n, false))
	}
	return f.String()
}

// keyfileIP is the section of one version of IP: addresses, routes and name servers are kept apart by it.
func keyfileIP(i *v1beta1.NetworkInterface, n *v1beta1.NetworkData, four bool) string {
	var lines []string
	of := func(text string) bool {
		text, _, _ = strings.Cut(text, "/")
		a, err := netip.ParseAddr(text)
		return err == nil && a.Is4() == four
	}
	static := 0
	for _, a := range i.Addresses {
		if of(a) {
			static++
			lines = append(lines, fmt.Sprintf("address%d=%s", static, a))
		}
	}
	routes := 0
	for _, r := range i.Routes {
		if of(r.Via) {
			routes++
			lines = append(lines, fmt.Sprintf("route%d=%s,%s", routes, r.To, r.Via))
		}
	}
	var servers []string
	for _, s := range n.Nameservers {
		if of(s) {
			servers = append(servers, s)
		}
	}
	if static > 0 && len(servers) > 0 {
		lines = append(lines, "dns="+strings.Join(servers, ";")+";")
	}
	if static > 0 && len(n.SearchDomains) > 0 {
		lines = append(lines, "dns-search="+strings.Join(n.SearchDomains, ";")+";")
	}
	section, method := "ipv6", "auto" // as the kernel does by itself
	switch {
	case four && i.DHCP4:
		section = "ipv4"
	case four && static == 0:
		section, method = "ipv4", "disabled"
	case four:
		section, method = "ipv4", "manual"
	case static > 0:
		method = "manual"
	}
	return fmt.Sprintf("\n[%s]\n%s\n", section, strings.Join(append([]string{"method=" + method}, lines...), "\n"))
}

// connectionID is the UUID of an interface's connection: the same whenever it is made, as media are a function of their inputs.
func connectionID(name string) string {
	b := sha256.Sum256([]byte("beskar7 connection " + name))
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80 // version 8: made in a way of our own
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
