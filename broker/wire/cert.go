package wire

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
)

// CertFile is a certificate in files that may be replaced while the server runs. Every handshake looks at the files;
// when one was changed or replaced the pair is loaded again. A pair that cannot be loaded is logged once, and the one
// before stays in use.
type CertFile struct {
	cert, key string
	log       *slog.Logger

	mu     sync.Mutex
	pair   *tls.Certificate
	loaded [2]fs.FileInfo // of the files that were tried last
}

// NewCertFile loads a certificate chain and its private key from PEM files. A nil logger logs nothing.
func NewCertFile(cert, key string, log *slog.Logger) (*CertFile, error) {
	f := &CertFile{cert: cert, key: key, log: (&Config{Logger: log}).logger()}
	now, err := f.stat()
	if err != nil {
		return nil, err
	}
	if f.pair, err = f.load(); err != nil {
		return nil, err
	}
	f.loaded = now
	return f, nil
}

// GetCertificate is for tls.Config.
func (f *CertFile) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := f.stat()
	if err != nil {
		if f.loaded != [2]fs.FileInfo{} { // said once, until the files are back
			f.log.Error("certificate not readable; the one before stays", keyErr, err)
			f.loaded = [2]fs.FileInfo{}
		}
		return f.pair, nil
	}
	if same(f.loaded[0], now[0]) && same(f.loaded[1], now[1]) {
		return f.pair, nil
	}
	f.loaded = now
	pair, err := f.load()
	if err != nil {
		f.log.Error("new certificate not usable; the one before stays", keyErr, err)
		return f.pair, nil
	}
	f.pair = pair
	f.log.Info("certificate loaded again")
	return pair, nil
}

func (f *CertFile) load() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("wire: load certificate %s: %w", f.cert, err)
	}
	return &pair, nil
}

func (f *CertFile) stat() (infos [2]fs.FileInfo, err error) {
	for i, name := range []string{f.cert, f.key} {
		if infos[i], err = os.Stat(name); err != nil {
			return infos, fmt.Errorf("wire: certificate: %w", err)
		}
	}
	return infos, nil
}

// same reports whether it is the same file with the same content, as far as can be told without reading it.
func same(a, b fs.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
