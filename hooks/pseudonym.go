package hooks

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"strconv"

	"github.com/hwangso/hwangso/store"
)

// pseudonyms are written in the alphabet of RFC 4648, section 6, in lower case.
var pseudonyms = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Pseudonym is how a channel knows a user: 16 letters and digits, others with each channel. They come of the server's
// secret, so that nobody without it can tell whose they are, or which of two channels mean the same user.
func (a *Access) Pseudonym(channel store.LogID, who store.AccountID) string {
	h := a.cfg.Secret("pseudonym", strconv.FormatUint(uint64(channel), 10)+" "+strconv.FormatUint(uint64(who), 10))
	return pseudonyms.EncodeToString(h[:10])
}

// newSecret is AccessConfig.Secret under a new key.
func newSecret() func(purpose, text string) [32]byte {
	var key [32]byte
	rand.Read(key[:]) // never fails
	return func(purpose, text string) (sum [32]byte) {
		m := hmac.New(sha256.New, key[:])
		m.Write([]byte(purpose)) // never fails, as the following
		m.Write([]byte{0})
		m.Write([]byte(text))
		m.Sum(sum[:0])
		return sum
	}
}
