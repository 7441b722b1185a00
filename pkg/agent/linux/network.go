package linux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// netlinks is what of netlink is used; *netlink.Handle has it.
type netlinks interface {
	LinkList() ([]netlink.Link, error)
	LinkByName(name string) (netlink.Link, error)
	LinkAdd(link netlink.Link) error
	LinkDel(link netlink.Link) error
	LinkSetUp(link netlink.Link) error
	LinkSetDown(link netlink.Link) error
	LinkSetMaster(link, master netlink.Link) error
	LinkSetMTU(link netlink.Link, mtu int) error
	AddrReplace(link netlink.Link, addr *netlink.Addr) error
	RouteReplace(route *netlink.Route) error
}

// network configures ports, bonds and VLANs. It is done once for each run, on a kernel that has no other configuration.
type network struct {
	netlinks
	// partner says whether a bond has a partner that speaks LACP.
	partner func(bond string) bool
	// request asks for a lease by DHCP.
	request func(ctx context.Context, port string) (*lease, error)
	say     func(format string, args ...any)
	// ports is how long ports may take to appear, carrier how long links may take, lacp how long a partner may; every is how often
	// is looked.
	ports, carrier, lacp, every time.Duration
	// made are the links of the interfaces, by their names in the network.
	made map[string]netlink.Link
}

const (
	portsFor   = 30 * time.Second
	carrierFor = 30 * time.Second
	lacpFor    = 10 * time.Second
	linkEvery  = 100 * time.Millisecond

	// linkMonitor is how often a bond looks at its ports, in milliseconds.
	linkMonitor = 100
	mode8023ad  = "802.3ad"
)

// configure does all of it, from below: ports, bonds, VLANs, and then addresses and routes. It returns the name servers.
func (n *network) configure(ctx context.Context, wanted *protocol.Network) ([]string, error) {
	if wanted == nil {
		return n.anyPort(ctx)
	}
	if err := n.layers(ctx, wanted); err != nil {
		return nil, err
	}
	if err := n.waitCarrier(ctx, wanted); err != nil {
		return nil, err
	}
	var leased []netlink.Link
	for i := range wanted.Interfaces {
		if face := &wanted.Interfaces[i]; face.DHCP {
			leased = append(leased, n.made[face.Name])
		}
	}
	if len(leased) == 0 {
		return wanted.Nameservers, nil
	}
	servers, err := n.dhcp(ctx, leased)
	return append(slices.Clone(wanted.Nameservers), servers...), err
}

// layers makes the links, and gives them their addresses.
func (n *network) layers(ctx context.Context, wanted *protocol.Network) error {
	n.made = map[string]netlink.Link{}
	if err := n.findPorts(ctx, wanted); err != nil {
		return err
	}
	for i := range wanted.Interfaces {
		if face := &wanted.Interfaces[i]; face.Bond != nil {
			if err := n.bond(ctx, face, i); err != nil {
				return fmt.Errorf("bond %s: %w", face.Name, err)
			}
		}
	}
	for i := range wanted.Interfaces {
		if face := &wanted.Interfaces[i]; face.VLAN != nil {
			if err := n.vlan(face, i); err != nil {
				return fmt.Errorf("VLAN %s: %w", face.Name, err)
			}
		}
	}
	for i := range wanted.Interfaces {
		if err := n.addresses(&wanted.Interfaces[i]); err != nil {
			return fmt.Errorf("interface %s: %w", wanted.Interfaces[i].Name, err)
		}
	}
	return nil
}

// findPorts waits for the ports, whose drivers may still be looking at them. They are known by their permanent addresses: a port of a
// bond has another one besides.
func (n *network) findPorts(ctx context.Context, wanted *protocol.Network) error {
	deadline := time.Now().Add(n.ports)
	for {
		links, err := n.LinkList()
		if err != nil {
			return err
		}
		missing, there := []string{}, []string{}
		for _, l := range links {
			if mac := permanent(l); mac != "" {
				there = append(there, l.Attrs().Name+" "+mac)
			}
		}
		for i := range wanted.Interfaces {
			face := &wanted.Interfaces[i]
			if face.MAC == "" {
				continue
			}
			at := slices.IndexFunc(links, func(l netlink.Link) bool { return permanent(l) == strings.ToLower(face.MAC) })
			if at < 0 {
				missing = append(missing, face.MAC)
				continue
			}
			n.made[face.Name] = links[at]
		}
		if len(missing) == 0 {
			return n.upPorts(wanted)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no port has the address %s: compare networkData with the ports of this server, which are %s",
				strings.Join(missing, " or "), strings.Join(there, ", "))
		}
		if err := wait(ctx, n.every); err != nil {
			return err
		}
	}
}

func (n *network) upPorts(wanted *protocol.Network) error {
	for i := range wanted.Interfaces {
		face := &wanted.Interfaces[i]
		if face.MAC == "" {
			continue
		}
		if err := n.up(n.made[face.Name], face.MTU); err != nil {
			return fmt.Errorf("port %s: %w", face.Name, err)
		}
	}
	return nil
}

func (n *network) up(l netlink.Link, mtu int) error {
	if mtu > 0 {
		if err := n.LinkSetMTU(l, mtu); err != nil {
			return fmt.Errorf("set the MTU %d: %w", mtu, err)
		}
	}
	return n.LinkSetUp(l)
}

