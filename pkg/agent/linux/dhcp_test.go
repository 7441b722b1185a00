package linux

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

func given(address, gateway string) *lease {
	ip, mask, _ := net.ParseCIDR(address)
	return &lease{address: &net.IPNet{IP: ip, Mask: mask.Mask}, gateway: net.ParseIP(gateway), servers: []net.IP{net.ParseIP("192.0.2.53")}}
}

func TestLeases(t *testing.T) {
	dynamic := &protocol.Network{Nameservers: []string{"2001:db8::53"}, Interfaces: []protocol.Interface{{Name: "mgmt", MAC: macA,
		DHCP: true}}}
	k := twoPorts()
	k.leases = map[string]*lease{"eth0": given("192.0.2.10/24", "192.0.2.1")}
	_, err := configure(t, k, false, dynamic)
	want := "eth0 has 192.0.2.10/24 flags 0, 0.0.0.0/0 via 192.0.2.1 on 1"
	if got := strings.Join(k.done, ", "); err != nil || got != want || strings.Join(k.servers, " ") != "2001:db8::53 192.0.2.53" {
		t.Errorf("%v\ngot  %s\nwant %s; %v", err, got, want, k.servers)
	}
	k = twoPorts()
	if _, err := configure(t, k, false, dynamic); err == nil || !strings.Contains(err.Error(), "no lease at eth0") {
		t.Errorf("no server: %v", err)
	}
}

func TestWithoutANetworkAllPortsAreTried(t *testing.T) {
	k := twoPorts()
	k.port("eth2", "52:54:00:00:00:0c", "")
	k.leases = map[string]*lease{"eth1": given("192.0.2.11/24", "192.0.2.1")}
	said, err := configure(t, k, false, nil) // eth0 has no server, eth2 no cable
	want := "eth1 has 192.0.2.11/24 flags 0, 0.0.0.0/0 via 192.0.2.1 on 2"
	if got := strings.Join(k.done, ", "); err != nil || got != want || !strings.Contains(said, "no lease at eth0") {
		t.Errorf("%v, %s\ngot  %s\nwant %s", err, said, got, want)
	}
	k.cable = nil
	if _, err := configure(t, k, false, nil); err == nil || !strings.Contains(err.Error(), "no port has a carrier") {
		t.Errorf("no cable: %v", err)
	}
}

func TestAnswersOfDHCPServers(t *testing.T) {
	answer := func(ip string, mask net.IPMask) *dhcpv4.DHCPv4 {
		ack, err := dhcpv4.New(dhcpv4.WithYourIP(net.ParseIP(ip)), dhcpv4.WithNetmask(mask),
			dhcpv4.WithRouter(net.IPv4(192, 0, 2, 1), net.IPv4(192, 0, 2, 2)), dhcpv4.WithDNS(net.IPv4(192, 0, 2, 53)),
			dhcpv4.WithLeaseTime(3600))
		if err != nil {
			t.Fatal(err)
		}
		return ack
	}
	got, err := leaseOf(answer("192.0.2.10", net.CIDRMask(24, 32)))
	if err != nil || got.address.String() != "192.0.2.10/24" || !got.gateway.Equal(net.IPv4(192, 0, 2, 1)) || len(got.servers) != 1 ||
		got.time != time.Hour {
		t.Errorf("%+v, %v", got, err)
	}
	for _, ack := range []*dhcpv4.DHCPv4{answer("0.0.0.0", net.CIDRMask(24, 32)), answer("127.0.0.1", net.CIDRMask(8, 32)),
		answer("192.0.2.10", nil), answer("192.0.2.10", net.IPMask{255, 0, 255, 0}), answer("224.0.0.1", net.CIDRMask(24, 32))} {
		if got, err := leaseOf(ack); err == nil {
			t.Errorf("%+v is taken for a lease", got)
		}
	}
}
