package broker

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
	"github.com/hwangso/hwangso/store/journal"
	"github.com/hwangso/hwangso/store/journal/faultfs"
)

// A PUBACK is written only after the sync: while the disk hangs in it, nothing is acknowledged and nobody sees a
// message, however many are in flight.
func TestNothingIsAcknowledgedBeforeTheSync(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		t.Run(fmt.Sprint("QoS ", qos), func(t *testing.T) {
			fs := faultfs.New(journal.OS)
			w := newWorldOn(t, fs, "alice", "bob")
			alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
			bob.subscribe("user/+/json")
			alice.must("user/bob/text", "first") // the conversation exists

			const n = 2000
			blocked := fs.Freeze(faultfs.Datasync)
			for i := range n {
				alice.s.Publish(Publication{Topic: "user/bob/text", Payload: fmt.Append(nil, i)}, Ack{PacketID: uint16(i + 2), QoS: qos})
			}
			<-blocked
			if got := alice.outcomes(); len(got) != 1 {
				t.Errorf("%d outcomes while the sync hangs", len(got)-1)
			}
			if got := bob.deliveries(1); len(got) != 1 {
				t.Errorf("delivered before the sync: %q", got[1:])
			}
			fs.Thaw()
			for i, it := range alice.wait(n+1, outcome)[1:] {
				if it.Err != nil || it.Ack.PacketID != uint16(i+2) || it.Receipt.Seq != store.Seq(i+2) {
					t.Fatalf("outcome %d is %+v", i, it)
				}
			}
			for i, p := range bob.deliveries(n + 1)[1:] {
				if !strings.Contains(p, fmt.Sprintf(`"b":"%d"`, i)) {
					t.Fatalf("delivery %d is %s", i, p)
				}
			}
		})
	}
}

// When the disk fails the sender is told, nobody sees the message, and the server goes on when the disk is back.
func TestDiskFails(t *testing.T) {
	for _, fault := range []faultfs.Fault{
		{Op: faultfs.Write, Times: -1, Path: faultfs.Segments},
		{Op: faultfs.Datasync, Times: -1, Path: faultfs.Segments},
	} {
		t.Run(fmt.Sprint("operation ", int(fault.Op)), func(t *testing.T) {
			fs := faultfs.New(journal.OS)
			w := newWorldOn(t, fs, "alice", "bob")
			alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
			bob.subscribe("user/+/json")
			alice.must("user/bob/text", "before")
			fs.Inject(fault)
			it := alice.publish("user/bob/text", "refused")
			if c := store.CodeOf(it.Err); c != store.CodeUnavailable && c != store.CodeFull {
				t.Errorf("outcome %v", it.Err)
			}
			fs.Heal()
			r := alice.must("user/bob/text", "after")
			got := bob.deliveries(2)
			if r.Seq != 2 || len(got) != 2 || strings.Contains(strings.Join(got, ""), "refused") || !strings.Contains(got[1], `"s":2`) {
				t.Errorf("seq %d, bob got %q", r.Seq, got)
			}
		})
	}
}

// Clients reuse low packet identifiers: a second "ok" is a second message.
func TestSecondOKIsStored(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	bob.subscribe("user/+/text")
	for range 2 {
		alice.s.Publish(Publication{Topic: "user/bob/text", Payload: []byte("ok")}, Ack{PacketID: 1, QoS: 1})
	}
	equal(t, bob.deliveries(2), "ok", "ok")
	got := alice.wait(2, outcome)
	if got[0].Receipt.Seq != 1 || got[1].Receipt.Seq != 2 {
		t.Errorf("sequences %d and %d", got[0].Receipt.Seq, got[1].Receipt.Seq)
	}
}

