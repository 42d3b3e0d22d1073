package proxy

import (
	"net/http"
	"net/netip"
	"strings"
)

// maxHops is how many entries of X-Forwarded-For are looked at.
const maxHops = 32

// Forwarded gives requests of trusted proxies the RemoteAddr of their client, with port 0. Of others it changes nothing.
func Forwarded(h http.Handler, trusted Trusted) http.Handler {
	if len(trusted) == 0 {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a, ok := client(r, trusted); ok {
			r = r.WithContext(r.Context()) // a shallow copy
			r.RemoteAddr = netip.AddrPortFrom(a, 0).String()
		}
		h.ServeHTTP(w, r)
	})
}

// client goes from the peer to the left through X-Forwarded-For, as long as whoever says so is trusted. An entry that is
// no address ends it: further to the left nothing can be believed. ok is false if the peer itself is the client.
func client(r *http.Request, trusted Trusted) (a netip.Addr, ok bool) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return a, false
	}
	a = peer.Addr().Unmap().WithZone("")
	lines := r.Header.Values("X-Forwarded-For")
	hops := 0
	for i := len(lines) - 1; i >= 0; i-- {
		for line, more := lines[i], true; more; hops++ {
			if !trusted.Has(a) || hops == maxHops {
				return a, ok
			}
			var entry string
			if cut := strings.LastIndexByte(line, ','); cut >= 0 {
				line, entry = line[:cut], line[cut+1:]
			} else {
				entry, more = line, false
			}
			next, good := hop(strings.TrimSpace(entry))
			if !good {
				return a, ok
			}
			a, ok = next, true
		}
	}
	return a, ok
}

// hop reads an entry: an address, with or without a port.
func hop(s string) (netip.Addr, bool) {
	if len(s) > 64 {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil || strings.HasPrefix(s, "[") != strings.HasSuffix(s, "]") {
		p, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		a = p.Addr()
	}
	if a.Zone() != "" || a.IsUnspecified() {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}
