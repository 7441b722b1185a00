package linux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"
)

// lease is what a DHCP server gives. It is not renewed: the agent is done before a lease of an hour ends.
type lease struct {
	address *net.IPNet
	gateway net.IP
	servers []net.IP
	time    time.Duration
}

// leaseFor is how long servers may take to answer.
const leaseFor = 30 * time.Second

// request asks for a lease at a port.
func request(ctx context.Context, port string) (*lease, error) {
	client, err := nclient4.New(port)
	if err != nil {
		return nil, err
	}
	defer client.Close() //nolint:errcheck // the lease is here, or is not
	got, err := client.Request(ctx)
	if err != nil {
		return nil, err
	}
	return leaseOf(got.ACK)
}

// leaseOf reads an answer, which is a stranger's.
func leaseOf(ack *dhcpv4.DHCPv4) (*lease, error) {
	mask := ack.SubnetMask()
	if ones, bits := mask.Size(); bits != 32 || ones == 0 || !ack.YourIPAddr.IsGlobalUnicast() {
		return nil, fmt.Errorf("the DHCP server gave %v with the mask %v, which is no address", ack.YourIPAddr, mask)
	}
	out := &lease{address: &net.IPNet{IP: ack.YourIPAddr, Mask: mask}, servers: ack.DNS(), time: ack.IPAddressLeaseTime(0)}
	if routers := ack.Router(); len(routers) > 0 {
		out.gateway = routers[0]
	}
	return out, nil
}

// dhcp configures links by leases, all at the same time. It returns name servers, and fails if no link has got a lease.
func (n *network) dhcp(ctx context.Context, links []netlink.Link) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseFor)
	defer cancel()
	leases, failed := make([]*lease, len(links)), make([]error, len(links))
	var all sync.WaitGroup
	for i, l := range links {
		all.Go(func() { leases[i], failed[i] = n.request(ctx, l.Attrs().Name) })
	}
	all.Wait()
	var servers []string
	for i, got := range leases {
		if got == nil {
			failed[i] = fmt.Errorf("no lease at %s: %w", links[i].Attrs().Name, failed[i])
			continue
		}
		if err := n.use(links[i], got, i); err != nil {
			return nil, err
		}
		for _, s := range got.servers {
			servers = append(servers, s.String())
		}
	}
	if !slices.ContainsFunc(leases, func(l *lease) bool { return l != nil }) {
		return nil, errors.Join(failed...)
	}
	for _, err := range failed {
		if err != nil {
			n.say("%v", err)
		}
	}
	return servers, nil
}

func (n *network) use(l netlink.Link, got *lease, index int) error {
	if err := n.AddrReplace(l, &netlink.Addr{IPNet: got.address}); err != nil {
		return fmt.Errorf("add %s: %w", got.address, err)
	}
	n.say("%s has %s for %v", l.Attrs().Name, got.address, got.time)
	if got.gateway == nil {
		return nil
	}
	// Of several ways out, the one of the first port goes before the others.
	everywhere := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	route := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: everywhere, Gw: got.gateway, Priority: 100 + index}
	if err := n.RouteReplace(route); err != nil {
		return fmt.Errorf("add the route via %s: %w", got.gateway, err)
	}
	return nil
}

// anyPort takes up all ports, and asks for leases at those that have a carrier.
func (n *network) anyPort(ctx context.Context) ([]string, error) {
	deadline, first := time.Now().Add(n.carrier), time.Time{}
	for {
		links, err := n.LinkList()
		if err != nil {
			return nil, err
		}
		var ready []netlink.Link
		waiting := false
		for _, l := range links {
			if permanent(l) == "" {
				continue
			}
			if err := n.LinkSetUp(l); err != nil {
				n.say("%s: %v", l.Attrs().Name, err)
			} else if n.running(l) {
				ready = append(ready, l)
			} else {
				waiting = true
			}
		}
		now := time.Now()
		if len(ready) > 0 && first.IsZero() {
			first = now
		}
		switch {
		case len(ready) > 0 && (!waiting || now.Sub(first) > togetherFor):
			return n.dhcp(ctx, ready)
		case now.After(deadline):
			return nil, errors.New("no port has a carrier: see the cables and the switch")
		}
		if err := wait(ctx, n.every); err != nil {
			return nil, err
		}
	}
}

// togetherFor is how long the other ports may take for their carriers once the first one has it.
const togetherFor = 5 * time.Second
