package webpush

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store/graph"
)

// service is a push service with one browser behind it, over TLS.
type service struct {
	*httptest.Server
	t       testing.TB
	browser *subscriber

	mu     sync.Mutex
	conns  int
	posts  int
	header http.Header
	plain  []byte
	size   int // of the last body
	serve  http.Handler
}

func newService(t testing.TB, http2 bool) *service {
	t.Helper()
	s := &service{t: t, browser: newSubscriber(t)}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	s.Config.ConnState = func(_ net.Conn, c http.ConnState) {
		if c == http.StateNew {
			s.set(func() { s.conns++ })
		}
	}
	s.EnableHTTP2 = http2
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	plain, err := s.browser.open(body)
	if err != nil {
		s.t.Errorf("decrypt: %v", err)
	}
	s.mu.Lock()
	s.posts++
	s.header, s.plain, s.size = r.Header, plain, len(body)
	serve := s.serve
	s.mu.Unlock()
	if r.Method != http.MethodPost {
		s.t.Errorf("a %s", r.Method)
	}
	if serve != nil {
		serve.ServeHTTP(w, r)
		return
	}
	w.WriteHeader(http.StatusCreated)
}

func (s *service) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *service) answer(status int, h http.Header) {
	s.set(func() {
		s.serve = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for k, v := range h {
				w.Header()[k] = v
			}
			w.WriteHeader(status)
		})
	})
}

func (s *service) count() (posts, conns int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.posts, s.conns
}

// got is the last message: its headers and what the browser decrypted.
func (s *service) got() (http.Header, map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var m map[string]any
	if err := json.Unmarshal(s.plain, &m); err != nil {
		s.t.Errorf("%q: %v", s.plain, err)
	}
	return s.header, m
}

// ring is a push to the browser.
func (s *service) ring() *push.Push {
	return &push.Push{
		To:       graph.Registration{Device: 7, Provider: graph.WebPush, Token: s.URL + "/secret-endpoint?x=1", Key: s.browser.p256dh(), Secret: s.browser.auth},
		Class:    push.Chat,
		Collapse: "m0123456789abcdef0123",
		Expires:  time.Now().Add(time.Hour),
		Note:     note(),
	}
}

func note() push.Note {
	return push.Note{
		Kind: push.KindMessage, Thread: "0123456789abcdef0123", Room: "room/lobby", Seq: 42, Epoch: 3, Count: 5, Badge: 0, Silent: true,
		Key: push.KeyText, Args: []string{"Alice", "good morning"}, Title: "Alice <&>", Body: "좋은 아침",
	}
}

// provider may speak to 127.0.0.1, unless that is changed.
func (s *service) provider(change func(*Config)) *Provider {
	s.t.Helper()
	cfg := Config{Key: newKeyFile(s.t), Contact: "mailto:operator@example.com", CA: x509.NewCertPool(), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	cfg.CA.AddCert(s.Certificate())
	if change != nil {
		change(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = p.Close() })
	return p
}

func newKeyFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "webpush.pem")
	if err := NewKey(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// claims checks the signature of an Authorization header as a push service does: RFC 8292, 2 to 4.
func claims(t *testing.T, h http.Header, public string) jwt.MapClaims {
	t.Helper()
	token, key, ok := strings.Cut(strings.TrimPrefix(h.Get("Authorization"), "vapid t="), ", k=")
	if !ok || key != public {
		t.Fatalf("authorization %q, key %s", h.Get("Authorization"), public)
	}
	raw, err := base64.RawURLEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), raw)
	if err != nil {
		t.Fatal(err)
	}
	c := jwt.MapClaims{}
	if _, err := jwt.ParseWithClaims(token, c, func(*jwt.Token) (any, error) { return pub, nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithoutClaimsValidation()); err != nil {
		t.Fatal(err)
	}
	return c
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
