package graph

import (
	"fmt"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

func (w *world) invite(t *testing.T, log store.LogID, hide, want bool) {
	t.Helper()
	shown, err := w.Invite(t.Context(), log, w.b, w.a, hide)
	if err != nil || shown != want {
		t.Fatalf("invite, hide %v: shown %v, %v", hide, shown, err)
	}
}

// waiting says how many invitations the invited user and the room have.
func (w *world) waiting(t *testing.T, log store.LogID) string {
	t.Helper()
	mine, err := w.Invitations(w.b)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := w.InvitationsInto(log, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(len(mine), len(theirs))
}

func TestInvitations(t *testing.T) {
	w := newWorld(t)
	log := w.room(t)
	step := func(what, want string) {
		t.Helper()
		if got := w.waiting(t, log); got != want {
			t.Fatalf("%s: %s, want %s", what, got, want)
		}
	}
	w.invite(t, log, true, false)
	step("hidden", "0 1")
	w.invite(t, log, false, true)
	step("shown after hidden", "1 1")
	w.invite(t, log, false, false) // nothing new
	w.invite(t, log, true, false)
	step("hidden after shown", "1 1")
	list, err := w.InvitationsTo(w.b, log)
	if err != nil || len(list) != 1 || list[0].By != w.a || list[0].Room != log || list[0].Invited != w.b || list[0].Expires-list[0].Time != InvitationLives.Milliseconds() {
		t.Fatalf("%+v, %v", list, err)
	}
	if found, shown, err := w.Uninvite(t.Context(), log, w.b, w.b); found || shown || err != nil {
		t.Fatalf("what somebody else invited: %v %v %v", found, shown, err)
	}
	if found, shown, err := w.Uninvite(t.Context(), log, w.b, w.a); !found || !shown || err != nil {
		t.Fatalf("taken back: %v %v %v", found, shown, err)
	}
	step("taken back", "0 0")
	w.invite(t, log, true, false)
	if found, shown, err := w.Uninvite(t.Context(), log, w.b, 0); !found || shown || err != nil {
		t.Fatalf("a hidden one taken back: %v %v %v", found, shown, err)
	}
	step("a hidden one taken back", "0 0")
	w.invite(t, log, false, true)
	if err := w.Answered(t.Context(), log, w.b); err != nil {
		t.Fatal(err)
	}
	step("answered", "0 0")
}

func TestRefusedInvitations(t *testing.T) {
	w := newWorld(t)
	log := w.room(t)
	refused := func(want bool) {
		t.Helper()
		if got, err := w.Refused(w.b, log); err != nil || got != want {
			t.Errorf("refused: %v, %v", got, err)
		}
	}
	refused(false)
	w.invite(t, log, false, true)
	if err := w.Refuse(t.Context(), w.b, log, 0); err != nil {
		t.Fatal(err)
	}
	refused(true)
	if got := w.waiting(t, log); got != "0 1" { // the room is not told
		t.Errorf("after refusing: %s", got)
	}
	if err := w.Refuse(t.Context(), w.b, log, w.clock.now().Add(time.Hour).UnixMilli()); err != nil {
		t.Fatal(err)
	}
	r, err := w.store.Row(tableRefused, store.OwnerOf(w.b), store.KeyOf(log))
	if err != nil || r.Expires != 0 {
		t.Errorf("a refusal for good ends at %d, %v", r.Expires, err)
	}
}

func TestInvitationsExpire(t *testing.T) {
	w := newWorld(t)
	log := w.room(t)
	w.invite(t, log, false, true)
	if err := w.Refuse(t.Context(), w.a, log, w.clock.now().Add(LeavingRefuses).UnixMilli()); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(InvitationLives - time.Millisecond)
	if got := w.waiting(t, log); got != "1 1" {
		t.Errorf("before the end: %s", got)
	}
	w.clock.pass(time.Millisecond)
	if got := w.waiting(t, log); got != "0 0" {
		t.Errorf("at the end: %s", got)
	}
	w.clock.pass(LeavingRefuses)
	if got, err := w.Refused(w.a, log); err != nil || got {
		t.Errorf("refused after 30 days: %v, %v", got, err)
	}
}

// Only so many wait for one user; what comes then looks the same to who invites.
func TestInvitationsAreBounded(t *testing.T) {
	w := newWorld(t)
	log := w.room(t)
	for i := range store.AccountID(maxInvitations + 5) {
		shown, err := w.Invite(t.Context(), log, w.b, 1000+i, false)
		if err != nil || shown != (i < maxInvitations) {
			t.Fatalf("invitation %d: %v, %v", i, shown, err)
		}
	}
	if got := w.waiting(t, log); got != fmt.Sprint(maxInvitations, maxInvitations+5) {
		t.Error(got)
	}
}
