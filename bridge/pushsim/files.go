package pushsim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The files of a simulator's directory, as Init makes them.
const (
	FileSettings = "pushsim.json" // what is below
	FileCA       = "ca.pem"       // whom clients have to trust
	FileCert     = "tls.pem"      // certificate of the listeners, signed by the CA
	FileKey      = "tls.key"      // and its key
	FileAPNs     = "apns.p8"      // the key that signs provider tokens, as Apple gives it
)

// settings is FileSettings.
type settings struct {
	APNs apnsSettings `json:"apns"`
}

// apnsSettings is one key of an Apple developer account.
type apnsSettings struct {
	KeyID string `json:"key_id"` // 10 characters
	Team  string `json:"team"`   // 10 characters
	Topic string `json:"topic"`  // the app's bundle identifier
	// More are the identifiers of further apps of the team.
	More []string `json:"more_topics,omitempty"`
}

// files is a simulator's directory, read.
type files struct {
	settings
	ca   *x509.CertPool
	cert tls.Certificate
	apns *ecdsa.PublicKey
}

// readFiles reads what Init has made. Its errors say which file is wrong.
func readFiles(dir string) (*files, error) {
	f := &files{ca: x509.NewCertPool()}
	b, err := os.ReadFile(filepath.Join(dir, FileSettings))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &f.settings); err != nil {
		return nil, fmt.Errorf("%s: %w", FileSettings, err)
	}
	if f.APNs.KeyID == "" || f.APNs.Team == "" || f.APNs.Topic == "" {
		return nil, fmt.Errorf("%s: apns has no key_id, team or topic", FileSettings)
	}
	if b, err = os.ReadFile(filepath.Join(dir, FileCA)); err != nil {
		return nil, err
	}
	if !f.ca.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s: no certificate", FileCA)
	}
	if f.cert, err = tls.LoadX509KeyPair(filepath.Join(dir, FileCert), filepath.Join(dir, FileKey)); err != nil {
		return nil, err
	}
	if b, err = os.ReadFile(filepath.Join(dir, FileAPNs)); err != nil {
		return nil, err
	}
	key, err := parseP8(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", FileAPNs, err)
	}
	f.apns = &key.PublicKey
	return f, nil
}

// parseP8 reads a private key on P-256 in PKCS #8, which is what Apple's .p8 files are.
func parseP8(b []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("no PEM block PRIVATE KEY")
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("not a key on the curve P-256")
	}
	return key, nil
}
