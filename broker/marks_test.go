package broker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

func (c *client) onTopic(suffix string) (out []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, it := range c.got {
		if it.Kind == ItemDelivery && strings.HasSuffix(it.Topic, suffix) {
			out = append(out, string(it.Payload))
		}
	}
	return out
}

// done is after everything that follows from what anybody has done until now: the client's own message went all the way.
func (c *client) done(mark string) {
	c.w.Helper()
	c.must("user/"+c.s.id.Name+"/text", mark)
	c.wait(1, func(it Item) bool { return strings.Contains(string(it.Payload), `"b":"`+mark+`"`) })
}

// steps are the marks of the conversation of two as one of them may know them.
func (w *world) steps(viewer, peer string) string {
	w.Helper()
	info, err := w.st.Find(store.PairKey(w.users[viewer].ID, w.users[peer].ID))
	if err != nil {
		w.Fatal(err)
	}
	m, err := w.b.MarksFor(w.users[viewer].ID, &info)
	if err != nil {
		w.Fatal(err)
	}
	return fmt.Sprint(m.StepsTo(knownHead(&info, w.users[viewer].ID)))
}

// A block does not show in receipts: the mark of who blocks stands still for the other, live, on connect, in lists and in
// unread numbers, and nothing is told. It moves again as a late reader's.
func TestReceiptsUnderABlock(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	for _, c := range []*client{alice, bob} {
		c.s.quiesce() // it has looked where it stands: what it is told of marks is what moves them
		c.subscribe("user/+/json", "user/+/read", "user/+/typing/+")
	}
	for i := range 4 {
		alice.must("user/bob/text", fmt.Sprint(i))
	}
	bob.must("user/alice/read", "2")
	alice.done("read 2")
	equal(t, alice.onTopic("user/bob/read"), `[[0,1],[2,1],[4,0]]`)

	w.blockLevel("bob", "alice", graph.BlockMessages)
	bob.must("user/alice/read", "4")
	alice.must("user/bob/text", "shadow")
	alice.must("user/bob/read", "3")
	bob.done("blocked")
	alice.done("blocked")
	equal(t, alice.onTopic("user/bob/read")[1:], `[[2,1],[3,1],[5,0]]`)
	if got := w.steps("alice", "bob"); got != "[{2 1} {3 1} {5 0}]" {
		t.Errorf("alice sees %s", got)
	}
	if got := w.steps("bob", "alice"); got != "[{0 1} {4 1}]" { // what stood when it blocked; nothing beyond what exists for it
		t.Errorf("bob sees %s", got)
	}
	if got := bob.onTopic("user/alice/read"); strings.Contains(fmt.Sprint(got), "5") || strings.Contains(fmt.Sprint(got), "3,") {
		t.Errorf("bob was told %q", got)
	}
	again := w.connect("alice", "again")
	again.subscribe("user/+/read", "user/+/json")
	again.vanish()
	again = w.connect("alice", "again")
	again.wait(1, func(it Item) bool { return strings.HasSuffix(it.Topic, "user/bob/read") })
	equal(t, again.onTopic("user/bob/read"), `[[2,1],[3,1],[5,0]]`)

	w.blockLevel("bob", "alice", graph.BlockNone)
	alice.done("unblocked")
	equal(t, alice.onTopic("user/bob/read")[1:], `[[2,1],[3,1],[5,0]]`) // nothing moves by itself
	alice.must("user/bob/text", "hello again")
	bob.must("user/alice/read", "6")
	alice.done("late")
	equal(t, alice.onTopic("user/bob/read")[2:], `[[3,1],[6,1]]`)
}

