package graph

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

func taken(Nick) bool { return false }

func TestClaimNick(t *testing.T) {
	w := newWorld(t)
	w.clock.set(time.Now()) // rows expire by the store's clock
	ctx, log := t.Context(), store.LogID(7)
	id, err := w.ClaimNick(ctx, log, w.a, "Whale", "whale", "", "", taken)
	if err != nil || len(id) != PseudonymSize || !IsPseudonym(id) {
		t.Fatalf("%q, %v", id, err)
	}
	if _, err := w.ClaimNick(ctx, log, w.b, "whaIe", "whale", "", "", taken); store.CodeOf(err) != store.CodeConflict {
		t.Errorf("taken: %v", err)
	}
	if m, _ := w.RoomMember(log, w.b); m.ID != "" {
		t.Error("a refused claim left an id")
	}
	again, err := w.ClaimNick(ctx, log, w.a, "Shark", strings.Repeat("shark", 40), "whale", "pic", taken)
	if err != nil || again != id {
		t.Errorf("the id changed with the nickname: %q, %q, %v", id, again, err)
	}
	if m, _ := w.RoomMember(log, w.a); m.Nick != "Shark" || m.Picture != "pic" || m.ID != id {
		t.Errorf("%+v", m)
	}
	n, err := w.NickOf(log, "whale")
	if err != nil || n.Account != w.a || !n.Left {
		t.Errorf("the old nickname is not kept: %+v, %v", n, err)
	}
	if n, err := w.NickOf(log, strings.Repeat("shark", 40)); err != nil || n.Account != w.a || n.Left || !n.Fresh {
		t.Errorf("%+v, %v", n, err)
	}
	if a, err := w.MemberOf(log, id); a != w.a || err != nil {
		t.Errorf("%v, %v", a, err)
	}
	for _, id := range []string{"", "~", "alice", "~aaaaaaaaaaaaaaaa", strings.ToUpper(id), id + "a"} {
		if a, err := w.MemberOf(log, id); a != 0 || err != nil {
			t.Errorf("%q is %v, %v", id, a, err)
		}
	}
	if a, err := w.MemberOf(log+1, id); a != 0 || err != nil {
		t.Errorf("in another room it is %v, %v", a, err)
	}
	other, err := w.ClaimNick(ctx, log+1, w.a, "Whale", "whale", "", "", taken)
	if err != nil || other == id {
		t.Errorf("the same id in two rooms: %v", err)
	}
	if _, err := w.ClaimNick(ctx, log, w.b, "whale", "whale", "", "", func(n Nick) bool { return n.Left }); err != nil {
		t.Errorf("free by the caller's rule: %v", err)
	}
	if err := w.LeaveNick(ctx, log, w.a, "whale"); err != nil {
		t.Fatal(err)
	}
	if n, _ := w.NickOf(log, "whale"); n.Account != w.b || n.Left {
		t.Errorf("somebody else's nickname was given up: %+v", n)
	}
	if err := w.LeaveNick(ctx, log, w.b, "whale"); err != nil {
		t.Fatal(err)
	}
	if err := w.ForgetMember(ctx, log, w.a, strings.Repeat("shark", 40)); err != nil {
		t.Fatal(err)
	}
	if m, _ := w.RoomMember(log, w.a); m.ID != "" || m.Nick != "" {
		t.Errorf("not forgotten: %+v", m)
	}
	if a, _ := w.MemberOf(log, id); a != 0 {
		t.Error("the id is still known")
	}
	if n, _ := w.NickOf(log, strings.Repeat("shark", 40)); n.Account != 0 {
		t.Errorf("%+v", n)
	}
}

// Of many who want one nickname at once exactly one gets it.
func TestClaimNickOnce(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := 0
	for i := range 12 {
		wg.Go(func() {
			_, err := w.ClaimNick(t.Context(), 7, store.AccountID(100+i), "Whale", "whale", "", "", taken)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				got++
			} else if store.CodeOf(err) != store.CodeConflict {
				t.Error(err)
			}
		})
	}
	if wg.Wait(); got != 1 {
		t.Errorf("%d have it", got)
	}
}

func TestJoinRequests(t *testing.T) {
	w := newWorld(t)
	w.clock.set(time.Now()) // rows expire by the store's clock
	ctx := t.Context()
	for i, a := range []store.AccountID{9, 3, 5} {
		if err := w.AskToJoin(ctx, 7, JoinRequest{Account: a, Text: fmt.Sprint(i), Time: int64(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := w.Requests(7)
	if err != nil || len(list) != 3 || list[0].Account != 9 || list[2].Account != 5 {
		t.Errorf("%+v, %v", list, err)
	}
	for range 2 {
		if err := w.EndRequest(ctx, 7, 3); err != nil {
			t.Fatal(err)
		}
	}
	if asks, err := w.Asks(7, 3); asks || err != nil {
		t.Error("it still asks", err)
	}
	if asks, err := w.Asks(7, 9); !asks || err != nil {
		t.Error("it does not ask", err)
	}
}

func TestTryCode(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	for range codeTries {
		if ok, _, err := w.TryCode(ctx, w.a); !ok || err != nil {
			t.Fatal(ok, err)
		}
		w.clock.pass(time.Minute)
	}
	ok, retry, err := w.TryCode(ctx, w.a)
	if ok || retry != 5*time.Minute || err != nil {
		t.Errorf("%v, %v, %v", ok, retry, err)
	}
	if ok, _, _ := w.TryCode(ctx, w.b); !ok {
		t.Error("another account has its own tries")
	}
	w.clock.pass(retry)
	if ok, _, err := w.TryCode(ctx, w.a); !ok || err != nil {
		t.Error(ok, err)
	}
	if ok, _, _ := w.TryCode(ctx, w.a); ok {
		t.Error("only one was free again")
	}
	r := Room{CodeHash: CodeHash(7, "secret")}
	if !r.HasCode(7, "secret") || r.HasCode(8, "secret") || r.HasCode(7, "") || (&Room{}).HasCode(7, "") {
		t.Error("codes")
	}
}

func TestOpenRooms(t *testing.T) {
	w := newWorld(t)
	for i := range 7 {
		if err := w.SetRoom(t.Context(), store.LogID(i+1), func(r *Room) error { r.Open, r.Slow = i%2 == 0, 1; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	var all []store.LogID
	for after := store.LogID(0); ; {
		list, next, err := w.OpenRooms(after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, list...); next == 0 {
			break
		}
		after = next
	}
	if fmt.Sprint(all) != "[l1 l3 l5 l7]" {
		t.Errorf("%v", all)
	}
}
