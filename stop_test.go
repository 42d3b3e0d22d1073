package main

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestServerReference: a client of MQTT 5 is told where to go when the server goes down.
func TestServerReference(t *testing.T) {
	dir := dataDir(t)
	alice := addUser(t, dir, "alice")
	p := startServer(t, dir, "-server-reference", "other.example.com:1883")
	c, err := net.Dial("tcp", p.addrs["mqtt"])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	send(t, c, 0x10, str("MQTT"), []byte{5, 0xc2, 0, 30, 0}, str("phone"), str("alice"), str(alice))
	if typ, body := receive(t, c); typ != 0x20 || body[1] != 0 {
		t.Fatalf("CONNACK %#x % x", typ, body)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if typ, body := receive(t, c); typ != 0xe0 || body[0] != 0x9c || !strings.Contains(string(body), "other.example.com:1883") {
		t.Errorf("DISCONNECT %#x %q", typ, body)
	}
	<-p.done
	if p.err != nil {
		t.Errorf("the server ended with %v\n%s", p.err, p.out)
	}
}

// TestCertificateReloaded: a renewed certificate is used without a restart.
func TestCertificateReloaded(t *testing.T) {
	cert, key := selfSigned(t)
	p := startServer(t, dataDir(t), "-mqtts", "127.0.0.1:0", "-https", "127.0.0.1:0", "-tls-cert", cert, "-tls-key", key)
	renewed, newKey := selfSigned(t)
	shown := func(addr string) string {
		t.Helper()
		pool := x509.NewCertPool()
		for _, f := range []string{cert, renewed} {
			pem, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			pool.AppendCertsFromPEM(pem)
		}
		c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return string(c.ConnectionState().PeerCertificates[0].Raw)
	}
	before := shown(p.addrs["mqtts"])
	for from, to := range map[string]string{renewed: cert, newKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
		renewed = cert
	}
	after := shown(p.addrs["mqtts"])
	if before == after {
		t.Error("the old certificate is still shown")
	}
	if shown(p.addrs["https"]) != after {
		t.Error("HTTPS shows another certificate than MQTT")
	}
}
