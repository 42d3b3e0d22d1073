//lint:file-ignore SA1019 the client of the bridge to APNs is built on this transport

package pushsim

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/net/http2"
)

// testDir is one directory for all tests: keys cost time.
var testDir = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "pushsim")
	if err != nil {
		return "", err
	}
	_, err = Init(dir, InitOptions{Listen: FreePorts()})
	return dir, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := testDir(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// clock is a clock that a test sets.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Unix(1_800_000_000, 0).UTC()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// startSim starts a simulator that ends with the test.
func startSim(t testing.TB, cfg Config) *Sim {
	t.Helper()
	dir, err := testDir()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Dir = dir
	const free = "127.0.0.1:0" // of several simulators on the same files
	cfg.APNs, cfg.APNsSandbox, cfg.FCM, cfg.WebPush = free, free, free, free
	if cfg.Control == "" {
		cfg.Control = free
	}
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// context30 is a context for what must happen soon, however busy the machine.
func context30(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// mint makes a provider token.
func mint(t testing.TB, s *Sim, change func(j *jwt.Token, c jwt.MapClaims)) string {
	t.Helper()
	claims := jwt.MapClaims{"iss": s.files.APNs.Team, "iat": s.now().Unix()}
	j := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	j.Header["kid"] = s.files.APNs.KeyID
	if change != nil {
		change(j, claims)
	}
	b, err := os.ReadFile(filepath.Join(s.cfg.Dir, FileAPNs))
	if err != nil {
		t.Fatal(err)
	}
	var key *ecdsa.PrivateKey
	if key, err = parseP8(b); err != nil {
		t.Fatal(err)
	}
	token, err := j.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// client is a real client of HTTP/2.
type client struct {
	t     testing.TB
	s     *Sim
	token string
	http  *http.Client
	tr    *http2.Transport
}

func newClient(t testing.TB, s *Sim) *client {
	t.Helper()
	tr := &http2.Transport{TLSClientConfig: &tls.Config{RootCAs: s.CA()}, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &client{t: t, s: s, token: mint(t, s, nil), http: &http.Client{Transport: tr}, tr: tr}
}

// answer is what a client sees.
type answer struct {
	status    int
	header    http.Header
	reason    string
	timestamp int64
	body      string
}

// request makes a push's request. Headers come in pairs and replace; an empty value removes.
func (c *client) request(ctx context.Context, url, device, payload string, headers ...string) *http.Request {
	c.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/3/device/"+device, strings.NewReader(payload))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("authorization", "bearer "+c.token)
	r.Header.Set("apns-topic", DefaultTopic)
	r.Header.Set("apns-push-type", "alert")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Del(headers[i])
		if headers[i+1] != "" {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	return r
}

func (c *client) do(r *http.Request) (answer, error) {
	res, err := c.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: res.StatusCode, header: res.Header, body: string(b)}
	var body struct {
		Reason    string `json:"reason"`
		Timestamp int64  `json:"timestamp"`
	}
	if json.Unmarshal(b, &body) == nil {
		a.reason, a.timestamp = body.Reason, body.Timestamp
	}
	return a, nil
}

// push sends one to the production environment, and must be answered.
func (c *client) push(device, payload string, headers ...string) answer {
	c.t.Helper()
	a, err := c.do(c.request(context30(c.t), c.s.APNsURL(), device, payload, headers...))
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

// device is a device token with a number.
func device(n int) string { return fmt.Sprintf("%064x", n) }

// message is the payload of a chat message.
func message(thread string, seq int) string {
	return fmt.Sprintf(`{"aps":{"alert":{"loc-key":"message","loc-args":["Alice","hi"]},"badge":3,"sound":"default","mutable-content":1,"thread-id":%q},`+
		`"kind":"message","thread":%q,"room":"user/alice","seq":%d,"epoch":1,"count":1}`, thread, thread, seq)
}

func TestPush(t *testing.T) {
	s := startSim(t, Config{})
	c := newClient(t, s)
	id := "123e4567-e89b-12d3-a456-426655440000"
	a := c.push(device(1), message("t1", 7), "apns-id", id, "apns-collapse-id", "m1", "apns-expiration", "1900000000")
	if a.status != 200 || a.body != "" || a.header.Get("apns-id") != id {
		t.Fatalf("answer: %+v", a)
	}
	list := s.Attempts()
	if len(list) != 1 {
		t.Fatalf("%d attempts, want 1", len(list))
	}
	got := list[0]
	if got.N != 1 || got.Token != device(1) || got.ID != id || got.Collapse != "m1" || got.Priority != 10 || got.PushType != "alert" ||
		got.Expires.Unix() != 1900000000 || got.Status != 200 || got.Effect != Shown || !got.Rang || got.Thread != "t1" || got.Seq != 7 ||
		got.Credential != 1 || text(got.Payload["seq"]) != "7" || got.Size != len(message("t1", 7)) {
		t.Errorf("attempt: %+v", got)
	}
	p, ok := s.Phone(device(1))
	if !ok || p.Badge != 3 || p.Rang != 1 || len(p.Notifications) != 1 || p.Notifications[0].Args[0] != "Alice" {
		t.Errorf("phone: %+v", p)
	}
}
