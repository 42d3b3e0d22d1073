package hooks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hwangso/hwangso/store"
)

// provider is an outside identity provider with one key of each family.
type provider struct {
	rsa    *rsa.PrivateKey
	ec     *ecdsa.PrivateKey
	ed     ed25519.PrivateKey
	secret []byte
	keys   []Key
}

func newProvider(t testing.TB) *provider {
	t.Helper()
	p := &provider{secret: []byte(strings.Repeat("s", 32))}
	var err error
	if p.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if p.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	if _, p.ed, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	p.keys = []Key{
		{ID: "rsa", Algorithm: "RS256", Audience: "chat", Key: readPEM(t, "RS256", p.rsa.Public())},
		{ID: "ec", Algorithm: "ES256", Audience: "chat", Issuer: "https://id.example", Key: readPEM(t, "ES256", p.ec.Public())},
		{ID: "ed", Algorithm: "EdDSA", Audience: "chat", Key: readPEM(t, "EdDSA", p.ed.Public())},
		{ID: "rsa512", Algorithm: "RS512", Audience: "chat", Key: p.rsa.Public()}, // so that RS512 is a known method
		{ID: "hs", Algorithm: "HS256", Audience: "chat", Key: p.secret},
	}
	return p
}

func asPEM(t testing.TB, key crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func readPEM(t testing.TB, algorithm string, key crypto.PublicKey) any {
	t.Helper()
	k, err := ParseKey(algorithm, asPEM(t, key))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sign(t testing.TB, method jwt.SigningMethod, key any, header map[string]any, claims jwt.MapClaims) Secret {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	for k, v := range header {
		token.Header[k] = v
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return Secret(s)
}

// claims returns good claims with changes: "-" before a name removes it.
func claims(change ...any) jwt.MapClaims {
	c := jwt.MapClaims{"sub": "alice", "aud": "chat", "iss": "https://id.example", "exp": noon.Add(time.Hour).Unix()}
	for i := 0; i < len(change); i += 2 {
		c[change[i].(string)] = change[i+1]
		if change[i+1] == nil {
			delete(c, change[i].(string))
		}
	}
	return c
}

func kid(id string) map[string]any { return map[string]any{"kid": id} }

func TestJWT(t *testing.T) {
	d := newDirectory("alice", "mallory")
	d.setState("mallory", store.AccountSuspended)
	p := newProvider(t)
	a := newAuth(t, d, p.keys...)
	ed := func(header map[string]any, c jwt.MapClaims) Secret {
		return sign(t, jwt.SigningMethodEdDSA, p.ed, header, c)
	}

	for name, s := range map[string]Secret{
		"RS256":      sign(t, jwt.SigningMethodRS256, p.rsa, kid("rsa"), claims()),
		"ES256":      sign(t, jwt.SigningMethodES256, p.ec, kid("ec"), claims()),
		"EdDSA":      ed(kid("ed"), claims()),
		"HS256":      sign(t, jwt.SigningMethodHS256, p.secret, kid("hs"), claims()),
		"list aud":   ed(kid("ed"), claims("aud", []string{"other", "chat"})),
		"upper case": ed(kid("ed"), claims("sub", "Alice")),
		"nbf past":   ed(kid("ed"), claims("nbf", noon.Add(-time.Hour).Unix())),
	} {
		for _, user := range []string{"", "alice", "ALICE"} {
			id, err := a.Connect(t.Context(), Credentials{User: user, Secret: s, ClientID: "tab", Clean: true})
			if err != nil || id.Account != 1 || id.Name != "alice" || !id.Guest || !id.Expires.Equal(noon.Add(time.Hour)) || id.Operator || id.Token != [32]byte{} {
				t.Errorf("%s as %q: %+v, %v", name, user, id, err)
			}
		}
		if id, err := a.Bearer(s); err != nil || id.Account != 1 || id.Device != 0 {
			t.Errorf("%s bearer: %+v, %v", name, id, err)
		}
		if _, err := a.Connect(t.Context(), Credentials{User: "mallory", Secret: s, ClientID: "tab"}); err != ErrCredentials {
			t.Errorf("%s under another name: %v", name, err)
		}
	}
	if id, err := a.Connect(t.Context(), Credentials{Secret: ed(kid("ed"), claims()), ClientID: "phone"}); err != nil || !id.New || id.Guest {
		t.Errorf("persistent session: %+v, %v", id, err)
	}

	good := string(ed(kid("ed"), claims()))
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"ed"}`))
	otherRSA, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	flip := "A"
	if parts[2][10] == 'A' {
		flip = "B"
	}
	for name, c := range map[string]struct {
		secret Secret
		want   error
	}{
		"expired":               {ed(kid("ed"), claims("exp", noon.Add(-time.Second).Unix())), ErrExpired},
		"expires now":           {ed(kid("ed"), claims("exp", noon.Unix())), ErrExpired},
		"expired, wrong aud":    {ed(kid("ed"), claims("exp", noon.Unix(), "aud", "shop")), ErrCredentials},
		"no exp":                {ed(kid("ed"), claims("exp", nil)), ErrCredentials},
		"exp as text":           {ed(kid("ed"), claims("exp", "tomorrow")), ErrCredentials},
		"no aud":                {ed(kid("ed"), claims("aud", nil)), ErrCredentials},
		"wrong aud":             {ed(kid("ed"), claims("aud", "shop")), ErrCredentials},
		"empty aud":             {ed(kid("ed"), claims("aud", []string{})), ErrCredentials},
		"no sub":                {ed(kid("ed"), claims("sub", nil)), ErrCredentials},
		"sub is no name":        {ed(kid("ed"), claims("sub", "a b")), ErrCredentials},
		"sub unknown":           {ed(kid("ed"), claims("sub", "carol")), ErrCredentials},
		"suspended":             {ed(kid("ed"), claims("sub", "mallory")), ErrSuspended},
		"not yet valid":         {ed(kid("ed"), claims("nbf", noon.Add(time.Minute).Unix())), ErrCredentials},
		"wrong iss":             {sign(t, jwt.SigningMethodES256, p.ec, kid("ec"), claims("iss", "https://evil.example")), ErrCredentials},
		"no iss":                {sign(t, jwt.SigningMethodES256, p.ec, kid("ec"), claims("iss", nil)), ErrCredentials},
		"no kid":                {ed(nil, claims()), ErrCredentials},
		"kid of another type":   {ed(map[string]any{"kid": 1}, claims()), ErrCredentials},
		"unknown kid":           {ed(kid("x"), claims()), ErrCredentials},
		"kid of another key":    {ed(kid("ec"), claims()), ErrCredentials},
		"none":                  {Secret(none + "." + parts[1] + "."), ErrCredentials},
		"none, with signature":  {Secret(none + "." + parts[1] + "." + parts[2]), ErrCredentials},
		"public key as secret":  {sign(t, jwt.SigningMethodHS256, asPEM(t, p.rsa.Public()), kid("rsa"), claims()), ErrCredentials},
		"other alg, same key":   {sign(t, jwt.SigningMethodRS512, p.rsa, kid("rsa"), claims()), ErrCredentials},
		"PS for RS":             {sign(t, jwt.SigningMethodPS256, p.rsa, kid("rsa"), claims()), ErrCredentials},
		"secret of another alg": {sign(t, jwt.SigningMethodHS512, p.secret, kid("hs"), claims()), ErrCredentials},
		"another private key":   {sign(t, jwt.SigningMethodRS256, otherRSA, kid("rsa"), claims()), ErrCredentials},
		"embedded jwk":          {sign(t, jwt.SigningMethodRS256, otherRSA, map[string]any{"kid": "rsa", "jwk": "x", "jku": "https://evil.example"}, claims()), ErrCredentials},
		"critical header":       {ed(map[string]any{"kid": "ed", "crit": []string{"b64"}, "b64": false}, claims()), ErrCredentials},
		"changed claims":        {Secret(parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"mallory","aud":"chat","exp":9999999999}`)) + "." + parts[2]), ErrCredentials},
		"changed signature":     {Secret(parts[0] + "." + parts[1] + "." + parts[2][:10] + flip + parts[2][11:]), ErrCredentials},
		"no signature":          {Secret(parts[0] + "." + parts[1] + "."), ErrCredentials},
		"four parts":            {Secret(good + ".x"), ErrCredentials},
		"no JSON":               {"eyJ.x.y", ErrCredentials},
	} {
		if id, err := a.Connect(t.Context(), Credentials{Secret: c.secret, ClientID: "tab", Clean: true}); err != c.want || !same(id, Identity{}) {
			t.Errorf("%s: %+v, %v; want %v", name, id, err, c.want)
		}
		if _, err := a.Bearer(c.secret); err != c.want {
			t.Errorf("%s, bearer: %v; want %v", name, err, c.want)
		}
	}
}

