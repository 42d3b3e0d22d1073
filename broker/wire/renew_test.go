package wire

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"
)

// A quiet connection goes on unharmed on a fresh goroutine, however often that happens.
func TestQuietConnections(t *testing.T) {
	pair, roots := newCertificate(t, 1)
	for name, secure := range map[string]*tls.Config{"tcp": nil, "tls": {Certificates: []tls.Certificate{pair}}} {
		t.Run(name, func(t *testing.T) {
			r := newTLSRig(t, secure, nil, func(s *Server) { s.quietAfter = 20 * time.Millisecond })
			var nc net.Conn = dial(t, r.addr)
			if secure != nil {
				nc = tls.Client(nc, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"})
			}
			say(t, nc, connectV311)
			readConnack(t, nc)
			s := r.d.last(t)
			await := func(ok func() bool) {
				for !ok() {
					time.Sleep(time.Millisecond)
				}
			}
			quietAfter := func(do func()) { // it is quiet once for all that it hears, maybe before do returns
				t.Helper()
				n := r.renewed.Load()
				do()
				await(func() bool { return r.renewed.Load() > n })
			}
			await(func() bool { return r.renewed.Load() > 0 })
			for range 3 {
				quietAfter(func() { ping(t, nc) })
			}
			quietAfter(func() {
				big := strings.Repeat("x", 40_000)
				say(t, nc, `32 [ {echo/x} 0001 "`+big+`" ] c0 00`)
				expect(t, nc, mustBytes(t, `40 02 0001 32 [ {echo/x} 0007 "`+big+`" ] d0 00`), "echo")
			})
			heard := &s.link.(*conn).heard
			before := heard.Load()
			say(t, nc, "32") // half a packet is not quiet
			await(func() bool { return heard.Load() != before })
			n := r.renewed.Load()
			time.Sleep(100 * time.Millisecond)
			if got := r.renewed.Load(); got != n {
				t.Errorf("renewed %d times in the middle of a packet", got-n)
			}
			quietAfter(func() {
				say(t, nc, `[ {room/lobby/text} 0002 "y" ]`)
				expect(t, nc, []byte{0x40, 2, 0, 2}, "PUBACK")
			})
			nc.Close()
			if s.waitDetached(t) {
				t.Error("orderly")
			}
		})
	}
}

// Renewing does not lengthen the client's time.
func TestQuietKeepAlive(t *testing.T) {
	t.Parallel()
	r := newTLSRig(t, nil, nil, func(s *Server) { s.quietAfter = 200 * time.Millisecond })
	began := time.Now()
	nc := login(t, r.addr, `10 [ {MQTT} 05 c2 0001 [ ] {dev} {alice} {pw-alice} ]`)
	expect(t, nc, mustBytes(t, `e0 [ 8d [ 1f {`+errKeepAlive.text+`} ] ]`), "DISCONNECT")
	if took := time.Since(began); took < 1500*time.Millisecond {
		t.Errorf("cut after %v", took)
	}
	if n := r.renewed.Load(); n != 1 {
		t.Errorf("renewed %d times", n)
	}
}
