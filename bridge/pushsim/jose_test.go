package pushsim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// sign makes a token with a library that is not ours, so that a mistake of ours cannot hide on both sides.
func sign(t testing.TB, method jwt.SigningMethod, key any, kid string, claims map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	if kid != "" {
		token.Header["kid"] = kid
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestSigned(t *testing.T) {
	rs, es := rsaKey(t), ecKey(t)
	s := sign(t, jwt.SigningMethodRS256, rs, "k1", map[string]any{"iss": "me", "aud": []string{"a", "b"}, "exp": 1.5e9, "n": 1})
	tok, err := parseSigned(s)
	if err != nil || tok.alg != "RS256" || tok.kid != "k1" || tok.text("iss") != "me" || tok.text("n") != "" || !tok.audience("b") || tok.audience("c") ||
		!tok.time("exp").Equal(time.Unix(1_500_000_000, 0)) || !tok.time("iat").IsZero() || !tok.time("iss").IsZero() {
		t.Fatalf("%+v, %v", tok, err)
	}
	if err := tok.verifyRS256(&rs.PublicKey); err != nil {
		t.Error(err)
	}
	if tok.verifyRS256(&rsaKey(t).PublicKey) == nil || tok.verifyES256(&es.PublicKey) == nil {
		t.Error("another key or algorithm verifies it")
	}
	tok, err = parseSigned(sign(t, jwt.SigningMethodES256, es, "", map[string]any{"aud": "x"}))
	if err != nil || tok.verifyES256(&es.PublicKey) != nil || !tok.audience("x") {
		t.Error(err)
	}
	if tok.verifyES256(&ecKey(t).PublicKey) == nil || tok.verifyRS256(&rs.PublicKey) == nil {
		t.Error("another key or algorithm verifies it")
	}
	// One bit of what is signed, and it is another token.
	head, rest, _ := strings.Cut(s, ".")
	body, sig, _ := strings.Cut(rest, ".")
	forged := head + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"you"}`)) + "." + sig
	if tok, err = parseSigned(forged); err != nil || tok.verifyRS256(&rs.PublicKey) == nil {
		t.Errorf("other claims under the signature: %v", err)
	}
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	for _, bad := range []string{
		"", ".", "..", "a.b.c", head + "." + body, s + ".x", head + "." + body + ".", none + "." + body + ".",
		head + "." + body + "." + sig + "=", "bnVsbA." + body + "." + sig, head + ".bnVsbA." + sig, head + ".W10." + sig,
		base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","crit":["x"]}`)) + "." + body + "." + sig,
		strings.Repeat("a", maxJWT) + "." + body + "." + sig,
	} {
		if tok, err := parseSigned(bad); err == nil {
			t.Errorf("%.60q: %+v", bad, tok)
		}
	}
	if tok, err = parseSigned(none + "." + body + "." + sig); err != nil || tok.verifyRS256(&rs.PublicKey) == nil || tok.verifyES256(&es.PublicKey) == nil {
		t.Errorf("algorithm none: %v", err)
	}
}

func FuzzSigned(f *testing.F) {
	key := ecKey(f)
	f.Add(sign(f, jwt.SigningMethodES256, key, "k", map[string]any{"exp": 1, "aud": "x"}))
	f.Add("")
	f.Add("eyJhbGciOiJub25lIn0.e30.AA")
	f.Add("e30.eyJleHAiOjFlMzA5LCJhdWQiOlsxLG51bGxdfQ.AA")
	f.Add("....")
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := parseSigned(s)
		if err != nil {
			return
		}
		if !strings.HasPrefix(s, tok.input+".") {
			t.Fatalf("what is signed, %q, is not what was sent", tok.input)
		}
		_, _ = tok.time("exp"), tok.audience("x")
		_ = tok.verifyES256(&key.PublicKey)
	})
}

const vapidOrigin = "https://127.0.0.1:4444"

// vapidHeader signs claims with key; a claim that is nil is left out.
func vapidHeader(t testing.TB, key *ecdsa.PrivateKey, changes map[string]any) string {
	t.Helper()
	claims := map[string]any{"aud": vapidOrigin, "exp": time.Now().Add(12 * time.Hour).Unix(), "sub": "mailto:a@example.com"}
	for k, v := range changes {
		if claims[k] = v; v == nil {
			delete(claims, k)
		}
	}
	return "vapid t=" + sign(t, jwt.SigningMethodES256, key, "", claims) + ", k=" + base64.RawURLEncoding.EncodeToString(point(t, key))
}

func point(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	p, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestVAPID(t *testing.T) {
	key, now := ecKey(t), time.Now()
	good := vapidHeader(t, key, nil)
	for _, h := range []string{good, strings.Replace(good, "vapid", "Vapid", 1), strings.Replace(good, ", k=", ",k=", 1), vapidHeader(t, key, map[string]any{"sub": "https://example.com/push"})} {
		if err := checkVAPID(h, vapidOrigin, point(t, key), now); err != nil {
			t.Errorf("%.20s: %v", h, err)
		}
	}
	other := ecKey(t)
	token, k, _ := strings.Cut(good, ", ")
	for _, c := range []struct{ name, header, want string }{
		{"none", "", "no Authorization"},
		{"bearer", "Bearer x", "no Authorization"},
		{"old draft", "WebPush " + strings.TrimPrefix(token, "vapid t="), "no Authorization"},
		{"no key", token, "missing"},
		{"no token", "vapid " + k, "missing"},
		{"twice", good + "," + k, "twice"},
		{"no value", "vapid t", "no value"},
		{"padding", good + "=", "base64url"},
		{"other key", vapidHeader(t, other, nil), "not the one"},
		{"signed by another", strings.Split(vapidHeader(t, other, nil), ", ")[0] + ", " + k, "signature"},
		{"no JWT", "vapid t=x, " + k, "not a JSON Web Token"},
		{"other origin", vapidHeader(t, key, map[string]any{"aud": "https://example.com"}), "aud"},
		{"origin with a path", vapidHeader(t, key, map[string]any{"aud": vapidOrigin + "/"}), "aud"},
		{"no exp", vapidHeader(t, key, map[string]any{"exp": nil}), "exp is missing"},
		{"expired", vapidHeader(t, key, map[string]any{"exp": now.Add(-time.Hour).Unix()}), "expired"},
		{"long", vapidHeader(t, key, map[string]any{"exp": now.Add(25 * time.Hour).Unix()}), "24 hours"},
		{"no sub", vapidHeader(t, key, map[string]any{"sub": nil}), "sub"},
		{"bare sub", vapidHeader(t, key, map[string]any{"sub": "a@example.com"}), "sub"},
	} {
		if err := checkVAPID(c.header, vapidOrigin, point(t, key), now); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want …%s…", c.name, err, c.want)
		}
	}
}

func FuzzVAPID(f *testing.F) {
	key := ecKey(f)
	now := time.Now()
	f.Add(vapidHeader(f, key, nil))
	f.Add("vapid t=,k=")
	f.Add(`vapid t="a.b.c", k="x", z`)
	f.Add("vapid")
	own := point(f, ecKey(f)) // nobody signs with this one
	f.Fuzz(func(t *testing.T, header string) {
		if checkVAPID(header, vapidOrigin, own, now) == nil {
			t.Fatal("accepted for a key that signed nothing")
		}
	})
}
