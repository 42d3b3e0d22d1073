package bolt

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

func TestLexical(t *testing.T) {
	for _, n := range []int{1, 2, 9, 10, 11, 12, 99, 100, 101, 1000, 1001, 12345} {
		var want []string
		for i := range n {
			want = append(want, strconv.Itoa(i))
		}
		slices.Sort(want)
		next := lexical(n)
		for at, w := range want {
			if got := strconv.Itoa(next()); got != w {
				t.Fatalf("n %d: number %d is %s, want %s", n, at, got, w)
			}
		}
	}
}

// Friendship is mutual, nobody is its own friend, and everybody has the right number but for the few that an odd
// number leaves without a partner.
func TestSeedFriends(t *testing.T) {
	for _, s := range []Seed{
		{Users: 1}, {Users: 2, Friends: 1}, {Users: 3, Friends: 1}, {Users: 3, Friends: 2}, {Users: 10, Friends: 3}, {Users: 10, Friends: 9},
		{Users: 10, Friends: 8}, {Users: 11, Friends: 7}, {Users: 200, Friends: 65}, {Users: 66, Friends: 65}, {Users: 67, Friends: 65}, {Users: 132, Friends: 65},
		{Users: 50, Friends: 4},
	} {
		t.Run(fmt.Sprintf("%d users %d friends", s.Users, s.Friends), func(t *testing.T) {
			lack := 0
			for i := range s.Users {
				row := s.friendsOf(i)
				if !slices.IsSorted(row) || len(slices.Compact(slices.Clone(row))) != len(row) {
					t.Fatalf("user %d: %v", i, row)
				}
				lack += s.Friends - len(row)
				for _, f := range row {
					if int(f) == i+1 || int(f) < 1 || int(f) > s.Users {
						t.Fatalf("user %d has friend %v", i, f)
					}
					if !slices.Contains(s.friendsOf(int(f)-1), store.AccountID(i+1)) {
						t.Fatalf("user %d: %v is not mutual", i, f)
					}
				}
			}
			if s.Friends%2 == 0 && lack > 0 || lack > s.Friends+1 {
				t.Fatalf("%d friends are missing", lack)
			}
			for p := range s.pairs() {
				a, b := s.pair(p)
				if !slices.Contains(s.friendsOf(a), store.AccountID(b+1)) {
					t.Fatalf("pair %d: %d and %d are no friends", p, a, b)
				}
			}
		})
	}
}

func TestSeedRooms(t *testing.T) {
	s := Seed{Users: 40, Rooms: 20, RoomSize: 10} // five rooms each
	of := map[int]int{}
	seen := map[string]bool{}
	for j := range s.Rooms {
		users := s.members(j)
		if j < 4 && users[0] != j*10 {
			t.Fatalf("room %d begins with %d", j, users[0])
		}
		slices.Sort(users)
		if key := fmt.Sprint(users); seen[key] || len(slices.Compact(users)) != 10 {
			t.Fatalf("room %d: %v", j, users)
		} else {
			seen[key] = true
		}
		for _, u := range users {
			of[u]++
		}
	}
	for u := range s.Users {
		if of[u] != 5 {
			t.Fatalf("user %d is in %d rooms", u, of[u])
		}
	}
}

