package fcm

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hwangso/hwangso/bridge/push"
	"github.com/hwangso/hwangso/store/graph"
)

// server is a double of FCM and of Google's token endpoint on one HTTP/2 listener over TLS.
type server struct {
	*httptest.Server
	t   testing.TB
	key *rsa.PrivateKey

	mu      sync.Mutex
	conns   int
	grants  int          // access tokens asked for
	posts   int          // messages
	last    request      // the last of them
	headers http.Header  // of it
	send    http.Handler // what messages are answered; nil: taken
	grant   http.Handler // what token requests are answered; nil: a token
	valid   map[string]bool
}

// request is what FCM reads of a message.
type request struct {
	Message struct {
		Token   string            `json:"token"`
		Data    map[string]string `json:"data"`
		Android map[string]any    `json:"android"`
	} `json:"message"`
}

// newKey is made once: RSA keys are slow to make under the race detector.
var newKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func newServer(t testing.TB) *server {
	t.Helper()
	s := &server{t: t, key: newKey(), valid: make(map[string]bool)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("POST /v1/projects/test-project/messages:send", s.message)
	s.Server = httptest.NewUnstartedServer(mux)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	s.Config.ConnState = func(_ net.Conn, c http.ConnState) {
		if c == http.StateNew {
			s.mu.Lock()
			s.conns++
			s.mu.Unlock()
		}
	}
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *server) token(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.grants++
	n, grant := s.grants, s.grant
	s.mu.Unlock()
	if r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		s.t.Errorf("grant_type %q", r.FormValue("grant_type"))
	}
	claims := jwt.MapClaims{}
	if _, err := jwt.ParseWithClaims(r.FormValue("assertion"), claims, func(tok *jwt.Token) (any, error) {
		if tok.Header["kid"] != "key-1" {
			s.t.Errorf("kid %v", tok.Header["kid"])
		}
		return &s.key.PublicKey, nil
	}, jwt.WithValidMethods([]string{"RS256"}), jwt.WithAudience(s.URL+"/token"), jwt.WithIssuer("push@test.example")); err != nil {
		s.t.Errorf("assertion: %v", err)
	}
	if claims["scope"] != scope {
		s.t.Errorf("scope %v", claims["scope"])
	}
	if grant != nil {
		grant.ServeHTTP(w, r)
		return
	}
	bearer := "token-" + strconv.Itoa(n)
	s.set(func() { s.valid[bearer] = true })
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": bearer, "expires_in": 3600, "token_type": "Bearer"})
}

func (s *server) message(w http.ResponseWriter, r *http.Request) {
	var m request
	b, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		s.t.Errorf("message: %v", err)
	}
	s.mu.Lock()
	s.posts++
	s.last, s.headers = m, r.Header
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	send, ok := s.send, ok && s.valid[bearer]
	s.mu.Unlock()
	if r.ProtoMajor != 2 {
		s.t.Errorf("a message over %s", r.Proto)
	}
	switch {
	case send != nil:
		send.ServeHTTP(w, r)
	case !ok:
		fail(w, 401, nil, `{"error":{"code":401,"message":"Request had invalid authentication credentials.","status":"UNAUTHENTICATED"}}`)
	default:
		_, _ = io.WriteString(w, `{"name":"projects/test-project/messages/0:1"}`)
	}
}

// set changes something under the lock.
func (s *server) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// counts are the messages and tokens asked for, and the connections.
func (s *server) counts() (posts, grants, conns int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.posts, s.grants, s.conns
}

func (s *server) got() (request, http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, s.headers
}

func (s *server) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
}

// credentials is a service account's JSON with something changed.
func (s *server) credentials(change map[string]string) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	m := map[string]string{
		"type": "service_account", "project_id": "test-project", "private_key_id": "key-1", "client_email": "push@test.example",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"token_uri":   s.URL + "/token",
	}
	for k, v := range change {
		m[k] = v
	}
	b, err := json.Marshal(m)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// file writes the credentials to a file.
func (s *server) file(change map[string]string) string {
	path := filepath.Join(s.t.TempDir(), "account.json")
	if err := os.WriteFile(path, s.credentials(change), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *server) provider(change func(*Config)) *Provider {
	s.t.Helper()
	cfg := Config{Credentials: s.file(nil), URL: s.URL, CA: s.pool()}
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

func fail(w http.ResponseWriter, status int, h http.Header, body string) {
	for k, v := range h {
		w.Header()[k] = v
	}
	if strings.HasPrefix(body, "{") {
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// ring is a push as the bridge makes them.
func ring() *push.Push {
	return &push.Push{
		To:      graph.Registration{Device: 7, Provider: graph.FCM, Token: "secret-registration-token"},
		Class:   push.Chat,
		Expires: time.Now().Add(time.Hour),
		Note: push.Note{
			Kind: push.KindMessage, Thread: "0123456789abcdef0123", Room: "room/lobby", Seq: 42, Epoch: 3, Count: 5, Badge: 9,
			Key: push.KeyText, Args: []string{"Alice", "<good> morning & \"hello\""}, Title: "Alice", Body: "good morning",
		},
	}
}
