package mochihook

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// town is what hooks asks of a store, in maps: some users whose token is "pw", all friends of each other but for the
// stranger, and a room.
type town struct {
	mu      sync.Mutex
	names   []string
	expires map[string]int64
	blocks  map[[2]store.AccountID]bool
	devices map[store.DeviceID]store.Device
	room    *store.Membership

	store.Tables // for the methods that nobody calls
}

const stranger = "mallory"

func newTown() *town {
	w := &town{names: []string{"alice", "bob", "carol", stranger}, expires: map[string]int64{}, blocks: map[[2]store.AccountID]bool{},
		devices: map[store.DeviceID]store.Device{}}
	for _, name := range []string{"alice", "bob"} {
		w.join(name)
	}
	return w
}

func (w *town) id(name string) store.AccountID {
	for i, n := range w.names {
		if n == name {
			return store.AccountID(i + 1)
		}
	}
	return 0
}

func (w *town) change(kind store.ChangeKind, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.room = w.room.Apply(store.Change{Kind: kind, Account: w.id(name), Role: store.RoleMember}, 1, 0)
}
func (w *town) join(name string)  { w.change(store.ChangeJoin, name) }
func (w *town) leave(name string) { w.change(store.ChangeLeave, name) }
func (w *town) block(a, b string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blocks[[2]store.AccountID{w.id(a), w.id(b)}] = true
}

func (w *town) Account(id store.AccountID) (store.Account, error) {
	if id < 1 || int(id) > len(w.names) {
		return store.Account{}, store.ErrNotFound
	}
	return store.Account{ID: id, Name: w.names[id-1]}, nil
}
func (w *town) AccountByName(name string) (store.Account, error) { return w.Account(w.id(name)) }
func (w *town) TokenByHash(a store.AccountID, hash [32]byte) (store.Token, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	acc, err := w.Account(a)
	if err != nil || hash != hooks.Secret("pw").Hash() {
		return store.Token{}, store.ErrNotFound
	}
	return store.Token{Account: a, Hash: hash, Expires: w.expires[acc.Name]}, nil
}
func (w *town) Device(a store.AccountID, d store.DeviceID) (store.Device, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if dev, ok := w.devices[d]; ok {
		return dev, nil
	}
	return store.Device{}, store.ErrNotFound
}
func (w *town) PutDevice(_ context.Context, d store.Device, _ int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.devices[d.ID] = d
	return nil
}
func (w *town) HasEdge(_ store.Edge, from, to store.AccountID) (bool, error) {
	return from != w.id(stranger) && to != w.id(stranger), nil
}

// Row has the blocks, and that nobody takes messages of strangers.
func (w *town) Row(t store.Table, o store.Owner, key string) (store.Row, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := store.Row{Owner: o, Key: key}
	switch {
	case t == "user.settings":
		r.Version, r.Value = 1, []byte(`{"strangers":"closed"}`)
	case t == "user.relation" && w.blocks[[2]store.AccountID{store.AccountID(o.Number()), store.AccountID(store.NumberOf(key))}]:
		r.Version, r.Value = 1, []byte(`{"block":1,"friend":true}`)
	}
	return r, nil
}
func (w *town) Update(context.Context, store.Update) error { return nil }
func (w *town) Standing(store.LogID) (store.Marks, error)  { return store.Marks{}, nil }
func (w *town) Read(store.Query) (store.Page, error)       { return store.Page{}, nil }
func (w *town) Info(store.LogID) (store.LogInfo, error)    { return store.LogInfo{}, store.ErrNotFound }

func (w *town) LogsOf(store.AccountID, store.LogID, int) ([]store.LogRef, error) { return nil, nil }

func (w *town) Find(key store.Key) (store.LogInfo, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case key == store.RoomKey("lobby"):
		return store.LogInfo{ID: 1, Key: key, Members: w.room}, nil
	case key == store.PairKey(w.id("alice"), w.id("bob")):
		var ms *store.Membership
		for _, a := range []store.AccountID{key.A, key.B} {
			ms = ms.Apply(store.Change{Kind: store.ChangeJoin, Account: a}, 1, 0)
		}
		return store.LogInfo{ID: 2, Key: key, Members: ms}, nil
	}
	return store.LogInfo{}, store.ErrNotFound
}

