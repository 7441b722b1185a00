package linux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/vishvananda/netlink"

	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// kernel is a working model of as much of the kernel's links as is used.
type kernel struct {
	links []netlink.Link
	done  []string
	// cable are the ports with a carrier; late is how many looks it takes until ports are there.
	cable map[string]bool
	late  int
	// leases are what DHCP servers give at ports; servers are the name servers that were found.
	leases  map[string]*lease
	servers []string
}

func (k *kernel) lease(ctx context.Context, port string) (*lease, error) {
	if got := k.leases[port]; got != nil {
		return got, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func (k *kernel) port(name, mac, permanent string) {
	a := netlink.NewLinkAttrs()
	a.Name, a.Index = name, len(k.links)+1
	a.HardwareAddr, _ = net.ParseMAC(mac)
	if permanent != "" {
		a.PermHWAddr, _ = net.ParseMAC(permanent)
	}
	k.links = append(k.links, &netlink.Device{LinkAttrs: a})
}

func (k *kernel) note(format string, args ...any) error {
	k.done = append(k.done, fmt.Sprintf(format, args...))
	return nil
}

func (k *kernel) LinkList() ([]netlink.Link, error) {
	if k.late--; k.late >= 0 {
		return nil, nil
	}
	return k.links, nil
}

func (k *kernel) LinkByName(name string) (netlink.Link, error) {
	for _, l := range k.links {
		if l.Attrs().Name == name {
			l.Attrs().OperState = netlink.OperDown
			if k.carrier(l) {
				l.Attrs().OperState = netlink.OperUp
			}
			return l, nil
		}
	}
	return nil, errors.New("link not found")
}

// carrier: what is made of ports has one if one of them has.
func (k *kernel) carrier(l netlink.Link) bool {
	if l.Attrs().Flags&net.FlagUp == 0 {
		return false
	}
	if l.Type() == "device" {
		return k.cable[l.Attrs().Name]
	}
	return slices.ContainsFunc(k.links, func(below netlink.Link) bool {
		over := below.Attrs().MasterIndex == l.Attrs().Index || l.Attrs().ParentIndex == below.Attrs().Index
		return over && k.carrier(below)
	})
}

func (k *kernel) LinkAdd(l netlink.Link) error {
	if _, err := k.LinkByName(l.Attrs().Name); err == nil {
		return errors.New("file exists")
	}
	l.Attrs().Index = 100 + len(k.done)
	k.links = append(k.links, l)
	if b, ok := l.(*netlink.Bond); ok {
		return k.note("add %s %s", l.Attrs().Name, b.Mode)
	}
	v := l.(*netlink.Vlan)
	return k.note("add %s id %d on %d", l.Attrs().Name, v.VlanId, l.Attrs().ParentIndex)
}

func (k *kernel) LinkDel(l netlink.Link) error {
	for _, below := range k.links {
		if below.Attrs().MasterIndex == l.Attrs().Index {
			below.Attrs().MasterIndex = 0
		}
	}
	k.links = slices.DeleteFunc(k.links, func(o netlink.Link) bool { return o.Attrs().Index == l.Attrs().Index })
	return k.note("delete %s", l.Attrs().Name)
}

func (k *kernel) LinkSetUp(l netlink.Link) error {
	l.Attrs().Flags |= net.FlagUp
	return nil
}

func (k *kernel) LinkSetDown(l netlink.Link) error {
	l.Attrs().Flags &^= net.FlagUp
	return nil
}

// LinkSetMaster refuses a port that is up, as the kernel does.
func (k *kernel) LinkSetMaster(l, master netlink.Link) error {
	if l.Attrs().Flags&net.FlagUp != 0 {
		return errors.New("operation not permitted")
	}
	l.Attrs().MasterIndex = master.Attrs().Index
	// All ports of a bond have one address from now on.
	l.Attrs().HardwareAddr = k.links[0].Attrs().HardwareAddr
	return k.note("%s joins %s", l.Attrs().Name, master.Attrs().Name)
}

func (k *kernel) LinkSetMTU(l netlink.Link, mtu int) error {
	return k.note("%s mtu %d", l.Attrs().Name, mtu)
}

func (k *kernel) AddrReplace(l netlink.Link, a *netlink.Addr) error {
	return k.note("%s has %s flags %d", l.Attrs().Name, a.IPNet, a.Flags)
}

func (k *kernel) RouteReplace(r *netlink.Route) error {
	return k.note("%s via %s on %d", r.Dst, r.Gw, r.LinkIndex)
}

const (
	macA, macB = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
)

// twoPorts is a kernel with two ports, of which the first one lost its address to an earlier bond.
func twoPorts() *kernel {
	k := &kernel{cable: map[string]bool{"eth0": true, "eth1": true}}
	k.port("eth0", macB, macA)
	k.port("eth1", macB, "")
	return k
}

func configure(t *testing.T, k *kernel, lacp bool, wanted *protocol.Network) (said string, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &network{netlinks: k, partner: func(string) bool { return lacp }, say: func(f string, a ...any) {
			said += fmt.Sprintf(f,
				a...)
		},
			request: k.lease, ports: portsFor, carrier: carrierFor, lacp: lacpFor, every: linkEvery}
		k.servers, err = n.configure(t.Context(), wanted)
	})
	return said, err
}

