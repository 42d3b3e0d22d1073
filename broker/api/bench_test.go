package api

import (
	"fmt"
	"testing"

	"github.com/hwangso/hwangso/hooks"
)

// BenchmarkLists asks as a user with 65 conversations of 20 messages, half of them unread, and 5 rooms.
func BenchmarkLists(b *testing.B) {
	w := newWorld(b)
	w.users("alice")
	alice := w.account("alice")
	id := hooks.Identity{Account: alice.ID, Name: alice.Name}
	for i := range 65 {
		n := fmt.Sprint("f", i)
		w.users(n)
		w.friends("alice", n)
		friend := w.account(n)
		for m := range 20 {
			w.api.Request(b.Context(), hooks.Identity{Account: friend.ID, Name: n, Device: 1}, "message.send", fmt.Sprint(m), fmt.Appendf(nil, `{"user":"alice","text":"message %d of a usual length"}`, m))
		}
		w.api.Request(b.Context(), id, "read.set", fmt.Sprint(i), fmt.Appendf(nil, `{"user":%q,"seq":10}`, n))
	}
	for i := range 5 {
		w.api.Request(b.Context(), id, "room.create", fmt.Sprint("r", i), fmt.Appendf(nil, `{"room":"r%d"}`, i))
	}
	var first struct{ Token string }
	unmarshal(b, w.api.Request(b.Context(), id, "sync", "s", []byte(`{"limit":200}`)), &first)
	for _, c := range []struct{ name, op, body string }{
		{"room.list of 50", "room.list", `{}`},
		{"sync of everything", "sync", `{"limit":200}`},
		{"sync of nothing", "sync", fmt.Sprintf(`{"token":%q}`, first.Token)},
		{"room.history of 20", "room.history", `{"user":"f0"}`},
		{"account.me", "account.me", ``},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				answer := w.api.Request(b.Context(), id, c.op, "x", []byte(c.body))
				if string(answer[:11]) != `{"code":200` {
					b.Fatalf("%s", answer)
				}
			}
		})
	}
}
