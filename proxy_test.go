package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestProxies: behind trusted proxies the client's own address counts, on every listener and for every limit.
func TestProxies(t *testing.T) {
	dir := dataDir(t)
	token := addUser(t, dir, "alice")
	cert, key := selfSigned(t)
	p := startServer(t, dir, "-mqtts", "127.0.0.1:0", "-https", "127.0.0.1:0", "-tls-cert", cert, "-tls-key", key,
		"-trusted-proxies", "127.0.0.0/8", "-proxy-protocol", "-max-connections-per-address", "1")
	open := func(listener, from string) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", p.addrs[listener])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		if from != "" {
			fmt.Fprintf(c, "PROXY TCP4 %s 10.0.0.1 4000 1883\r\n", from)
		}
		if strings.HasSuffix(listener, "s") {
			return tls.Client(c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // its own certificate
		}
		return c
	}
	connect := func(c net.Conn, client string) error {
		body := "\x00\x04MQTT\x04\xc2\x00\x3c"
		for _, s := range []string{client, "alice", token} {
			body += string([]byte{0, byte(len(s))}) + s
		}
		if _, err := io.WriteString(c, "\x10"+string([]byte{byte(len(body))})+body); err != nil {
			return err
		}
		var ack [4]byte
		if _, err := io.ReadFull(c, ack[:]); err != nil {
			return err
		}
		if ack[3] != 0 {
			return fmt.Errorf("CONNACK %d", ack[3])
		}
		return nil
	}
	// upgrade reports whether a WebSocket is served: whether it answers a ping.
	upgrade := func(c net.Conn, forwarded string) bool {
		t.Helper()
		fmt.Fprintf(c, "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n%s\r\n", forwarded)
		in := bufio.NewReader(c)
		r, err := http.ReadResponse(in, nil)
		if err != nil || r.StatusCode != http.StatusSwitchingProtocols {
			return false
		}
		if _, err := io.WriteString(c, "\x89\x80mask"); err != nil {
			return false
		}
		var pong [2]byte
		_, err = io.ReadFull(in, pong[:])
		return err == nil && pong[0] == 0x8a
	}
	for i, listener := range []string{"mqtt", "mqtts"} {
		from := fmt.Sprintf("203.0.113.%d", 10+i)
		if err := connect(open(listener, from), listener+"1"); err != nil {
			t.Errorf("%s: %v", listener, err)
		}
		if err := connect(open(listener, from), listener+"2"); err == nil {
			t.Errorf("%s: a second connection of one address was taken", listener)
		}
	}
	for i, listener := range []string{"http", "https"} {
		from := fmt.Sprintf("203.0.113.%d", 20+i)
		if !upgrade(open(listener, from), "") {
			t.Errorf("%s: not served", listener)
		}
		if upgrade(open(listener, from), "") {
			t.Errorf("%s: a second connection of one address was taken", listener)
		}
		// A proxy of the balancer's network that tells its client by header; the client's own claims do not count.
		for _, claim := range []string{"198.51.100.1", "198.51.100.2"} {
			served := upgrade(open(listener, "127.0.0.9"), fmt.Sprintf("X-Forwarded-For: %s, 203.0.113.%d\r\n", claim, 30+i))
			if served != (claim == "198.51.100.1") {
				t.Errorf("%s: claimed %s: served %v", listener, claim, served)
			}
		}
	}
	// Without the header a trusted peer is not served at all.
	if err := connect(open("mqtt", ""), "bare"); err == nil {
		t.Error("a trusted peer without a header was served")
	}
}
