package hooks

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Key is one key of an outside identity provider.
type Key struct {
	ID        string // the kid that tokens name it by; required, unique
	Algorithm string // the one algorithm it is used with, such as ES256, EdDSA, RS256 or HS256; required
	Audience  string // what aud must hold; required
	Issuer    string // what iss must be; "": not asked
	// Key verifies: *rsa.PublicKey (2048 bits or more), *ecdsa.PublicKey, ed25519.PublicKey, or for HS… the shared
	// secret as []byte, at least as long as the hash. See ParseKey.
	Key any
}

// ParseKey reads the material of a key for the algorithm: for HS… the secret itself, otherwise a PEM file with a
// public key or a certificate.
func ParseKey(algorithm string, material []byte) (any, error) {
	if strings.HasPrefix(algorithm, "HS") {
		return slices.Clone(material), nil
	}
	block, _ := pem.Decode(material)
	if block == nil {
		return nil, errors.New("hooks: key is not PEM")
	}
	if block.Type == "CERTIFICATE" {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("hooks: key: %w", err)
		}
		return cert.PublicKey, nil
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("hooks: key: %w", err)
	}
	return key, nil
}

// Validate tells what is wrong with the key, nil if nothing.
func (k Key) Validate() error {
	switch {
	case k.ID == "":
		return errors.New("hooks: jwt key without a kid")
	case k.Audience == "":
		return fmt.Errorf("hooks: jwt key %q names no audience", k.ID)
	}
	wrong := fmt.Errorf("hooks: jwt key %q: not a key for %q", k.ID, k.Algorithm)
	switch k.Algorithm {
	case "HS256", "HS384", "HS512":
		secret, ok := k.Key.([]byte)
		if !ok {
			return wrong
		}
		if need := map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}[k.Algorithm]; len(secret) < need {
			return fmt.Errorf("hooks: jwt key %q: a secret for %s needs %d bytes", k.ID, k.Algorithm, need)
		}
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		key, ok := k.Key.(*rsa.PublicKey)
		if !ok || key == nil {
			return wrong
		}
		if key.N.BitLen() < 2048 {
			return fmt.Errorf("hooks: jwt key %q: RSA needs 2048 bits", k.ID)
		}
	case "ES256", "ES384", "ES512":
		key, ok := k.Key.(*ecdsa.PublicKey)
		if !ok || key == nil || key.Curve.Params().BitSize != map[string]int{"ES256": 256, "ES384": 384, "ES512": 521}[k.Algorithm] {
			return wrong
		}
	case "EdDSA":
		if key, ok := k.Key.(ed25519.PublicKey); !ok || len(key) != ed25519.PublicKeySize {
			return wrong
		}
	default:
		return fmt.Errorf("hooks: jwt key %q: unknown algorithm %q", k.ID, k.Algorithm)
	}
	return nil
}

// verifier checks JWTs (RFC 7519) against a fixed set of keys.
type verifier struct {
	keys   map[string]verifierKey // by kid
	parser *jwt.Parser
}

type verifierKey struct {
	Key
	claims *jwt.Validator
}

func newVerifier(keys []Key, now func() time.Time) (*verifier, error) {
	v := &verifier{keys: make(map[string]verifierKey, len(keys))}
	var algorithms []string
	for _, k := range keys {
		if err := k.Validate(); err != nil {
			return nil, err
		}
		if _, ok := v.keys[k.ID]; ok {
			return nil, fmt.Errorf("hooks: two jwt keys with the kid %q", k.ID)
		}
		options := []jwt.ParserOption{jwt.WithTimeFunc(now), jwt.WithExpirationRequired(), jwt.WithAudience(k.Audience)}
		if k.Issuer != "" {
			options = append(options, jwt.WithIssuer(k.Issuer))
		}
		v.keys[k.ID] = verifierKey{k, jwt.NewValidator(options...)}
		algorithms = append(algorithms, k.Algorithm)
	}
	v.parser = jwt.NewParser(jwt.WithValidMethods(algorithms), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())
	return v, nil
}

// verify returns the user that the token names, and until when. Anything wrong with the token is one error, expired
// ones apart; the caller tells no more.
func (v *verifier) verify(token Secret) (user string, expires time.Time, err error) {
	var claims jwt.RegisteredClaims
	var key verifierKey
	_, err = v.parser.ParseWithClaims(string(token), &claims, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		var ok bool
		if key, ok = v.keys[kid]; !ok {
			return nil, errors.New("unknown kid")
		}
		// The key says the algorithm, never the token: a public key must not serve as a shared secret.
		if t.Method.Alg() != key.Algorithm {
			return nil, errors.New("the key is for another algorithm")
		}
		if _, ok := t.Header["crit"]; ok { // RFC 7515 section 4.1.11: we understand no extension
			return nil, errors.New("unknown critical header")
		}
		return key.Key.Key, nil
	})
	if err != nil {
		return "", time.Time{}, ErrCredentials
	}
	switch err := key.claims.Validate(&claims); {
	case errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenInvalidAudience) && !errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return "", time.Time{}, ErrExpired
	case err != nil || claims.Subject == "":
		return "", time.Time{}, ErrCredentials
	}
	return claims.Subject, claims.ExpiresAt.Time, nil
}
