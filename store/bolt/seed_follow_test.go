package bolt

import (
	"slices"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// Follows that are loaded are what follows one by one would have been: in both orders, ended by the user, gone with it.
func TestLoadFollows(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), MinFree: -1}
	const users = 2500 // more than a page
	if err := Load(t.Context(), cfg, Seed{Users: users, Password: "p"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := LoadFollows(t.Context(), cfg, Follows{Channels: []store.LogID{7}, Users: users + 1, Table: "user.follow", Row: []byte("x")}, nil); err == nil {
		t.Fatal("somebody who does not exist follows")
	}
	f := Follows{Channels: []store.LogID{9, 7}, Users: users, Table: "user.follow", Row: []byte(`{"since":1}`)}
	for range 2 {
		if err := LoadFollows(t.Context(), cfg, f, nil); err != nil {
			t.Fatal(err)
		}
	}
	st := testStore(t, cfg, 0)
	for _, channel := range f.Channels {
		var all []store.AccountID
		for {
			after := store.AccountID(0)
			if n := len(all); n > 0 {
				after = all[n-1]
			}
			page, err := st.Followers(channel, after, 1200)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			all = append(all, page...)
		}
		if len(all) != users || all[0] != 1 || all[users-1] != users || !slices.IsSorted(all) {
			t.Fatalf("%v has %d followers", channel, len(all))
		}
	}
	row, err := st.Row("user.follow", store.OwnerOf(users), store.KeyOf(store.LogID(9)))
	if err != nil || string(row.Value) != `{"since":1}` || row.Version == 0 {
		t.Fatalf("%+v, %v", row, err)
	}
	if err := st.Update(t.Context(), store.Update{Owner: store.OwnerOf(3), Follows: []store.FollowPut{{Channel: 7}}}); err != nil {
		t.Fatal(err)
	}
	if err := st.EraseAccount(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	page, err := st.Followers(7, 0, 4)
	if err != nil || !slices.Equal(page, []store.AccountID{1, 2, 4, 6}) {
		t.Fatalf("%v, %v", page, err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	checkDir(t, cfg.Dir, false)
}
