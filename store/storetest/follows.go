package storetest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// FollowersStore is a store that knows who follows a channel.
type FollowersStore interface {
	DirectoryCloser
	store.Followers
}

// Followers tests an implementation of store.Followers, and of Update.Follows. open opens the store over the files in dir,
// creating it if there is none; what was stored is found again after Close and another open.
func Followers(t *testing.T, open func(t testing.TB, dir string) FollowersStore) {
	cases := []struct {
		name string
		test func(t *testing.T, f *followCase)
	}{
		{"follow and leave", testFollowLeave},
		{"pages of followers", testFollowerPages},
		{"pages while they change", testFollowerChanges},
		{"limit of follows", testFollowLimit},
		{"limit of follows under concurrency", testFollowLimitAtOnce},
		{"all of an update or nothing", testFollowAtomic},
		{"a follower is erased", testFollowErase},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			f := &followCase{T: t, open: func() FollowersStore { return open(t, dir) }}
			f.FollowersStore = f.open()
			c.test(t, f)
			noError(t, f.Close())
		})
	}
}

// followCase is a store under test.
type followCase struct {
	*testing.T
	FollowersStore
	open func() FollowersStore
}

// follow changes what an account follows in one update: channels from 1 on it follows, those below 0 it leaves.
func (f *followCase) follow(a store.AccountID, limit int, channels ...int) error {
	u := store.Update{Owner: store.OwnerOf(a)}
	for _, c := range channels {
		put := store.FollowPut{Channel: store.LogID(max(c, -c)), On: c > 0, Limit: limit}
		u.Follows = append(u.Follows, put)
	}
	return f.Update(f.Context(), u)
}

// want says who follows a channel, before and after the store is opened again.
func (f *followCase) want(channel store.LogID, accounts ...store.AccountID) {
	f.Helper()
	for range 2 {
		got, err := f.Followers(channel, 0, 0)
		noError(f, err)
		wantEqual(f, fmt.Sprint(got), fmt.Sprint(accounts))
		noError(f, f.Close())
		f.FollowersStore = f.open()
	}
}

func testFollowLeave(t *testing.T, f *followCase) {
	all := makeAccounts(t, f, "anna", "berta", "clara")
	a, b, c := all[0].ID, all[1].ID, all[2].ID
	f.want(1)
	noError(t, f.follow(b, 0, 1))
	noError(t, f.follow(a, 0, 1, 2))
	noError(t, f.follow(a, 0, 1)) // it does
	noError(t, f.follow(c, 0, -1))
	f.want(1, a, b)
	f.want(2, a)
	f.want(3)
	noError(t, f.follow(a, 0, -1, 3))
	noError(t, f.follow(a, 0, -1))
	f.want(1, b)
	f.want(2, a)
	f.want(3, a)
	noError(t, f.follow(a, 0, 1))
	f.want(1, a, b)
	wantCode(t, f.follow(999, 0, 1), store.CodeNotFound)
	f.want(1, a, b)
}

func testFollowerPages(t *testing.T, f *followCase) {
	const many = 45
	var all, even []store.AccountID
	for i := range many {
		a := makeAccounts(t, f, fmt.Sprint("u", i))[0].ID
		all = append(all, a)
		noError(t, f.follow(a, 0, 7))
		if i%2 == 0 {
			even = append(even, a)
			noError(t, f.follow(a, 0, 8, 1<<40))
		}
	}
	for _, c := range []struct {
		channel store.LogID
		want    []store.AccountID
	}{{7, all}, {8, even}, {1 << 40, even}} {
		for _, page := range []int{1, 2, 7, 44, 45, 46, 5000} {
			var got []store.AccountID
			for after := store.AccountID(0); ; {
				some, err := f.Followers(c.channel, after, page)
				noError(t, err)
				if len(some) > page {
					t.Fatalf("%d in a page of %d", len(some), page)
				}
				if len(some) == 0 {
					break
				}
				got = append(got, some...)
				after = some[len(some)-1]
			}
			wantEqual(t, fmt.Sprint(got), fmt.Sprint(c.want))
		}
	}
	// After somebody who does not follow, or is nobody.
	some, err := f.Followers(8, all[1], 2)
	noError(t, err)
	wantEqual(t, fmt.Sprint(some), fmt.Sprint(even[1:3]))
	some, err = f.Followers(8, 1<<60, 2)
	noError(t, err)
	wantEqual(t, len(some), 0)
}

