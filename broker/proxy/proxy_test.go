package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// v2 is a version 2 header.
func v2(command, family byte, body []byte) []byte {
	b := append([]byte(nil), v2Signature...)
	b = append(b, 0x20|command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return append(b, body...)
}

func addresses(from, to string, more ...byte) []byte {
	var b []byte
	f, t := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	b = append(b, f.Addr().AsSlice()...)
	b = append(b, t.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, f.Port())
	b = binary.BigEndian.AppendUint16(b, t.Port())
	return append(b, more...)
}

var headers = []struct {
	name, in string
	want     string // "" : the peer speaks for itself, "-": refused
}{
	{"v1 IPv4", "PROXY TCP4 203.0.113.7 10.0.0.1 51234 1883\r\n", "203.0.113.7:51234"},
	{"v1 IPv6", "PROXY TCP6 2001:db8::7 2001:db8::1 51234 1883\r\n", "[2001:db8::7]:51234"},
	{"v1 longest", "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
	{"v1 unknown", "PROXY UNKNOWN\r\n", ""},
	{"v1 unknown with more", "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", ""},
	{"v1 family", "PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n", "-"},
	{"v1 family 6", "PROXY TCP6 203.0.113.7 10.0.0.1 1 2\r\n", "-"},
	{"v1 zone", "PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n", "-"},
	{"v1 port", "PROXY TCP4 203.0.113.7 10.0.0.1 65536 1883\r\n", "-"},
	{"v1 port zeros", "PROXY TCP4 203.0.113.7 10.0.0.1 0051 1883\r\n", "-"},
	{"v1 port sign", "PROXY TCP4 203.0.113.7 10.0.0.1 +51 1883\r\n", "-"},
	{"v1 spaces", "PROXY TCP4  203.0.113.7 10.0.0.1 51 1883\r\n", "-"},
	{"v1 octets", "PROXY TCP4 203.0.113.007 10.0.0.1 51 1883\r\n", "-"},
	{"v1 words", "PROXY TCP4 203.0.113.7 10.0.0.1 51\r\n", "-"},
	{"v1 newline", "PROXY TCP4 203.0.113.7 10.0.0.1 51 1883\n\r\n", "-"},
	{"v1 endless", "PROXY " + strings.Repeat("x", 200), "-"},
	{"v1 lower case", "proxy TCP4 203.0.113.7 10.0.0.1 51 1883\r\n", "-"},
	{"v1 cut", "PROXY TCP4 203.0.113.7 10.", "-"},
	{"v2 IPv4", string(v2(1, 0x11, addresses("203.0.113.7:51234", "10.0.0.1:1883"))), "203.0.113.7:51234"},
	{"v2 IPv6", string(v2(1, 0x21, addresses("[2001:db8::7]:51234", "[2001:db8::1]:1883"))), "[2001:db8::7]:51234"},
	{"v2 mapped", string(v2(1, 0x21, addresses("[::ffff:203.0.113.7]:9", "[2001:db8::1]:1883"))), "203.0.113.7:9"},
	{"v2 extensions", string(v2(1, 0x11, addresses("203.0.113.7:51234", "10.0.0.1:1883", 4, 0, 1, 0))), "203.0.113.7:51234"},
	{"v2 local", string(v2(0, 0x00, nil)), ""},
	{"v2 local with addresses", string(v2(0, 0x11, addresses("203.0.113.7:1", "10.0.0.1:1"))), ""},
	{"v2 unspecified", string(v2(1, 0x00, nil)), ""},
	{"v2 unix", string(v2(1, 0x31, make([]byte, 216))), ""},
	{"v2 datagrams", string(v2(1, 0x12, addresses("203.0.113.7:1", "10.0.0.1:1"))), "-"},
	{"v2 command", string(v2(2, 0x11, addresses("203.0.113.7:1", "10.0.0.1:1"))), "-"},
	{"v2 short", string(v2(1, 0x11, make([]byte, 11))), "-"},
	{"v2 too long", string(v2(1, 0x11, make([]byte, 2000))), "-"},
	{"v2 version", strings.Replace(string(v2(1, 0x11, addresses("203.0.113.7:1", "10.0.0.1:1"))), "\x21", "\x11", 1), "-"},
	{"v2 cut", string(v2(1, 0x11, addresses("203.0.113.7:1", "10.0.0.1:1")))[:20], "-"},
	{"MQTT", "\x10\x10\x00\x04MQTT\x04\x02\x00<\x00\x04abcd", "-"},
	{"HTTP", "GET / HTTP/1.1\r\n\r\n", "-"},
	{"nothing", "", "-"},
}

func TestHeader(t *testing.T) {
	for _, h := range headers {
		const after = "the client's bytes"
		in := h.in
		if h.want != "-" {
			in += after
		}
		r := strings.NewReader(in)
		got, err := readHeader(r)
		if h.want == "-" {
			if err == nil {
				t.Errorf("%s: taken as %v", h.name, got)
			}
			continue
		}
		if want := h.want; err != nil || want == "" && got.IsValid() || want != "" && got.String() != want {
			t.Errorf("%s: %v, %v; want %q", h.name, got, err, want)
		}
		if rest, _ := io.ReadAll(r); string(rest) != after {
			t.Errorf("%s: left %q", h.name, rest)
		}
	}
}

func FuzzHeader(f *testing.F) {
	for _, h := range headers {
		f.Add([]byte(h.in))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		got, err := readHeader(r)
		read := len(b) - r.Len()
		if read > 16+v2Most || err != nil && got.IsValid() {
			t.Fatalf("%d bytes read, %v, %v", read, got, err)
		}
		if err == nil { // the header alone says the same
			again, err := readHeader(bytes.NewReader(b[:read]))
			if err != nil || again != got {
				t.Fatalf("%v, then %v, %v", got, again, err)
			}
		}
	})
}

// world is a wrapped listener on loopback, which is trusted or not.
func world(t *testing.T, trusted string, wait time.Duration) (*listener, chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan error, 16)
	p := listen(l, Trusted{netip.MustParsePrefix(trusted)}, func(_ net.Addr, err error) { refused <- err }, wait)
	t.Cleanup(func() { p.Close() })
	return p, refused
}

