package wire

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/hooks/limit"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
)

// world is the real broker over a real store behind every transport, with friends alice and bob and both in room lobby.
// Everybody's token is "pw-" and the name. Nobody is limited, unless limits are given.
type world struct {
	testing.TB
	st    *bolt.Store
	b     *broker.Broker
	srv   *Server
	users map[string]store.Account
	lobby store.LogInfo

	tcp, tls string
	http     *httptest.Server
	roots    *tls.Config
}

func newRealWorld(t testing.TB, limits ...*limit.Limiter) *world {
	t.Helper()
	w := &world{TB: t, users: make(map[string]store.Account)}
	ctx := t.Context()
	var err error
	check := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w.st, err = bolt.Open(bolt.Config{Dir: t.TempDir(), MinFree: -1})
	check()
	for _, name := range []string{"alice", "bob"} {
		a, e := w.st.CreateAccount(ctx, store.Account{Name: name})
		err = e
		check()
		err = w.st.PutToken(ctx, store.Token{Account: a.ID, Hash: hooks.Secret("pw-" + name).Hash()})
		check()
		w.users[name] = a
	}
	a, b := w.users["alice"].ID, w.users["bob"].ID
	for _, pair := range [][2]store.AccountID{{a, b}, {b, a}} {
		_, err = w.st.SetEdge(ctx, store.EdgeFriend, pair[0], pair[1], true, 0)
		check()
	}
	w.lobby, _, err = w.st.Open(ctx, store.RoomKey("lobby"), store.Creation{By: a, Members: []store.Member{{Account: a, Role: store.RoleOwner}, {Account: b, Role: store.RoleMember}}})
	check()
	var l *limit.Limiter
	if len(limits) > 0 {
		l = limits[0]
	}
	w.b, err = broker.New(broker.Config{Store: w.st, Limits: l})
	check()
	auth, err := hooks.NewAuthenticator(hooks.Config{Directory: w.st})
	check()
	cfg := Default()
	cfg.Limits = l
	w.srv, err = New(cfg, w.b, auth)
	check()

	pair, roots := newCertificate(t, 1)
	w.roots = &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
	serve := func(secure bool) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if secure {
				err = w.srv.ServeTLS(ctx, l, &tls.Config{Certificates: []tls.Certificate{pair}})
			} else {
				err = w.srv.Serve(ctx, l)
			}
			if err != nil {
				t.Error(err)
			}
		}()
		return l.Addr().String()
	}
	w.tcp, w.tls = serve(false), serve(true)
	mux := http.NewServeMux()
	mux.Handle("/mqtt", w.srv)
	w.http = httptest.NewServer(mux)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for _, err := range []error{w.srv.Shutdown(ctx), w.b.Close(ctx), w.st.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
		w.http.Close()
	})
	return w
}

// dial opens a stream to the server over a transport.
func (w *world) dial(over transport) net.Conn {
	w.Helper()
	var nc net.Conn
	var err error
	switch over {
	case overTCP:
		nc, err = net.Dial("tcp", w.tcp)
	case overTLS:
		nc, err = tls.Dial("tcp", w.tls, w.roots)
	case overWS:
		nc, err = dialWS(w.Context(), w.http.URL, nil)
	}
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { nc.Close() })
	return nc
}

func dialWS(ctx context.Context, url string, header http.Header) (net.Conn, error) {
	ws, _, err := websocket.Dial(ctx, strings.Replace(url, "http", "ws", 1)+"/mqtt", &websocket.DialOptions{Subprotocols: []string{"mqtt"}, HTTPHeader: header})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(-1)
	return websocket.NetConn(context.Background(), ws, websocket.MessageBinary), nil
}

// phone is a paho client.
type phone struct {
	*paho.Client
	ack  *paho.Connack
	got  chan *paho.Publish
	gone chan *paho.Disconnect
}

func (w *world) phone(over transport, user, id string, clean bool) *phone {
	w.Helper()
	p := &phone{got: make(chan *paho.Publish, 4096), gone: make(chan *paho.Disconnect, 1)}
	p.Client = paho.NewClient(paho.ClientConfig{
		Conn:          packets.NewThreadSafeConn(w.dial(over)), // a packet is several writes
		PacketTimeout: 30 * time.Second,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(m paho.PublishReceived) (bool, error) {
			p.got <- m.Packet
			return true, nil
		}},
		OnServerDisconnect: func(d *paho.Disconnect) { p.gone <- d },
		OnClientError:      func(error) {},
	})
	expiry := uint32(3600)
	connect := &paho.Connect{ClientID: id, CleanStart: clean, KeepAlive: 30, UsernameFlag: true, Username: user, PasswordFlag: true, Password: []byte("pw-" + user)}
	if !clean {
		connect.Properties = &paho.ConnectProperties{SessionExpiryInterval: &expiry}
	}
	ack, err := p.Connect(w.Context(), connect)
	if err != nil {
		w.Fatalf("%s: %v", user, err)
	}
	p.ack = ack
	w.Cleanup(func() { p.Disconnect(&paho.Disconnect{}) })
	return p
}

func (w *world) subscribe(p *phone, filter string) {
	w.Helper()
	if _, err := p.Subscribe(w.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}}}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) next(p *phone) *paho.Publish {
	w.Helper()
	select {
	case m := <-p.got:
		return m
	case <-time.After(30 * time.Second):
		w.Fatal("nothing arrived")
		return nil
	}
}
