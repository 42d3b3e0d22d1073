package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/broker/wire"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
)

// startServer serves users alice and bob, who are no friends, with the token "pw" each.
func startServer(t *testing.T) (addr string) {
	st, err := bolt.Open(bolt.Config{Dir: t.TempDir(), MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"alice", "bob"} {
		a, err := st.CreateAccount(t.Context(), store.Account{Name: name})
		if err == nil {
			err = st.PutToken(t.Context(), store.Token{Account: a.ID, Hash: hooks.Secret("pw").Hash()})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := broker.New(broker.Config{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	auth, err := hooks.NewAuthenticator(hooks.Config{Directory: st})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := wire.New(wire.Default(), b, auth)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := errors.Join(srv.Shutdown(ctx), b.Close(ctx), st.Close(), <-served); err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

func TestReadingsComeBack(t *testing.T) {
	addr := startServer(t)
	for _, qos := range []string{"0", "1", "2"} {
		for range 2 { // the second time with the session of the first
			var out strings.Builder
			if err := run(t.Context(), []string{"-addr", addr, "-user", "alice", "-token", "pw", "-n", "300", "-qos", qos}, &out); err != nil {
				t.Fatalf("QoS %s: %v\n%s", qos, err, out.String())
			}
			if !strings.Contains(out.String(), "300 came back") || qos != "0" && !strings.Contains(out.String(), "300 acknowledged") {
				t.Errorf("QoS %s: %s", qos, out.String())
			}
		}
	}
}

func TestRefusalIsTold(t *testing.T) {
	addr := startServer(t)
	var out strings.Builder
	err := run(t.Context(), []string{"-addr", addr, "-user", "alice", "-token", "pw", "-to", "user/bob", "-n", "2"}, &out)
	if err == nil || !strings.Contains(err.Error(), "reading 0 was refused: ") || !strings.Contains(out.String(), "2 acknowledged, 0 came back") {
		t.Errorf("%v\n%s", err, out.String())
	}
	err = run(t.Context(), []string{"-addr", addr, "-user", "alice", "-token", "wrong"}, &out)
	if err == nil || !strings.Contains(err.Error(), "bad user name or password") {
		t.Errorf("a wrong token: %v", err)
	}
}