func TestKeyValidate(t *testing.T) {
	p := newProvider(t)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]Key{
		"no kid":            {Algorithm: "HS256", Audience: "a", Key: p.secret},
		"no audience":       {ID: "k", Algorithm: "HS256", Key: p.secret},
		"no algorithm":      {ID: "k", Audience: "a", Key: p.secret},
		"none":              {ID: "k", Algorithm: "none", Audience: "a", Key: jwt.UnsafeAllowNoneSignatureType},
		"unknown":           {ID: "k", Algorithm: "hs256", Audience: "a", Key: p.secret},
		"short secret":      {ID: "k", Algorithm: "HS256", Audience: "a", Key: p.secret[:31]},
		"short for 512":     {ID: "k", Algorithm: "HS512", Audience: "a", Key: p.secret},
		"RSA for HS":        {ID: "k", Algorithm: "HS256", Audience: "a", Key: p.rsa.Public()},
		"secret for RS":     {ID: "k", Algorithm: "RS256", Audience: "a", Key: p.secret},
		"small RSA":         {ID: "k", Algorithm: "RS256", Audience: "a", Key: small.Public()},
		"nil RSA":           {ID: "k", Algorithm: "RS256", Audience: "a", Key: (*rsa.PublicKey)(nil)},
		"P-384 for ES256":   {ID: "k", Algorithm: "ES256", Audience: "a", Key: p384.Public()},
		"EC for EdDSA":      {ID: "k", Algorithm: "EdDSA", Audience: "a", Key: p.ec.Public()},
		"short for EdDSA":   {ID: "k", Algorithm: "EdDSA", Audience: "a", Key: ed25519.PublicKey("x")},
		"private for EdDSA": {ID: "k", Algorithm: "EdDSA", Audience: "a", Key: p.ed},
		"nothing":           {ID: "k", Algorithm: "EdDSA", Audience: "a"},
	} {
		if err := k.Validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, k := range p.keys {
		if err := k.Validate(); err != nil {
			t.Errorf("%s: %v", k.ID, err)
		}
	}
	if _, err := newVerifier([]Key{p.keys[0], p.keys[0]}, time.Now); err == nil {
		t.Error("two keys with one kid accepted")
	}
	for _, s := range []string{"", "junk", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if k, err := ParseKey("RS256", []byte(s)); err == nil {
			t.Errorf("%q is a key: %v", s, k)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{}, &x509.Certificate{}, p.ec.Public(), p.ec)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseKey("ES256", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	if err != nil || !p.ec.PublicKey.Equal(key) {
		t.Errorf("certificate: %v, %v", key, err)
	}
}
