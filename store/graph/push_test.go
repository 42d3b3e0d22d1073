package graph

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
)

// at is what a device has registered, nil for nothing; the row of the token must say the same.
func (w *world) at(t *testing.T, a store.AccountID, d store.DeviceID) *Registration {
	t.Helper()
	r, err := w.Registration(a, d)
	if err != nil {
		t.Fatal(err)
	}
	if r != nil {
		if owns, err := w.Owns(a, r); err != nil || !owns {
			t.Errorf("account %v, device %v: listed and not owned, %v", a, d, err)
		}
	}
	return r
}

func (w *world) register(t *testing.T, a store.AccountID, r Registration, want bool) {
	t.Helper()
	if changed, err := w.Register(t.Context(), a, r); err != nil || changed != want {
		t.Fatalf("%+v: changed %v, %v", r, changed, err)
	}
}

// tokens is how many tokens have an owner.
func (w *world) tokens(t *testing.T) int {
	t.Helper()
	rows, err := w.store.AllRows(tablePushToken, "", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	return len(rows)
}

func TestRegister(t *testing.T) {
	w := newWorld(t)
	if w.at(t, w.a, 1) != nil {
		t.Error("a registration of nobody")
	}
	w.register(t, w.a, Registration{Device: 1, Provider: FCM, Token: "one"}, true)
	first := w.at(t, w.a, 1)
	if first == nil || first.Token != "one" || first.Time != w.clock.now().UnixMilli() {
		t.Fatalf("%+v", first)
	}

	// The same again moves the time alone.
	w.clock.pass(time.Hour)
	w.register(t, w.a, Registration{Device: 1, Provider: FCM, Token: "one"}, false)
	if r := w.at(t, w.a, 1); r.Time != w.clock.now().UnixMilli() || r.Turn != first.Turn {
		t.Errorf("%+v", r)
	}

	// Another one replaces it, and the token is free.
	w.register(t, w.a, Registration{Device: 1, Provider: FCM, Token: "two"}, true)
	if r := w.at(t, w.a, 1); r.Token != "two" || w.tokens(t) != 1 {
		t.Errorf("%+v, %d tokens", r, w.tokens(t))
	}

	// Several devices of a user are in order, each with its own.
	w.register(t, w.a, Registration{Device: 3, Provider: APNs, Token: "three", App: "app", Sandbox: true}, true)
	w.register(t, w.a, Registration{Device: 2, Provider: WebPush, Token: "https://push.example/x", Key: []byte("k"), Secret: []byte("s")}, true)
	list, err := w.Registrations(w.a)
	if err != nil || len(list) != 3 || list[0].Device != 1 || list[1].Device != 2 || list[2].Device != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	w.register(t, w.a, Registration{Device: 2, Provider: WebPush, Token: "https://push.example/x", Key: []byte("k"), Secret: []byte("t")}, true)
	w.register(t, w.a, Registration{Device: 2, Provider: WebPush, Token: "https://push.example/x", Key: []byte("k"), Secret: []byte("t")}, false)

	// The same token under another app's name or environment is the same phone, and stays its own.
	w.register(t, w.a, Registration{Device: 3, Provider: APNs, Token: "three", App: "app"}, true)
	w.register(t, w.a, Registration{Device: 3, Provider: APNs, Token: "three"}, true)
	if r := w.at(t, w.a, 3); r == nil || r.Sandbox || r.App != "" {
		t.Errorf("%+v", r)
	}
	if n := w.tokens(t); n != 3 {
		t.Errorf("%d tokens", n)
	}
}

func TestRegisterRefuses(t *testing.T) {
	w := newWorld(t)
	for _, token := range []string{"", strings.Repeat("x", MaxPushToken+1)} {
		if _, err := w.Register(t.Context(), w.a, Registration{Device: 1, Provider: FCM, Token: token}); store.CodeOf(err) != store.CodeBad {
			t.Errorf("%d bytes: %v", len(token), err)
		}
	}
	w.register(t, w.a, Registration{Device: 1, Provider: FCM, Token: "t"}, true)
	if _, err := w.Register(t.Context(), 999, Registration{Device: 1, Provider: FCM, Token: "t"}); store.CodeOf(err) != store.CodeNotFound {
		t.Errorf("nobody: %v", err)
	}
	if r := w.at(t, w.a, 1); r == nil || w.tokens(t) != 1 {
		t.Errorf("after nobody's try: %+v, %d tokens", r, w.tokens(t))
	}
	// Ten devices with the longest tokens fit.
	for d := range store.DeviceID(10) {
		token := fmt.Sprint(d) + strings.Repeat("x", MaxPushToken-1)
		w.register(t, w.b, Registration{Device: d + 1, Provider: WebPush, Token: token, Key: make([]byte, 65), Secret: make([]byte, 16)}, true)
	}
}

// A token goes with who registered it last: from device to device, and from user to user.
func TestTokenMoves(t *testing.T) {
	w := newWorld(t)
	r := func(d store.DeviceID) Registration { return Registration{Device: d, Provider: APNs, Token: "t"} }
	w.register(t, w.a, r(1), true)
	stale := *w.at(t, w.a, 1)
	w.register(t, w.a, r(2), true)
	if w.at(t, w.a, 1) != nil || w.at(t, w.a, 2) == nil {
		t.Error("from device to device")
	}
	if owns, err := w.Owns(w.a, &stale); owns || err != nil {
		t.Errorf("the first device owns it still, %v", err)
	}
	w.register(t, w.b, r(1), true)
	if w.at(t, w.a, 2) != nil || w.at(t, w.b, 1) == nil {
		t.Error("from user to user")
	}
	w.register(t, w.a, r(2), true)
	if w.at(t, w.a, 2) == nil || w.at(t, w.b, 1) != nil || w.tokens(t) != 1 {
		t.Error("and back")
	}
	// The clock does not matter: turns grow all the same.
	w.clock.pass(-time.Hour)
	w.register(t, w.b, r(1), true)
	if w.at(t, w.a, 2) != nil || w.at(t, w.b, 1) == nil {
		t.Error("with a clock put back")
	}
	// What moved took nothing of the other devices with it.
	w.register(t, w.b, Registration{Device: 7, Provider: FCM, Token: "t"}, true) // another provider's is another token
	if w.at(t, w.b, 1) == nil || w.at(t, w.b, 7) == nil || w.tokens(t) != 2 {
		t.Error("two providers")
	}
}

func TestUnregister(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	remove := func(what string, d store.DeviceID, only *Registration, want bool) {
		t.Helper()
		if removed, err := w.Unregister(ctx, w.a, d, only); err != nil || removed != want {
			t.Errorf("%s: removed %v, %v", what, removed, err)
		}
	}
	remove("nothing", 1, nil, false)
	w.register(t, w.a, Registration{Device: 1, Provider: FCM, Token: "t"}, true)
	old := *w.at(t, w.a, 1)
	remove("another device", 2, nil, false)

	// A provider that says of an old registration that it is gone does not take a newer one with it.
	w.clock.pass(time.Second)
	w.register(t, w.a, Registration{Device: 1, Provider: FCM, Token: "t"}, false)
	remove("the same, registered again", 1, &old, false)
	w.register(t, w.a, Registration{Device: 1, Provider: FCM, Token: "u"}, true)
	remove("another token", 1, &old, false)
	now := *w.at(t, w.a, 1)
	remove("this one", 1, &now, true)
	if w.at(t, w.a, 1) != nil || w.tokens(t) != 0 {
		t.Error("something is left")
	}
	remove("twice", 1, &now, false)

	// The former owner's removal leaves the new one alone.
	w.register(t, w.a, now, true)
	mine := *w.at(t, w.a, 1)
	w.register(t, w.b, Registration{Device: 5, Provider: FCM, Token: "u"}, true)
	remove("moved", 1, &mine, false)
	remove("moved, whatever", 1, nil, false)
	if w.at(t, w.b, 5) == nil {
		t.Error("the new owner has lost it")
	}
}

func TestForgetPushes(t *testing.T) {
	w := newWorld(t)
	for d := range store.DeviceID(3) {
		w.register(t, w.a, Registration{Device: d + 1, Provider: FCM, Token: fmt.Sprint("a", d)}, true)
	}
	w.register(t, w.b, Registration{Device: 1, Provider: FCM, Token: "b"}, true)
	for range 2 {
		if err := w.ForgetPushes(t.Context(), w.a); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := w.Registrations(w.a); err != nil || len(list) != 0 || w.tokens(t) != 1 {
		t.Errorf("%+v, %v, %d tokens", list, err, w.tokens(t))
	}
	if err := w.store.EraseAccount(t.Context(), w.a); err != nil {
		t.Fatal(err)
	}
	w.register(t, w.b, Registration{Device: 2, Provider: FCM, Token: "a0"}, true) // nobody stands in the way
}

// An account that was erased without ForgetPushes keeps its tokens from nobody.
func TestTokenOfAnErasedAccount(t *testing.T) {
	w := newWorld(t)
	w.register(t, w.a, Registration{Device: 1, Provider: FCM, Token: "t"}, true)
	if err := w.store.EraseAccount(t.Context(), w.a); err != nil {
		t.Fatal(err)
	}
	w.register(t, w.b, Registration{Device: 1, Provider: FCM, Token: "t"}, true)
	if w.at(t, w.b, 1) == nil {
		t.Error("not registered")
	}
}

// hesitant is a store in which others get in between: before is called before every update.
type hesitant struct {
	Store
	before func(u store.Update) error
}

func (h *hesitant) Update(ctx context.Context, u store.Update) error {
	if err := h.before(u); err != nil {
		return err
	}
	return h.Store.Update(ctx, u)
}

// Whoever gets in between, at whatever step: in the end one device is listed and it owns the token.
func TestRegisterMeanwhile(t *testing.T) {
	type meanwhile struct {
		what string
		do   func(t *testing.T, w *world)
	}
	same := Registration{Device: 1, Provider: APNs, Token: "t"}
	for _, m := range []meanwhile{
		{"another user", func(t *testing.T, w *world) { w.register(t, w.b, same, true) }},
		{"another device", func(t *testing.T, w *world) {
			w.register(t, w.a, Registration{Device: 2, Provider: APNs, Token: "t"}, true)
		}},
		{"removed", func(t *testing.T, w *world) {
			if _, err := w.Unregister(t.Context(), w.a, 1, nil); err != nil {
				t.Fatal(err)
			}
		}},
		{"the device itself", func(t *testing.T, w *world) {
			if _, err := w.Register(t.Context(), w.a, same); err != nil {
				t.Fatal(err)
			}
		}},
		{"the device, another token", func(t *testing.T, w *world) {
			if _, err := w.Register(t.Context(), w.a, Registration{Device: 1, Provider: APNs, Token: "u"}); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		for _, had := range []string{"nobody", "this one", "another one"} {
			for step := range 6 {
				t.Run(fmt.Sprintf("%s/%s/%d", m.what, had, step), func(t *testing.T) {
					w := newWorld(t)
					switch had {
					case "this one":
						w.register(t, w.a, same, true)
					case "another one":
						w.register(t, w.b, Registration{Device: 9, Provider: APNs, Token: "t"}, true)
					}
					n, busy := 0, false
					slow := New(&hesitant{w.store, func(store.Update) error {
						if n++; n-1 == step && !busy {
							busy = true
							m.do(t, w)
							busy = false
						}
						return nil
					}}, w.now)
					if _, err := slow.Register(t.Context(), w.a, same); err != nil {
						t.Fatal(err)
					}
					w.oneEach(t)
				})
			}
		}
	}
}

// A device that registers again while it is being removed is registered, or is not, in both rows.
func TestUnregisterMeanwhile(t *testing.T) {
	r := Registration{Device: 1, Provider: APNs, Token: "t"}
	for step := range 2 {
		w := newWorld(t)
		w.register(t, w.a, r, true)
		n, busy := 0, false
		slow := New(&hesitant{w.store, func(store.Update) error {
			if n++; n-1 == step && !busy {
				busy = true
				if _, err := w.Register(t.Context(), w.a, r); err != nil {
					t.Error(err)
				}
			}
			return nil
		}}, w.now)
		if _, err := slow.Unregister(t.Context(), w.a, 1, nil); err != nil {
			t.Fatal(err)
		}
		w.oneEach(t)
		if !busy || (w.at(t, w.a, 1) != nil) != (step == 1) {
			t.Errorf("step %d: %+v", step, w.at(t, w.a, 1))
		}
	}
}

// oneEach holds what is listed against the owners: every token that is listed is listed once, and its row says so.
func (w *world) oneEach(t *testing.T) {
	t.Helper()
	listed := make(map[string]int)
	for _, a := range []store.AccountID{w.a, w.b} {
		list, err := w.Registrations(a)
		if err != nil {
			t.Fatal(err)
		}
		for i := range list {
			listed[list[i].Token]++
			w.at(t, a, list[i].Device)
		}
	}
	for token, n := range listed {
		if n != 1 {
			t.Errorf("the token %s is listed %d times", token, n)
		}
	}
	if n := w.tokens(t); n != len(listed) {
		t.Errorf("%d tokens have an owner, %d are listed", n, len(listed))
	}
}

// A disk that fails in between leaves the token with who had it, or a repeat mends it.
func TestRegisterFails(t *testing.T) {
	for step := range 4 {
		w := newWorld(t)
		w.register(t, w.b, Registration{Device: 9, Provider: APNs, Token: "t"}, true)
		n := 0
		slow := New(&hesitant{w.store, func(store.Update) error {
			if n++; n-1 == step {
				return store.ErrUnavailable
			}
			return nil
		}}, w.now)
		r := Registration{Device: 1, Provider: APNs, Token: "t"}
		if _, err := slow.Register(t.Context(), w.a, r); err != nil {
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("step %d: %v", step, err)
			}
			if step < 2 && w.at(t, w.b, 9) == nil {
				t.Errorf("step %d: neither has it", step)
			}
		}
		if _, err := w.Register(t.Context(), w.a, r); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Register(t.Context(), w.b, Registration{Device: 9, Provider: APNs, Token: "u"}); err != nil {
			t.Fatal(err)
		}
		w.oneEach(t)
	}
}

// Many devices of two users fight over a few tokens, through several graphs over one store, as the server has.
func TestRegisterTogether(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for i := range 8 {
		seed := rand.Uint64()
		t.Logf("worker %d: seed %d", i, seed)
		wg.Go(func() {
			g, rnd := New(w.store, w.now), rand.New(rand.NewPCG(seed, 0))
			for range 60 {
				a := []store.AccountID{w.a, w.b}[rnd.IntN(2)]
				d := store.DeviceID(rnd.IntN(3) + 1)
				var err error
				if rnd.IntN(5) == 0 {
					_, err = g.Unregister(t.Context(), a, d, nil)
				} else {
					_, err = g.Register(t.Context(), a, Registration{Device: d, Provider: FCM, Token: string(rune('t' + rnd.IntN(3)))})
				}
				if err != nil && store.CodeOf(err) != store.CodeConflict {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	w.oneEach(t)
}

func TestRoomPreview(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	is := func(log store.LogID, want Preview) {
		t.Helper()
		if got, err := w.RoomPreview(w.a, log); err != nil || got != want {
			t.Errorf("log %v: %q, %v; want %q", log, got, err, want)
		}
	}
	set := func(log store.LogID, p Preview, want bool) {
		t.Helper()
		if changed, err := w.SetRoomPreview(ctx, w.a, log, p); err != nil || changed != want {
			t.Errorf("%q: changed %v, %v", p, changed, err)
		}
	}
	is(1, PreviewSender)
	set(1, "", false)
	set(1, PreviewHidden, true)
	set(1, PreviewHidden, false)
	set(2, PreviewSender, true)
	is(1, PreviewHidden)
	if err := w.SetSettings(ctx, w.a, func(s *Settings) error { s.Preview = PreviewFull; return nil }); err != nil {
		t.Fatal(err)
	}
	is(1, PreviewHidden)
	is(2, PreviewSender)
	is(3, PreviewFull)
	if all, err := w.RoomPreviews(w.a); err != nil || len(all) != 2 || all[1] != PreviewHidden || all[2] != PreviewSender {
		t.Errorf("%v, %v", all, err)
	}
	set(1, "", true)
	is(1, PreviewFull)
	if other, err := w.RoomPreview(w.b, 2); err != nil || other != PreviewSender {
		t.Errorf("of another user: %q, %v", other, err)
	}
	if _, err := w.SetRoomPreview(ctx, 999, 1, PreviewFull); store.CodeOf(err) != store.CodeNotFound {
		t.Errorf("of nobody: %v", err)
	}
	if err := w.store.EraseAccount(ctx, w.a); err != nil {
		t.Fatal(err)
	}
	if all, err := w.RoomPreviews(w.a); err != nil || len(all) != 0 {
		t.Errorf("of an erased account: %v, %v", all, err)
	}
}

// A backup has what was registered, whole, and its check finds nothing wrong with it.
func TestRegistrationsInABackup(t *testing.T) {
	w := newWorld(t)
	w.register(t, w.a, Registration{Device: 1, Provider: FCM, Token: "one"}, true)
	w.register(t, w.a, Registration{Device: 2, Provider: WebPush, Token: "https://push.example/x", Key: []byte("k"), Secret: []byte("s")}, true)
	w.register(t, w.b, Registration{Device: 1, Provider: APNs, Token: "two"}, true)
	if _, err := w.SetRoomPreview(t.Context(), w.a, 7, PreviewHidden); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "backup")
	if err := w.store.Backup(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	copied, key := filepath.Join(t.TempDir(), "restored"), filepath.Join(w.dir, "keys", "master.key")
	if err := bolt.Restore(t.Context(), dir, copied, key); err != nil {
		t.Fatal(err)
	}
	report, err := bolt.Check(t.Context(), copied, bolt.CheckOptions{Finding: func(line string) { t.Error(line) }})
	if err != nil || report.Findings != 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	s, err := bolt.Open(bolt.Config{Dir: copied, KeyFile: key, MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := &world{Graph: New(s, nil), store: s, a: w.a, b: w.b}
	r.oneEach(t)
	if list, err := r.Registrations(w.a); err != nil || len(list) != 2 || list[0].Token != "one" || string(list[1].Secret) != "s" {
		t.Errorf("%+v, %v", list, err)
	}
	if p, err := r.RoomPreview(w.a, 7); err != nil || p != PreviewHidden {
		t.Errorf("preview %q, %v", p, err)
	}
}
