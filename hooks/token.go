package hooks

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"log/slog"
	"strings"

	"github.com/hwangso/hwangso/store"
)

// Secret is what a client proves itself with: a token or a JWT. It prints and logs as stars.
type Secret string

const hidden = "***"

// String, GoString and LogValue keep secrets out of logs and error texts.
func (Secret) String() string       { return hidden }
func (Secret) GoString() string     { return hidden }
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// Hash is what is stored of a secret: its SHA-256. Tokens are random, so a slow hash would protect nothing.
func (s Secret) Hash() [32]byte { return sha256.Sum256([]byte(s)) }

const (
	tokenPrefix = "hwt_"
	tokenRandom = 32 // bytes: 256 bits
)

// NewToken makes a token for an account (0: for an operator). It reads "hwt_" and the base64url of the account's
// number, 8 bytes big-endian, and 32 random bytes. The number is no secret: it lets a bearer token stand alone.
func NewToken(account store.AccountID) Secret {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 8+tokenRandom), uint64(account))
	b = b[:8+tokenRandom]
	rand.Read(b[8:]) // never fails: crypto/rand aborts the program instead
	return Secret(tokenPrefix + base64.RawURLEncoding.EncodeToString(b))
}

var strictBase64 = base64.RawURLEncoding.Strict()

// account returns the account that a token names; false if the secret is no token made by NewToken.
func (s Secret) account() (store.AccountID, bool) {
	text, ok := strings.CutPrefix(string(s), tokenPrefix)
	if !ok || len(text) != strictBase64.EncodedLen(8+tokenRandom) {
		return 0, false
	}
	b, err := strictBase64.DecodeString(text)
	if err != nil {
		return 0, false
	}
	return store.AccountID(binary.BigEndian.Uint64(b)), true
}

// isJWT reports whether the secret has the form of a signed JWT: three base64url parts, the first a JSON object.
func (s Secret) isJWT() bool {
	return strings.HasPrefix(string(s), "eyJ") && strings.Count(string(s), ".") == 2
}
