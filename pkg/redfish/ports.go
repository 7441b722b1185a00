package redfish

import (
	"context"
	"net"
	"strings"

	"github.com/stmcginnis/gofish/schemas"
)

// readNICs reads the system's network interfaces, or, where it lists none, the ports of the
// adapters in its chassis (Lenovo XCC). An address counts once.
func (c *client) readNICs(ctx context.Context, op string, system *systemDoc, hw *Hardware) error {
	interfaces, err := parts(ctx, c, op, system.EthernetInterfaces, own[ethernetDoc])
	if err != nil && !leftOut(err) {
		return err
	}
	seen := map[string]bool{}
	for _, i := range interfaces {
		if nic, ok := i.nic(); ok && !seen[nic.MAC] {
			seen[nic.MAC] = nic.MAC != ""
			hw.NICs = append(hw.NICs, nic)
		}
	}
	if len(hw.NICs) > 0 {
		return nil
	}
	for _, chassis := range system.Links.v.Chassis {
		if err := c.readAdapters(ctx, op, string(chassis), hw, seen); err != nil && !leftOut(err) {
			return err
		}
	}
	return nil
}

// nic is the interface as a port of the server; false for what is none: a VLAN, the way
// to the manager (dmtf-rackmount1, supermicro-x13), or one without an address that does not
// say that it is physical.
func (d *ethernetDoc) nic() (NIC, bool) {
	virtual := d.Kind != "" && !strings.EqualFold(string(d.Kind), "Physical")
	if virtual || d.Links.v.HostInterface != "" || strings.EqualFold(string(d.Status.v.State), string(schemas.AbsentState)) {
		return NIC{}, false
	}
	nic := NIC{Name: orText(string(d.ID), string(d.Name)), MAC: macOf(d.PermanentMACAddress, d.MACAddress), SpeedMbps: d.SpeedMbps.count()}
	if nic.MAC == "" && d.Kind == "" {
		return NIC{}, false
	}
	if d.LinkStatus != "" {
		nic.LinkUp = up(d.LinkStatus)
	}
	return nic, true
}

// readAdapters reads the Ethernet ports below a chassis.
func (c *client) readAdapters(ctx context.Context, op, chassis string, hw *Hardware, seen map[string]bool) error {
	holder, err := part(ctx, c, op, chassis, own[struct{ NetworkAdapters link }])
	if err != nil {
		return err
	}
	adapters, err := parts(ctx, c, op, holder.NetworkAdapters, own[adapterDoc])
	if err != nil {
		return err
	}
	for _, adapter := range adapters {
		ports, err := parts(ctx, c, op, link(orText(string(adapter.Ports), string(adapter.NetworkPorts))), own[portDoc])
		if err != nil && !leftOut(err) {
			return err
		}
		for _, p := range ports {
			if nic, ok := p.nic(); ok && !seen[nic.MAC] {
				seen[nic.MAC] = nic.MAC != ""
				hw.NICs = append(hw.NICs, nic)
			}
		}
	}
	return nil
}

// nic is the port; false for InfiniBand and for empty ones.
func (d *portDoc) nic() (NIC, bool) {
	technology := orText(string(d.LinkNetworkTechnology), string(d.ActiveLinkTechnology))
	if technology != "" && !strings.EqualFold(technology, "Ethernet") || strings.EqualFold(string(d.Status.v.State), string(schemas.AbsentState)) {
		return NIC{}, false
	}
	nic := NIC{Name: string(d.ID), MAC: macOf(append(d.Ethernet.v.AssociatedMACAddresses, d.AssociatedNetworkAddress...)...), SpeedMbps: d.CurrentLinkSpeedMbps.count()}
	if nic.SpeedMbps == 0 {
		nic.SpeedMbps = int(float64(d.CurrentSpeedGbps) * 1000)
	}
	if d.LinkStatus != "" {
		nic.LinkUp = up(d.LinkStatus)
	}
	return nic, nic.MAC != ""
}

// up reads LinkUp of interfaces and ports, and Up of the older NetworkPort.
func up(status text) *bool {
	is := strings.EqualFold(string(status), "LinkUp") || strings.EqualFold(string(status), "Up")
	return &is
}

// macOf is the first of the addresses that is one, in lower case with colons.
func macOf(addresses ...text) string {
	for _, a := range addresses {
		if mac, err := net.ParseMAC(string(a)); err == nil && len(mac) == 6 {
			return mac.String()
		}
	}
	return ""
}
