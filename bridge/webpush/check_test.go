package webpush

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
)

func TestCheck(t *testing.T) {
	s := newSubscriber(t)
	for _, e := range []string{
		"https://fcm.googleapis.com/fcm/send/abc:def", "https://updates.push.services.mozilla.com/wpush/v2/gAAA", "https://web.push.apple.com/Q",
		"https://ntfy.sh/upAbc?up=1", "https://push.example.org:8443/x", "https://push.example.org.:443/", "https://8.8.8.8/x",
		"https://[2606:4700::1111]:4443/x", "https://a_b.example.org/", "https://xn--9t4b11yi5a.example/", "https://push.example.org",
	} {
		if err := Check(e, s.p256dh(), s.auth); err != nil {
			t.Errorf("%s: %v", e, err)
		}
	}
	bad := []string{
		"", "https://", "https:///x", "http://push.example.org/", "ftp://push.example.org/", "push.example.org/x", "https:push.example.org",
		"//push.example.org/x", "https://user@push.example.org/", "https://u:p@push.example.org/", "https://push.example.org/#x",
		"https://push.example.org/#", "https://push.example.org:22/", "https://push.example.org:80/", "https://push.example.org:0/",
		"https://push.example.org:/", "https://push.example.org:65536/", "https://push.example.org:0443/", "https://push.example.org:x/",
		"https://localhost/", "https://localhost:8443/", "https://printer/", "https://printer.local/", "https://a.localhost/",
		"https://x.internal/", "https://metadata.google.internal/", "https://nas.home.arpa/", "https://x.onion/",
		"https://127.0.0.1/", "https://127.0.0.1:8443/", "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/",
		"https://0/", "https://10.0.0.1/", "https://169.254.169.254/latest", "https://[::1]/", "https://[::ffff:8.8.8.8]/", "https://[fe80::1%25eth0]/",
		"https://[64:ff9b::8.8.8.8]/", "https://8.8.8.8:25/", "https://push..example.org/", "https://.example.org/", "https://ex ample.org/",
		"https://example.org/\n", "https://example.org/\x00", "https://예시.example/", "https://example.org/é", "https://ex%61mple.org/",
		"https://[::1", "https://example.org/" + strings.Repeat("x", MaxEndpoint),
	}
	for _, e := range bad {
		err := Check(e, s.p256dh(), s.auth)
		if store.CodeOf(err) != store.CodeBad {
			t.Errorf("%q: %v", e, err)
		} else if len(e) > 12 && strings.Contains(err.Error(), e) {
			t.Errorf("%q is in its error", e)
		}
	}
	const good = "https://push.example.org/x"
	for _, k := range [][]byte{nil, make([]byte, keySize), s.p256dh()[1:]} {
		if Check(good, k, s.auth) == nil {
			t.Errorf("the key %x was taken", k)
		}
	}
	for _, n := range []int{0, 15, 17} {
		if Check(good, s.p256dh(), make([]byte, n)) == nil {
			t.Errorf("a secret of %d bytes was taken", n)
		}
	}

	allowed := newGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")})
	for e, want := range map[string]bool{
		"https://127.0.0.1:80/x": true, "https://[::1]:22/": true, "https://localhost:4444/x": true, "https://10.0.0.1/": false,
		"http://127.0.0.1/": false, "https://[::ffff:127.0.0.1]/": true, "https://[::ffff:10.0.0.1]/": false,
	} {
		if err := check(allowed, e, s.p256dh(), s.auth); (err == nil) != want {
			t.Errorf("%s with loopback allowed: %v", e, err)
		}
	}
}

// FuzzCheck holds what Check takes against a second opinion.
func FuzzCheck(f *testing.F) {
	s := newSubscriber(f)
	for _, e := range []string{"https://push.example.org/x", "https://127.0.0.1/", "https://[::ffff:7f00:1]:443/", "https://0x7f.1/", "https://a@b/",
		"https://8.8.8.8:8443/#", "https:\\\\127.0.0.1", "https://[fe80::1%25lo]/", "https://push.example.org:443/?a=b"} {
		f.Add(e, s.p256dh(), s.auth)
	}
	f.Add("", []byte{4}, []byte{})
	f.Fuzz(func(t *testing.T, endpoint string, p256dh, auth []byte) {
		if Check(endpoint, p256dh, auth) != nil {
			return
		}
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "https" || u.User != nil || len(p256dh) != keySize || p256dh[0] != 4 || len(auth) != 16 {
			t.Fatalf("%q was taken", endpoint)
		}
		if a, err := netip.ParseAddr(u.Hostname()); err == nil && (a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || a.Is4In6()) {
			t.Fatalf("%q was taken", endpoint)
		}
		if _, err := encrypt(nil, p256dh, auth); err != nil {
			t.Fatalf("%q was taken, and cannot be encrypted for: %v", endpoint, err)
		}
	})
}
