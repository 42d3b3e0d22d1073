package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// errHeader says that a trusted peer began with something else than a header.
var errHeader = errors.New("proxy: no valid PROXY protocol header")

const (
	v1Prefix  = "PROXY "
	v1Longest = 107  // bytes of a version 1 line with its end
	v2Most    = 1024 // bytes of a version 2 header's addresses and extensions; the specification's senders stay below 536
)

var v2Signature = []byte("\r\n\r\n\x00\r\nQUIT\n")

// readHeader reads a header and not one byte more. The address is the client's, or invalid if the peer speaks for itself
// (LOCAL, UNKNOWN and Unix sockets): then its own counts.
func readHeader(r io.Reader) (netip.AddrPort, error) {
	var b [v1Longest]byte
	start := b[:len(v2Signature)] // shorter than any header
	if _, err := io.ReadFull(r, start); err != nil {
		return netip.AddrPort{}, err
	}
	switch {
	case bytes.Equal(start, v2Signature):
		return readV2(r)
	case bytes.HasPrefix(start, []byte(v1Prefix)):
		n := len(start)
		for ; !bytes.HasSuffix(b[:n], []byte("\r\n")); n++ {
			if n == len(b) {
				return netip.AddrPort{}, errHeader
			}
			if _, err := io.ReadFull(r, b[n:n+1]); err != nil { // what follows the line is the client's
				return netip.AddrPort{}, err
			}
		}
		return parseV1(string(b[:n-2]))
	}
	return netip.AddrPort{}, errHeader
}

// parseV1 reads a version 1 line without its end: PROXY TCP4 203.0.113.7 10.0.0.1 51234 1883.
func parseV1(line string) (netip.AddrPort, error) {
	f := strings.Split(line, " ")
	if len(f) >= 2 && f[1] == "UNKNOWN" { // whatever follows
		return netip.AddrPort{}, nil
	}
	if len(f) != 6 || f[1] != "TCP4" && f[1] != "TCP6" {
		return netip.AddrPort{}, errHeader
	}
	var at [2]netip.AddrPort
	for i := range at {
		a, err := netip.ParseAddr(f[2+i])
		if err != nil || a.Zone() != "" || a.Is4() != (f[1] == "TCP4") {
			return netip.AddrPort{}, errHeader
		}
		port, err := strconv.ParseUint(f[4+i], 10, 16)
		if err != nil || f[4+i] != strconv.FormatUint(port, 10) {
			return netip.AddrPort{}, errHeader
		}
		at[i] = netip.AddrPortFrom(a.Unmap(), uint16(port))
	}
	return at[0], nil
}

// readV2 reads what follows the signature of version 2.
func readV2(r io.Reader) (netip.AddrPort, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return netip.AddrPort{}, err
	}
	length := int(binary.BigEndian.Uint16(head[2:]))
	if head[0]>>4 != 2 || head[0]&15 > 1 || length > v2Most {
		return netip.AddrPort{}, errHeader
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return netip.AddrPort{}, err
	}
	if head[0]&15 == 0 { // LOCAL: the proxy itself, such as a health check
		return netip.AddrPort{}, nil
	}
	size := 0 // of an address
	switch head[1] {
	case 0x11: // TCP over IPv4
		size = 4
	case 0x21: // TCP over IPv6
		size = 16
	case 0x00, 0x31: // unspecified, a stream of a Unix socket
		return netip.AddrPort{}, nil
	default: // datagrams, and what is to come
		return netip.AddrPort{}, errHeader
	}
	if length < 2*size+4 {
		return netip.AddrPort{}, errHeader
	}
	a, _ := netip.AddrFromSlice(body[:size])
	return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(body[2*size:])), nil
}
