package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Check is Parse for an address that somebody wants to register: its name must be one of the public internet, too, unless
// some addresses are allowed that are not.
func (g *Guard) Check(address string) (*url.URL, error) {
	u, err := g.Parse(address)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(u.Hostname()); err != nil && len(g.Allow) == 0 && !publicName(u.Hostname()) {
		return nil, g.refuse("'s host is no public name")
	}
	return u, nil
}

func (g *Guard) refuse(what string) error { return errors.New("the " + g.Noun + what) }

// Parse takes an address apart that may be spoken to, as far as that can be seen without asking for its name. Errors do
// not repeat it.
func (g *Guard) Parse(address string) (*url.URL, error) {
	if len(address) > g.Max {
		return nil, g.refuse(fmt.Sprintf(" has more than %d bytes", g.Max))
	}
	for i := range len(address) {
		if address[i] <= ' ' || address[i] >= 0x7f {
			return nil, g.refuse(" has a character that no address has")
		}
	}
	u, err := url.Parse(address)
	if err != nil || u.Opaque != "" || u.Host == "" {
		return nil, g.refuse(" is no address")
	}
	host := u.Hostname()
	switch {
	case u.Scheme != "https" && !(u.Scheme == "http" && g.plain(host)):
		return nil, g.refuse(" is not https")
	case u.User != nil, u.Fragment != "", strings.Contains(address, "#"):
		return nil, g.refuse(" has a user or a fragment")
	case host == "" || strings.HasSuffix(u.Host, ":"):
		return nil, g.refuse(" is no address")
	}
	port := uint16(443)
	if u.Scheme == "http" {
		port = 80
	}
	if s := u.Port(); s != "" {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil || n == 0 || s[0] == '0' {
			return nil, g.refuse("'s port is none")
		}
		port = uint16(n)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if !g.May(a, port) {
			return nil, g.refuse("'s address is private, or its port not one of HTTPS")
		}
	} else if !name(host) {
		return nil, g.refuse("'s host is none")
	} else if len(g.Allow) == 0 && !g.portOK(port) {
		return nil, g.refuse("'s port is not one of HTTPS")
	}
	return u, nil
}

// plain reports whether http may be spoken with a host.
func (g *Guard) plain(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && g.Plain && g.allows(a)
}

// name reports whether a host looks like a DNS name. One whose last label begins with a digit is none: some resolvers
// take 127.1 and 0x7f000001 for addresses.
func name(host string) bool {
	host = strings.TrimSuffix(host, ".")
	if host == "" || len(host) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(c rune) bool {
			return c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
		}) {
			return false
		}
		last = label
	}
	return last[0] < '0' || last[0] > '9'
}

// publicName reports whether a name can be one of the public internet: RFC 6761, 6762 and 8375 name those that are not.
func publicName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	at := strings.LastIndexByte(host, '.')
	if at < 0 {
		return false // one label: localhost, or a machine next door
	}
	switch host[at+1:] {
	case "localhost", "local", "internal", "lan", "home", "corp", "onion", "test", "invalid":
		return false
	}
	return !strings.HasSuffix(host, ".home.arpa")
}
