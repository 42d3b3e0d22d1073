package broker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// full makes an open room with members u0, u1 … beside its owner alice, whose nicknames are n0, n1 …
func (w *world) full(members int) (names []string, log store.LogID) {
	w.Helper()
	list := []store.Member{{Account: w.users["alice"].ID, Role: store.RoleOwner}}
	names = append(names, "alice")
	for i := range members {
		a, err := w.st.CreateAccount(w.Context(), store.Account{Name: fmt.Sprint("u", i)})
		if err != nil {
			w.Fatal(err)
		}
		w.users[a.Name] = a
		list, names = append(list, store.Member{Account: a.ID, Role: store.RoleMember}), append(names, a.Name)
	}
	info, _, err := w.st.Open(w.Context(), store.RoomKey("hall"), store.Creation{By: list[0].Account, Members: list})
	if err != nil {
		w.Fatal(err)
	}
	g := graph.New(w.st, nil)
	if err := g.SetRoom(w.Context(), info.ID, func(r *graph.Room) error { r.Open = true; return nil }); err != nil {
		w.Fatal(err)
	}
	for i, n := range names {
		nick := fmt.Sprint("n", i)
		if _, err := g.ClaimNick(w.Context(), info.ID, w.users[n].ID, nick, nick, "", "", func(graph.Nick) bool { return true }); err != nil {
			w.Fatal(err)
		}
	}
	return names, info.ID
}

// A room with 3,000 members, all connected: each gets each message once, under the nickname or the room's id.
func TestFullOpenRoom(t *testing.T) {
	members := 2999
	if testing.Short() {
		members = 299
	}
	w := newWorld(t, "alice")
	names, log := w.full(members)
	var clients []*client
	for i, n := range names {
		c := w.connect(n, "phone")
		c.subscribe("room/+/" + []string{"line", "json"}[i%2])
		clients = append(clients, c)
	}
	id := w.b.NamesOf(log, 0).Name(w.users["u4"].ID)
	const messages = 5
	for i := range messages {
		clients[5].s.Publish(Publication{Topic: "room/hall/text", Payload: fmt.Appendf(nil, "message %d", i)}, Ack{PacketID: uint16(i + 1), QoS: 1})
	}
	for i, c := range clients {
		for k, p := range c.deliveries(messages) {
			switch {
			case i%2 == 0 && p != fmt.Sprintf("n5: message %d", k):
				t.Fatalf("%s got %q", names[i], p)
			case i%2 == 1 && !strings.Contains(p, `"f":"`+id+`"`):
				t.Fatalf("%s got %q, want it from %s", names[i], p, id)
			}
		}
	}
}

// Of a room whose settings say that it is open nobody is named by account, and of accounts that are gone nobody at all.
func TestNamesOf(t *testing.T) {
	w := newWorld(t, "alice")
	_, log := w.full(2)
	names := w.b.NamesOf(log, 0).(view.Nicknames)
	u := w.users["u0"].ID
	if id := names.Name(u); !graph.IsPseudonym(id) || names.Nickname(u) != "n1" {
		t.Errorf("%q, %q", id, names.Nickname(u))
	}
	stranger, err := w.st.CreateAccount(t.Context(), store.Account{Name: "stranger"})
	if err != nil {
		t.Fatal(err)
	}
	if n := names.Name(stranger.ID) + names.Nickname(stranger.ID) + names.Name(0) + names.Nickname(9999); n != "" {
		t.Errorf("%q", n)
	}
	if other := w.b.NamesOf(log+1000, 0).(view.Nicknames); other.Name(u) != "u0" || other.Nickname(u) != "u0" {
		t.Error("in another room it has another name")
	}
}
