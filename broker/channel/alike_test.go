package channel

import (
	"testing"

	"github.com/hwangso/hwangso/store"
)

// TestAlike: what looks like somebody else's channel is no channel's identifier or title, unless an operator says so.
func TestAlike(t *testing.T) {
	w := newWorld(t, "brand", "eve")
	create := func(owner, name, title string, alike bool) error {
		_, _, err := w.s.Create(t.Context(), w.users[owner].ID, name, Fields{Title: &title, Alike: alike})
		return err
	}
	set := func(c *Channel, title string, alike bool) error {
		_, _, err := w.s.Set(t.Context(), c.ID, Fields{Title: &title, Alike: alike})
		return err
	}
	approve := func(c *Channel) {
		t.Helper()
		if _, _, err := w.s.Approve(t.Context(), c.ID, ""); err != nil {
			t.Fatal(err)
		}
	}
	cafe := w.create("brand", "cafe", "Caf\u00e9 Gangnam")
	early := w.create("eve", "gangnam", "CAFE GANGNAM") // what waits is nobody's model
	approve(cafe)
	for range 2 { // also after a restart
		for _, c := range [][2]string{{"cafe.", "Bakery"}, {"caf3", "C\u0430fe"}, {"bakery", "cafe-gangnam"}, {"c4", "\uff23\uff21\uff26\uff25 Gangnarn"}} {
			code(t, c[0]+" "+c[1], create("eve", c[0], c[1], false), store.CodeConflict)
		}
		w.open(Config{})
	}
	if like, err := w.s.Alike(early); err != nil || like == nil || like.Name != "cafe" {
		t.Errorf("to be approved: %v, %v", like, err)
	}
	code(t, "another", create("eve", "bakery", "Bakery", false), 0)
	code(t, "one's own", create("brand", "cafe2", "Caf\u00e9 Gangnam", false), 0)
	bakery, err := w.s.Find("bakery")
	if err != nil {
		t.Fatal(err)
	}
	approve(bakery)
	code(t, "renamed", set(bakery, "Cafe", false), store.CodeConflict)
	code(t, "renamed by an operator", set(bakery, "Cafe", true), 0)
	code(t, "said again", set(bakery, "Cafe", false), 0)
	code(t, "renamed to something else", set(bakery, "Bread", false), 0)
	code(t, "by an operator", create("eve", "cafe.", "Bakery", true), 0)
	// What nobody may see any more, or is called otherwise, is no model.
	code(t, "a title of old", create("brand", "bakers", "bakery!", false), store.CodeConflict)
	if _, _, err := w.s.Suspend(t.Context(), bakery.ID, true, "why"); err != nil {
		t.Fatal(err)
	}
	code(t, "of one suspended", create("brand", "bakers", "bakery!", false), 0)
}
