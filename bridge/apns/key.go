package apns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/hwangso/hwangso/bridge/credential"
)

// openKey reads a key file, now and whenever it changes: the signer is another one only if the key or its identifier is.
func openKey(file, id, team string, log *slog.Logger, now func() time.Time) (*credential.File[*signer], error) {
	if id != "" && !isID(id) {
		return nil, fmt.Errorf("apns: key id %q: it has 10 capital letters and digits, as in the name that Apple gave the file, AuthKey_<id>.p8", id)
	}
	var last *signer
	f, err := credential.Open(file, func(b []byte) (*signer, error) {
		id, err := keyID(file, id)
		if err != nil {
			return nil, err
		}
		private, err := parseKey(b)
		if err != nil {
			return nil, err
		}
		if s := (&signer{id: id, team: team, key: private}); last == nil || !last.same(s) {
			last = s
		}
		return last, nil
	}, log, now)
	if err != nil {
		return nil, fmt.Errorf("apns: key file: %w", err)
	}
	return f, nil
}

// keyID is the identifier of the key in a file: what is set, or what the file's name says after links were followed.
func keyID(file, id string) (string, error) {
	path, err := filepath.EvalSymlinks(file)
	if err != nil {
		return "", err
	}
	named := idOf(filepath.Base(path))
	switch {
	case id == "" && named == "":
		return "", errors.New("no key id is set, and the file's name is not AuthKey_<id>.p8")
	case id == "":
		return named, nil
	case named != "" && named != id:
		return "", fmt.Errorf("its name says that it is key %s, and the key id is set to %s; set none to have it from the name", named, id)
	}
	return id, nil
}

// idOf is the identifier in the name of a key file as Apple gives it, "" if it has another.
func idOf(name string) string {
	id, front := strings.CutPrefix(name, "AuthKey_")
	id, back := strings.CutSuffix(id, ".p8")
	if !front || !back || !isID(id) {
		return ""
	}
	return id
}

// parseKey takes the private key out of a .p8 file: PEM with a PKCS #8 key on the curve P-256.
func parseKey(b []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("it is not in PEM, which begins with -----BEGIN PRIVATE KEY-----")
	}
	var parsed any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		parsed, err = x509.ParseECPrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("the key is encrypted; it has to be as Apple gave it")
	default:
		return nil, fmt.Errorf("it holds a %s and not a PRIVATE KEY", strings.ToLower(block.Type))
	}
	if err != nil {
		return nil, fmt.Errorf("the key in it is damaged: %w", err)
	}
	switch k := parsed.(type) {
	case *ecdsa.PrivateKey:
		if k.Curve != elliptic.P256() {
			return nil, fmt.Errorf("its key is on the curve %s, and Apple's are on P-256", k.Curve.Params().Name)
		}
		return k, nil
	case *rsa.PrivateKey:
		return nil, errors.New("it holds an RSA key, and Apple's are elliptic (P-256): is it that of something else?")
	default:
		return nil, errors.New("its key is not an elliptic one (P-256)")
	}
}
