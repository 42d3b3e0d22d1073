package graph

import (
	"testing"

	"github.com/hwangso/hwangso/store"
)

func TestProfile(t *testing.T) {
	w := newWorld(t)
	set := func(a store.AccountID, day string) error {
		return w.SetProfile(t.Context(), a, func(p *Profile) error { p.Birthday = day; return nil })
	}
	for _, day := range []string{"02-29", ""} {
		if err := set(w.a, day); err != nil {
			t.Fatal(err)
		}
		if p, err := w.Profile(w.a); err != nil || p.Birthday != day {
			t.Errorf("%+v, %v", p, err)
		}
	}
	if err := set(999, "01-01"); store.CodeOf(err) != store.CodeNotFound {
		t.Errorf("a profile of nobody: %v", err)
	}
	for day, want := range map[string]bool{"02-29": true, "12-31": true, "02-30": false, "13-01": false, "2-3": false, "": false,
		"02-29 ": false, "--01-01": false} {
		if ValidBirthday(day) != want {
			t.Errorf("%q: %v", day, !want)
		}
	}
}
