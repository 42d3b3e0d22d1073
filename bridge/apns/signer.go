package apns

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"sync"
	"time"
)

// Apple refuses a provider token that is older than an hour, and one that is made anew more often than every 20 minutes
// ("Establishing a token-based connection to APNs").
const (
	renewAfter = 30 * time.Minute // a token is used so long
	renewEvery = 20 * time.Minute // and made so often, at most
	tokenAge   = time.Hour
	skew       = 5 * time.Minute // a token of the future is refused
)

// signer has one key and its provider token. It may be used from any goroutine.
//
// A token is issued at a full or half hour and signed without randomness (RFC 6979), so every process with the same key
// makes the same one: for Apple it does not change when one is started again or a second one runs. Only a clock that was
// put right, such as that of a board without a battery once it has reached a time server, lets it be made anew at once: the
// one before was never valid.
type signer struct {
	id, team string
	key      *ecdsa.PrivateKey

	mu     sync.Mutex
	bearer string
	issued time.Time // as the token says
	minted time.Time // when it was made
	stale  bool      // Refresh was asked for it
}

func (s *signer) same(o *signer) bool { return s.id == o.id && s.team == o.team && s.key.Equal(o.key) }

// token is the provider token for now and when it was made.
func (s *signer) token(now time.Time) (bearer string, minted time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bearer != "" {
		age := now.Sub(s.issued)
		fresh := age >= 0 && age < renewAfter && !s.stale
		if fresh || now.Sub(s.minted) < renewEvery && age > -skew && age < tokenAge {
			return s.bearer, s.minted, nil
		}
	}
	issued := now.Truncate(renewAfter)
	if s.stale || !issued.After(s.issued) {
		issued = now
	}
	bearer, err = s.sign(issued)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("apns: provider token: %w", err)
	}
	s.bearer, s.issued, s.minted, s.stale = bearer, issued.Round(0), now, false // issued: without the monotonic clock
	return s.bearer, s.minted, nil
}

// refresh lets the next token be another one, unless this one is younger than Apple's rules allow to replace.
func (s *signer) refresh(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = s.stale || s.bearer != "" && now.Sub(s.minted) >= renewEvery
}

// sign makes a JSON web token (RFC 7515, RFC 7519) with ES256 (RFC 7518, 3.4) as Apple wants it.
func (s *signer) sign(issued time.Time) (string, error) {
	header, err := json.Marshal(struct {
		Alg string `json:"alg"`
		Kid string `json:"kid"`
	}{"ES256", s.id})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(struct {
		Iss string `json:"iss"`
		Iat int64  `json:"iat"`
	}{s.team, issued.Unix()})
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
	sum := sha256.Sum256([]byte(text))
	der, err := s.key.Sign(nil, sum[:], crypto.SHA256) // no randomness: RFC 6979
	if err != nil {
		return "", err
	}
	var sig struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &sig); err != nil || len(rest) != 0 {
		return "", fmt.Errorf("a signature of %d bytes: %w", len(der), err)
	}
	var raw [64]byte
	sig.R.FillBytes(raw[:32])
	sig.S.FillBytes(raw[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(raw[:]), nil
}
