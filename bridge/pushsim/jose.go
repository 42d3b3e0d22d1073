package pushsim

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// maxJWT is how many bytes of a signed token are looked at; Google's, Apple's and browsers' are far smaller.
const maxJWT = 8 << 10

// signed is a JSON Web Token (RFC 7519) in compact form as it arrived. Nothing of it may be believed before one of the
// verify methods returned nil.
type signed struct {
	alg, typ, kid string
	claims        map[string]json.RawMessage
	input         string // what is signed: header and claims as they were sent
	sig           []byte
}

var errJWT = errors.New("not a JSON Web Token")

// parseSigned takes a token apart.
func parseSigned(s string) (*signed, error) {
	if len(s) > maxJWT {
		return nil, errJWT
	}
	head, rest, ok := strings.Cut(s, ".")
	if !ok {
		return nil, errJWT
	}
	body, sig, ok := strings.Cut(rest, ".")
	if !ok || strings.Contains(sig, ".") {
		return nil, errJWT
	}
	var h struct {
		Alg  string          `json:"alg"`
		Typ  string          `json:"typ"`
		Kid  string          `json:"kid"`
		Crit json.RawMessage `json:"crit"`
	}
	t := &signed{input: s[:len(head)+1+len(body)]}
	if err := decodePart(head, &h); err != nil {
		return nil, err
	}
	if h.Crit != nil {
		return nil, fmt.Errorf("%w: critical extensions", errJWT) // RFC 7515, 4.1.11: none is understood here
	}
	t.alg, t.typ, t.kid = h.Alg, h.Typ, h.Kid
	if err := decodePart(body, &t.claims); err != nil {
		return nil, err
	}
	if t.claims == nil {
		return nil, errJWT // null
	}
	var err error
	if t.sig, err = base64.RawURLEncoding.Strict().DecodeString(sig); err != nil || len(t.sig) == 0 {
		return nil, errJWT
	}
	return t, nil
}

func decodePart(s string, into any) error {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) == 0 || b[0] != '{' {
		return errJWT
	}
	if err := json.Unmarshal(b, into); err != nil {
		return errJWT
	}
	return nil
}

// verifyRS256 checks an RSA signature; no other algorithm is accepted, whatever the header says.
func (t *signed) verifyRS256(key *rsa.PublicKey) error {
	if t.alg != "RS256" {
		return fmt.Errorf("the algorithm is %.16q, not RS256", t.alg)
	}
	sum := sha256.Sum256([]byte(t.input))
	return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], t.sig)
}

// verifyES256 checks an ECDSA signature over P-256, which is 32 bytes r and 32 bytes s (RFC 7518, 3.4).
func (t *signed) verifyES256(key *ecdsa.PublicKey) error {
	if t.alg != "ES256" {
		return fmt.Errorf("the algorithm is %.16q, not ES256", t.alg)
	}
	if len(t.sig) != 64 {
		return fmt.Errorf("the signature has %d bytes, not 64", len(t.sig))
	}
	sum := sha256.Sum256([]byte(t.input))
	if !ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(t.sig[:32]), new(big.Int).SetBytes(t.sig[32:])) {
		return errors.New("the signature is wrong")
	}
	return nil
}

// text is a claim that is a string, "" if it is absent or something else.
func (t *signed) text(name string) string {
	var s string
	if json.Unmarshal(t.claims[name], &s) != nil {
		return ""
	}
	return s
}

// time is a claim that is a NumericDate, the zero time if it is absent or something else.
func (t *signed) time(name string) time.Time {
	var f float64
	raw := bytes.TrimSpace(t.claims[name])
	if len(raw) == 0 || raw[0] == 'n' || json.Unmarshal(raw, &f) != nil || f < 0 || f > 1<<40 {
		return time.Time{}
	}
	return time.UnixMilli(int64(f * 1000))
}

// audience reports whether aud, a string or a list of strings (RFC 7519, 4.1.3), names who.
func (t *signed) audience(who string) bool {
	if t.text("aud") == who {
		return true
	}
	var list []string
	if json.Unmarshal(t.claims["aud"], &list) != nil {
		return false
	}
	for _, a := range list {
		if a == who {
			return true
		}
	}
	return false
}