// A QoS 2 publish is stored once until its PUBREL, over reconnects and restarts of the server too; then its identifier
// is free. So it is for a guest within its connection.
func TestQoS2IsStoredOnce(t *testing.T) {
	send := func(c *client, payload string) store.Receipt {
		n := len(c.outcomes())
		c.s.Publish(Publication{Topic: "user/bob/text", Payload: []byte(payload)}, Ack{PacketID: 7, QoS: 2})
		return c.wait(n+1, outcome)[n].Receipt
	}
	release := func(c *client) bool {
		n := len(c.outcomes())
		c.s.Release(7)
		return c.wait(n+1, outcome)[n].Receipt.Repeated
	}
	t.Run("device", func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice := w.connect("alice", "a")
		if r := send(alice, "x"); r.Seq != 1 || r.Repeated {
			t.Errorf("first: %+v", r)
		}
		alice.vanish()
		alice = w.connect("alice", "a")
		if r := send(alice, "x"); r.Seq != 1 || !r.Repeated {
			t.Errorf("after a reconnect: %+v", r)
		}
		alice.vanish()
		w.close()
		w.open()
		alice = w.connect("alice", "a")
		if r := send(alice, "x"); r.Seq != 1 || !r.Repeated {
			t.Errorf("after a restart: %+v", r)
		}
		if !release(alice) {
			t.Error("the identifier was not known at PUBREL")
		}
		if release(alice) {
			t.Error("the identifier is known after PUBREL")
		}
		if r := send(alice, "y"); r.Seq != 2 || r.Repeated {
			t.Errorf("after PUBREL: %+v", r)
		}
	})
	t.Run("guest", func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice := w.connect("alice", "a", withClean)
		if r := send(alice, "x"); r.Seq != 1 {
			t.Errorf("first: %+v", r)
		}
		if r := send(alice, "x"); r.Seq != 1 || !r.Repeated {
			t.Errorf("repeated: %+v", r)
		}
		if !release(alice) {
			t.Error("the identifier was not known at PUBREL")
		}
		if r := send(alice, "y"); r.Seq != 2 {
			t.Errorf("after PUBREL: %+v", r)
		}
	})
	t.Run("clean start", func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice := w.connect("alice", "a")
		send(alice, "x")
		alice.vanish()
		alice = w.connect("alice", "a", func(c *Connect, _ *client) { c.Clean = true })
		if r := send(alice, "x"); r.Seq != 2 || r.Repeated {
			t.Errorf("after a clean start: %+v", r)
		}
	})
}

// A cid is what identifies a repeat, also after a restart.
func TestCIDIsStoredOnce(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice := w.connect("alice", "a")
	if r := alice.must("user/bob/text/c1", "x"); r.Seq != 1 {
		t.Errorf("first: %+v", r)
	}
	if r := alice.must("user/bob/text/c1", "x"); r.Seq != 1 || !r.Repeated {
		t.Errorf("again: %+v", r)
	}
	alice.vanish()
	w.close()
	w.open()
	alice = w.connect("alice", "a")
	if r := alice.must("user/bob/text/c1", "x"); r.Seq != 1 || !r.Repeated {
		t.Errorf("after a restart: %+v", r)
	}
}

// Correlation Data is a cid, whatever its bytes.
func TestCorrelationDataIsACID(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	bob.subscribe("user/+/json")
	for i := range 2 {
		alice.s.Publish(Publication{Topic: "user/bob/text", Payload: []byte("x"), Correlation: []byte{0xff, 0, 0xfe}}, Ack{PacketID: uint16(i + 1), QoS: 1})
	}
	got := alice.wait(2, outcome)
	if got[0].Err != nil || got[1].Err != nil || got[1].Receipt.Seq != 1 || !got[1].Receipt.Repeated || got[0].Ack.CID != "_wD-" {
		t.Errorf("outcomes %+v", got)
	}
	if p := bob.deliveries(1)[0]; !strings.Contains(p, `"i":"_wD-"`) {
		t.Errorf("delivered %s", p)
	}
	alice.s.Publish(Publication{Topic: "user/bob/text", Payload: []byte("x"), Correlation: make([]byte, 97)}, Ack{PacketID: 3, QoS: 1})
	if it := alice.wait(3, outcome)[2]; store.CodeOf(it.Err) != store.CodeBad {
		t.Errorf("97 bytes: %v", it.Err)
	}
}