func dial(t *testing.T, p net.Listener, say string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, say); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestListener(t *testing.T) {
	p, refused := world(t, "127.0.0.0/8", time.Minute)
	silent := dial(t, p, "PROXY TCP4 1") // holds nobody up
	dial(t, p, "PROXY TCP4 203.0.113.7 10.0.0.1 51234 1883\r\nhello")
	c, err := p.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got := c.RemoteAddr().String(); got != "203.0.113.7:51234" {
		t.Errorf("from %s", got)
	}
	if c.(interface{ TCP() *net.TCPConn }).TCP() == nil {
		t.Error("the TCP connection is hidden")
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
		t.Errorf("read %q, %v", b, err)
	}
	c.Close()
	bad := dial(t, p, "GET / HTTP/1.1\r\n\r\n")
	if err := <-refused; !errors.Is(err, errHeader) {
		t.Errorf("refused with %v", err)
	}
	if _, err := io.ReadAll(bad); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("not closed: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := p.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := io.ReadAll(silent); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the silent one is not closed: %v", err)
	}
	p.Close()
}

func TestListenerSlow(t *testing.T) {
	p, refused := world(t, "127.0.0.0/8", time.Millisecond)
	dial(t, p, "PROXY TCP4 203")
	var ne net.Error
	if err := <-refused; !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("refused with %v", err)
	}
}

// Who is not trusted is served, and its header is its own first bytes.
func TestListenerUntrusted(t *testing.T) {
	p, _ := world(t, "10.0.0.0/8", time.Minute)
	const line = "PROXY TCP4 203.0.113.7 10.0.0.1 51234 1883\r\n"
	mine := dial(t, p, line)
	c, err := p.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.RemoteAddr().String() != mine.LocalAddr().String() {
		t.Errorf("from %v", c.RemoteAddr())
	}
	b := make([]byte, len(line))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != line {
		t.Errorf("read %q, %v", b, err)
	}
}

