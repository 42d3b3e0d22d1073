package broker

import (
	"fmt"
	"testing"

	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

// taking is a link that takes everything.
type taking struct{}

func (taking) Write([]Item) error { return nil }
func (taking) Close(error)        {}
func (taking) Overdue() bool      { return false }

// BenchmarkPresence is what one change of presence costs a user with 65 friends, all of whom are connected, share theirs and
// ask for it: deciding and waking. Writing is the 65 sessions' own part.
func BenchmarkPresence(b *testing.B) {
	st, err := bolt.Open(bolt.Config{Dir: b.TempDir(), MinFree: -1})
	if err != nil {
		b.Fatal(err)
	}
	br, err := New(Config{Store: st})
	if err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	g := br.access.Relations()
	var users []store.AccountID
	for i := range 66 {
		a, err := st.CreateAccount(ctx, store.Account{Name: fmt.Sprint("u", i)})
		if err != nil {
			b.Fatal(err)
		}
		if err := g.SetSettings(ctx, a.ID, func(s *graph.Settings) error { s.Presence = true; return nil }); err != nil {
			b.Fatal(err)
		}
		users = append(users, a.ID)
		if i == 0 {
			continue
		}
		for _, e := range [][2]store.AccountID{{users[0], a.ID}, {a.ID, users[0]}} {
			if _, err := st.SetEdge(ctx, store.EdgeFriend, e[0], e[1], true, 0); err != nil {
				b.Fatal(err)
			}
		}
	}
	var sessions []*Session
	for _, u := range users {
		s, _, err := br.Attach(ctx, Connect{Identity: hooks.Identity{Account: u, Device: 1, ClientID: "x", Guest: true}}, taking{})
		if err != nil {
			b.Fatal(err)
		}
		s.Start()
		if _, err := s.Subscribe(ctx, []SubRequest{{Filter: "presence/+"}}); err != nil {
			b.Fatal(err)
		}
		sessions = append(sessions, s)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := br.spread(moved{id: users[0], force: true}); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	for _, s := range sessions {
		s.Detach(true)
	}
	if err := br.Close(ctx); err != nil {
		b.Error(err)
	}
	if err := st.Close(); err != nil {
		b.Error(err)
	}
}