// serve starts a plain mochi server with the hook, and others after it, and returns its address.
func serve(t *testing.T, w *town, change func(*Options), after ...mqtt.Hook) string {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	server := mqtt.New(&mqtt.Options{InlineClient: true, Logger: log})
	auth, err := hooks.NewAuthenticator(hooks.Config{Directory: w})
	if err != nil {
		t.Fatal(err)
	}
	opt := &Options{Server: server, Authenticator: auth, Access: hooks.NewAccess(w, hooks.AccessConfig{}), Accounts: w}
	if change != nil {
		change(opt)
	}
	if err := server.AddHook(new(Hook), opt); err != nil {
		t.Fatal(err)
	}
	for _, other := range after {
		if err := server.AddHook(other, nil); err != nil {
			t.Fatal(err)
		}
	}
	tcp := listeners.NewTCP(listeners.Config{ID: "tcp", Address: "127.0.0.1:0"})
	if err := server.AddListener(tcp); err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return tcp.Address()
}

func expect(t *testing.T, c *client, want string) {
	t.Helper()
	if got := c.next(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLogin(t *testing.T) {
	w := newTown()
	addr := serve(t, w, nil)
	for _, version := range []byte{4, 5} {
		for _, l := range []login{{user: "alice", secret: "wrong"}, {user: "nobody", secret: "pw"}, {secret: "pw"}} {
			l.version, l.id = version, "c"
			if _, code := dial(t, addr, l); code == 0 {
				t.Errorf("%q with %q is let in", l.user, l.secret)
			}
		}
		open(t, addr, login{user: "Alice", secret: "pw", id: "c", version: version})
	}
}

// chat is what alice and bob see of a message, for every version and QoS.
func TestChat(t *testing.T) {
	for _, version := range []byte{4, 5} {
		addr := serve(t, newTown(), nil)
		alice := open(t, addr, login{user: "alice", secret: "pw", id: "a", version: version})
		desk := open(t, addr, login{user: "alice", secret: "pw", id: "desk", version: version})
		bob := open(t, addr, login{user: "bob", secret: "pw", id: "b", version: version})
		carol := open(t, addr, login{user: "carol", secret: "pw", id: "c", version: version})
		for _, c := range []*client{alice, desk, bob, carol} {
			if codes := c.subscribe("#"); codes[0] != 1 {
				t.Fatalf("SUBACK %v", codes)
			}
		}
		for qos := byte(0); qos <= 2; qos++ {
			if code := alice.publish("user/Bob/json/c1", "hi", qos); code != 0 {
				t.Errorf("QoS %d: %#x", qos, code)
			}
			expect(t, bob, "user/alice/json: hi")
			expect(t, alice, "user/bob/json: hi")
			expect(t, desk, "user/bob/json: hi")
		}
		alice.publish("user/bob/text", "plain", 1)
		expect(t, bob, "user/alice/text: plain")
		bob.publish("user/alice/typing", "", 0)
		expect(t, alice, "user/bob/typing/bob: ")
		expect(t, desk, "user/bob/typing/bob: ")
		bob.publish("room/Lobby/text/c2", "all", 1)
		for _, c := range []*client{alice, desk, bob} {
			expect(t, c, "room/lobby/text: all")
		}
		bob.publish("room/lobby/typing", "", 0)
		for _, c := range []*client{alice, desk, bob} {
			expect(t, c, "room/lobby/typing/bob: ")
		}
		alice.publish("user/alice/json", "note", 1)
		expect(t, alice, "user/alice/json: note")
		expect(t, desk, "user/alice/json: note")
		carol.drained("carol") // none of it was hers
		bob.drained("bob")
	}
}

// fresh makes client identifiers that no earlier connection used: a plain mochi server, cleaning up after an old
// connection, can take the new one's session with it.
func fresh(name string) string { return fmt.Sprint(name, "-", made.Add(1)) }

var made atomic.Int64

func TestFiltersSelect(t *testing.T) {
	addr := serve(t, newTown(), nil)
	for _, version := range []byte{4, 5} {
		alice := open(t, addr, login{user: "alice", secret: "pw", id: fresh("a"), version: version})
		bob := open(t, addr, login{user: "bob", secret: "pw", id: fresh("b"), version: version})
		codes := bob.subscribe("room/lobby/text", "$share/g/room/#", "$SYS/#", "~alice/#", "~bob/#", "room/lobby", strings.Repeat("a/", 300)+"a", "user/+/json")
		for i, code := range codes {
			if granted := i == 0 || i == 7; (code == 1) != granted || !granted && code < 0x80 {
				t.Errorf("version %d, filter %d: %#x", version, i, code)
			}
		}
		alice.publish("room/lobby/json", "not selected", 1)
		alice.publish("room/lobby/text", "selected", 1)
		expect(t, bob, "room/lobby/text: selected")
		bob.unsubscribe("Room/lobby/text") // no such filter
		bob.unsubscribe("room/LOBBY/text")
		alice.publish("room/lobby/text", "too late", 1)
		bob.drained("bob")
		alice.conn.Close()
		bob.conn.Close()
	}
}

func TestMembershipActsOnTheNextMessage(t *testing.T) {
	w := newTown()
	addr := serve(t, w, nil)
	alice := open(t, addr, login{user: "alice", secret: "pw", id: fresh("a"), version: 5})
	carol := open(t, addr, login{user: "carol", secret: "pw", id: fresh("c"), version: 5})
	carol.subscribe("#")
	alice.publish("room/lobby/text", "before", 1)
	w.join("carol")
	alice.publish("room/lobby/text", "member", 1)
	expect(t, carol, "room/lobby/text: member")
	w.leave("carol")
	alice.publish("room/lobby/text", "after", 1)
	carol.drained("carol")
}

func TestBlockIsNotNoticed(t *testing.T) {
	w := newTown()
	addr := serve(t, w, nil)
	for _, version := range []byte{4, 5} {
		alice := open(t, addr, login{user: "alice", secret: "pw", id: fresh("a"), version: version})
		bob := open(t, addr, login{user: "bob", secret: "pw", id: fresh("b"), version: version})
		alice.subscribe("#")
		bob.subscribe("#")
		w.block("bob", "alice")
		if code := alice.publish("user/bob/json", "heard by nobody", 1); code != 0 {
			t.Errorf("PUBACK %#x", code)
		}
		expect(t, alice, "user/bob/json: heard by nobody")
		alice.drained("alice")
		bob.drained("bob")
	}
}

func TestRefusals(t *testing.T) {
	addr := serve(t, newTown(), nil)
	for topic, want := range map[string]struct {
		code byte
		body string
	}{
		"user/mallory/json": {0x87, `{"code":403,"error":"unreachable","retry_ms":0,"text":"you cannot reach this user or room"}`},
		"user/nobody/json":  {0x87, `{"code":403,"error":"unreachable","retry_ms":0,"text":"you cannot reach this user or room"}`},
		"room/nowhere/text": {0x87, `{"code":403,"error":"not_member","retry_ms":0,"text":"not a member"}`},
		"user/bob/line":     {0x90, `{"code":400,"error":"topic","retry_ms":0,"text":"\"user/bob/line\": line is for receiving; publish as text, json or cbor"}`},
		"reply/1":           {0x90, `{"code":400,"error":"topic","retry_ms":0,"text":"\"reply/1\" is written by the server only"}`},
		"~bob/user/x/json":  {0x90, `{"code":400,"error":"topic","retry_ms":0,"text":"\"~bob/user/x/json\": topics begin with room/, user/, channel/, thread/ or api/"}`},
		"channel/cafe/text": {0x87, `{"code":404,"error":"not_found","retry_ms":0,"text":"there is no such channel"}`},
		"room/lobby/read":   {0x87, `{"code":404,"error":"not_found","retry_ms":0,"text":"this server keeps no read marks"}`},
	} {
		for _, version := range []byte{4, 5} {
			bob := open(t, addr, login{user: "bob", secret: "pw", id: fresh("b"), version: version})
			bob.subscribe("#")
			c := open(t, addr, login{user: "alice", secret: "pw", id: fresh("a"), version: version})
			for qos := byte(0); qos <= 2; qos++ {
				code := c.publish(topic, "x", qos)
				if version == 5 && qos > 0 {
					if code != want.code {
						t.Errorf("%s version 5 QoS %d: %#x", topic, qos, code)
					}
					continue
				}
				if code != 0 {
					t.Errorf("%s version %d QoS %d: %#x", topic, version, qos, code)
				}
				rid := "reply/-0: "
				if qos > 0 {
					rid = "reply/-" + string('0'+rune(c.id)) + ": "
				}
				expect(t, c, rid+want.body)
			}
			c.publish("user/bob/text", "still here", 1)
			expect(t, bob, "user/alice/text: still here")
			bob.conn.Close()
			c.conn.Close()
		}
	}
	c := open(t, addr, login{user: "alice", secret: "pw", id: fresh("cid"), version: 4})
	c.publish("user/mallory/text/my-id", "x", 1)
	if got := c.next(); !strings.HasPrefix(got, `reply/my-id: {"code":403`) {
		t.Error(got)
	}
	c.publish("user/mallory/typing", "", 0) // never told
	c.subscribe("user/+/json")
	c.drained("alice")
}

// A refused publish that sets a topic alias must not leave the way open for the next message to go astray.
func TestAliases(t *testing.T) {
	w := newTown()
	addr := serve(t, w, nil)
	bob := open(t, addr, login{user: "bob", secret: "pw", id: fresh("b"), version: 5})
	bob.subscribe("#")
	c := open(t, addr, login{user: "alice", secret: "pw", id: fresh("a"), version: 5})
	alias := func(pk *packets.Packet) { pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = 1, true }
	c.publish("room/lobby/text", "one", 1, alias)
	expect(t, bob, "room/lobby/text: one")
	c.publish("", "two", 1, alias)
	expect(t, bob, "room/lobby/text: two")
	if code := c.publish("user/mallory/text", "three", 1, alias); code != 0x87 {
		t.Errorf("refused: %#x", code)
	}
	if code := c.publish("", "for mallory", 1, alias); code != 0x87 {
		t.Errorf("the alias of a refused publish leads elsewhere: %#x", code)
	}
	w.leave("alice")
	c.publish("user/bob/text", "four", 1, alias)
	expect(t, bob, "user/alice/text: four")
	if code := c.publish("room/lobby/text", "five", 1, alias); code != 0x87 {
		t.Errorf("after leaving: %#x", code)
	}
	if code := c.publish("", "six", 1, alias); code != 0x87 {
		t.Errorf("alias after leaving: %#x", code)
	}
	bob.drained("bob")
}

func TestRetainedAndWills(t *testing.T) {
	ended := make(ends, 16)
	addr := serve(t, newTown(), nil, &watch{ended: ended})
	alice := open(t, addr, login{user: "alice", secret: "pw", id: "first", version: 4, will: "~bob/user/carol/json"})
	alice.publish("room/lobby/json", "kept?", 1, func(pk *packets.Packet) { pk.FixedHeader.Retain = true })
	bob := open(t, addr, login{user: "bob", secret: "pw", id: "b", version: 4})
	bob.subscribe("#")
	alice.conn.Close() // without DISCONNECT
	<-ended            // mochi sends wills before it tells
	alice = open(t, addr, login{user: "alice", secret: "pw", id: "second", version: 4})
	alice.publish("user/bob/json", "after", 1)
	expect(t, bob, "user/alice/json: after")
	bob.drained("bob")
}

// Two users with one client identifier: neither gets the other's session.
func TestClientIDBelongsToItsUser(t *testing.T) {
	addr := serve(t, newTown(), nil)
	for _, version := range []byte{4, 5} {
		phone := fresh("phone")
		alice := open(t, addr, login{user: "alice", secret: "pw", id: phone, version: version, persistent: true})
		alice.subscribe("#")
		carol := open(t, addr, login{user: "carol", secret: "pw", id: phone, version: version, persistent: true})
		carol.drainedWithout(t)
		alice.drained("alice") // still connected
		bob := open(t, addr, login{user: "bob", secret: "pw", id: fresh("b"), version: version})
		bob.publish("user/alice/json", "for alice", 1)
		expect(t, alice, "user/bob/json: for alice")
		carol.drainedWithout(t)
		for _, c := range []*client{alice, bob, carol} {
			c.conn.Close()
		}
	}
}

// drainedWithout is drained for a client without filters.
func (c *client) drainedWithout(t *testing.T) {
	t.Helper()
	c.write(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	c.await(packets.Pingresp)
	if len(c.waiting) > 0 {
		t.Errorf("unexpected delivery on %s", c.waiting[0].TopicName)
	}
}

// ends tells of connections that the server has forgotten, by client identifier.
type ends chan string

// watch is a hook that is asked after ours.
type watch struct {
	mqtt.HookBase
	ended ends
}

func (*watch) Provides(event byte) bool { return event == mqtt.OnDisconnect }
func (w *watch) OnDisconnect(cl *mqtt.Client, _ error, _ bool) {
	w.ended <- cl.ID
}

func TestGuests(t *testing.T) {
	w := newTown()
	ended := make(ends, 16)
	addr := serve(t, w, func(o *Options) { o.Guests = 2 }, &watch{ended: ended})
	one := open(t, addr, login{user: "alice", secret: "pw", id: "g1", version: 4})
	two := open(t, addr, login{user: "alice", secret: "pw", id: "g2", version: 4})
	for _, c := range []*client{one, two} { // a guest is counted after its CONNACK, and before it is answered anything
		c.drainedWithout(t)
	}
	three, _ := dial(t, addr, login{user: "alice", secret: "pw", id: "g3", version: 4})
	three.closed()
	open(t, addr, login{user: "bob", secret: "pw", id: "g1", version: 4})
	device := open(t, addr, login{user: "alice", secret: "pw", id: "phone", version: 4, persistent: true})
	device.drainedWithout(t)
	two.drainedWithout(t)

	// A guest that ends makes room. Its end is known when the server has forgotten it.
	one.conn.Close()
	for id := range ended {
		if id == "alice/g1" {
			break
		}
	}
	four := open(t, addr, login{user: "alice", secret: "pw", id: "g4", version: 4})
	four.drainedWithout(t)
}

// soon is an Authenticator whose tokens end right after the login.
type soon struct{ Authenticator }

func (a soon) Connect(ctx context.Context, c hooks.Credentials) (hooks.Identity, error) {
	id, err := a.Authenticator.Connect(ctx, c)
	id.Expires = time.Now().Add(20 * time.Millisecond)
	return id, err
}

func TestSessionEndsWithItsToken(t *testing.T) {
	w := newTown()
	w.expires["carol"] = time.Now().Add(-time.Second).UnixMilli()
	addr := serve(t, w, func(o *Options) { o.Authenticator = soon{o.Authenticator} })
	open(t, addr, login{user: "bob", secret: "pw", id: "b", version: 4}).closed()
	if _, code := dial(t, addr, login{user: "carol", secret: "pw", id: "c", version: 4}); code == 0 {
		t.Error("an expired token is let in")
	}
}

func TestOptions(t *testing.T) {
	h := new(Hook)
	if err := h.Init(nil); err == nil {
		t.Error("no options")
	}
	if err := h.Init(&Options{}); err == nil {
		t.Error("empty options")
	}
	if err := h.Init(&Options{Server: mqtt.New(nil), Authenticator: &hooks.Authenticator{}, Access: &hooks.Access{}, Accounts: newTown()}); err == nil {
		t.Error("a server without an inline client")
	}
}

// Entries of connections that never were established do not pile up.
func TestSweep(t *testing.T) {
	server := mqtt.New(&mqtt.Options{InlineClient: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	h := new(Hook)
	if err := h.Init(&Options{Server: server, Authenticator: &hooks.Authenticator{}, Access: &hooks.Access{}, Accounts: newTown()}); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		cl := server.NewClient(nil, "l", "c", false)
		h.add(cl, new(session))
		cl.Stop(io.EOF)
	}
	if n := len(h.sessions); n > 40 {
		t.Errorf("%d entries of closed connections", n)
	}
}