func TestForwarded(t *testing.T) {
	trusted := Trusted{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		peer  string
		lines []string
		want  string
	}{
		{"198.51.100.1:5", []string{"203.0.113.7"}, "198.51.100.1:5"}, // not trusted
		{"10.0.0.1:5", nil, "10.0.0.1:5"},
		{"10.0.0.1:5", []string{"203.0.113.7"}, "203.0.113.7:0"},
		{"10.0.0.1:5", []string{"1.1.1.1, 203.0.113.7"}, "203.0.113.7:0"}, // what the client claimed
		{"10.0.0.1:5", []string{"1.1.1.1", "203.0.113.7"}, "203.0.113.7:0"},
		{"10.0.0.1:5", []string{"203.0.113.7, 10.9.9.9"}, "203.0.113.7:0"},
		{"10.0.0.1:5", []string{"203.0.113.7", "10.9.9.9", "fd00::1"}, "203.0.113.7:0"},
		{"10.0.0.1:5", []string{"10.9.9.9"}, "10.9.9.9:0"},
		{"10.0.0.1:5", []string{"2001:db8::7"}, "[2001:db8::7]:0"},
		{"10.0.0.1:5", []string{"[2001:db8::7]:443"}, "[2001:db8::7]:0"},
		{"10.0.0.1:5", []string{"[2001:db8::7]"}, "[2001:db8::7]:0"},
		{"10.0.0.1:5", []string{"203.0.113.7:443"}, "203.0.113.7:0"},
		{"10.0.0.1:5", []string{"::ffff:203.0.113.7"}, "203.0.113.7:0"},
		{"[::ffff:10.0.0.1]:5", []string{"203.0.113.7"}, "203.0.113.7:0"},
		{"10.0.0.1:5", []string{"203.0.113.7, unknown"}, "10.0.0.1:5"},
		{"10.0.0.1:5", []string{"203.0.113.7, , 10.2.2.2"}, "10.2.2.2:0"},
		{"10.0.0.1:5", []string{"203.0.113.7,\t10.2.2.2 "}, "203.0.113.7:0"},
		{"10.0.0.1:5", []string{"fe80::1%eth0"}, "10.0.0.1:5"},
		{"10.0.0.1:5", []string{"0.0.0.0"}, "10.0.0.1:5"},
		{"10.0.0.1:5", []string{"203.0.113.7]"}, "10.0.0.1:5"},
		{"10.0.0.1:5", []string{""}, "10.0.0.1:5"},
		{"10.0.0.1:5", []string{strings.Repeat("9", 10000)}, "10.0.0.1:5"},
		{"10.0.0.1:5", []string{"203.0.113.7" + strings.Repeat(", 10.0.0.2", 100)}, "10.0.0.2:0"},
		{"@", []string{"203.0.113.7"}, "@"}, // a Unix socket
	} {
		got := ""
		h := Forwarded(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr }), trusted)
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.peer
		r.Header.Set("Forwarded", "for=192.0.2.1")
		r.Header.Set("X-Real-Ip", "192.0.2.2")
		for _, l := range c.lines {
			r.Header.Add("X-Forwarded-For", l)
		}
		h.ServeHTTP(httptest.NewRecorder(), r)
		if got != c.want {
			t.Errorf("%s with %.60q: %s, want %s", c.peer, fmt.Sprint(c.lines), got, c.want)
		}
		if r.RemoteAddr != c.peer {
			t.Errorf("%s: the request itself was changed", c.peer)
		}
	}
}

func FuzzForwarded(f *testing.F) {
	for _, s := range []string{"203.0.113.7", "1.1.1.1, 10.0.0.2", "[::1]:5", ",,,", "a, b\x00", "10.0.0.2, 10.0.0.3"} {
		f.Add(s, s)
	}
	trusted := Trusted{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, one, two string) {
		r := &http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{"X-Forwarded-For": {one, two}}}
		if a, ok := client(r, trusted); ok && (!a.IsValid() || a.Zone() != "" || a.Is4In6()) {
			t.Fatalf("%v", a)
		}
		r.RemoteAddr = "192.0.2.1:1"
		if a, ok := client(r, trusted); ok {
			t.Fatalf("an untrusted peer is believed: %v", a)
		}
	})
}
