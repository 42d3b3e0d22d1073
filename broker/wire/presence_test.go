package wire

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// subscribe adds filters with QoS 0 and returns what came before the answer.
func (c *wired) subscribe(filters ...string) {
	c.t.Helper()
	list := ""
	for _, f := range filters {
		list += fmt.Sprintf(" {%s} 00", f)
	}
	say(c.t, c, fmt.Sprintf(`82 [ 7778 %s %s ]`, c.props(), list))
}

// Presence, receipts and typing of a friend, and of one who blocks, over every version of the protocol with real sockets.
func TestWhatAFriendSeesOverTheWire(t *testing.T) {
	for _, version := range []byte{v31, v311, v5} {
		t.Run(fmt.Sprint("protocol level ", version), func(t *testing.T) {
			w := newRealWorld(t)
			g, a, b := w.b.Access().Relations(), w.users["alice"].ID, w.users["bob"].ID
			share := func(u store.AccountID, on bool) {
				t.Helper()
				if err := g.SetSettings(t.Context(), u, func(s *graph.Settings) error { s.Presence = on; return nil }); err != nil {
					t.Fatal(err)
				}
				w.b.SharePresence(u, on)
			}
			block := func(level graph.Block) {
				t.Helper()
				watch, err := w.b.Watch(b, a)
				if err == nil {
					_, err = g.SetBlock(t.Context(), b, a, level, false, 0)
				}
				if err == nil {
					err = w.b.Changed(watch)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			share(a, true)
			share(b, true)
			bob := w.hello(version, "bob", "phone")
			alice := w.hello(version, "alice", "phone")
			alice.subscribe("presence/+", "user/+/read", "user/+/typing/+")
			alice.until("presence/bob", `{"state":"online"}`)

			alice.publish("user/bob/text", "hi")
			alice.until(acked, `"hi"`)
			bob.until(`"hi"`)
			bob.publish("user/alice/read", "1")
			alice.until("user/bob/read", "[[0,1],[1,1]]")
			bob.publish("user/alice/typing", "")
			alice.until("user/bob/typing/bob")

			block(graph.BlockMessages)
			alice.until("presence/bob", `{"state":"away","since":`)
			alice.publish("user/bob/text", "are you there?")
			alice.until(acked, "are you there?")
			bob.publish("user/alice/read", "2")
			bob.publish("user/alice/typing", "")
			bob.before()
			if got := alice.before(); got != "" {
				t.Errorf("whom bob blocks was told %q", got)
			}
			again := w.hello(version, "alice", "tablet")
			again.subscribe("presence/bob", "user/bob/read")
			if got := again.until("presence/bob", `{"state":"away","since":`); strings.Contains(got, "online") {
				t.Errorf("a new connection was told %q", got)
			}

			block(graph.BlockNone)
			alice.until("presence/bob", `{"state":"online"}`)
			share(b, false)
			alice.until("presence/bob", `{"state":"off"}`)
			alice.publish("user/bob/text", "hello again")
			alice.until(acked, "hello again")
			bob.until("hello again")
			bob.publish("user/alice/read", "3")
			alice.until("user/bob/read", "[[0,1],[3,1]]")
		})
	}
}
