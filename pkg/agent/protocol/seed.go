package protocol

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
)

// SeedFile is where the seed is on the medium that the agent is started from, below its root or that of the initramfs.
const SeedFile = "beskar7/agent.json"

// Seed is what the agent is given with its medium: how to come to the manager.
type Seed struct {
	// Endpoint is the https URL of the manager without a path. Path(Capability) is below it.
	Endpoint   string `json:"endpoint"`
	Capability string `json:"capability"`
	// CA are the PEM certificates that the manager's own is checked against. Their dates are not: the server's clock may be dead.
	CA string `json:"ca,omitempty"`
	// CADigest is the SHA-256 of such a certificate (its DER), as "sha256:" and 64 hex digits, where the seed has no room for it.
	// The manager then sends it along in its chain.
	CADigest string `json:"caDigest,omitempty"`
	// Network is how the server is connected; nil is DHCP (IPv4) at all ports with a carrier.
	Network *Network `json:"network,omitempty"`
}

// Network is a server's network, with the meaning of PhysicalHost's networkData.
type Network struct {
	Interfaces  []Interface `json:"interfaces"`
	Nameservers []string    `json:"nameservers,omitempty"`
}

// Interface is an Ethernet port (MAC), a bond or a VLAN: exactly one of them.
type Interface struct {
	Name string `json:"name"`
	// MAC is the permanent address of a port.
	MAC  string `json:"mac,omitempty"`
	Bond *Bond  `json:"bond,omitempty"`
	VLAN *VLAN  `json:"vlan,omitempty"`
	// MTU in bytes; 0 leaves it.
	MTU int `json:"mtu,omitempty"`
	// DHCP asks for an IPv4 lease.
	DHCP bool `json:"dhcp,omitempty"`
	// Addresses have their prefix: 192.0.2.10/24.
	Addresses []string `json:"addresses,omitempty"`
	Routes    []Route  `json:"routes,omitempty"`
}

// Bond joins ports by their names in the Network. Mode is the kernel's word.
type Bond struct {
	Mode       string   `json:"mode"`
	Interfaces []string `json:"interfaces"`
}

// VLAN is a tagged interface on top of another.
type VLAN struct {
	ID   int    `json:"id"`
	Link string `json:"link"`
}

// Route leads to a network (192.0.2.0/24, 0.0.0.0/0, ::/0) via a gateway.
type Route struct {
	To  string `json:"to"`
	Via string `json:"via"`
}

const (
	maxSeed       = 256 << 10
	maxInterfaces = 32
)

var (
	capabilityForm = regexp.MustCompile(`^[A-Za-z0-9_-]{16,128}$`)
	interfaceForm  = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_.-]{0,14}$`)
	macForm        = regexp.MustCompile(`^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$`)
	bondModes      = []string{"balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"}
)

// Check says what is wrong with a seed, wherever it is from.
func (s *Seed) Check() error {
	v := &checker{}
	u, err := url.Parse(s.Endpoint)
	if err != nil || len(s.Endpoint) > maxURL || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" ||
		u.Fragment != "" {
		v.add("endpoint", "must be an https URL without password and query")
	}
	if !capabilityForm.MatchString(s.Capability) {
		v.add("capability", "must be 16 to 128 letters, digits, '_' and '-'")
	}
	if (s.CA == "") == (s.CADigest == "") {
		v.add("ca", "and caDigest: exactly one of them is set")
	}
	v.pem("ca", s.CA)
	v.digest("caDigest", s.CADigest, false)
	if s.Network != nil {
		s.Network.check(v.under("network"))
	}
	return v.err()
}

func (n *Network) check(v *checker) {
	v.between("interfaces", int64(len(n.Interfaces)), 1, maxInterfaces)
	v.atMost("nameservers", len(n.Nameservers), 8)
	for _, s := range n.Nameservers {
		v.address("nameservers", s)
	}
	seen := map[string]*Interface{}
	for i := range n.Interfaces {
		face := &n.Interfaces[i]
		under := v.under(fmt.Sprintf("interfaces[%d]", i))
		face.check(under)
		if seen[face.Name] != nil {
			under.add("name", "is there twice")
		}
		seen[face.Name] = face
	}
	joined := map[string]bool{}
	for i := range n.Interfaces {
		face, under := &n.Interfaces[i], v.under(fmt.Sprintf("interfaces[%d]", i))
		if face.VLAN != nil && (seen[face.VLAN.Link] == nil || seen[face.VLAN.Link].VLAN != nil) {
			under.add("vlan.link", "must be a port or a bond of this network")
		}
		if face.Bond == nil {
			continue
		}
		for _, name := range face.Bond.Interfaces {
			if seen[name] == nil || seen[name].MAC == "" || joined[name] {
				under.add("bond.interfaces", "must be ports of this network, each in one bond")
			}
			joined[name] = true
		}
	}
}

func (i *Interface) check(v *checker) {
	kinds := 0
	for _, is := range []bool{i.MAC != "", i.Bond != nil, i.VLAN != nil} {
		if is {
			kinds++
		}
	}
	if kinds != 1 {
		v.add("mac", "bond and vlan: exactly one of them is set")
	}
	if !interfaceForm.MatchString(i.Name) {
		v.add("name", "is none that the kernel takes")
	}
	if i.MAC != "" && !macForm.MatchString(i.MAC) {
		v.add("mac", "must be six bytes with colons")
	}
	if i.Bond != nil {
		v.one("bond.mode", i.Bond.Mode, bondModes)
		v.between("bond.interfaces", int64(len(i.Bond.Interfaces)), 1, 8)
	}
	if i.VLAN != nil {
		v.between("vlan.id", int64(i.VLAN.ID), 1, 4094)
	}
	if i.MTU != 0 {
		v.between("mtu", int64(i.MTU), 576, 9216)
	}
	v.atMost("addresses", len(i.Addresses), 16)
	for _, a := range i.Addresses {
		v.prefix("addresses", a)
	}
	v.atMost("routes", len(i.Routes), 32)
	for _, r := range i.Routes {
		v.prefix("routes.to", r.To)
		v.address("routes.via", r.Via)
	}
}

func (v *checker) address(field, value string) {
	if _, err := netip.ParseAddr(value); err != nil {
		v.add(field, "must be an IP address")
	}
}

func (v *checker) prefix(field, value string) {
	if _, err := netip.ParsePrefix(value); err != nil {
		v.add(field, "must be an address with its prefix")
	}
}