func TestSeedValidate(t *testing.T) {
	for _, s := range []Seed{
		{}, {Users: 1}, {Users: -1, Password: "p"}, {Users: 3, Friends: 3, Password: "p"}, {Users: 3, Friends: -1, Password: "p"},
		{Users: 3, Rooms: 1, Password: "p"}, {Users: 3, Rooms: 1, RoomSize: 4, Password: "p"}, {Users: 3, Messages: 1, Password: "p"},
		{Users: 3, Rooms: -1, Password: "p"},
	} {
		if s.Validate() == nil {
			t.Errorf("%+v is accepted", s)
		}
		if Load(t.Context(), Config{Dir: t.TempDir()}, s, nil) == nil {
			t.Errorf("%+v is loaded", s)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	s := Seed{Users: 300, Friends: 5, Rooms: 6, RoomSize: 50, Password: "pass", Messages: 2000}
	last := map[string]int{}
	progress := func(stage string, done, total int) {
		if done < last[stage] || done > total {
			t.Errorf("%s: %d of %d after %d", stage, done, total, last[stage])
		}
		last[stage] = done
	}
	if err := Load(t.Context(), Config{Dir: dir, MinFree: -1}, s, progress); err != nil {
		t.Fatal(err)
	}
	for stage, want := range map[string]int{"accounts": 300, "friends": 300, "rooms": 6, "pairs": 300, "messages": 2000} {
		if last[stage] != want {
			t.Errorf("%s: ended at %d", stage, last[stage])
		}
	}
	if err := Load(t.Context(), Config{Dir: dir, MinFree: -1}, s, nil); !errors.Is(err, ErrNotEmpty) {
		t.Fatalf("a second load: %v", err)
	}
	st := testStore(t, Config{Dir: dir}, 0)
	if err := Load(t.Context(), Config{Dir: dir, MinFree: -1}, s, nil); !errors.Is(err, ErrLocked) {
		t.Fatalf("beside a server: %v", err)
	}
	salts := map[[32]byte]bool{}
	for i := range s.Users {
		a, err := st.AccountByName(fmt.Sprintf("U%d", i))
		if err != nil || int(a.ID) != i+1 {
			t.Fatalf("user %d: %+v, %v", i, a, err)
		}
		if tok, err := st.TokenByHash(a.ID, sha256.Sum256([]byte("pass"))); err != nil || tok.Device != 0 || tok.Expires != 0 {
			t.Fatalf("user %d: %+v, %v", i, tok, err)
		}
		for _, f := range s.friendsOf(i) {
			if has, err := st.HasEdge(store.EdgeFriend, a.ID, f); err != nil || !has {
				t.Fatalf("user %d and %v: %v, %v", i, f, has, err)
			}
		}
		salt, err := st.directory.salt(a.ID)
		if err != nil {
			t.Fatal(err)
		}
		salts[salt] = true
	}
	if len(salts) != s.Users {
		t.Fatalf("%d salts", len(salts))
	}
	if a, err := st.CreateAccount(context.Background(), store.Account{Name: "next"}); err != nil || int(a.ID) != s.Users+1 {
		t.Fatalf("%+v, %v", a, err)
	}
	checkHistory(t, st, s)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if r := checkDir(t, dir, false); r.Messages < int64(s.Messages) {
		t.Fatalf("%+v", r)
	}
}

// checkHistory reads everything back through members' eyes.
func checkHistory(t *testing.T, st *Store, s Seed) {
	t.Helper()
	found := 0
	read := func(key store.Key, viewer store.AccountID, members int) {
		t.Helper()
		info, err := st.Find(key)
		if err != nil || info.Members.Active != members {
			t.Fatalf("%+v: %+v, %v", key, info, err)
		}
		for after := store.Seq(0); after < info.Head; {
			page, err := st.Read(store.Query{Log: info.ID, Viewer: viewer, After: after, Max: 100})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Records {
				if info.Members.Role(r.Sender) == store.RoleNone {
					t.Fatalf("a stranger wrote %s", r.Text)
				}
				if len(r.Text) > 0 {
					found++
				}
			}
			after = page.Next
		}
	}
	for j := range s.Rooms {
		read(store.RoomKey(fmt.Sprintf("g%d", j)), store.AccountID(s.members(j)[0]+1), s.RoomSize)
	}
	for p := range s.pairs() {
		a, b := s.pair(p)
		read(store.PairKey(store.AccountID(a+1), store.AccountID(b+1)), store.AccountID(a+1), 2)
	}
	if found != s.Messages {
		t.Fatalf("%d messages found, want %d", found, s.Messages)
	}
}

// What an operator made before, and the server's salt, survive.
func TestLoadKeepsOperators(t *testing.T) {
	dir := t.TempDir()
	st := testStore(t, Config{Dir: dir}, 0)
	operator := store.Token{Hash: [32]byte{1}, Label: "ops", Scopes: []string{"all"}}
	if err := st.PutToken(t.Context(), operator); err != nil {
		t.Fatal(err)
	}
	salt, err := st.directory.salt(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Load(t.Context(), Config{Dir: dir, MinFree: -1}, Seed{Users: 3, Password: "p"}, nil); err != nil {
		t.Fatal(err)
	}
	st = testStore(t, Config{Dir: dir}, 0)
	if got, err := st.TokenByHash(0, operator.Hash); err != nil || got.Label != "ops" {
		t.Fatalf("%+v, %v", got, err)
	}
	if got, err := st.directory.salt(0); err != nil || got != salt {
		t.Fatalf("another salt, %v", err)
	}
}

func TestLoadGivenUp(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	s := Seed{Users: 100, Friends: 2, Password: "p"}
	err := Load(ctx, Config{Dir: dir, MinFree: -1}, s, func(stage string, done, total int) {
		if stage == "friends" {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.seed")); err != nil || len(left) > 0 {
		t.Fatalf("left: %v, %v", left, err)
	}
	if err := Load(t.Context(), Config{Dir: dir, MinFree: -1}, s, nil); err != nil { // nothing is there, so it can be tried again
		t.Fatal(err)
	}
}

// TestLoadMillion is the claim "a million users with 65 friends load in minutes", run on request.
func TestLoadMillion(t *testing.T) {
	users, err := strconv.Atoi(os.Getenv("HWANGSO_SEED_USERS"))
	if err != nil {
		t.Skip("set HWANGSO_SEED_USERS to a number of users, and perhaps HWANGSO_SEED_MESSAGES")
	}
	messages, _ := strconv.Atoi(os.Getenv("HWANGSO_SEED_MESSAGES"))
	dir := t.TempDir()
	s := Seed{Users: users, Friends: 65, Rooms: users / 2, RoomSize: 10, Password: "p", Messages: messages}
	if messages == 0 {
		s.Rooms = 0
	}
	start, last := time.Now(), ""
	if err := Load(t.Context(), Config{Dir: dir, MinFree: -1}, s, func(stage string, done, total int) {
		if done == total && stage != last {
			last = stage
			t.Logf("%6.1f s: %d %s", time.Since(start).Seconds(), total, stage)
		}
	}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, fileDirectory))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%6.1f s: closed; the directory has %d MiB", time.Since(start).Seconds(), info.Size()>>20)
}
