package graph

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hwangso/hwangso/store"
)

func (w *world) room(t *testing.T) store.LogID {
	t.Helper()
	log, _, err := w.store.Open(t.Context(), store.RoomKey("r"), store.Creation{By: w.a, Members: []store.Member{{Account: w.a, Role: store.RoleOwner}}})
	if err != nil {
		t.Fatal(err)
	}
	return log.ID
}

func TestRoom(t *testing.T) {
	w := newWorld(t)
	log := w.room(t)
	r, err := w.Room(log)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(r.JoinMode(), r.HistoryMode(), r.InvitesMode(), " ", r.empty()), "publicjoinedmembers true"; got != want {
		t.Errorf("defaults are %s, want %s", got, want)
	}
	set := func(fn func(*Room)) *Room {
		t.Helper()
		if err := w.SetRoom(t.Context(), log, func(r *Room) error { fn(r); return nil }); err != nil {
			t.Fatal(err)
		}
		r, err := w.Room(log)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r = set(func(r *Room) { r.Description, r.InvitesBy, r.Tags = "about", InvitesModerators, []string{"go"} })
	if r.Description != "about" || r.MayInvite(store.RoleMember) || !r.MayInvite(store.RoleModerator) || r.MayInvite(store.RoleNone) || len(r.Tags) != 1 {
		t.Errorf("%+v", r)
	}
	r = set(func(r *Room) { r.InvitesBy = "" })
	if !r.MayInvite(store.RoleMember) || r.MayInvite(store.RoleNone) || r.Description != "about" {
		t.Errorf("%+v", r)
	}
	set(func(r *Room) { *r = Room{} })
	if row, err := w.store.Row(tableRoom, store.OwnerOfLog(log), ""); err != nil || row.Version != 0 {
		t.Errorf("a room with defaults has a row: %+v, %v", row, err)
	}
	no := store.Bad("no")
	if err := w.SetRoom(t.Context(), log, func(r *Room) error { r.Locked = true; return no }); err != no { //nolint:errorlint // as it is
		t.Errorf("got %v", err)
	}
	if r, _ := w.Room(log); r.Locked {
		t.Error("a refused change was stored")
	}
}

// Every field counts when the row is kept or dropped.
func TestRoomEmptyLooksAtEveryField(t *testing.T) {
	for _, r := range []Room{{Description: "x"}, {Picture: "x"}, {History: "x"}, {InvitesBy: "x"}, {Capacity: 1}, {Slow: 1}, {Locked: true},
		{Closed: 1}, {ClosedReason: "x"}, {Heir: 1}, {Offered: 1}, {Open: true}, {Join: "x"}, {Tags: []string{"x"}}, {Language: "x"}, {CodeHash: []byte{1}}} {
		if r.empty() {
			t.Errorf("%+v counts as empty", r)
		}
	}
}

func TestRoomMember(t *testing.T) {
	w := newWorld(t)
	log := w.room(t)
	now := w.clock.now().UnixMilli()
	for _, a := range []store.AccountID{w.a, w.b} {
		if err := w.SetRoomMember(t.Context(), log, a, func(m *RoomMember) error { m.Muted = now + 1000; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	m, err := w.RoomMember(log, w.a)
	if err != nil || !m.MutedAt(now+999) || m.MutedAt(now+1000) {
		t.Errorf("%+v, %v", m, err)
	}
	list, err := w.RoomMembers(log, 0, 0)
	if err != nil || fmt.Sprint(list) != fmt.Sprint([]store.AccountID{w.a, w.b}) {
		t.Errorf("%v, %v", list, err)
	}
	if list, err = w.RoomMembers(log, w.a, 1); err != nil || len(list) != 1 || list[0] != w.b {
		t.Errorf("%v, %v", list, err)
	}
	if err := w.SetRoomMember(t.Context(), log, w.a, func(m *RoomMember) error { m.Muted = Forever; return nil }); err != nil {
		t.Fatal(err)
	}
	if m, err := w.RoomMember(log, w.a); err != nil || !m.MutedAt(now+1<<40) {
		t.Errorf("%+v, %v", m, err)
	}
	if err := w.SetRoomMember(t.Context(), log, w.a, func(m *RoomMember) error { *m = RoomMember{}; return nil }); err != nil {
		t.Fatal(err)
	}
	if list, err = w.RoomMembers(log, 0, 0); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}

// Changes at once do not undo one another.
func TestRoomUnderConcurrency(t *testing.T) {
	w := newWorld(t)
	log := w.room(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := w.SetRoom(context.Background(), log, func(r *Room) error { r.Description += "x"; return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if r, err := w.Room(log); err != nil || r.Description != strings.Repeat("x", 8) {
		t.Errorf("%+v, %v", r, err)
	}
}
