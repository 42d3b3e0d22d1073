package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// What people paste: mosquitto's clients, in every version of MQTT that they speak.

func TestMosquitto(t *testing.T) {
	needs(t, "mosquitto_pub")
	dir := dataDir(t)
	cert, key := selfSigned(t)
	p := startServer(t, dir, "-mqtts", "127.0.0.1:0", "-tls-cert", cert, "-tls-key", key)
	alice := addUser(t, dir, "alice")
	bob := addUser(t, dir, "bob", "alice")
	hwangso(t, "room", "create", "lobby", "-owner", "alice", "-members", "bob", "-data", dir)
	addUser(t, dir, "carol") // nobody's friend

	for _, c := range []struct{ name, version, tls string }{
		{"3.1", "mqttv31", ""}, {"3.1.1", "mqttv311", ""}, {"5", "mqttv5", ""}, {"5 TLS", "mqttv5", cert},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := func(what, user, token string) string {
				line := mosquitto(t, what, p, user, token) + " -q 1 -V " + c.version
				if c.tls != "" {
					line = strings.Replace(line, "-p "+port(t, p.addrs["mqtt"]), "-p "+port(t, p.addrs["mqtts"]), 1) + " --cafile " + c.tls
				}
				return line
			}
			id := "bob-" + strings.ReplaceAll(c.name, " ", "-")
			clean := "-c"
			if c.version == "mqttv5" {
				clean += " -x 3600"
			}
			// bob is known as a device, and away.
			listen := fmt.Sprintf("%s -i %s %s -t user/+/line -t room/+/line -t reply/+", client("sub", "bob", bob), id, clean)
			if out, err := shell(t, listen+" -E"); err != nil {
				t.Fatalf("%s: %v\n%s", listen, err, out)
			}
			for _, topic := range []string{"user/bob/text", "room/lobby/text"} {
				if out, err := shell(t, client("pub", "alice", alice)+" -t "+topic+" -m 'hello over "+c.name+"'"); err != nil || out != "" {
					t.Fatalf("publish to %s: %v\n%s", topic, err, out)
				}
			}
			// He comes back, finds both, and what is written now.
			s := background(t, listen)
			s.wait(t, `(?s)(alice: hello over `+c.name+`.*){2}`)
			if out, err := shell(t, client("pub", "alice", alice)+" -t user/bob/text -m 'and live'"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			s.wait(t, `alice: and live`)

			// Refusals: MQTT 5 has a reason, before it there is a message on reply/.
			pub := client("pub", "bob", bob) + " -i " + id + "-w"
			out, err := shell(t, pub+" -t user/nobody/text -m hi")
			if c.version == "mqttv5" {
				if !strings.Contains(out, "Not authorized") {
					t.Errorf("a message to nobody: %v %q", err, out)
				}
			} else if out != "" || err != nil {
				t.Errorf("a message to nobody: %v %q", err, out)
			}
			if out, err := shell(t, client("pub", "alice", "wrong")+" -t user/bob/text -m hi"); err == nil || !strings.Contains(strings.ToLower(out), "not authori") && !strings.Contains(strings.ToLower(out), "bad user name or password") {
				t.Errorf("a wrong token: %v %q", err, out)
			}
		})
	}

	// Before MQTT 5 the sender is told why on reply/, then the publish is acknowledged, so that it is not sent again.
	t.Run("reply", func(t *testing.T) {
		c, err := net.Dial("tcp", p.addrs["mqtt"])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		send(t, c, 0x10, str("MQTT"), []byte{4, 0xc2, 0, 30}, str("sensor"), str("bob"), str(bob))
		if typ, body := receive(t, c); typ != 0x20 || string(body) != "\x00\x00" {
			t.Fatalf("CONNACK %#x % x", typ, body)
		}
		send(t, c, 0x82, []byte{0, 1}, str("reply/+"), []byte{0})
		if typ, body := receive(t, c); typ != 0x90 || string(body) != "\x00\x01\x00" {
			t.Fatalf("SUBACK %#x % x", typ, body)
		}
		send(t, c, 0x32, str("user/nobody/text/c1"), []byte{0, 9}, []byte("hi"))
		if typ, body := receive(t, c); typ != 0x30 || !strings.HasPrefix(string(body), "\x00\x08reply/c1{\"code\":403,") {
			t.Fatalf("the refusal is %#x %q", typ, body)
		}
		if typ, body := receive(t, c); typ != 0x40 || string(body) != "\x00\x09" {
			t.Fatalf("PUBACK %#x % x", typ, body)
		}
	})
}

// selfSigned makes a certificate for 127.0.0.1.
func selfSigned(t testing.TB) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hwangso test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", private)
}

// TestWebSocket speaks MQTT 3.1.1 byte by byte over a WebSocket at /mqtt, beside the API on the same port.
func TestWebSocket(t *testing.T) {
	dir := dataDir(t)
	p := startServer(t, dir)
	alice := addUser(t, dir, "alice")
	bob := addUser(t, dir, "bob", "alice")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dial := func(user, token, id string) net.Conn {
		ws, _, err := websocket.Dial(ctx, "ws://"+p.addrs["http"]+"/mqtt", &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ws.CloseNow() })
		if ws.Subprotocol() != "mqtt" {
			t.Errorf("subprotocol %q", ws.Subprotocol())
		}
		c := websocket.NetConn(ctx, ws, websocket.MessageBinary)
		send(t, c, 0x10, str("MQTT"), []byte{4, 0xc2, 0, 30}, str(id), str(user), str(token))
		if typ, body := receive(t, c); typ != 0x20 || string(body) != "\x00\x00" {
			t.Fatalf("CONNACK %#x % x", typ, body)
		}
		return c
	}
	b := dial("bob", bob, "browser")
	send(t, b, 0x82, []byte{0, 1}, str("user/+/line"), []byte{1})
	if typ, body := receive(t, b); typ != 0x90 || string(body) != "\x00\x01\x01" {
		t.Fatalf("SUBACK %#x % x", typ, body)
	}
	a := dial("alice", alice, "browser")
	send(t, a, 0x32, str("user/bob/text"), []byte{0, 7}, []byte("hello over a WebSocket"))
	if typ, body := receive(t, a); typ != 0x40 || string(body) != "\x00\x07" {
		t.Fatalf("PUBACK %#x % x", typ, body)
	}
	typ, body := receive(t, b)
	if typ&0xf0 != 0x30 || !strings.Contains(string(body), "user/alice/line") || !strings.HasSuffix(string(body), "alice: hello over a WebSocket") {
		t.Fatalf("PUBLISH %#x %q", typ, body)
	}
}

func str(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }

func send(t testing.TB, w io.Writer, first byte, parts ...[]byte) {
	t.Helper()
	var body []byte
	for _, p := range parts {
		body = append(body, p...)
	}
	packet := binary.AppendUvarint([]byte{first}, uint64(len(body))) // the same encoding as MQTT's
	if _, err := w.Write(append(packet, body...)); err != nil {
		t.Fatal(err)
	}
}

func receive(t testing.TB, r io.Reader) (first byte, body []byte) {
	t.Helper()
	var head [1]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		t.Fatal(err)
	}
	n, err := binary.ReadUvarint(oneByte{r})
	if err != nil {
		t.Fatal(err)
	}
	body = make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		t.Fatal(err)
	}
	return head[0], body
}

type oneByte struct{ io.Reader }

func (r oneByte) ReadByte() (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(r.Reader, b[:])
	return b[0], err
}
