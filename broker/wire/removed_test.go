package wire

import (
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// A device that is signed out while it sends without pause, over an alias where there are aliases, with a session that
// was to stay: nothing it sends counts once Disconnect has returned, and its token lets it in no more.
func TestRemovedWhileSending(t *testing.T) {
	for _, c := range []struct{ name, connect, first, more string }{
		{"3.1.1", `10 [ {MQTT} 04 c0 003c {phone} {alice} {%s} ]`, `32 [ {user/bob/text} %04x "x" ]`, `32 [ {user/bob/text} %04x "x" ]`},
		{"5", `10 [ {MQTT} 05 c0 003c [ 11 00000e10 ] {phone} {alice} {%s} ]`, `32 [ {user/bob/text} %04x [ 23 0001 ] "x" ]`, `32 [ {} %04x [ 23 0001 ] "x" ]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newRealWorld(t)
			alice := w.users["alice"].ID
			phone := store.DeviceOf(alice, "phone")
			if err := w.st.PutDevice(t.Context(), store.Device{Account: alice, ID: phone, ClientID: "phone"}, 0); err != nil {
				t.Fatal(err)
			}
			secret := hooks.NewToken(alice)
			if err := w.st.PutToken(t.Context(), store.Token{Account: alice, Device: phone, Hash: secret.Hash()}); err != nil {
				t.Fatal(err)
			}
			nc := w.dial(overTCP)
			say(t, nc, fmt.Sprintf(c.connect, string(secret)))
			readConnack(t, nc)
			say(t, nc, fmt.Sprintf(c.first, 1))
			if _, err := io.ReadFull(nc, make([]byte, 4)); err != nil { // its PUBACK
				t.Fatal(err)
			}

			go func() { // reads what the server says, so that it is never stuck
				io.Copy(io.Discard, nc)
			}()
			sent := make(chan int)
			go func() {
				n := 1
				for ; ; n++ {
					var b []byte
					for i := range 64 {
						b = append(b, mustBytes(t, fmt.Sprintf(c.more, (n*64+i)%65000+1))...)
					}
					if _, err := nc.Write(b); err != nil {
						break
					}
				}
				sent <- n
			}()
			log := w.pair(t)
			for seen := log.Head; ; { // until the stream flows
				info, err := w.st.Info(log.ID)
				if err != nil {
					t.Fatal(err)
				}
				if info.Head > seen+500 {
					break
				}
			}
			if err := w.st.RemoveDevice(t.Context(), alice, phone); err != nil {
				t.Fatal(err)
			}
			if err := w.b.Disconnect(t.Context(), alice, phone, broker.ErrRemoved); err != nil {
				t.Fatal(err)
			}
			head := w.settled(t)
			<-sent
			if after := w.settled(t); after != head {
				t.Errorf("%d messages arrived after the device was signed out", after-head)
			}
			again := w.dial(overTCP)
			say(t, again, fmt.Sprintf(c.connect, string(secret)))
			b := make([]byte, 4)
			if _, err := io.ReadFull(again, b); err != nil || b[0] != 0x20 || b[3] == 0 {
				t.Errorf("it came back with % x, %v", b, err)
			}
		})
	}
}

// pair is the log of alice and bob.
func (w *world) pair(t *testing.T) store.LogInfo {
	t.Helper()
	info, err := w.st.Find(store.PairKey(w.users["alice"].ID, w.users["bob"].ID))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// settled is the head of the log once all that was appended until now is durable.
func (w *world) settled(t *testing.T) store.Seq {
	t.Helper()
	r, err := w.st.Append(store.Draft{Log: w.lobby.ID, Sender: w.users["bob"].ID, Text: []byte("after")}).Result()
	if err != nil || r.Seq == 0 {
		t.Fatal(err)
	}
	return w.pair(t).Head
}

// A login that was decided before its token ended does not outlive it, whichever comes first: the end of the token and of
// its sessions, or the session.
func TestTokenEndsWhileConnecting(t *testing.T) {
	w := newRealWorld(t)
	alice := w.users["alice"].ID
	for i := range 50 {
		client := fmt.Sprint("phone", i)
		phone := store.DeviceOf(alice, client)
		secret := hooks.NewToken(alice)
		for _, err := range []error{
			w.st.PutDevice(t.Context(), store.Device{Account: alice, ID: phone, ClientID: client}, 0),
			w.st.PutToken(t.Context(), store.Token{Account: alice, Device: phone, Hash: secret.Hash()}),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		nc := w.dial(overTCP)
		packet := mustBytes(t, fmt.Sprintf(`10 [ {MQTT} 05 c0 003c [ 11 00000e10 ] {%s} {alice} {%s} ]`, client, string(secret)))
		removed := make(chan error)
		go func() {
			err := w.st.RemoveDevice(t.Context(), alice, phone)
			if err == nil {
				err = w.b.Disconnect(t.Context(), alice, phone, broker.ErrRemoved)
			}
			removed <- err
		}()
		if _, err := nc.Write(packet); err != nil {
			t.Fatal(err)
		}
		if err := <-removed; err != nil {
			t.Fatal(err)
		}
		end(t, nc)
		if w.b.Online(alice, phone) {
			t.Fatalf("round %d: the device is online after its removal", i)
		}
	}
}

// end reads until the server closes the connection.
func end(t *testing.T, nc net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, nc); err != nil && !isTimeout(err) {
		return // reset: closed all the same
	} else if err != nil {
		t.Fatal(err)
	}
}
