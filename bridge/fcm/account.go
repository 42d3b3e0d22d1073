package fcm

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"regexp"

	"firebase.google.com/go/v4/messaging"
	"golang.org/x/oauth2/jwt"
	"google.golang.org/api/option"
)

// scope is all that a push needs. https://developers.google.com/identity/protocols/oauth2/scopes#fcm
const scope = "https://www.googleapis.com/auth/firebase.messaging"

// account is what was read from one version of the credentials file.
type account struct {
	client *messaging.Client
	tokens *tokens
}

// projectID is what Google allows, domain-scoped ones included; it becomes a part of the request's path.
var projectID = regexp.MustCompile(`^[a-z0-9][a-z0-9.:-]{2,62}$`)

// account makes one of a service account's JSON. Errors name what is wrong and hold nothing of the key.
func (p *Provider) account(b []byte) (*account, error) {
	var f struct {
		Type    string `json:"type"`
		Project string `json:"project_id"`
		KeyID   string `json:"private_key_id"`
		Key     string `json:"private_key"`
		Email   string `json:"client_email"`
		URI     string `json:"token_uri"`
	}
	if err := json.Unmarshal(b, &f); err != nil {
		// Not the decoder's words: they may quote a piece of the key.
		return nil, errors.New("not the JSON of a service account")
	}
	u, err := url.Parse(f.URI)
	switch {
	case f.Type != "service_account":
		return nil, fmt.Errorf("type is %.40q, not service_account", f.Type)
	case !projectID.MatchString(f.Project):
		return nil, fmt.Errorf("project_id %.80q is none", f.Project)
	case f.Email == "":
		return nil, errors.New("no client_email")
	case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil:
		return nil, errors.New("token_uri is not an https address")
	}
	if err := checkKey(f.Key); err != nil {
		return nil, fmt.Errorf("private_key: %w", err)
	}
	conf := config(messaging.NewClient)
	conf.ProjectID = f.Project
	conf.Version = "4" // for a header that names the library
	conf.Opts = []option.ClientOption{option.WithHTTPClient(p.direct(once{p.transport})), option.WithEndpoint(p.endpoint)}
	client, err := messaging.NewClient(context.Background(), conf)
	if err != nil {
		return nil, err
	}
	return &account{client: client, tokens: newTokens(p, &jwt.Config{
		Email:        f.Email,
		PrivateKey:   []byte(f.Key),
		PrivateKeyID: f.KeyID,
		Scopes:       []string{scope},
		TokenURL:     f.URI,
	})}, nil
}

// config makes what messaging.NewClient takes, a type of an internal package: inference can name it where we cannot. The
// library's public way to a Client is its package of apps, which brings Firestore and Cloud Storage with it.
func config[T any](func(context.Context, *T) (*messaging.Client, error)) *T { return new(T) }

func checkKey(s string) error {
	block, _ := pem.Decode([]byte(s))
	if block == nil {
		return errors.New("not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if key, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			return errors.New("not a private key in PKCS #8")
		}
	}
	if _, ok := key.(*rsa.PrivateKey); !ok {
		return errors.New("not an RSA key")
	}
	return nil
}
