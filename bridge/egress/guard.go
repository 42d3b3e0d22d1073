package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
)

// ErrBlocked is why a connection is not made.
var ErrBlocked = errors.New("egress: the address must not be spoken to")

// special are the IPv4 networks that are not of the public internet: IANA's registry of special-purpose addresses (RFC
// 6890), multicast, and an address by which virtual machines of one provider reach their host.
var special = prefixes("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16",
	"172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
	"192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4")

// Of IPv6 only global unicast is public, so that loopback, IPv4-mapped addresses, NAT64, unique local, link-local and
// multicast ones are out; and of it not those that carry an IPv4 address (Teredo, 6to4) or are for documents.
var (
	global    = netip.MustParsePrefix("2000::/3")
	notGlobal = prefixes("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// public reports whether an address is one of the public internet.
func public(a netip.Addr) bool {
	in := func(p netip.Prefix) bool { return p.Contains(a) }
	switch {
	case a.Is4():
		return !slices.ContainsFunc(special, in)
	case a.Is4In6(), a.Zone() != "":
		return false
	}
	return global.Contains(a) && !slices.ContainsFunc(notGlobal, in)
}

// Guard says to which addresses a connection may be made. It is not changed once it is used.
type Guard struct {
	Noun  string         // what errors call an address that somebody gave, such as "endpoint"
	Max   int            // bytes that such an address may have
	Allow []netip.Prefix // may be spoken to although they are not public, on every port
	High  bool           // public addresses may be spoken to on ports from 1024 on, too; else on 443 alone
	Plain bool           // http may be spoken with addresses of Allow, where no name but the address is given
}

func (g *Guard) allows(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(g.Allow, func(p netip.Prefix) bool { return p.Masked().Contains(a) })
}

// May reports whether a connection to an address and port may be made.
func (g *Guard) May(a netip.Addr, port uint16) bool {
	return g.allows(a) || public(a) && g.portOK(port)
}

// portOK keeps to where HTTPS is served: what listens below 1024 on another port is something else.
func (g *Guard) portOK(port uint16) bool { return port == 443 || g.High && port >= 1024 }

// Control is for net.Dialer: it is asked for every address that a name was resolved to, right before the connection is
// made. A name server that answers differently the second time has no second time.
func (g *Guard) Control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: it is none", ErrBlocked)
	}
	if !g.May(to.Addr(), to.Port()) {
		return ErrBlocked
	}
	return nil
}
