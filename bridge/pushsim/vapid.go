package pushsim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"time"
)

// vapidLife is how far ahead exp may be (RFC 8292, section 2), vapidSkew by how much clocks may disagree.
const (
	vapidLife = 24 * time.Hour
	vapidSkew = time.Minute
)

var (
	errVAPIDNone = errors.New("vapid: the request has no Authorization of scheme vapid")
	errVAPIDKey  = errors.New("vapid: the key is not the one the subscription was made for")
)

// checkVAPID reads an Authorization header as of RFC 8292: a token t signed with key k, which must be the one that the
// subscription is restricted to. origin is that of the push service.
func checkVAPID(header, origin string, key []byte, now time.Time) error {
	scheme, rest, ok := strings.Cut(strings.TrimSpace(header), " ")
	if !ok || !strings.EqualFold(scheme, "vapid") || len(header) > maxJWT {
		return errVAPIDNone
	}
	var t, k string
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return errors.New("vapid: a parameter has no value")
		}
		value = strings.TrimSuffix(strings.TrimPrefix(value, `"`), `"`)
		switch name {
		case "t":
			if t != "" {
				return errors.New("vapid: t stands twice")
			}
			t = value
		case "k":
			if k != "" {
				return errors.New("vapid: k stands twice")
			}
			k = value
		}
	}
	if t == "" || k == "" {
		return errors.New("vapid: t or k is missing")
	}
	point, err := base64.RawURLEncoding.Strict().DecodeString(k)
	if err != nil {
		return errors.New("vapid: k is not base64url without padding")
	}
	if string(point) != string(key) {
		return errVAPIDKey
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return errors.New("vapid: k is not a point of P-256")
	}
	token, err := parseSigned(t)
	if err != nil {
		return errors.New("vapid: t is not a JSON Web Token")
	}
	if err := token.verifyES256(public); err != nil {
		return errors.New("vapid: " + err.Error())
	}
	exp := token.time("exp")
	switch {
	case !token.audience(origin):
		return errors.New("vapid: aud is not the origin of the push service, " + origin)
	case exp.IsZero():
		return errors.New("vapid: exp is missing")
	case !exp.After(now.Add(-vapidSkew)):
		return errors.New("vapid: it has expired")
	case exp.After(now.Add(vapidLife + vapidSkew)):
		return errors.New("vapid: exp is more than 24 hours ahead")
	}
	// RFC 8292, 2.1 makes sub a SHOULD; the large push services refuse a token without it.
	u, err := url.Parse(token.text("sub"))
	if err != nil || u.Scheme != "mailto" && u.Scheme != "https" || u.Opaque == "" && u.Host == "" {
		return errors.New("vapid: sub must be a mailto: or https: URL")
	}
	return nil
}
