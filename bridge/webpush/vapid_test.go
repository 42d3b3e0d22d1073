package webpush

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/push"
)

// TestNewKey: many who make it at once have one key, whole, for the owner's eyes, and it stays.
func TestNewKey(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "webpush.pem")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := NewKey(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseKey(before); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := NewKey(path); err != nil {
		t.Error(err)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("the key was replaced")
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("%d files", len(list))
	}
	if err := NewKey(filepath.Join(dir, "no", "such")); err == nil {
		t.Error("a directory that is not there")
	}
}

func TestParseKey(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	// As openssl ecparam -genkey writes it.
	k, err := parseKey([]byte(block("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}) + block("EC PRIVATE KEY", sec1)))
	if err != nil || !k.private.Equal(key) || len(k.public) != 87 {
		t.Errorf("%v, %v", k, err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := x509.MarshalPKCS8PrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"", "secret", block("PUBLIC KEY", sec1), block("PRIVATE KEY", []byte("secret")), block("PRIVATE KEY", p384), block("EC PRIVATE KEY", nil)} {
		if _, err := parseKey([]byte(s)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.40q: %v", s, err)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\nMA==\n-----END EC PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n\n-----END PRIVATE KEY-----\n-----BEGIN"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := parseKey(b); err == nil && len(k.public) != 87 {
			t.Errorf("public key %q", k.public)
		}
	})
}

// TestSigned: a signature holds for ten hours per push service, and for one key.
func TestSigned(t *testing.T) {
	s, other := newService(t, true), newService(t, true)
	var at atomic.Int64
	at.Store(time.Now().UnixNano())
	path := newKeyFile(t)
	p := s.provider(func(c *Config) {
		c.Key, c.Now = path, func() time.Time { return time.Unix(0, at.Load()) }
		c.CA.AddCert(other.Certificate())
	})
	send := func(s *service) string {
		t.Helper()
		if a := p.Send(t.Context(), s.ring()); a.Outcome != push.Delivered {
			t.Fatalf("%+v", a)
		}
		h, _ := s.got()
		if c := claims(t, h, p.PublicKey()); c["aud"] != s.URL {
			t.Errorf("%v, want %s", c, s.URL)
		}
		return h.Get("Authorization")
	}
	first := send(s)
	if send(other) == first {
		t.Error("two push services have one signature")
	}
	p.Refresh()
	if send(s) != first {
		t.Error("a young signature was made anew")
	}
	at.Add(int64(tokenRenew - time.Second))
	if send(s) != first {
		t.Error("it was signed anew before the time")
	}
	at.Add(int64(time.Second))
	second := send(s)
	if second == first {
		t.Error("it was not signed anew")
	}
	at.Add(int64(time.Minute))
	p.Refresh()
	third := send(s)
	if third == second {
		t.Error("Refresh kept it")
	}

	// Another key; a broken file before it changes nothing.
	public := p.PublicKey()
	for _, content := range []string{"broken", ""} {
		if content == "" {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := NewKey(path); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		at.Add(int64(2 * time.Second))
		if got := send(s); (got == third) != (content == "broken") || (p.PublicKey() == public) != (content == "broken") {
			t.Errorf("after %q: signature %q", content, got)
		}
	}
	for i := range 2 * maxOrigins {
		if _, err := p.signer.header(p.keys.Get(), fmt.Sprint("https://h", i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(p.signer.kept); n > maxOrigins {
		t.Errorf("%d signatures are kept", n)
	}
}

func TestNew(t *testing.T) {
	path := newKeyFile(t)
	for _, c := range []Config{{}, {Key: path + "x"}, {Key: path, Contact: "operator@example.com"}, {Key: path, Contact: "mailto:operator"}, {Key: path, Contact: "http://example.com"},
		{Key: path, InFlight: -1}, {Key: path, PerHost: -1}, {Key: path, Allow: make([]netip.Prefix, 1)}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
	p, err := New(Config{Key: path, Contact: "https://example.com/push", InFlight: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.PublicKey()) != 87 {
		t.Errorf("public key %q", p.PublicKey())
	}
}
