package wire

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newCertificate makes a self-signed certificate for 127.0.0.1.
func newCertificate(t testing.TB, serial int64) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	cert, key := certificatePEM(t, serial)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	return pair, roots
}

func certificatePEM(t testing.TB, serial int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

func TestTLS(t *testing.T) {
	pair, roots := newCertificate(t, 1)
	r := newTLSRig(t, &tls.Config{Certificates: []tls.Certificate{pair}}, func(c *Config) { c.ConnectTimeout = 5 * time.Second }, nil)
	nc, err := tls.Dial("tcp", r.addr, &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(time.Minute))
	say(t, nc, connectV5)
	readConnack(t, nc)
	for _, n := range []int{0, 1, firstSize - 20, firstSize, 20_000, 60_000} { // in pieces that do and do not fit the first array
		say(t, nc, `30 [ {room/lobby/text} 00 "`+strings.Repeat("x", n)+`" ]`)
		ping(t, nc)
	}
	for _, b := range mustBytes(t, `32 [ {room/lobby/text} 0001 00 "byte by byte" ]`) {
		nc.Write([]byte{b})
	}
	expect(t, nc, mustBytes(t, `40 [ 0001 00 [ 26 {seq} {7} ] ]`), "PUBACK")
	say(t, nc, "f0 00")
	expect(t, nc, mustBytes(t, `e0 [ 8c [ 1f {`+errAuth.text+`} ] ]`), "DISCONNECT")
	expectClosed(t, nc)
}

// A client that never finishes the handshake, or does not speak TLS, costs no more than ConnectTimeout.
func TestTLSHandshakeTimeout(t *testing.T) {
	pair, _ := newCertificate(t, 1)
	r := newTLSRig(t, &tls.Config{Certificates: []tls.Certificate{pair}}, func(c *Config) { c.ConnectTimeout = 50 * time.Millisecond }, nil)
	silent := dial(t, r.addr)
	io.Copy(io.Discard, silent)
	plain := dial(t, r.addr)
	say(t, plain, connectV311)
	io.Copy(io.Discard, plain) // an alert, and the end
	r.waitEmpty()
	if n := count(r.metrics.refused.WithLabelValues("tls")); n != 2 {
		t.Errorf("%d handshakes failed", n)
	}
}

// A listener of crypto/tls works too.
func TestListenerOfCryptoTLS(t *testing.T) {
	pair, roots := newCertificate(t, 1)
	r := newRig(t, nil)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	go r.Serve(t.Context(), l)
	nc, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(time.Minute))
	say(t, nc, connectV311)
	readConnack(t, nc)
	ping(t, nc)
	if count := r.metrics.openBy[overTLS]; count == nil {
		t.Error("not counted as TLS")
	}
}

func TestCertFile(t *testing.T) {
	dir := t.TempDir()
	certName, keyName := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	log := new(logged)
	write := func(serial int64) {
		t.Helper()
		cert, key := certificatePEM(t, serial)
		for name, b := range map[string][]byte{certName: cert, keyName: key} { // replaced, as certificate tools do
			if err := os.WriteFile(name+".new", b, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(name+".new", name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := NewCertFile(certName, keyName, nil); err == nil {
		t.Error("loaded from nothing")
	}
	write(1)
	f, err := NewCertFile(certName, keyName, log.logger())
	if err != nil {
		t.Fatal(err)
	}
	serial := func(want int64) {
		t.Helper()
		pair, err := f.GetCertificate(nil)
		if err != nil || pair.Leaf.SerialNumber.Int64() != want {
			t.Errorf("serial %v, %v; want %d", pair.Leaf.SerialNumber, err, want)
		}
	}
	serial(1)
	write(2)
	serial(2)
	os.WriteFile(certName, []byte("rubbish"), 0o600)
	serial(2)
	serial(2)
	if n := strings.Count(log.String(), "new certificate not usable"); n != 1 {
		t.Errorf("a bad file was logged %d times", n)
	}
	os.Remove(keyName)
	serial(2)
	serial(2)
	if n := strings.Count(log.String(), "not readable"); n != 1 {
		t.Errorf("a missing file was logged %d times", n)
	}
	write(3)
	serial(3)
	if strings.Contains(log.String(), "PRIVATE") || bytes.Contains([]byte(log.String()), []byte("rubbish")) {
		t.Error("the log shows the files")
	}
}
