package pushsim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base32"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// DefaultTopic is the bundle identifier of the app that the simulator knows, if nothing else is said.
const DefaultTopic = "com.example.hwangso"

// Init makes what a simulator needs in a directory: a CA, the listeners' certificate (for localhost and the loopback
// addresses, a year), Apple's signing key and the settings. Private files can be read by their owner only. A directory
// that has settings already is refused with os.ErrExist: keys that somebody uses are not replaced.
func Init(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("pushsim: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, FileSettings)); err == nil {
		return fmt.Errorf("pushsim: %s: %w", filepath.Join(dir, FileSettings), os.ErrExist)
	}
	if err := initFiles(dir); err != nil {
		return fmt.Errorf("pushsim: init %s: %w", dir, err)
	}
	return nil
}

// initFiles writes the settings last: a directory that has them is whole.
func initFiles(dir string) error {
	if err := initTLS(dir); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if err := writeKey(filepath.Join(dir, FileAPNs), key); err != nil {
		return err
	}
	set := settings{APNs: apnsSettings{KeyID: tenCharacters(), Team: tenCharacters(), Topic: DefaultTopic}}
	b, err := json.MarshalIndent(set, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, FileSettings), append(b, '\n'), 0o600)
}

// initTLS makes a CA, whose key nobody keeps, and a certificate that it signs.
func initTLS(dir string) error {
	now := time.Now()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "hwangso push simulator"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, FileCA), pemOf("CERTIFICATE", der), 0o644); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leaf := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if der, err = x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, FileCert), pemOf("CERTIFICATE", der), 0o644); err != nil {
		return err
	}
	return writeKey(filepath.Join(dir, FileKey), key)
}

func writeKey(name string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(name, pemOf("PRIVATE KEY", der), 0o600)
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func serial() *big.Int {
	var b [16]byte
	rand.Read(b[:])
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}

// tenCharacters looks like Apple's identifiers of keys and teams.
func tenCharacters() string {
	var b [7]byte
	rand.Read(b[:])
	return base32.StdEncoding.EncodeToString(b[:])[:10]
}