// A clean start skips what was not fetched, and confirms none of it: a push for it stays due.
func TestCleanStartConfirmsNothing(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	bob.subscribe("user/+/json")
	log := alice.must("user/bob/text", "1").Log
	bob.deliveries(1)
	bob.leave()
	alice.must("user/bob/text", "2")
	bob = w.connect("bob", "b", func(c *Connect, _ *client) { c.Clean = true })
	bob.subscribe("user/+/json")
	alice.must("user/bob/text", "3")
	if got := bob.deliveries(1); !strings.Contains(got[0], `"b":"3"`) {
		t.Errorf("after a clean start bob got %s", got[0])
	}
	bob.leave()
	cur, err := w.st.CursorOf(w.users["bob"].ID, bob.s.id.Device, log)
	if err != nil {
		t.Fatal(err)
	}
	for seq, want := range map[store.Seq]bool{1: true, 2: false, 3: true} {
		if cur.Confirmed(seq) != want {
			t.Errorf("confirmed(%d) is %v: %+v", seq, !want, cur)
		}
	}
}

// A QoS 0 write into a dead link confirms nothing; one that a packet follows does.
func TestQoS0IntoADeadLink(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	if _, err := bob.s.Subscribe(t.Context(), []SubRequest{{Filter: "user/+/text", QoS: 0}}); err != nil {
		t.Fatal(err)
	}
	alice.must("user/bob/text", "heard")
	bob.deliveries(1)
	for !bob.s.hasQoS0.Load() { // the write has returned a moment ago
	}
	bob.s.Heard()
	alice.must("user/bob/text", "lost")
	bob.deliveries(2)
	bob.vanish()
	bob = w.connect("bob", "b")
	equal(t, bob.deliveries(1), "lost")
	bob.leave() // an orderly end is a sign of life
	bob = w.connect("bob", "b")
	alice.must("user/bob/text", "new")
	equal(t, bob.deliveries(1), "new")
}

// A removal and the messages around it have one order: what is pipelined behind it is refused, and refused is not stored.
func TestKickAgainstPipelinedPublishes(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	room := w.room("lobby", "alice", "bob")
	bob := w.connect("bob", "b")
	const n = 500
	kicked := make(chan store.Receipt)
	go func() {
		kicked <- w.change(room.ID, "alice", store.Change{Kind: store.ChangeRemove, Account: w.users["bob"].ID})
	}()
	for i := range n {
		bob.s.Publish(Publication{Topic: "room/lobby/text", Payload: []byte("x")}, Ack{PacketID: uint16(i + 1), QoS: 1})
	}
	at := (<-kicked).Seq
	stored := 0
	for _, it := range bob.wait(n, outcome) {
		switch {
		case it.Err == nil && it.Receipt.Seq < at:
			stored++
		case it.Err == nil:
			t.Fatalf("stored as %d, after the removal at %d", it.Receipt.Seq, at)
		case store.CodeOf(it.Err) != store.CodeForbidden:
			t.Fatal(it.Err)
		}
	}
	info, err := w.st.Info(room.ID)
	if err != nil {
		t.Fatal(err)
	}
	if int(info.Head) != stored+1 {
		t.Errorf("%d messages and a removal are stored, the head is %d", stored, info.Head)
	}
}

// Who is taken in sees messages at once, without a new SUBSCRIBE; what was before stays unseen.
func TestJoinWithoutSubscribe(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	room := w.room("lobby", "alice")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	bob.subscribe("room/+/json")
	alice.must("room/lobby/text", "before")
	w.change(room.ID, "alice", store.Change{Kind: store.ChangeJoin, Account: w.users["bob"].ID, Role: store.RoleMember})
	alice.must("room/lobby/text", "after")
	got := bob.deliveries(2)
	if strings.Contains(got[0]+got[1], "before") || !strings.Contains(got[0], "joined") || strings.Contains(got[0], `"g"`) {
		t.Errorf("got %q", got)
	}
}