func TestAPortWithAddresses(t *testing.T) {
	k := twoPorts()
	k.late = 5
	_, err := configure(t, k, false, &protocol.Network{Interfaces: []protocol.Interface{{Name: "mgmt", MAC: strings.ToUpper(macA),
		MTU:       9000,
		Addresses: []string{"192.0.2.10/24", "2001:db8::10/64"}, Routes: []protocol.Route{{To: "0.0.0.0/0", Via: "192.0.2.1"},
			{To: "::/0", Via: "2001:db8::1"}}}}})
	want := "eth0 mtu 9000, eth0 has 192.0.2.10/24 flags 0, eth0 has 2001:db8::10/64 flags 2, " +
		"0.0.0.0/0 via 192.0.2.1 on 1, ::/0 via 2001:db8::1 on 1"
	if got := strings.Join(k.done, ", "); err != nil || got != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
	}
}

func bonded(mode string) *protocol.Network {
	return &protocol.Network{Interfaces: []protocol.Interface{
		{Name: "a", MAC: macA}, {Name: "b", MAC: macB},
		{Name: "eth1", Bond: &protocol.Bond{Mode: mode, Interfaces: []string{"a", "b"}}, MTU: 1500},
		{Name: "eth0", VLAN: &protocol.VLAN{ID: 7, Link: "eth1"}, Addresses: []string{"192.0.2.10/24"}}}}
}

// The names of the network are those of ports of the kernel, the other way round.
func TestAVLANOnABond(t *testing.T) {
	for mode, lacp := range map[string]bool{"active-backup": false, "802.3ad": true} {
		k := twoPorts()
		said, err := configure(t, k, lacp, bonded(mode))
		got := strings.Join(k.done, ", ")
		want := "add bond2 " + mode + ", eth0 joins bond2, eth1 joins bond2, bond2 mtu 1500, " +
			"add vlan3 id 7 on 100, vlan3 has 192.0.2.10/24 flags 0"
		if err != nil || got != want || said != "" {
			t.Errorf("%s: %v, %s\ngot  %s\nwant %s", mode, err, said, got, want)
		}
	}
}

func TestABondWithoutAPartner(t *testing.T) {
	k := twoPorts()
	k.cable["eth0"] = false
	said, err := configure(t, k, false, bonded("802.3ad"))
	got := strings.Join(k.done, ", ")
	if err != nil || !strings.Contains(got, "delete bond2, add bond2 active-backup, eth1 joins bond2, ") ||
		strings.Contains(got[strings.Index(got, "delete"):], "eth0 joins") {
		t.Errorf("%v: %s", err, got)
	}
	if !strings.Contains(said, "going on with b alone") {
		t.Errorf("it says %q", said)
	}
}

func TestNetworksThatDoNotFit(t *testing.T) {
	k := twoPorts()
	_, err := configure(t, k, false, &protocol.Network{Interfaces: []protocol.Interface{{Name: "x", MAC: "52:54:00:00:00:ff"}}})
	if err == nil || !strings.Contains(err.Error(), "52:54:00:00:00:ff") || !strings.Contains(err.Error(), "eth0 "+macA) {
		t.Errorf("no such port: %v", err)
	}
	one := &protocol.Network{Interfaces: []protocol.Interface{{Name: "mgmt", MAC: macA, Addresses: []string{"192.0.2.10/24"}}}}
	k = twoPorts()
	k.cable = nil
	if _, err := configure(t, k, false, one); err == nil || !strings.Contains(err.Error(), "no carrier on mgmt") {
		t.Errorf("no carrier: %v", err)
	}
	k = twoPorts()
	k.cable = nil
	if _, err := configure(t, k, false, bonded("802.3ad")); err == nil || !strings.Contains(err.Error(),
		"none of its ports has a carrier") {
		t.Errorf("no carrier on a bond: %v", err)
	}
}

func TestWaitingEnds(t *testing.T) {
	cause := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	n := &network{netlinks: &kernel{late: 1 << 30}, ports: portsFor, every: linkEvery}
	if _, err := n.configure(ctx, &protocol.Network{Interfaces: []protocol.Interface{{Name: "x", MAC: macA}}}); !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
}
