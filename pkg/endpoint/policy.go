package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"syscall"
)

// ForbiddenError says that a connection was not made, because of where it would have led. It does not name the address: whoever
// wrote a host name must not learn by it what the name means in this network.
type ForbiddenError struct {
	// Leads is what is there, such as "a loopback address".
	Leads string
}

// Error says what to do, too.
func (e *ForbiddenError) Error() string {
	return "it leads to " + e.Leads + ", where no connection is made for a user; the operator can allow the address (--allow-addresses)"
}

// PolicyOptions say what is refused besides what always is, and what is not.
type PolicyOptions struct {
	// Allow goes before all else but API.
	Allow []netip.Prefix
	// Deny is refused besides.
	Deny []netip.Prefix
	// API are the addresses of the cluster's API server. Only an Allow of that one address opens them: a whole range that is
	// allowed, such as loopback in a test environment, often holds the API server without anybody having thought of it.
	API []netip.AddrPort
}

// Policy judges addresses. The zero Policy refuses what no BMC and no image server is at; a nil one refuses nothing.
type Policy struct{ o PolicyOptions }

// NewPolicy makes one.
func NewPolicy(o PolicyOptions) *Policy { return &Policy{o} }

// place is a range with what is there.
type place struct {
	prefix netip.Prefix
	leads  string
}

// forbidden are the ranges where neither a BMC nor an image server is. Link-local holds the metadata services of most clouds;
// those that are elsewhere stand by themselves, as their providers document them.
var forbidden = []place{
	{netip.MustParsePrefix("169.254.0.0/16"), "a link-local address, where clouds keep the credentials of their machines"},
	{netip.MustParsePrefix("fe80::/10"), "a link-local address"},
	{netip.MustParsePrefix("127.0.0.0/8"), "a loopback address"},
	{netip.MustParsePrefix("::1/128"), "a loopback address"},
	{netip.MustParsePrefix("0.0.0.0/8"), "no address"},
	{netip.MustParsePrefix("::/128"), "no address"},
	{netip.MustParsePrefix("224.0.0.0/4"), "a multicast address"},
	{netip.MustParsePrefix("ff00::/8"), "a multicast address"},
	{netip.MustParsePrefix("255.255.255.255/32"), "a broadcast address"},
	{netip.MustParsePrefix("fd00:ec2::254/128"), "the metadata service of a cloud"},  // AWS, IPv6
	{netip.MustParsePrefix("fd20:ce::254/128"), "the metadata service of a cloud"},   // Google Cloud, IPv6
	{netip.MustParsePrefix("100.100.100.200/32"), "the metadata service of a cloud"}, // Alibaba Cloud
	{netip.MustParsePrefix("192.0.0.192/32"), "the metadata service of a cloud"},     // Oracle Cloud
	{netip.MustParsePrefix("168.63.129.16/32"), "the platform service of a cloud"},   // Azure
}

// Ranges of IPv6 that carry an IPv4 address, and where in it: a gateway would lead there.
var (
	nat64   = netip.MustParsePrefix("64:ff9b::/96")
	sixto4  = netip.MustParsePrefix("2002::/16")
	inside4 = netip.MustParsePrefix("::/96") // "IPv4-compatible", out of use
)

// meanings are the address and the IPv4 address that it stands for, if any.
func meanings(a netip.Addr) []netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return []netip.Addr{a}
	}
	b := a.As16()
	switch {
	case nat64.Contains(a), inside4.Contains(a) && b[12] != 0:
		return []netip.Addr{a, netip.AddrFrom4([4]byte(b[12:16]))}
	case sixto4.Contains(a):
		return []netip.Addr{a, netip.AddrFrom4([4]byte(b[2:6]))}
	}
	return []netip.Addr{a}
}

// Check says whether an address may be dialled; if not, with a *ForbiddenError.
func (p *Policy) Check(to netip.AddrPort) error {
	if p == nil {
		return nil
	}
	for _, a := range meanings(to.Addr()) {
		if err := p.check(netip.AddrPortFrom(a, to.Port())); err != nil {
			return err
		}
	}
	return nil
}

func (p *Policy) check(to netip.AddrPort) error {
	in := func(prefix netip.Prefix) bool { return prefix.Contains(to.Addr()) }
	exactly := func(prefix netip.Prefix) bool { return prefix.IsSingleIP() && in(prefix) }
	switch {
	case slices.Contains(p.o.API, to) && !slices.ContainsFunc(p.o.Allow, exactly):
		return &ForbiddenError{"the API server of this cluster"}
	case slices.ContainsFunc(p.o.Allow, in):
		return nil
	case slices.ContainsFunc(p.o.Deny, in):
		return &ForbiddenError{"an address that the operator denies (--deny-addresses)"}
	}
	if i := slices.IndexFunc(forbidden, func(f place) bool { return in(f.prefix) }); i >= 0 {
		return &ForbiddenError{forbidden[i].leads}
	}
	return nil
}

// Control is for net.Dialer: it is called with the address that a name led to, just before the connection is made.
func (p *Policy) Control(_, address string, _ syscall.RawConn) error {
	if p == nil {
		return nil
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return errors.New("dial: the address is not one of IP and port")
	}
	return p.Check(to)
}

// CheckURL judges a URL that somebody else will dial, such as a proxy, by all addresses that its host has. A name that does not
// resolve here passes: then only the proxy knows what it means, and has to judge it.
func (p *Policy) CheckURL(ctx context.Context, u *url.URL) error {
	if p == nil {
		return nil
	}
	for _, to := range resolve(ctx, u) {
		if err := p.Check(to); err != nil {
			return err
		}
	}
	return nil
}

// CheckLiteral judges a URL whose host is an address, and passes every other: names are judged when they are dialled.
func (p *Policy) CheckLiteral(text string) error {
	u, err := url.Parse(text)
	if err != nil || p == nil {
		return nil //nolint:nilerr // others say what is wrong with it
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return nil //nolint:nilerr // a name
	}
	return p.Check(netip.AddrPortFrom(addr, portOf(u)))
}

// Resolve is every address that a URL leads to now; none if it cannot be read or its name is unknown. It is how the addresses of
// the API server are found.
func Resolve(ctx context.Context, text string) []netip.AddrPort {
	u, err := url.Parse(text)
	if err != nil {
		return nil
	}
	return resolve(ctx, u)
}

func resolve(ctx context.Context, u *url.URL) []netip.AddrPort {
	host, port := u.Hostname(), portOf(u)
	addrs := []netip.Addr{}
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, a)
	} else if host != "" {
		addrs, _ = net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	out := make([]netip.AddrPort, 0, len(addrs))
	for _, a := range addrs {
		out = append(out, netip.AddrPortFrom(a.Unmap().WithZone(""), port))
	}
	return out
}

func portOf(u *url.URL) uint16 {
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		return uint16(n)
	}
	if u.Scheme == "http" {
		return 80
	}
	return 443
}

// ParsePrefix reads a range such as 10.0.0.0/8, or one address.
func ParsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil || prefix != prefix.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q is no range of addresses such as 10.0.0.0/8 or fd00::/64, nor one address", text)
	}
	return prefix, nil
}