// A client that stops reading holds up nobody.
func TestStuckReader(t *testing.T) {
	w := newWorld(t, "alice", "bob", "carol")
	w.room("lobby", "alice", "bob", "carol")
	alice := w.connect("alice", "a")
	block := make(chan struct{})
	stuck := w.connect("bob", "b", func(_ *Connect, c *client) { c.block = block })
	carol := w.connect("carol", "c")
	carol.subscribe("room/+/json")
	stuck.subscribe("room/+/json")
	for i := range 1000 {
		alice.must("room/lobby/text", fmt.Sprint(i))
	}
	carol.deliveries(1000)
	close(block)
	stuck.deliveries(1000)
}

// Receive Maximum bounds what is in flight.
func TestWindow(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b", withoutAcks, func(c *Connect, _ *client) { c.Window = 3 })
	bob.subscribe("user/+/text")
	for i := range 10 {
		alice.must("user/bob/text", fmt.Sprint(i))
	}
	got := bob.wait(3, delivery)
	for i := range 7 {
		if len(got) != 3+i {
			t.Fatalf("%d in flight", len(got)-i)
		}
		bob.s.Acked(got[i].PacketID)
		got = bob.wait(4+i, delivery)
	}
}

func TestNoLocalAndOwnDevices(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	phone, laptop := w.connect("alice", "phone"), w.connect("alice", "laptop")
	if _, err := phone.s.Subscribe(t.Context(), []SubRequest{{Filter: "user/+/json", QoS: 1, NoLocal: true}}); err != nil {
		t.Fatal(err)
	}
	laptop.subscribe("user/+/json")
	phone.must("user/bob/text", "from the phone")
	laptop.must("user/bob/text", "from the laptop")
	if got := laptop.deliveries(2); !strings.Contains(got[0], "phone") || !strings.Contains(got[1], "laptop") {
		t.Errorf("laptop got %q", got)
	}
	if got := phone.deliveries(1); len(got) != 1 || !strings.Contains(got[0], "laptop") || !strings.Contains(got[0], `"g":[1,1]`) {
		t.Errorf("phone got %q", got)
	}
}

// Several messages in one PUBLISH, acknowledged together and resumed together.
func TestBatchView(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	bob.subscribe("user/+/batch")
	bob.leave()
	for i := range 100 {
		alice.must("user/bob/text", fmt.Sprint("message ", i))
	}
	bob = w.connect("bob", "b", withoutAcks)
	first := bob.wait(2, delivery) // half of the window is for catching up, in runs of 64
	bob.s.Acked(first[1].PacketID)
	bob.vanish()
	bob = w.connect("bob", "b", withoutAcks)
	again := bob.wait(1, delivery)
	if !again[0].Dup || again[0].PacketID != first[0].PacketID || string(again[0].Payload) != string(first[0].Payload) {
		t.Errorf("resumed as %q, was %q", again[0].Payload, first[0].Payload)
	}
	if len(again) != 1 {
		t.Errorf("%d deliveries: the acknowledged one came again", len(again))
	}
}

// A block is not noticed: the sender's outcome is that of a delivered message, and the other side sees nothing.
func TestBlockedSender(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	alice.subscribe("user/+/json")
	bob.subscribe("user/+/json")
	alice.must("user/bob/text", "1")
	bob.deliveries(1)
	w.block("bob", "alice", graph.BlockMessages)
	if r := alice.must("user/bob/text", "unseen"); r.Seq != 2 {
		t.Errorf("seq %d", r.Seq)
	}
	alice.deliveries(2) // her own copy
	w.block("bob", "alice", graph.BlockNone)
	alice.must("user/bob/text", "3")
	got := bob.deliveries(2)
	if len(got) != 2 || !strings.Contains(got[1], `"b":"3"`) || !strings.Contains(got[1], `"g":[2,2]`) {
		t.Errorf("bob got %q", got)
	}
}

