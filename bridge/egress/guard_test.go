package egress

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPublic(t *testing.T) {
	for _, s := range []string{"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0",
		"168.63.129.15", "198.17.255.255", "198.20.0.0", "223.255.255.255", "2001:4860:4860::8888", "2606:4700::1111", "2a00:1450::1"} {
		if !public(netip.MustParseAddr(s)) {
			t.Errorf("%s is not public", s)
		}
	}
	for _, s := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.255", "168.63.129.16",
		"169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1",
		"192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
		"255.255.255.255",
		"::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "64:ff9b::8.8.8.8", "64:ff9b::7f00:1",
		"64:ff9b:1::1", "100::1", "2001::1", "2001:0:1::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::1", "2002:808:808::1",
		"3fff::1", "4000::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fdff::1", "fe80::1", "fe80::1%eth0", "2606:4700::1111%eth0",
		"fec0::1", "ff02::1", "ff0e::1",
	} {
		if public(netip.MustParseAddr(s)) {
			t.Errorf("%s is public", s)
		}
	}
	if public(netip.Addr{}) {
		t.Error("no address is public")
	}
}

// TestCheckRefuses is what strangers try, against the guard that takes the least: HTTPS on its port to public names.
func TestCheckRefuses(t *testing.T) {
	g := &Guard{Noun: "url", Max: 256}
	for _, s := range []string{"https://example.com/hook", "https://example.com:443/?a=b", "https://example.com.", "https://8.8.8.8/", "https://[2606:4700::1111]/x", "https://xn--9t4b11yi5a.example/"} {
		if _, err := g.Check(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{
		// Ports and schemes.
		"https://example.com:8443/", "https://example.com:80/", "https://8.8.8.8:8443/", "http://example.com/", "http://8.8.8.8/", "gopher://example.com/", "file:///etc/passwd",
		"HTTP://example.com/", "https:example.com", "https:/example.com", "https:///example.com", "https:\\\\example.com", "//example.com/",
		// This machine and its neighbours.
		"https://localhost/", "https://LOCALHOST/", "https://localhost./", "https://a.localhost/", "https://printer/", "https://printer.local/", "https://metadata.google.internal/",
		"https://127.0.0.1/", "https://127.0.0.1./", "https://[::1]/", "https://[::]/", "https://0.0.0.0/", "https://10.1.2.3/", "https://172.16.0.1/", "https://192.168.1.1/",
		"https://169.254.169.254/latest/meta-data/", "https://[fd00:ec2::254]/", "https://168.63.129.16/", "https://100.100.100.200/", "https://100.64.0.1/", "https://224.0.0.1/", "https://255.255.255.255/",
		"https://[fe80::1]/", "https://[fe80::1%25eth0]/", "https://[ff02::1]/",
		// IPv4 within IPv6: mapped, compatible, 6to4, NAT64, Teredo.
		"https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[::127.0.0.1]/", "https://[2002:7f00:1::]/", "https://[64:ff9b::7f00:1]/", "https://[64:ff9b::127.0.0.1]/", "https://[64:ff9b:1::a00:1]/", "https://[2001:0:7f00:1::]/",
		// Addresses as some resolvers read them.
		"https://127.1/", "https://127.0.1/", "https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://0177.0.0.1/", "https://017700000001/", "https://0/", "https://127.0.0.01/",
		"https://1.1.1.1.1/", "https://example.0x7f/", "https://①②⑦.0.0.1/", "https://127。" + "0.0.1/", "https://%31%32%37.0.0.1/", "https://%6cocalhost/",
		// Parsers that disagree.
		"https://example.com@127.0.0.1/", "https://127.0.0.1@example.com/", "https://user:pw@example.com/", "https://example.com#@127.0.0.1/", "https://example.com\\@127.0.0.1/", "https://127.0.0.1\\.example.com/",
		"https://example.com:443:80/", "https://example.com:0443/", "https://example.com:+443/", "https://example.com:/", "https://[127.0.0.1]/", "https://[::1", "https://example.com\t/", " https://example.com/", "https://example.com/\r\nHost: x",
		"https://", "", "https://.example.com/", "https://example..com/", "https://-/", "https://" + strings.Repeat("a.", 130) + "com/", "https://example.com/" + strings.Repeat("x", 256),
	} {
		if _, err := g.Check(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}

	plain := &Guard{Noun: "url", Max: 256, Plain: true, Allow: prefixes("127.0.0.0/8")}
	for s, want := range map[string]bool{"http://127.0.0.1:8080/": true, "http://localhost:8080/": false, "http://10.0.0.1/": false, "http://8.8.8.8/": false, "http://example.com/": false, "https://localhost:8443/": true, "https://8.8.8.8:8443/": false} {
		if _, err := plain.Check(s); (err == nil) != want {
			t.Errorf("%s with loopback allowed: %v", s, err)
		}
	}
}

// FuzzCheck: what is taken is HTTPS on its port, and an address in it is a public one, in the eyes of the standard library.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{"https://example.com/x", "https://127.0.0.1/", "https://[::ffff:7f00:1]:443/", "https://0x7f.1/", "https://a@b/", "https://8.8.8.8:443/#", "https:\\\\127.0.0.1", "https://[fe80::1%25lo]/", "https://%31/"} {
		f.Add(s)
	}
	g := &Guard{Noun: "url", Max: 256}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := g.Check(s)
		if err != nil {
			return
		}
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" && u.Port() != "443" || *u != *got || !strings.Contains(u.Hostname(), ".") && !strings.Contains(u.Hostname(), ":") {
			t.Fatalf("%q was taken", s)
		}
		if a, err := netip.ParseAddr(u.Hostname()); err == nil && (!a.IsGlobalUnicast() || a.IsPrivate() || a.Is4In6()) {
			t.Fatalf("%q was taken", s)
		}
	})
}

// FuzzGuard: what the net package finds to be no public address the guard finds too, written in whatever way.
func FuzzGuard(f *testing.F) {
	for _, s := range []string{"127.0.0.1:443", "[::1]:443", "[::ffff:10.0.0.1]:443", "8.8.8.8:443", "8.8.8.8:25", "[fe80::1%lo]:443", "", ":443", "8.8.8.8"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, address string) {
		if (&Guard{High: true}).Control("tcp", address, nil) != nil {
			return
		}
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			t.Fatalf("%q was taken", address)
		}
		if a := to.Addr().Unmap(); !a.IsGlobalUnicast() || a.IsPrivate() || a.Zone() != "" || to.Addr() != a || to.Port() != 443 && to.Port() < 1024 {
			t.Fatalf("%q was taken", address)
		}
	})
}

// TestHosts: a host has its share, and another one is not kept from its own.
func TestHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHosts(1)
		leave, ok := h.Take(t.Context(), "a")
		if !ok {
			t.Fatal("the first did not get the slot")
		}
		began := time.Now()
		if _, ok := h.Take(t.Context(), "a"); ok || time.Since(began) != patience {
			t.Fatal("a second one got the slot, or did not wait for it:", time.Since(began))
		}
		other, ok := h.Take(t.Context(), "b")
		if !ok {
			t.Fatal("another host had to wait")
		}
		leave()
		other()
		if leave, ok = h.Take(t.Context(), "a"); !ok {
			t.Fatal("the slot was not given back")
		}
		leave()
		if n := h.Len(); n != 0 {
			t.Fatal("hosts are kept:", n)
		}
	})
}
