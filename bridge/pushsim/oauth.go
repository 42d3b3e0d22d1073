package pushsim

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	oauthGrant    = "urn:ietf:params:oauth:grant-type:jwt-bearer" // RFC 7523, 2.1
	oauthScope    = "https://www.googleapis.com/auth/firebase.messaging"
	oauthPlatform = "https://www.googleapis.com/auth/cloud-platform" // covers it, too
	oauthLife     = time.Hour                                        // of an access token, as Google's
	oauthSkew     = 10 * time.Minute                                 // by so much a client's clock may be ahead
	oauthKept     = 10_000                                           // valid access tokens at a time; the oldest goes
)

// oauthServer gives access tokens to the one service account that there is: the token endpoint of Google's OAuth 2.0, for
// assertions as of RFC 7523.
type oauthServer struct {
	email string         // client_email: the issuer
	kid   string         // private_key_id
	key   *rsa.PublicKey // of the service account
	uri   string         // token_uri: the audience
	now   func() time.Time

	mu     sync.Mutex
	tokens map[string]*oauthToken // guarded by mu
	order  []string               // guarded by mu: of tokens, oldest first
	last   uint64                 // guarded by mu: number of the newest
}

// oauthToken is an access token that was given out.
type oauthToken struct {
	credential
	until time.Time
	scope bool // it may send messages
}

func newOAuthServer(email, kid, uri string, key *rsa.PublicKey, now func() time.Time) *oauthServer {
	return &oauthServer{email: email, kid: kid, uri: uri, key: key, now: now, tokens: make(map[string]*oauthToken)}
}

// oauthError is an error as of RFC 6749, 5.2.
type oauthError struct {
	code              int
	Name, Description string
}

func (e *oauthError) body() []byte {
	b, _ := json.Marshal(map[string]string{"error": e.Name, "error_description": e.Description})
	return append(b, '\n')
}

func badGrant(why string) *oauthError {
	return &oauthError{http.StatusBadRequest, "invalid_grant", why}
}

// grant answers a request for an access token with the JSON of the answer, or with an error.
func (o *oauthServer) grant(grantType, assertion string) ([]byte, *oauthError) {
	if grantType != oauthGrant {
		return nil, &oauthError{http.StatusBadRequest, "unsupported_grant_type", "Invalid grant_type: " + clip(grantType)}
	}
	if assertion == "" {
		return nil, &oauthError{http.StatusBadRequest, "invalid_request", "Missing parameter: assertion"}
	}
	t, err := parseSigned(assertion)
	if err != nil {
		return nil, badGrant("Invalid JWT: " + err.Error())
	}
	now := o.now()
	iat, exp := t.time("iat"), t.time("exp")
	switch {
	case t.text("iss") != o.email:
		return nil, badGrant("Invalid grant: account not found")
	case t.kid != "" && t.kid != o.kid:
		return nil, badGrant("Invalid JWT: the key with this identifier is not the account's")
	case t.verifyRS256(o.key) != nil:
		return nil, badGrant("Invalid JWT Signature.")
	case !t.audience(o.uri):
		return nil, badGrant("Invalid JWT: the audience must be the token endpoint")
	case iat.IsZero() || exp.IsZero():
		return nil, badGrant("Invalid JWT: Token must contain iat and exp")
	case iat.After(now.Add(oauthSkew)) || !exp.After(now) || exp.Sub(iat) > time.Hour+time.Minute:
		return nil, badGrant("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.")
	}
	scopes := strings.Fields(t.text("scope"))
	if len(scopes) == 0 {
		return nil, &oauthError{http.StatusBadRequest, "invalid_scope", "Empty or missing scope not allowed."}
	}
	may := false
	for _, s := range scopes {
		may = may || s == oauthScope || s == oauthPlatform
	}
	b, _ := json.Marshal(map[string]any{"access_token": o.issue(may), "expires_in": int64(oauthLife / time.Second), "token_type": "Bearer"})
	return append(b, '\n'), nil
}

// issue makes an access token.
func (o *oauthServer) issue(may bool) string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	token := "ya29.sim." + base64.RawURLEncoding.EncodeToString(b[:])
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.order) >= oauthKept {
		delete(o.tokens, o.order[0])
		o.order = o.order[1:]
	}
	o.last++
	now := o.now()
	o.tokens[token] = &oauthToken{credential: credential{number: o.last, made: now, since: now}, until: now.Add(oauthLife), scope: may}
	o.order = append(o.order, token)
	return token
}

// check reads an Authorization header and reports whether its bearer may send messages, nil, or what FCM answers. c is the
// access token, nil if it is not valid.
func (o *oauthServer) check(header string) (c *credential, e *googleError) {
	scheme, token, _ := strings.Cut(header, " ")
	if header == "" {
		return nil, &noBearer
	}
	o.mu.Lock()
	t := o.tokens[token]
	o.mu.Unlock()
	switch {
	case !strings.EqualFold(scheme, "Bearer") || t == nil || !o.now().Before(t.until):
		return nil, &badBearer
	case !t.scope:
		return nil, &noScope
	}
	return &t.credential, nil
}