// permanent is the address that is burnt into an Ethernet port, in lower case; "" for anything else.
func permanent(l netlink.Link) string {
	a := l.Attrs()
	if l.Type() != "device" || a.Flags&net.FlagLoopback != 0 {
		return ""
	}
	if len(a.PermHWAddr) == 6 {
		return a.PermHWAddr.String()
	}
	// Drivers that do not tell it, such as virtio_net's, have an address that nobody changed yet.
	return a.HardwareAddr.String()
}

// bond joins ports. Names are made here: those of the network may be those of ports in this kernel.
func (n *network) bond(ctx context.Context, face *protocol.Interface, index int) error {
	mode := face.Bond.Mode
	if err := n.join(face, fmt.Sprintf("bond%d", index), mode, face.Bond.Interfaces); err != nil {
		return err
	}
	if mode != mode8023ad {
		return nil
	}
	until := time.Now().Add(n.lacp)
	for !n.partner(n.made[face.Name].Attrs().Name) {
		if time.Now().After(until) {
			return n.alone(ctx, face, index)
		}
		if err := wait(ctx, n.every); err != nil {
			return err
		}
	}
	return nil
}

// alone goes on with one port of a bond whose switch does not speak LACP: many do so only once the installed system does.
func (n *network) alone(ctx context.Context, face *protocol.Interface, index int) error {
	if err := n.LinkDel(n.made[face.Name]); err != nil {
		return err
	}
	member := ""
	deadline := time.Now().Add(n.carrier)
	for member == "" {
		for _, name := range face.Bond.Interfaces {
			if err := n.LinkSetUp(n.made[name]); err != nil {
				return err
			}
			if n.running(n.made[name]) && member == "" {
				member = name
			}
		}
		if member == "" && time.Now().After(deadline) {
			return errors.New("none of its ports has a carrier: see its cables and the switch")
		}
		if err := wait(ctx, n.every); err != nil {
			return err
		}
	}
	n.say("no partner speaks LACP on %s: going on with %s alone", face.Name, member)
	return n.join(face, fmt.Sprintf("bond%d", index), "active-backup", []string{member})
}

// join makes a bond of ports, which have to be down while they are joined.
func (n *network) join(face *protocol.Interface, name, mode string, members []string) error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = name
	bond := netlink.NewLinkBond(attributes)
	bond.Mode, bond.Miimon = netlink.StringToBondMode(mode), linkMonitor
	if mode == mode8023ad {
		bond.LacpRate = netlink.BOND_LACP_RATE_FAST
	}
	if err := n.LinkAdd(bond); err != nil {
		return err
	}
	made, err := n.LinkByName(name)
	if err != nil {
		return err
	}
	for _, member := range members {
		port := n.made[member]
		if err := errors.Join(n.LinkSetDown(port), n.LinkSetMaster(port, made), n.LinkSetUp(port)); err != nil {
			return fmt.Errorf("join %s: %w", member, err)
		}
	}
	n.made[face.Name] = made
	return n.up(made, face.MTU)
}

func (n *network) vlan(face *protocol.Interface, index int) error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name, attributes.ParentIndex = fmt.Sprintf("vlan%d", index), n.made[face.VLAN.Link].Attrs().Index
	if err := n.LinkAdd(&netlink.Vlan{LinkAttrs: attributes, VlanId: face.VLAN.ID}); err != nil {
		return err
	}
	made, err := n.LinkByName(attributes.Name)
	if err != nil {
		return err
	}
	n.made[face.Name] = made
	return n.up(made, face.MTU)
}

func (n *network) addresses(face *protocol.Interface) error {
	l := n.made[face.Name]
	for _, text := range face.Addresses {
		a, err := netlink.ParseAddr(text)
		if err != nil {
			return err
		}
		if a.IP.To4() == nil {
			a.Flags |= unix.IFA_F_NODAD // it is ours alone, and wanted at once
		}
		if err := n.AddrReplace(l, a); err != nil {
			return fmt.Errorf("add %s: %w", text, err)
		}
	}
	for _, r := range face.Routes {
		_, to, err := net.ParseCIDR(r.To)
		if err != nil {
			return err
		}
		route := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: to, Gw: net.ParseIP(r.Via)}
		if err := n.RouteReplace(route); err != nil {
			return fmt.Errorf("add the route to %s via %s: %w", r.To, r.Via, err)
		}
	}
	return nil
}

// waitCarrier waits until the links with addresses are up.
func (n *network) waitCarrier(ctx context.Context, wanted *protocol.Network) error {
	deadline := time.Now().Add(n.carrier)
	for {
		var down []string
		for i := range wanted.Interfaces {
			face := &wanted.Interfaces[i]
			if (face.DHCP || len(face.Addresses) > 0) && !n.running(n.made[face.Name]) {
				down = append(down, face.Name)
			}
		}
		if len(down) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no carrier on %s: see its cables, the switch and networkData", strings.Join(down, ", "))
		}
		if err := wait(ctx, n.every); err != nil {
			return err
		}
	}
}

// running looks again whether a link has a carrier.
func (n *network) running(l netlink.Link) bool {
	now, err := n.LinkByName(l.Attrs().Name)
	return err == nil && (now.Attrs().OperState == netlink.OperUp || now.Attrs().OperState == netlink.OperUnknown &&
		now.Attrs().RawFlags&unix.IFF_LOWER_UP != 0)
}