// Unread numbers in a conversation of two are those of the marks that the viewer may know.
func TestUnreadUnderABlock(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	for i := range 3 {
		alice.must("user/bob/text", fmt.Sprint(i))
	}
	bob.must("user/alice/read", "1")
	w.blockLevel("bob", "alice", graph.BlockMessages)
	bob.must("user/alice/read", "3")
	info, err := w.st.Find(store.PairKey(w.users["alice"].ID, w.users["bob"].ID))
	if err != nil {
		t.Fatal(err)
	}
	c := alice.s.gather(&reading{}, hooks.Topic{Place: hooks.User, Act: hooks.Message}, info.ID, hooks.JSON, 0, false, false)
	for seq, want := range map[store.Seq]int{1: 0, 2: 1, 3: 1} {
		if got := c.marks.Unread(seq, w.users["alice"].ID); got != want {
			t.Errorf("message %d: %d have not read it, want %d", seq, got, want)
		}
	}
}

// Whoever is no friend gets typing and receipts from the answer on, and what was shown stays when the friendship ends.
func TestReceiptsOfStrangers(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	w.friend("bob", "alice", false)
	w.friend("alice", "bob", false)
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	for _, c := range []*client{alice, bob} {
		c.s.quiesce() // it has looked where it stands: what it is told of marks is what moves them
		c.subscribe("user/+/json", "user/+/read", "user/+/typing/+")
	}
	alice.must("user/bob/text", "hi stranger")
	bob.must("user/alice/read", "1")
	bob.publish("user/alice/typing", "")
	alice.done("1")
	if got := append(alice.onTopic("user/bob/read"), alice.onTopic("typing/bob")...); len(got) != 0 {
		t.Errorf("a stranger was told %q", got)
	}
	if got := w.steps("alice", "bob"); got != "[{0 2} {1 0}]" {
		t.Errorf("a stranger sees %s", got)
	}
	bob.must("user/alice/text", "hello")
	bob.must("user/alice/read", "2")
	w.b.typists = typists{} // three seconds later
	bob.publish("user/alice/typing", "")
	alice.wait(1, func(it Item) bool { return strings.HasSuffix(it.Topic, "typing/bob") })
	alice.done("2")
	equal(t, alice.onTopic("user/bob/read"), `[[0,1],[2,1]]`)

	// A friend that is removed is a stranger until the next answer; the mark stands.
	w.friend("bob", "alice", true)
	time.Sleep(2 * time.Millisecond) // what bob wrote lies before the barrier
	w.friend("bob", "alice", false)
	alice.must("user/bob/text", "still there?")
	bob.must("user/alice/read", "3")
	alice.done("3")
	if got := w.steps("alice", "bob"); got != "[{0 1} {2 1} {3 0}]" {
		t.Errorf("after the friendship alice sees %s", got)
	}
	bob.must("user/alice/text", "yes")
	if got := w.steps("alice", "bob"); got != "[{0 1} {3 1} {4 0}]" {
		t.Errorf("after the answer alice sees %s", got)
	}
	w.blockLevel("alice", "bob", graph.BlockMessages) // from either side
	w.b.typists = typists{}
	bob.publish("user/alice/typing", "")
	bob.must("user/alice/read", "4")
	alice.done("4")
	if n := len(alice.onTopic("typing/bob")); n != 1 {
		t.Errorf("typing was told %d times", n)
	}
	if got := w.steps("alice", "bob"); got != "[{0 1} {3 1} {4 0}]" {
		t.Errorf("blocking alice sees %s", got)
	}
}

// In a group marks and unread numbers are the same for everybody, whoever blocks whom.
func TestGroupMarksIgnoreBlocks(t *testing.T) {
	w := newWorld(t, "alice", "bob", "carol")
	info := w.room("lobby", "alice", "bob", "carol")
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	alice.must("room/lobby/text", "hi")
	w.blockLevel("bob", "alice", graph.BlockProfile)
	bob.must("room/lobby/read", "1")
	var all []string
	for _, u := range []string{"alice", "bob", "carol"} {
		m, err := w.b.MarksFor(w.users[u].ID, &info)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(m.Steps()))
	}
	equal(t, all, "[{0 2} {1 1}]", "[{0 2} {1 1}]", "[{0 2} {1 1}]")
}
