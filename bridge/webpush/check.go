package webpush

import (
	"crypto/ecdh"
	"errors"
	"net/netip"

	"github.com/hwangso/hwangso/bridge/egress"
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
	return check(newGuard(nil), endpoint, p256dh, auth)
}

// newGuard is what endpoints are held against.
func newGuard(allow []netip.Prefix) *egress.Guard {
	return &egress.Guard{Noun: "endpoint", Max: MaxEndpoint, Allow: allow, High: true}
}

// Check is the function of that name, but that the addresses of Config.Allow are taken.
func (p *Provider) Check(endpoint string, p256dh, auth []byte) error {
	return check(p.guard, endpoint, p256dh, auth)
}

func check(g *egress.Guard, endpoint string, p256dh, auth []byte) error {
	if _, err := g.Check(endpoint); err != nil {
		return bad(err)
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

func publicKey(b []byte) (*ecdh.PublicKey, error) {
	if len(b) != keySize {
		return nil, errors.New("not an uncompressed point")
	}
	return ecdh.P256().NewPublicKey(b)
}