func TestRemovedDevice(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	bob := w.connect("bob", "b")
	bob.subscribe("user/+/json")
	if err := w.b.Disconnect(t.Context(), w.users["bob"].ID, bob.s.id.Device, ErrRemoved); err != nil {
		t.Fatal(err)
	}
	if w.b.Online(w.users["bob"].ID, bob.s.id.Device) {
		t.Error("still online")
	}
}

func TestFilters(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	bob := w.connect("bob", "b")
	reqs := []SubRequest{{Filter: "room/none/json", QoS: 2}, {Filter: "t/plain"}, {Filter: "$share/g/room/#"}}
	res, err := bob.s.Subscribe(t.Context(), reqs)
	if err != nil {
		t.Fatal(err)
	}
	if res[0].Err != nil || res[0].Granted != 1 || res[0].Hint == "" {
		t.Errorf("a foreign room: %+v", res[0])
	}
	if res[1].Err == nil || res[2].Err == nil {
		t.Errorf("refused filters: %+v", res[1:])
	}
	for i := range 60 {
		res, err := bob.s.Subscribe(t.Context(), []SubRequest{{Filter: fmt.Sprintf("room/r%d/json", i)}})
		if err != nil {
			t.Fatal(err)
		}
		if full := store.CodeOf(res[0].Err) == store.CodeFull; full != (i >= 49) {
			t.Fatalf("filter %d: %v", i+2, res[0].Err)
		}
	}
	found, err := bob.s.Unsubscribe(t.Context(), []string{"room/r1/json", "room/other/json"})
	if err != nil || !found[0] || found[1] {
		t.Errorf("unsubscribe: %v, %v", found, err)
	}
}

// A follower that is late tells of records that a session has fetched by itself: they do not come again.
func TestLateFollower(t *testing.T) {
	gate := make(chan struct{})
	var late atomic.Bool
	events := Events{Committed: func(*store.Entry) {
		if late.Load() {
			<-gate
		}
	}}
	w := newWorldEvents(t, bolt.Config{}, events, "alice", "bob", "carol")
	w.room("lobby", "alice", "bob", "carol")
	alice, bob, carol := w.connect("alice", "a"), w.connect("bob", "b"), w.connect("carol", "c")
	bob.subscribe("room/+/json")
	carol.subscribe("room/+/json")
	bob.leave()
	carol.leave()
	late.Store(true)
	for i := range 10 {
		alice.must("room/lobby/text", fmt.Sprint(i))
	}
	bob = w.connect("bob", "b") // behind
	bob.deliveries(10)
	bob.acking.Wait()
	bob.s.saveCursors()
	bob.leave()
	bob = w.connect("bob", "b")     // has everything
	carol = w.connect("carol", "c") // behind, and stays
	carol.deliveries(10)
	carol.acking.Wait()
	carol.s.saveCursors()
	late.Store(false)
	close(gate)
	alice.must("room/lobby/text", "new")
	if got := bob.deliveries(1); !strings.Contains(got[0], `"b":"new"`) {
		t.Errorf("bob, who had everything, got %s", got[0])
	}
	for i, p := range carol.deliveries(11) {
		if !strings.HasPrefix(p, fmt.Sprintf(`{"s":%d,`, i+1)) {
			t.Errorf("carol's delivery %d is %s", i+1, p)
		}
	}
}

// held is a store whose next answer about the bounds of the journal waits.
type held struct {
	store.Store
	next   atomic.Bool
	asked  chan struct{}
	answer chan struct{}
}

func (h *held) Bounds() (first, next store.Position) {
	if h.next.CompareAndSwap(true, false) {
		close(h.asked)
		<-h.answer
	}
	return h.Store.Bounds()
}

