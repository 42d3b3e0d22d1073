package graph

import (
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

func TestMute(t *testing.T) {
	w := newWorld(t)
	w.clock.set(time.Now()) // that of the store, which drops what has ended
	ctx := t.Context()
	set := func(log store.LogID, m *Mute, want bool) {
		t.Helper()
		if changed, err := w.SetMute(ctx, w.a, log, m); err != nil || changed != want {
			t.Fatalf("changed %v, %v", changed, err)
		}
	}
	muted := func(a store.AccountID, log store.LogID, want *Mute) {
		t.Helper()
		got, err := w.Mute(a, log)
		if err != nil || (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("%v, %v: got %+v, %v; want %+v", a, log, got, err, want)
		}
	}
	muted(w.a, 1, nil)
	set(1, nil, false)
	until := w.clock.now().Add(time.Hour).UnixMilli()
	set(1, &Mute{Until: until, Mentions: true}, true)
	set(1, &Mute{Until: until, Mentions: true}, false)
	set(2, &Mute{}, true)
	muted(w.a, 1, &Mute{Until: until, Mentions: true})
	muted(w.a, 2, &Mute{})
	muted(w.b, 1, nil)
	if all, err := w.Mutes(w.a); err != nil || len(all) != 2 || all[1].Until != until || !all[1].Mentions {
		t.Errorf("%+v, %v", all, err)
	}
	w.clock.pass(time.Hour)
	muted(w.a, 1, nil)
	muted(w.a, 2, &Mute{})
	if all, err := w.Mutes(w.a); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	set(1, &Mute{Until: until + 1000}, true)
	set(2, nil, true)
	muted(w.a, 2, nil)
	if _, err := w.SetMute(ctx, 999, 1, &Mute{}); store.CodeOf(err) != store.CodeNotFound {
		t.Errorf("a mute of nobody: %v", err)
	}
}

func TestQuietHours(t *testing.T) {
	w := newWorld(t)
	night := Quiet{Zone: "Asia/Seoul", From: 22 * 60, To: 7*60 + 30, Days: 1<<time.Friday | 1<<time.Saturday}
	for _, want := range []bool{true, false} {
		if changed, err := w.SetQuiet(t.Context(), w.a, night); err != nil || changed != want {
			t.Fatalf("changed %v, %v", changed, err)
		}
	}
	q, err := w.Quiet(w.a)
	if err != nil || *q != night {
		t.Fatalf("%+v, %v", q, err)
	}
	if q, err := w.Quiet(w.b); err != nil || q.On() || !q.Ends(w.clock.now()).IsZero() {
		t.Errorf("%+v, %v", q, err)
	}
	check := func(q *Quiet, at, ends string) {
		t.Helper()
		in, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if e := q.Ends(in); !e.IsZero() {
			got = e.Format(time.RFC3339)
		}
		if got != ends {
			t.Errorf("%+v at %s: ends %q, want %q", *q, at, got, ends)
		}
	}
	// 2026-03-06 is a Friday.
	check(q, "2026-03-06T21:59:59+09:00", "")
	check(q, "2026-03-06T13:00:00Z", "2026-03-07T07:30:00+09:00")
	check(q, "2026-03-07T07:29:59+09:00", "2026-03-07T07:30:00+09:00")
	check(q, "2026-03-07T07:30:00+09:00", "")
	check(q, "2026-03-08T03:00:00+09:00", "2026-03-08T07:30:00+09:00") // Saturday's night
	check(q, "2026-03-08T23:00:00+09:00", "")
	check(q, "2026-03-06T03:00:00+09:00", "") // Thursday's night
	daily := &Quiet{Zone: "Europe/Berlin", From: 60, To: 4 * 60}
	check(daily, "2026-03-29T01:30:00+01:00", "2026-03-29T04:00:00+02:00") // one hour is missing
	check(daily, "2026-10-25T02:30:00+02:00", "2026-10-25T04:00:00+01:00") // one comes twice
	check(daily, "2026-06-01T12:00:00+02:00", "")
	all := &Quiet{Zone: "UTC", From: 0, To: 1440, Days: 1 << time.Sunday}
	check(all, "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z")
	check(all, "2026-03-02T00:00:00Z", "")

	for _, bad := range []Quiet{
		{Zone: "Mars/Olympus", To: 1}, {Zone: "Local", To: 1}, {Zone: "../../etc/passwd", To: 1}, {Zone: "UTC", From: -1, To: 1},
		{Zone: "UTC", From: 1440, To: 1}, {Zone: "UTC", From: 1}, {Zone: "UTC", From: 1, To: 1441}, {Zone: "UTC", From: 9, To: 9},
		{Zone: "UTC", To: 1, Days: 128},
	} {
		if _, err := w.SetQuiet(t.Context(), w.a, bad); store.CodeOf(err) != store.CodeBad {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if changed, err := w.SetQuiet(t.Context(), w.a, Quiet{From: 5}); err != nil || !changed {
		t.Errorf("ended %v, %v", changed, err)
	}
	if q, _ := w.Quiet(w.a); q.On() {
		t.Error("still quiet")
	}
}
