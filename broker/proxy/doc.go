// Package proxy finds out where a client comes from when load balancers and reverse proxies stand before the server.
//
// What a proxy says is believed only if the proxy is trusted: its address lies in one of the networks that the operator
// named. Everybody else's words are ignored, and their own address counts.
//
//   - Listen wraps a listener whose trusted peers begin each connection with a PROXY protocol header, version 1 or 2
//     (haproxy.org/download/2.9/doc/proxy-protocol.txt). A trusted peer must send one, within HeaderTime, or its
//     connection is closed: a header that is optional can be forged. An untrusted peer is served as it is, and what it
//     sends is never looked at as a header.
//   - Forwarded wraps an HTTP handler: X-Forwarded-For is read from the right, as long as the hops are trusted. The header
//     Forwarded (RFC 7239) and every other are not looked at.
//
// # Goroutines
//
//   - one per wrapped listener accepts, until the listener is closed
//   - one per connection of a trusted peer reads its header, for HeaderTime at most; there are at most Pending at a time,
//     and while that many are under way accepting waits
//
// Close ends all of them and waits.
package proxy
