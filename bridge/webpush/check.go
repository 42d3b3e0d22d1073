package webpush

import (
	"crypto/ecdh"
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/hwangso/hwangso/store"
)

const (
	// MaxEndpoint is the most bytes that the address of a subscription may have.
	MaxEndpoint = 1024

	keySize    = 65 // an uncompressed point of P-256: RFC 8291, 3.1
	secretSize = 16 // RFC 8291, 3.2
)

// Check tells what is wrong with a subscription that somebody wants to register, nil if nothing: the endpoint, and the raw
// bytes of p256dh and auth. It resolves no name: what an address is turns out when a connection is made. The error is a
// *store.Error with CodeBad and a sentence for who registers.
func Check(endpoint string, p256dh, auth []byte) error {
	return new(guard).check(endpoint, p256dh, auth)
}

// Check is the function of that name, but that the addresses of Config.Allow are taken.
func (p *Provider) Check(endpoint string, p256dh, auth []byte) error {
	return p.guard.check(endpoint, p256dh, auth)
}

func (g *guard) check(endpoint string, p256dh, auth []byte) error {
	u, err := g.parse(endpoint)
	if err != nil {
		return bad(err)
	}
	if _, err := netip.ParseAddr(u.Hostname()); err != nil && len(g.allow) == 0 && !publicName(u.Hostname()) {
		return bad(errors.New("the endpoint's host is no public name"))
	}
	if _, err := publicKey(p256dh); err != nil {
		return bad(errors.New("p256dh is no public key of P-256: 65 bytes, uncompressed"))
	}
	if len(auth) != secretSize {
		return bad(errors.New("auth does not have 16 bytes"))
	}
	return nil
}

func bad(err error) error { return &store.Error{Code: store.CodeBad, Text: err.Error()} }

// parse takes an endpoint apart that may be spoken to, as far as that can be seen without asking for its name. Errors do
// not repeat it.
func (g *guard) parse(endpoint string) (*url.URL, error) {
	if len(endpoint) > MaxEndpoint {
		return nil, errors.New("the endpoint has more than 1,024 bytes")
	}
	for i := range len(endpoint) {
		if endpoint[i] <= ' ' || endpoint[i] >= 0x7f {
			return nil, errors.New("the endpoint has a character that no address has")
		}
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Opaque != "" || u.Host == "" {
		return nil, errors.New("the endpoint is no address")
	}
	host := u.Hostname()
	switch {
	case u.Scheme != "https":
		return nil, errors.New("the endpoint is not https")
	case u.User != nil, u.Fragment != "", strings.Contains(endpoint, "#"):
		return nil, errors.New("the endpoint has a user or a fragment")
	case host == "" || strings.HasSuffix(u.Host, ":"):
		return nil, errors.New("the endpoint is no address")
	}
	port := uint16(443)
	if s := u.Port(); s != "" {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil || n == 0 || s[0] == '0' {
			return nil, errors.New("the endpoint's port is none")
		}
		port = uint16(n)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if !g.may(a, port) {
			return nil, errors.New("the endpoint's address is private, or its port not one of HTTPS")
		}
	} else if !name(host) {
		return nil, errors.New("the endpoint's host is none")
	} else if len(g.allow) == 0 && !portOK(port) {
		return nil, errors.New("the endpoint's port is not one of HTTPS")
	}
	return u, nil
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

func publicKey(b []byte) (*ecdh.PublicKey, error) {
	if len(b) != keySize {
		return nil, errors.New("not an uncompressed point")
	}
	return ecdh.P256().NewPublicKey(b)
}
