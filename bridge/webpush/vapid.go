package webpush

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	tokenLife  = 12 * time.Hour // RFC 8292, 2 allows 24
	tokenRenew = 10 * time.Hour // the rest is for clocks that are wrong
	maxOrigins = 1024
)

// vapidKey is the key by which push services know this installation.
type vapidKey struct {
	private *ecdsa.PrivateKey
	public  string // as a browser's applicationServerKey and the parameter k have it
}

// NewKey makes a key in a file that only its owner may read, if there is no file of that name: PEM, PKCS #8. Subscriptions
// are bound to the key, so keep it: with another one every browser has to subscribe again.
func NewKey(path string) (err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("webpush: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("webpush: %w", err)
	}
	// Whole and on the disk before it has its name; and a name that somebody gave meanwhile stays.
	f, err := os.CreateTemp(filepath.Dir(path), ".webpush-key-*") // mode 0600
	if err != nil {
		return fmt.Errorf("webpush: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if e := f.Sync(); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		if err = os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
			err = os.Rename(f.Name(), path) // a file system without hard links
		}
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("webpush: make %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("webpush: %w", err)
	}
	defer d.Close()
	_ = d.Sync() // some systems cannot
	return nil
}

// parseKey reads a private key of P-256 as NewKey or OpenSSL writes it.
func parseKey(b []byte) (*vapidKey, error) {
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			return nil, errors.New("no private key in PEM")
		}
		b = bytes.TrimSpace(rest)
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		default:
			continue // EC PARAMETERS
		}
		private, ok := key.(*ecdsa.PrivateKey)
		if err != nil || !ok || private.Curve != elliptic.P256() {
			return nil, errors.New("the private key is not one of P-256")
		}
		public, err := private.PublicKey.Bytes()
		if err != nil {
			return nil, errors.New("the private key is not one of P-256")
		}
		return &vapidKey{private: private, public: base64.RawURLEncoding.EncodeToString(public)}, nil
	}
}

// signer keeps the Authorization header of every push service for some hours.
type signer struct {
	contact string
	now     func() time.Time

	mu   sync.Mutex
	kept map[string]signed // by origin
}

type signed struct {
	key    *vapidKey
	made   time.Time
	header string
}

// header is the value of Authorization for a push service: RFC 8292, 3.
func (s *signer) header(key *vapidKey, origin string) (string, error) {
	now := s.now()
	s.mu.Lock()
	k, ok := s.kept[origin]
	s.mu.Unlock()
	if age := now.Sub(k.made); ok && k.key == key && age >= 0 && age < tokenRenew {
		return k.header, nil
	}
	claims := jwt.MapClaims{"aud": origin, "exp": now.Add(tokenLife).Unix()}
	if s.contact != "" {
		claims["sub"] = s.contact
	}
	// Two who need the same at once sign twice, and either will do.
	t, err := jwt.NewWithClaims(jwt.SigningMethodES256, claims).SignedString(key.private)
	if err != nil {
		return "", fmt.Errorf("webpush: %w", err)
	}
	k = signed{key: key, made: now, header: "vapid t=" + t + ", k=" + key.public}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.kept[origin]; !ok && len(s.kept) >= maxOrigins {
		for other := range s.kept { // any: a signature is made in microseconds
			delete(s.kept, other)
			break
		}
	}
	s.kept[origin] = k
	return k.header, nil
}

// forget drops what is older than a minute.
func (s *signer) forget() {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for origin, k := range s.kept {
		if age := now.Sub(k.made); age < 0 || age >= time.Minute {
			delete(s.kept, origin)
		}
	}
}