// testFollowerChanges: those who stay are each listed once, whoever comes and goes meanwhile.
func testFollowerChanges(t *testing.T, f *followCase) {
	var all []store.AccountID
	for i := range 40 {
		a := makeAccounts(t, f, fmt.Sprint("u", i))[0].ID
		all = append(all, a)
		if i%3 != 1 {
			noError(t, f.follow(a, 0, 7))
		}
	}
	seen := make(map[store.AccountID]int)
	after := store.AccountID(0)
	for step := 0; ; step++ {
		some, err := f.Followers(7, after, 3)
		noError(t, err)
		if len(some) == 0 {
			break
		}
		for _, a := range some {
			seen[a]++
		}
		after = some[len(some)-1]
		if i := 3*step + 1; i < len(all) {
			noError(t, f.follow(all[i], 0, 7))      // comes
			noError(t, f.follow(all[i/3*3], 0, -7)) // goes
		}
	}
	for i, a := range all {
		if seen[a] > 1 || i%3 == 2 && seen[a] != 1 {
			t.Errorf("follower %d was listed %d times", i, seen[a])
		}
	}
}

func testFollowLimit(t *testing.T, f *followCase) {
	all := makeAccounts(t, f, "anna", "berta")
	a, b := all[0].ID, all[1].ID
	noError(t, f.follow(a, 2, 1))
	noError(t, f.follow(a, 2, 2))
	wantCode(t, f.follow(a, 2, 3), store.CodeFull)
	noError(t, f.follow(a, 2, 2)) // it does already
	noError(t, f.follow(b, 2, 3)) // a limit of its own
	noError(t, f.follow(a, 2, -1))
	wantCode(t, f.follow(a, 2, 3, 4), store.CodeFull)
	f.want(4)
	noError(t, f.follow(a, 2, 3))
	noError(t, f.follow(a, 0, 4, 5, 6)) // no limit
	f.want(3, a, b)
}

func testFollowLimitAtOnce(t *testing.T, f *followCase) {
	a := makeAccounts(t, f, "anna")[0].ID
	const limit, tries = 5, 40
	errs := make([]error, tries)
	var wg sync.WaitGroup
	for i := range tries {
		wg.Go(func() { errs[i] = f.follow(a, limit, i+1) })
	}
	wg.Wait()
	followed := 0
	for i, err := range errs {
		got, e := f.Followers(store.LogID(i+1), 0, 0)
		noError(t, e)
		if (err == nil) != (len(got) == 1) {
			t.Errorf("channel %d: %v, and followers %v", i+1, err, got)
		}
		if err == nil {
			followed++
		} else {
			wantCode(t, err, store.CodeFull)
		}
	}
	wantEqual(t, followed, limit)
}

func testFollowAtomic(t *testing.T, f *followCase) {
	a := makeAccounts(t, f, "anna")[0].ID
	owner := store.OwnerOf(a)
	row := put("user.follow", "k", "v")
	row.If = store.IfVersion(77)
	u := store.Update{Owner: owner, Rows: []store.RowPut{row}, Follows: []store.FollowPut{{Channel: 1, On: true}}}
	wantCode(t, f.Update(t.Context(), u), store.CodeConflict)
	f.want(1)
	u.Rows[0].If = store.IfVersion(0)
	noError(t, f.Update(t.Context(), u))
	f.want(1, a)
	// A follow that is over the limit takes the row with it.
	u = store.Update{Owner: owner, Rows: []store.RowPut{put("user.follow", "l", "v")}, Follows: []store.FollowPut{{Channel: 2, On: true, Limit: 1}}}
	wantCode(t, f.Update(t.Context(), u), store.CodeFull)
	r, err := f.Row("user.follow", owner, "l")
	noError(t, err)
	if r.Version != 0 {
		t.Error("the row of a refused follow is there")
	}
}

func testFollowErase(t *testing.T, f *followCase) {
	all := makeAccounts(t, f, "anna", "berta")
	a, b := all[0].ID, all[1].ID
	noError(t, f.follow(a, 0, 1, 2, 3))
	noError(t, f.follow(b, 0, 2))
	noError(t, f.EraseAccount(t.Context(), a))
	f.want(1)
	f.want(2, b)
	wantCode(t, f.follow(a, 0, 1), store.CodeNotFound)
	f.want(1)
}
