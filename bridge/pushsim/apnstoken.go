package pushsim

import (
	"crypto/ecdsa"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Apple, "Establishing a token-based connection to APNs".
const (
	tokenAge     = time.Hour        // an older token has expired
	tokenRenewal = 20 * time.Minute // another token may not come sooner
	tokenSkew    = 5 * time.Minute  // a clock may be ahead of ours
)

// maxTokens is how many provider tokens are remembered. Beyond that, those that have expired go, and then all.
const maxTokens = 1000

// tokens checks provider tokens: a JWT signed with ES256 by the team's key, no older than an hour, and no new one on a
// connection within 20 minutes unless the one before it had expired.
type tokens struct {
	set apnsSettings
	key *ecdsa.PublicKey

	mu    sync.Mutex
	valid map[string]*credential // guarded by mu: verified, by the token; verifying costs more than all else
	last  uint64                 // guarded by mu
}

// check returns the reason why a request's token is refused, "" if it is not.
func (t *tokens) check(r *request, now time.Time) (reason string) {
	auth, twice := r.get("authorization")
	kind, token, _ := strings.Cut(auth, " ")
	switch {
	case auth == "":
		return "MissingProviderToken"
	case twice || !strings.EqualFold(kind, "bearer") || len(token) > 2048:
		return "InvalidProviderToken"
	}
	c := t.verify(token, now)
	switch {
	case c == nil || c.made.After(now.Add(tokenSkew)):
		return "InvalidProviderToken"
	case now.Sub(c.made) > tokenAge:
		return "ExpiredProviderToken"
	}
	r.credential = c
	p := r.peer
	if p == nil {
		return ""
	}
	if p.credential != c {
		if p.credential != nil && now.Sub(p.renewed) < tokenRenewal && !p.credential.void.Load() && now.Sub(p.credential.made) <= tokenAge {
			return "TooManyProviderTokenUpdates"
		}
		p.credential, p.renewed = c, now
	}
	p.authenticated = true
	return ""
}

// verify checks a token's signature and names, the first time that it comes. It returns nil for one that is not valid.
func (t *tokens) verify(token string, now time.Time) *credential {
	t.mu.Lock()
	c := t.valid[token]
	t.mu.Unlock()
	if c != nil {
		return c
	}
	var claims jwt.RegisteredClaims
	_, err := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithoutClaimsValidation()).
		ParseWithClaims(token, &claims, func(j *jwt.Token) (any, error) {
			if kid, _ := j.Header["kid"].(string); kid != t.set.KeyID {
				return nil, jwt.ErrTokenUnverifiable
			}
			return t.key, nil
		})
	if err != nil || claims.Issuer != t.set.Team || claims.IssuedAt == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c = t.valid[token]; c != nil {
		return c
	}
	t.room(now)
	t.last++
	c = &credential{number: t.last, made: claims.IssuedAt.Time, since: now}
	t.valid[token] = c
	return c
}

// room makes room for another token. The caller holds mu.
func (t *tokens) room(now time.Time) {
	if len(t.valid) < maxTokens {
		return
	}
	maps.DeleteFunc(t.valid, func(_ string, c *credential) bool { return now.Sub(c.made) > tokenAge })
	if len(t.valid) >= maxTokens {
		clear(t.valid)
	}
}
