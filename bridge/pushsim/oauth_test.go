package pushsim

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestOAuthGrant(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	key, uri := rsaKey(t), "https://127.0.0.1:4443/token"
	o := newOAuthServer("a@b.iam", "kid1", uri, &key.PublicKey, func() time.Time { return now })
	base := map[string]any{"iss": "a@b.iam", "aud": uri, "scope": oauthScope, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	with := func(k string, v any) map[string]any {
		m := maps.Clone(base)
		if m[k] = v; v == nil {
			delete(m, k)
		}
		return m
	}
	rs := jwt.SigningMethodRS256
	for _, c := range []struct {
		name, grant, assertion, want string
	}{
		{"grant type", "authorization_code", sign(t, rs, key, "kid1", base), "unsupported_grant_type"},
		{"no assertion", oauthGrant, "", "invalid_request"},
		{"no JWT", oauthGrant, "x", "invalid_grant"},
		{"signature", oauthGrant, sign(t, rs, rsaKey(t), "kid1", base), "invalid_grant"},
		{"key", oauthGrant, sign(t, rs, key, "kid2", base), "invalid_grant"},
		{"algorithm", oauthGrant, sign(t, jwt.SigningMethodRS512, key, "kid1", base), "invalid_grant"},
		{"HMAC with the public key", oauthGrant, sign(t, jwt.SigningMethodHS256, key.PublicKey.N.Bytes(), "kid1", base), "invalid_grant"},
		{"iss", oauthGrant, sign(t, rs, key, "kid1", with("iss", "c@d")), "invalid_grant"},
		{"aud", oauthGrant, sign(t, rs, key, "kid1", with("aud", "https://oauth2.googleapis.com/token")), "invalid_grant"},
		{"no aud", oauthGrant, sign(t, rs, key, "kid1", with("aud", nil)), "invalid_grant"},
		{"no exp", oauthGrant, sign(t, rs, key, "kid1", with("exp", nil)), "invalid_grant"},
		{"no iat", oauthGrant, sign(t, rs, key, "kid1", with("iat", nil)), "invalid_grant"},
		{"expired", oauthGrant, sign(t, rs, key, "kid1", with("exp", now.Unix())), "invalid_grant"},
		{"long", oauthGrant, sign(t, rs, key, "kid1", with("exp", now.Add(2*time.Hour).Unix())), "invalid_grant"},
		{"future", oauthGrant, sign(t, rs, key, "kid1", with("iat", now.Add(time.Hour/2).Unix())), "invalid_grant"},
		{"no scope", oauthGrant, sign(t, rs, key, "kid1", with("scope", nil)), "invalid_scope"},
	} {
		b, e := o.grant(c.grant, c.assertion)
		if e == nil || e.Name != c.want || e.code != 400 {
			t.Errorf("%s: %s, %+v, want %s", c.name, b, e, c.want)
		}
	}
	token := func(claims map[string]any) string {
		t.Helper()
		b, e := o.grant(oauthGrant, sign(t, rs, key, "kid1", claims))
		if e != nil {
			t.Fatalf("%+v", e)
		}
		var out struct {
			Token string `json:"access_token"`
			Life  int    `json:"expires_in"`
			Type  string `json:"token_type"`
		}
		if err := json.Unmarshal(b, &out); err != nil || out.Token == "" || out.Life != 3600 || out.Type != "Bearer" {
			t.Fatalf("%s: %v", b, err)
		}
		return out.Token
	}
	a := token(base)
	b := token(with("scope", "openid "+oauthPlatform))
	none := token(with("scope", "https://www.googleapis.com/auth/drive"))
	for _, c := range []struct {
		header string
		want   int
	}{
		{"Bearer " + a, 0}, {"bearer " + b, 0}, {"Bearer " + none, 403}, {"", 401}, {"Bearer ", 401}, {"Bearer x", 401}, {a, 401}, {"Basic " + a, 401},
	} {
		if _, e := o.check(c.header); (e == nil) != (c.want == 0) || e != nil && e.code != c.want {
			t.Errorf("%.10s: %+v, want %d", c.header, e, c.want)
		}
	}
	now = now.Add(time.Hour)
	if _, e := o.check("Bearer " + a); e == nil || e.code != 401 || !strings.Contains(string(e.body()), "UNAUTHENTICATED") {
		t.Errorf("after an hour: %+v", e)
	}
}

// TestOAuthBounded: however many tokens are asked for, only so many are kept, and the newest are.
func TestOAuthBounded(t *testing.T) {
	key := rsaKey(t)
	o := newOAuthServer("a", "", "u", &key.PublicKey, time.Now)
	first := o.issue(true)
	var last string
	for range oauthKept {
		last = o.issue(true)
	}
	if _, e := o.check("Bearer " + first); e == nil || len(o.tokens) != oauthKept {
		t.Errorf("%d tokens, and the oldest is %v", len(o.tokens), e)
	}
	if _, e := o.check("Bearer " + last); e != nil {
		t.Errorf("the newest: %v", e)
	}
}
