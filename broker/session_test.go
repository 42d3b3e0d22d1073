package broker

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

func TestTwoFriends(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	bob.subscribe("user/+/text")
	alice.subscribe("user/+/text")
	alice.must("user/bob/text", "hi")
	alice.must("user/bob/text", "are you there?")
	equal(t, bob.deliveries(2), "hi", "are you there?")
	bob.must("user/alice/text", "yes")
	equal(t, alice.deliveries(1), "yes") // her own messages are not in the text view of a conversation of two
	if got := bob.wait(1, delivery)[0].Topic; got != "user/alice/text" {
		t.Errorf("delivered on %s", got)
	}
}

func TestAwayAndBack(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	if bob.present {
		t.Error("a new session is present")
	}
	bob.subscribe("user/+/json")
	bob.leave()
	for i := range 300 {
		alice.must("user/bob/text", fmt.Sprint(i))
	}
	bob = w.connect("bob", "b")
	if !bob.present {
		t.Error("the session is not present")
	}
	got := bob.deliveries(300)
	for i, p := range got {
		if !strings.Contains(p, fmt.Sprintf(`"s":%d,`, i+1)) || !strings.Contains(p, fmt.Sprintf(`"b":"%d"`, i)) {
			t.Fatalf("delivery %d is %s", i, p)
		}
	}
	bob.leave()
	alice.must("user/bob/text", "later")
	bob = w.connect("bob", "b")
	if got := bob.deliveries(1); len(got) != 1 || !strings.Contains(got[0], `"b":"later"`) {
		t.Fatalf("after all was acknowledged: %q", got)
	}
}

// What was in flight is sent again with its identifier and DUP; what was acknowledged out of order is not.
func TestInflightIsResumed(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b", withoutAcks)
	bob.subscribe("user/+/json")
	for i := range 5 {
		alice.must("user/bob/text", fmt.Sprint(i))
	}
	sent := bob.wait(5, delivery)
	bob.s.Acked(sent[1].PacketID)
	bob.s.Acked(sent[3].PacketID)
	bob.leave()
	alice.must("user/bob/text", "5")
	bob = w.connect("bob", "b", withoutAcks)
	got := bob.wait(4, delivery)
	for i, want := range []struct {
		of  int
		dup bool
	}{{0, true}, {2, true}, {4, true}, {5, false}} {
		if !strings.Contains(string(got[i].Payload), fmt.Sprintf(`"b":"%d"`, want.of)) || got[i].Dup != want.dup {
			t.Errorf("delivery %d: %s, DUP %v", i, got[i].Payload, got[i].Dup)
		}
		if want.dup && got[i].PacketID != sent[want.of].PacketID {
			t.Errorf("delivery %d has another identifier", i)
		}
	}
	if len(got) != 4 {
		t.Errorf("%d deliveries", len(got))
	}
}

func TestRefusedPublish(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	if _, err := w.st.CreateAccount(t.Context(), store.Account{Name: "carol"}); err != nil {
		t.Fatal(err)
	}
	alice := w.connect("alice", "a")
	w.strangers("carol", graph.StrangersClosed)
	for _, to := range []string{"carol", "nobody"} {
		if it := alice.publish("user/"+to+"/text", "hi"); !errors.Is(it.Err, &store.Error{Code: store.CodeForbidden, Reason: store.ReasonUnreachable}) {
			t.Errorf("to %s: %v", to, it.Err)
		}
	}
	if it := alice.publish("room/none/text", "hi"); !errors.Is(it.Err, store.ErrNotMember) {
		t.Errorf("to no room: %v", it.Err)
	}
	alice.must("user/bob/text", "still connected")
}

