package mqtt3

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
)

// FuzzParse: no packet of a server makes a client fall.
func FuzzParse(f *testing.F) {
	f.Add(byte(0x32), []byte("\x00\x04a/b/\x00\x07hello"))
	f.Add(byte(0x30), []byte("\x00\x01a"))
	f.Add(byte(0x30), []byte("\x00\x09a"))
	f.Add(byte(0x36), []byte("\x00\x01a\x00\x01"))
	f.Add(byte(0x40), []byte{0, 1})
	f.Add(byte(0x40), []byte{0})
	f.Add(byte(0x90), []byte{0, 1, 0x80, 1})
	f.Add(byte(0x90), []byte{0, 1})
	f.Add(byte(0xd0), []byte{})
	f.Add(byte(0x10), []byte{0, 0})
	f.Fuzz(func(t *testing.T, first byte, body []byte) {
		p, err := parse(first, body)
		if err == nil && p.Type == Publish && len(p.Topic)+len(p.Payload) > len(body) {
			t.Errorf("%x %x gives %+v", first, body, p)
		}
	})
}

// pipe is a server that has answered already.
func pipe(answer []byte) net.Conn {
	client, server := net.Pipe()
	go func() {
		go io.Copy(io.Discard, server)
		server.Write(answer)
		server.Close()
	}()
	return client
}

func TestAnswersToConnect(t *testing.T) {
	for _, c := range []struct {
		answer  []byte
		present bool
		ok      bool
	}{
		{[]byte{0x20, 2, 0, 0}, false, true},
		{[]byte{0x20, 2, 1, 0}, true, true},
		{[]byte{0x20, 2, 0, 5}, false, false},
		{[]byte{0x20, 2, 0, 99}, false, false},
		{[]byte{0x20, 3, 0, 0, 0}, false, false},
		{[]byte{0x30, 2, 0, 0}, false, false},
		{[]byte{0x20, 2, 0}, false, false},
		{[]byte{0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, false, false},
		{[]byte{0x20, 0xff, 0xff, 0xff, 0x7f}, false, false},
		{nil, false, false},
	} {
		conn, present, err := New(pipe(c.answer), Options{ClientID: "x"})
		if (err == nil) != c.ok || present != c.present {
			t.Errorf("% x: %v, %v", c.answer, present, err)
		}
		if conn != nil {
			if _, err := conn.Read(); !errors.Is(err, io.EOF) {
				t.Errorf("after the last packet: %v", err)
			}
			conn.Close()
		}
	}
}

// TestPackets: what is written, byte by byte.
func TestPackets(t *testing.T) {
	client, server := net.Pipe()
	c := &Conn{nc: client}
	for _, p := range []struct {
		write func() error
		want  string
	}{
		{func() error { return c.Subscribe(5, 1, "a", "bc") }, "\x82\x0b\x00\x05\x00\x01a\x01\x00\x02bc\x01"},
		{func() error { return c.Publish("a", []byte("x"), 0, 0, false) }, "\x30\x04\x00\x01ax"},
		{func() error { return c.Publish("a", []byte("x"), 1, 7, false) }, "\x32\x06\x00\x01a\x00\x07x"},
		{func() error { return c.Publish("a", []byte("x"), 2, 7, true) }, "\x3c\x06\x00\x01a\x00\x07x"},
		{func() error { return c.Ack(9) }, "\x40\x02\x00\x09"},
		{func() error { return c.Release(9) }, "\x62\x02\x00\x09"},
		{c.Ping, "\xc0\x00"},
	} {
		done := make(chan error, 1)
		go func() { done <- p.write() }()
		got := make([]byte, len(p.want))
		if _, err := io.ReadFull(server, got); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil || !bytes.Equal(got, []byte(p.want)) {
			t.Errorf("% x, want % x, %v", got, p.want, err)
		}
	}
	if err := c.Publish("a", make([]byte, maxPacket), 0, 0, false); err == nil {
		t.Error("a packet beyond the limit is written")
	}
}
