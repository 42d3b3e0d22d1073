package cmd

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"

	"github.com/hwangso/hwangso/broker/proxy"
)

// proxies are the networks that -trusted-proxies names. A single address is a network of its own.
func (s *settings) proxies() (proxy.Trusted, error) {
	var out proxy.Trusted
	for _, word := range list(s.trustedProxies) {
		p, err := netip.ParsePrefix(word)
		if a, bad := netip.ParseAddr(word); bad == nil && a.Zone() == "" {
			p, err = a.Unmap().Prefix(a.Unmap().BitLen())
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("%q is no network such as 10.0.0.0/8", word)
		case p.Bits() == 0:
			return nil, errors.New("a network that holds every address would let anybody choose where it comes from")
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// behind puts what proxies say between a listener and who serves it.
func (srv *server) behind(ln net.Listener, name string) (net.Listener, error) {
	trusted, err := srv.set.proxies()
	if err != nil || !srv.set.proxyProtocol || name == "admin" {
		return ln, err
	}
	return proxy.Listen(ln, trusted, func(peer net.Addr, err error) {
		srv.log.Warn("a trusted proxy sent no valid header: the connection is closed", "listener", name, "addr", peer.String(), "err", err)
	}), nil
}

// forwarded lets HTTP requests have the address that proxies say.
func (srv *server) forwarded(h http.Handler) (http.Handler, error) {
	trusted, err := srv.set.proxies()
	if err != nil {
		return nil, err
	}
	return proxy.Forwarded(h, trusted), nil
}
