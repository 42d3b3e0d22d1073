package apns

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hwangso/hwangso/bridge/push"
)

// TestParseKey: every wrong file has its own sentence.
func TestParseKey(t *testing.T) {
	enc := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	pkcs8 := func(k any) []byte {
		t.Helper()
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(p256)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(p256.Public())
	if err != nil {
		t.Fatal(err)
	}
	for want, b := range map[string][]byte{
		"not in PEM":      []byte(`{"type":"service_account"}`),
		"on the curve":    enc("PRIVATE KEY", pkcs8(p384)),
		"an RSA key":      enc("PRIVATE KEY", pkcs8(large)),
		"is encrypted":    enc("ENCRYPTED PRIVATE KEY", []byte("x")),
		"holds a public":  enc("PUBLIC KEY", public),
		"holds a cert":    enc("CERTIFICATE", cert0(t)),
		"is damaged":      enc("PRIVATE KEY", pkcs8(p256)[3:]),
		"holds a rsa pri": enc("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(large)),
	} {
		if _, err := parseKey(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	for _, b := range [][]byte{enc("PRIVATE KEY", pkcs8(p256)), enc("EC PRIVATE KEY", sec1), append([]byte("a comment\n"), enc("PRIVATE KEY", pkcs8(p256))...)} {
		if k, err := parseKey(b); err != nil || !k.Equal(p256) {
			t.Errorf("%s: %v", b, err)
		}
	}
}

func cert0(t *testing.T) []byte {
	certificates(t)
	return cert.Certificate[0]
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\n\n-----END EC PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := parseKey(b); (k == nil) == (err == nil) {
			t.Errorf("%v, %v", k, err)
		}
	})
}

// TestToken walks through a day with a push at every odd moment, and sees how old provider tokens get, and how far apart
// they are made.
func TestToken(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, start := range []time.Duration{0, time.Second, 10 * time.Minute, 29*time.Minute + 59*time.Second} {
		s := &signer{id: testID, team: testTeam, key: k}
		now := time.Unix(1_800_000_000, 0).Truncate(renewAfter).Add(start)
		end := now.Add(24 * time.Hour)
		var last string
		var made time.Time
		n := 0
		for ; now.Before(end); now = now.Add(41 * time.Second) {
			s.refresh(now.Add(-time.Hour)) // asked for all the time, and too early
			bearer, minted, err := s.token(now)
			if err != nil {
				t.Fatal(err)
			}
			tok, _, err := jwt.NewParser().ParseUnverified(bearer, jwt.MapClaims{})
			if err != nil {
				t.Fatal(err)
			}
			iat, err := tok.Claims.GetIssuedAt()
			if err != nil {
				t.Fatal(err)
			}
			if age := now.Sub(iat.Time); age < 0 || age > 50*time.Minute {
				t.Fatalf("a token of %v", age)
			}
			if bearer != last {
				if last != "" && (minted != now || now.Sub(made) < renewEvery) {
					t.Fatalf("another token after %v", now.Sub(made))
				}
				last, made = bearer, now
				n++
			}
		}
		if n < 24*60/50 || n > 24*60/20 {
			t.Errorf("%d tokens a day", n)
		}
	}

	// Two processes, or one that is started again, have the same.
	a, b := &signer{id: testID, team: testTeam, key: k}, &signer{id: testID, team: testTeam, key: k}
	now := time.Unix(1_800_000_000, 0).Truncate(renewAfter)
	one, _, err := a.token(now.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	two, _, err := b.token(now.Add(25 * time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if one != two {
		t.Error("two processes with one key have two tokens")
	}

	// Refresh, in time and too early.
	a.refresh(now.Add(20 * time.Minute))
	if again, _, err := a.token(now.Add(20 * time.Minute)); err != nil || again != one {
		t.Errorf("another token within 19 minutes, %v", err)
	}
	a.refresh(now.Add(21 * time.Minute))
	again, _, err := a.token(now.Add(21 * time.Minute))
	if err != nil || again == one {
		t.Errorf("the same token after Refresh, %v", err)
	}
	a.refresh(now.Add(22 * time.Minute))
	if same, _, err := a.token(now.Add(23 * time.Minute)); err != nil || same != again {
		t.Errorf("two tokens within 2 minutes, %v", err)
	}

	// A clock that is put right, by hours in either direction, makes a token of the time there is at once, and by a
	// minute none.
	for _, jump := range []time.Duration{-2 * time.Hour, 50 * 365 * 24 * time.Hour, -30 * 365 * 24 * time.Hour} {
		now = now.Add(jump)
		before := b.bearer
		after, _, err := b.token(now)
		if err != nil || after == before {
			t.Errorf("the clock moved by %v and the token stays, %v", jump, err)
		}
		if same, _, err := b.token(now.Add(-time.Minute)); err != nil || same != after {
			t.Errorf("the clock moved by a minute and the token does not stay, %v", err)
		}
	}
}

// TestKeyRotation replaces the key's file, and the link to it, under a client: the old key goes on while the new one is
// broken, and a new key comes with a connection of its own. A push that was on its way is not disturbed.
func TestKeyRotation(t *testing.T) {
	var got requestLog
	hold := make(chan struct{})
	held := make(chan struct{})
	s := &server{}
	s.handle = func(p *peer, r *request) {
		if r.headers["apns-collapse-id"] != "slow" {
			got.add(r)
			ok(p, r)
			return
		}
		close(held)
		s.wg.Go(func() {
			<-hold
			ok(p, r)
		})
	}
	cfg := testConfig(t, listen(t, s))
	dir := filepath.Dir(cfg.KeyFile)
	first := cfg.KeyFile
	link := filepath.Join(dir, "current")
	if err := os.Symlink(first, link); err != nil {
		t.Fatal(err)
	}
	cfg.KeyFile = link
	var logged bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	var mu sync.Mutex
	now := time.Unix(1_800_000_000, 0)
	cfg.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	c := open(t, cfg)
	send := func() (key string) {
		t.Helper()
		mu.Lock()
		now = now.Add(5 * time.Second)
		mu.Unlock()
		if a := c.Send(testContext(t), testPush()); a.Outcome != push.Delivered {
			t.Fatalf("%+v", a)
		}
		list := got.all()
		bearer := strings.TrimPrefix(list[len(list)-1].headers["authorization"], "bearer ")
		tok, _, err := jwt.NewParser().ParseUnverified(bearer, jwt.MapClaims{})
		if err != nil {
			t.Fatal(err)
		}
		return tok.Header["kid"].(string)
	}
	if id := send(); id != testID {
		t.Fatalf("key %s", id)
	}
	slow := make(chan push.Answer)
	go func() { // ends with its Send, which is awaited below
		p := testPush()
		p.Collapse = "slow"
		slow <- c.Send(testContext(t), p)
	}()
	<-held

	point := func(to string) {
		t.Helper()
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	broken := filepath.Join(dir, "AuthKey_BROKEN1234.p8")
	writeFile(t, broken, []byte("-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n"))
	point(broken)
	if id := send(); id != testID || len(s.connections()) != 1 {
		t.Errorf("with a broken file: key %s, %d connections", id, len(s.connections()))
	}
	if !strings.Contains(logged.String(), "old ones go on") || strings.Contains(logged.String(), "secret") {
		t.Errorf("the log:\n%s", &logged)
	}
	second := filepath.Join(dir, "AuthKey_SECONDKEY2.p8")
	writeKey(t, second)
	point(second)
	if id := send(); id != "SECONDKEY2" || len(s.connections()) != 2 {
		t.Errorf("with a new file: key %s, %d connections", id, len(s.connections()))
	}
	close(hold)
	if a := <-slow; a.Outcome != push.Delivered {
		t.Errorf("the push on its way: %+v", a)
	}
	// The same content again is no other key.
	if err := os.Chtimes(second, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if id := send(); id != "SECONDKEY2" || len(s.connections()) != 2 {
		t.Errorf("with a touched file: key %s, %d connections", id, len(s.connections()))
	}
}