func TestLeaveAndReturn(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	room := w.room("lobby", "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	bob.subscribe("room/+/json")
	alice.must("room/lobby/text", "one")
	bob.deliveries(1) // what is not delivered when the member goes is not delivered any more: table T3
	w.change(room.ID, "alice", store.Change{Kind: store.ChangeRemove, Account: w.users["bob"].ID})
	alice.must("room/lobby/text", "secret")
	w.change(room.ID, "alice", store.Change{Kind: store.ChangeJoin, Account: w.users["bob"].ID, Role: store.RoleMember})
	alice.must("room/lobby/text", "two")
	got := bob.deliveries(4)
	all := strings.Join(got, "\n")
	if strings.Contains(all, "secret") || !strings.Contains(got[0], "one") || !strings.Contains(got[1], "removed") ||
		!strings.Contains(got[2], "joined") || !strings.Contains(got[3], "two") {
		t.Errorf("got %s", all)
	}
	if !strings.Contains(got[2], `"g":[3,3]`) {
		t.Errorf("the gap is not told: %s", got[2])
	}
}

// What a member was not delivered before it was removed is withheld, and told as withheld, also when the member is back by
// the time something is delivered.
func TestRemovedBeforeTheDelivery(t *testing.T) {
	gate := make(chan struct{})
	var late atomic.Bool
	w := newWorldEvents(t, bolt.Config{}, Events{Committed: func(*store.Entry) {
		if late.Load() {
			<-gate
		}
	}}, "alice", "bob")
	room := w.room("lobby", "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	frame := func(it Item) bool { return it.Kind == ItemFrame }
	bob.subscribe("room/+/json")
	writes, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	bob.mu.Lock()
	bob.onWrite = func([]Item) { once.Do(func() { close(writes); <-goOn }) }
	bob.mu.Unlock()
	bob.s.Send([]byte("stops in the socket"))
	<-writes
	alice.must("room/lobby/text", "one")
	for heard := false; !heard; runtime.Gosched() {
		bob.s.mu.Lock()
		heard = bob.s.feeds[room.ID] != nil
		bob.s.mu.Unlock()
	}
	late.Store(true)
	w.change(room.ID, "alice", store.Change{Kind: store.ChangeRemove, Account: w.users["bob"].ID})
	bob.s.Send([]byte("goes out when the log was read"))
	close(goOn)
	bob.wait(2, frame)
	w.change(room.ID, "alice", store.Change{Kind: store.ChangeJoin, Account: w.users["bob"].ID, Role: store.RoleMember})
	late.Store(false)
	close(gate)
	got := bob.deliveries(2)
	if !strings.Contains(got[0], "removed") || !strings.Contains(got[0], `"g":[1,1]`) || !strings.Contains(got[1], "joined") {
		t.Errorf("got %s", got)
	}
}

func TestTakeover(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, first := w.connect("alice", "a"), w.connect("bob", "b")
	first.subscribe("user/#")
	second := w.connect("bob", "b")
	if !second.present {
		t.Error("the session is not present after a takeover")
	}
	first.mu.Lock()
	why := first.closed
	first.mu.Unlock()
	if !errors.Is(why, ErrTakenOver) {
		t.Errorf("the first connection ended with %v", why)
	}
	alice.must("user/bob/text", "hi")
	second.deliveries(1)
	if n := w.b.Sessions(); n != 2 {
		t.Errorf("%d sessions", n)
	}
}

// A recalled message never shows its old text to a device that was behind.
func TestRecalledWhileAway(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	bob.subscribe("user/+/json")
	bob.leave()
	alice.must("user/bob/text", "embarrassing")
	alice.must("user/bob/edit", "recall 1")
	bob = w.connect("bob", "b")
	got := bob.deliveries(2)
	if strings.Contains(strings.Join(got, ""), "embarrassing") || !strings.Contains(got[0], `"op":"recall"`) {
		t.Errorf("got %q", got)
	}
}

func TestReadMarks(t *testing.T) {
	w := newWorld(t, "alice", "bob", "carol")
	w.room("lobby", "alice", "bob", "carol")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	alice.s.quiesce() // it has looked where it stands: what it is told of marks is what moves them
	alice.subscribe("room/+/read")
	bob.subscribe("room/+/json")
	alice.must("room/lobby/text", "one")
	if got := bob.deliveries(1)[0]; !strings.Contains(got, `"u":2`) {
		t.Errorf("unread: %s", got)
	}
	bob.must("room/lobby/read", "1")
	if got := alice.deliveries(1)[0]; got != "[[0,2],[1,1]]" {
		t.Errorf("marks: %s", got)
	}
}

func TestTyping(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	w.room("lobby", "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	bob.subscribe("room/+/typing/+")
	for range 3 {
		alice.must("room/lobby/typing", "")
	}
	alice.must("room/lobby/text", "x")
	if it := bob.wait(1, delivery)[0]; it.Topic != "room/lobby/typing/alice" || it.QoS != 0 {
		t.Errorf("got %+v", it)
	}
}

func TestGuest(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b", withClean)
	bob.subscribe("user/+/text")
	alice.must("user/bob/text", "hi")
	equal(t, bob.deliveries(1), "hi")
	bob.leave()
	alice.must("user/bob/text", "while away")
	bob = w.connect("bob", "b", withClean)
	bob.subscribe("user/+/text")
	alice.must("user/bob/text", "back")
	equal(t, bob.deliveries(1), "back")
	if _, err := w.st.LoadSession(w.users["bob"].ID, bob.s.id.Device); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a guest has a row: %v", err)
	}
}
