package bridge

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge/bulk"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
	"github.com/hwangso/hwangso/store/graph"
)

func TestAnnouncementIsValid(t *testing.T) {
	for name, n := range map[string]Announcement{
		"no text":          {Title: map[string]string{"en": "x"}},
		"no English":       {Text: map[string]string{"ko": "가", "ja": "か"}},
		"unknown language": {Text: map[string]string{"en": "x", "xx": "y"}},
		"twice":            {Text: map[string]string{"en": "x", "ko": "y", "ko-KR": "z"}},
		"empty":            {Text: map[string]string{"en": ""}},
		"long title":       {Title: map[string]string{"en": strings.Repeat("x", 101)}, Text: map[string]string{"en": "x"}},
		"long text":        {Text: map[string]string{"en": strings.Repeat("x", 1001)}},
		"control":          {Text: map[string]string{"en": "x\x1b[2J"}},
		"no UTF-8":         {Text: map[string]string{"en": "\xff"}},
	} {
		if err := n.Validate(); store.CodeOf(err) != store.CodeBad {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, n := range map[string]Announcement{
		"English":        {Text: map[string]string{"en": "x\ny"}},
		"Korean alone":   {Text: map[string]string{"ko": "점검"}},
		"several":        {Title: map[string]string{"en": "t"}, Text: map[string]string{"en-GB": "x", "zh-Hant": "維護", "zh-Hans": "维护"}},
		"longest Korean": {Text: map[string]string{"ko": strings.Repeat("가", 1000)}},
	} {
		if err := n.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnnouncementPush(t *testing.T) {
	clock := time.Date(2026, 3, 1, 23, 30, 0, 0, time.UTC)
	now := func() time.Time { return clock }
	st, err := bolt.Open(bolt.Config{Dir: t.TempDir(), MinFree: -1, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	g := graph.New(st, now)
	s := NewAnnouncements(st, g, now)
	data, err := json.Marshal(Announcement{Title: map[string]string{"en": "Work"}, Text: map[string]string{"en": "down at ten", "ko": "열 시에 점검"}})
	if err != nil {
		t.Fatal(err)
	}
	j := &bulk.Job{Number: 4, Data: data}
	ids := make(map[string]store.AccountID)
	for _, u := range []store.Account{{Name: "korean", Language: "ko-KR"}, {Name: "german", Language: "de"}, {Name: "asleep"}, {Name: "out"}} {
		a, err := st.CreateAccount(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		ids[u.Name] = a.ID
		if u.Name == "out" {
			a.State = store.AccountSuspended
			if err := st.SetAccount(t.Context(), a); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := g.SetQuiet(t.Context(), ids["asleep"], graph.Quiet{Zone: "UTC", From: 22 * 60, To: 7 * 60}); err != nil {
		t.Fatal(err)
	}
	if page, err := s.(bulk.Pager).Page(t.Context(), j, ids["korean"], 2); err != nil || len(page) != 2 || page[0] != ids["german"] {
		t.Errorf("page %v, %v", page, err)
	}
	r := &graph.Registration{Device: 9, Provider: graph.APNs, Token: "00"}
	for name, want := range map[string]struct {
		body   string
		silent bool
	}{"korean": {"열 시에 점검", false}, "german": {"down at ten", false}, "asleep": {"down at ten", true}} {
		p, err := s.Push(t.Context(), j, ids[name], r)
		if err != nil || p == nil {
			t.Fatalf("%s: %v, %v", name, p, err)
		}
		if p.Note.Body != want.body || p.Note.Title != "Work" || p.Note.Silent != want.silent || p.Note.Seq != 4 {
			t.Errorf("%s: %+v", name, p.Note)
		}
		if again, _ := s.Push(t.Context(), j, ids[name], r); again.ID != p.ID || again.Collapse != p.Collapse {
			t.Errorf("%s: asked twice, it has another identifier", name)
		}
	}
	for _, a := range []store.AccountID{ids["out"], 999} {
		if p, err := s.Push(t.Context(), j, a, r); err != nil || p != nil {
			t.Errorf("%v: %v, %v", a, p, err)
		}
	}
}