// A session that is slow to look where its device stands, while the device has subscribed and the follower of the journal is
// late, misses nothing of what was committed after the SUBSCRIBE.
func TestSubscribedWhileLoading(t *testing.T) {
	gate := make(chan struct{})
	var late atomic.Bool
	events := Events{Committed: func(*store.Entry) {
		if late.Load() {
			<-gate
		}
	}}
	slow := &held{asked: make(chan struct{}), answer: make(chan struct{})}
	w := newWorldStore(t, events, func(st store.Store) store.Store { slow.Store = st; return slow }, "alice", "bob")
	w.room("lobby", "alice", "bob")
	alice := w.connect("alice", "a")
	alice.must("user/bob/text", "before")
	slow.next.Store(true)
	bob := w.connect("bob", "b")
	<-slow.asked // it looks
	bob.subscribe("room/+/json", "user/+/json")
	late.Store(true)
	alice.must("room/lobby/text", "one")
	alice.must("user/bob/text", "one")
	close(slow.answer)
	bob.s.Send([]byte("written once it has looked"))
	bob.wait(1, func(it Item) bool { return it.Kind == ItemFrame })
	late.Store(false)
	close(gate)
	alice.must("room/lobby/text", "two")
	alice.must("user/bob/text", "two")
	got := bob.wait(4, func(it Item) bool { return it.Kind == ItemDelivery })
	for topic, seqs := range map[string][2]int{"room/lobby/json": {1, 2}, "user/alice/json": {2, 3}} {
		i := 0
		for _, it := range got {
			if it.Topic != topic {
				continue
			}
			if i == 2 || !strings.Contains(string(it.Payload), fmt.Sprintf(`{"s":%d,`, seqs[i])) {
				t.Errorf("delivery %d on %s is %s", i+1, topic, it.Payload)
			}
			i++
		}
	}
}

// In a crowded room a message asks for the connected devices only; who joins, leaves, connects and disconnects is
// counted in.
func TestCrowdedRoom(t *testing.T) {
	w := newWorld(t, "alice", "bob", "carol")
	members := []store.Member{{Account: w.users["alice"].ID, Role: store.RoleOwner}, {Account: w.users["bob"].ID, Role: store.RoleMember}}
	for i := range crowded {
		a, err := w.st.CreateAccount(t.Context(), store.Account{Name: fmt.Sprint("u", i)})
		if err != nil {
			t.Fatal(err)
		}
		w.users[a.Name] = a
		members = append(members, store.Member{Account: a.ID, Role: store.RoleMember})
	}
	info, _, err := w.st.Open(t.Context(), store.RoomKey("hall"), store.Creation{Members: members})
	if err != nil {
		t.Fatal(err)
	}
	alice, bob, carol := w.connect("alice", "a"), w.connect("bob", "b"), w.connect("carol", "c")
	bob.subscribe("room/+/json")
	carol.subscribe("room/+/json")
	alice.must("room/hall/text", "1")
	bob.deliveries(1)
	first, second := w.connect("u7", "phone"), w.connect("u8", "phone")
	first.subscribe("room/+/json")
	second.subscribe("room/+/json")
	w.change(info.ID, "alice", store.Change{Kind: store.ChangeJoin, Account: w.users["carol"].ID, Role: store.RoleMember})
	alice.must("room/hall/text", "3")
	for _, c := range []*client{first, second, carol} {
		if got := c.deliveries(2); !strings.HasPrefix(got[0], `{"s":2,`) || !strings.HasPrefix(got[1], `{"s":3,`) {
			t.Errorf("%s got %q", c.s.id.Name, got)
		}
	}
	second.leave()
	w.change(info.ID, "alice", store.Change{Kind: store.ChangeRemove, Account: w.users["bob"].ID})
	alice.must("room/hall/text", "5")
	first.deliveries(4)
	if got := bob.deliveries(4); len(got) != 4 || !strings.Contains(got[3], `"removed"`) {
		t.Errorf("bob got %q", got)
	}
	second = w.connect("u8", "phone")
	alice.must("room/hall/text", "6")
	if got := second.deliveries(3); !strings.HasPrefix(got[2], `{"s":6,`) {
		t.Errorf("after coming back: %q", got)
	}
	w.settle() // the last message's list is made before they go, though it reached u8 without
	for _, c := range []*client{alice, bob, carol, first, second} {
		c.leave()
	}
	if n := len(w.b.registry.crowds); n != 0 {
		t.Errorf("%d crowds of nobody", n)
	}
}
