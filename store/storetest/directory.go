package storetest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

// DirectoryCloser is a directory that the suite closes. A store.Store is one.
type DirectoryCloser interface {
	store.Directory
	store.Tables
	io.Closer
}

// Directory tests an implementation of store.Directory and store.Tables. open opens the one over the files in dir, creating it if
// there is none; what was stored is found again after Close and another open.
func Directory(t *testing.T, open func(t testing.TB, dir string) DirectoryCloser) {
	cases := []struct {
		name string
		test func(t *testing.T, d DirectoryCloser)
	}{
		{"accounts", testAccounts},
		{"names", testNames},
		{"account pages", testAccountPages},
		{"devices", testDevices},
		{"device limit under concurrency", testDeviceLimit},
		{"tokens", testTokens},
		{"token rotation", testRotation},
		{"removing a device", testRemoveDevice},
		{"edges", testEdges},
		{"edge limit under concurrency", testEdgeLimit},
		{"no stale edge", testFreshEdges},
		{"no stale account", testFreshAccounts},
		{"answers", testAnswers},
		{"one bad change among many", testRefusals},
		{"rows", testRows},
		{"lists of rows", testRowLists},
		{"conditions", testRowConditions},
		{"rows under concurrency", testRowCounter},
		{"rows that expire", testRowExpiry},
		{"rows and edges in one change", testRowsAndEdges},
		{"limits of rows", testRowLimits},
		{"erase", testErase},
		{"holds", testHolds},
		{"ended context", testDirectoryContext},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := open(t, t.TempDir())
			c.test(t, d)
			noError(t, d.Close())
		})
	}
	t.Run("random operations", func(t *testing.T) { directoryModelTest(t, open) })
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t testing.TB, err error, code store.Code) {
	t.Helper()
	if got := store.CodeOf(err); got != code {
		t.Fatalf("got code %d (%v), want %d", got, err, code)
	}
}

func wantEqual[T any](t testing.TB, got, want T) {
	t.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		t.Fatalf("got  %s\nwant %s", g, w)
	}
}

// makeAccounts creates accounts with these names.
func makeAccounts(t testing.TB, d store.Directory, names ...string) []store.Account {
	t.Helper()
	var out []store.Account
	for _, n := range names {
		a, err := d.CreateAccount(t.Context(), store.Account{Name: n, Created: 1})
		noError(t, err)
		out = append(out, a)
	}
	return out
}

func testAccounts(t *testing.T, d DirectoryCloser) {
	ctx := t.Context()
	a, err := d.CreateAccount(ctx, store.Account{
		Name: "Alice", Display: "Alice A.", Status: "here", Language: "ko", State: store.AccountLimited, Created: 12,
	})
	noError(t, err)
	if a.ID == 0 {
		t.Fatal("an account without a number")
	}
	want := store.Account{
		ID: a.ID, Name: "alice", Display: "Alice A.", Status: "here", Language: "ko", State: store.AccountLimited, Created: 12,
	}
	wantEqual(t, a, want)
	for range 2 { // the second time from whatever cache there is
		got, err := d.Account(a.ID)
		noError(t, err)
		wantEqual(t, got, want)
		got, err = d.AccountByName("ALICE")
		noError(t, err)
		wantEqual(t, got, want)
	}
	_, err = d.CreateAccount(ctx, store.Account{Name: "ALICE"})
	wantCode(t, err, store.CodeConflict)
	_, err = d.Account(0)
	wantCode(t, err, store.CodeNotFound)
	_, err = d.Account(a.ID + 1)
	wantCode(t, err, store.CodeNotFound)
	_, err = d.AccountByName("bob")
	wantCode(t, err, store.CodeNotFound)

	// What identifies an account stays.
	noError(t, d.SetAccount(ctx, store.Account{ID: a.ID, Name: "mallory", Display: "A", Created: 99}))
	want.Display, want.Status, want.Language, want.State = "A", "", "", store.AccountOK
	got, err := d.Account(a.ID)
	noError(t, err)
	wantEqual(t, got, want)
	wantCode(t, d.SetAccount(ctx, store.Account{ID: a.ID + 1}), store.CodeNotFound)
	wantCode(t, d.SetAccount(ctx, store.Account{ID: a.ID, State: 9}), store.CodeBad)

	b := makeAccounts(t, d, "bob")[0]
	if b.ID <= a.ID {
		t.Fatalf("numbers do not grow: %v after %v", b.ID, a.ID)
	}
}

func testNames(t *testing.T, d DirectoryCloser) {
	for _, name := range []string{"", " ", "a b", "a/b", "a+", "#", "$sys", "ä", "a\x00", strings.Repeat("x", 65), "~abc", "a:b", "\xff"} {
		_, err := d.CreateAccount(t.Context(), store.Account{Name: name})
		if store.CodeOf(err) != store.CodeBad {
			t.Errorf("name %q: %v", name, err)
		}
		_, err = d.AccountByName(name)
		if store.CodeOf(err) != store.CodeNotFound {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for _, name := range []string{"a", ".", "-", "a~b", "0", strings.Repeat("x", 64), "A.B-c"} {
		a, err := d.CreateAccount(t.Context(), store.Account{Name: name})
		noError(t, err)
		wantEqual(t, a.Name, strings.ToLower(name))
		got, err := d.AccountByName(name)
		noError(t, err)
		wantEqual(t, got, a)
	}
}

func testAccountPages(t *testing.T, d DirectoryCloser) {
	const n = 25
	var all []store.Account
	for i := range n {
		all = append(all, makeAccounts(t, d, fmt.Sprintf("n%d", n-i))...)
	}
	for _, size := range []int{1, 7, n, n + 1, 0} {
		var got []store.Account
		after := store.AccountID(0)
		for {
			page, err := d.Accounts(after, size)
			noError(t, err)
			if size > 0 && len(page) > size {
				t.Fatalf("%d accounts in a page of %d", len(page), size)
			}
			if len(page) == 0 {
				break
			}
			got = append(got, page...)
			after = page[len(page)-1].ID
		}
		wantEqual(t, got, all)
	}
}

func testDevices(t *testing.T, d DirectoryCloser) {
	ctx := t.Context()
	users := makeAccounts(t, d, "alice", "bob")
	hour := time.Hour.Milliseconds()
	dev := store.Device{
		Account: users[0].ID, ID: 7, ClientID: "phone", Label: "my phone", Created: 5, LastSeen: 3*hour + 17, NoEcho: true,
	}
	noError(t, d.PutDevice(ctx, dev, 2))
	dev.LastSeen = 3 * hour // kept to the hour
	got, err := d.Device(users[0].ID, 7)
	noError(t, err)
	wantEqual(t, got, dev)

	_, err = d.Device(users[1].ID, 7)
	wantCode(t, err, store.CodeNotFound)
	other := store.Device{Account: users[1].ID, ID: 7, ClientID: "phone"} // the same number means nothing elsewhere
	noError(t, d.PutDevice(ctx, other, 1))

	noError(t, d.PutDevice(ctx, store.Device{Account: users[0].ID, ID: 1, ClientID: "tablet"}, 2))
	wantCode(t, d.PutDevice(ctx, store.Device{Account: users[0].ID, ID: 2}, 2), store.CodeFull)
	noError(t, d.PutDevice(ctx, store.Device{Account: users[0].ID, ID: 2}, 0))
	dev.Label = "changed"
	noError(t, d.PutDevice(ctx, dev, 1)) // not a new one
	list, err := d.Devices(users[0].ID)
	noError(t, err)
	wantEqual(t, list, []store.Device{
		{Account: users[0].ID, ID: 1, ClientID: "tablet"}, {Account: users[0].ID, ID: 2}, dev,
	})
	list, err = d.Devices(users[1].ID)
	noError(t, err)
	wantEqual(t, list, []store.Device{other})

	wantCode(t, d.PutDevice(ctx, store.Device{Account: 999, ID: 1}, 0), store.CodeNotFound)
	wantCode(t, d.PutDevice(ctx, store.Device{Account: users[0].ID}, 0), store.CodeBad)
}

func testDeviceLimit(t *testing.T, d DirectoryCloser) {
	u := makeAccounts(t, d, "alice")[0]
	const limit = 5
	full := together(40, func(i int) bool {
		err := d.PutDevice(t.Context(), store.Device{Account: u.ID, ID: store.DeviceID(i + 1)}, limit)
		if err != nil && store.CodeOf(err) != store.CodeFull {
			t.Error(err)
		}
		return err != nil
	})
	list, err := d.Devices(u.ID)
	noError(t, err)
	if len(list) != limit || full != 40-limit {
		t.Fatalf("%d devices, %d refused, limit %d", len(list), full, limit)
	}
}

// together runs fn n times at once and counts how often it returned true.
func together(n int, fn func(i int) bool) int {
	var wg sync.WaitGroup
	results := make([]bool, n)
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			results[i] = fn(i)
		})
	}
	close(start)
	wg.Wait()
	count := 0
	for _, r := range results {
		if r {
			count++
		}
	}
	return count
}

func hash(n byte) (h [32]byte) { h[0], h[31] = n, n; return h }

func testTokens(t *testing.T, d DirectoryCloser) {
	ctx := t.Context()
	u := makeAccounts(t, d, "alice")[0]
	account := store.Token{Account: u.ID, Hash: hash(2), Label: "laptop", Created: 4, Expires: 9}
	device := store.Token{Account: u.ID, Hash: hash(1), Device: 1<<63 + 5}
	operator := store.Token{Hash: hash(1), Scopes: []string{"users", "rooms"}}
	for _, tok := range []store.Token{account, device, operator} {
		noError(t, d.PutToken(ctx, tok))
		got, err := d.TokenByHash(tok.Account, tok.Hash)
		noError(t, err)
		wantEqual(t, got, tok)
	}
	_, err := d.TokenByHash(0, hash(2)) // another account's token opens nothing
	wantCode(t, err, store.CodeNotFound)
	list, err := d.Tokens(u.ID)
	noError(t, err)
	wantEqual(t, list, []store.Token{device, account})
	list, err = d.Tokens(0)
	noError(t, err)
	wantEqual(t, list, []store.Token{operator})

	account.Label = "desktop"
	noError(t, d.PutToken(ctx, account))
	got, err := d.TokenByHash(u.ID, account.Hash)
	noError(t, err)
	wantEqual(t, got, account)
	wantCode(t, d.PutToken(ctx, store.Token{Account: 999}), store.CodeNotFound)

	noError(t, d.RemoveToken(ctx, u.ID, account.Hash))
	_, err = d.TokenByHash(u.ID, account.Hash)
	wantCode(t, err, store.CodeNotFound)
	wantCode(t, d.RemoveToken(ctx, u.ID, account.Hash), store.CodeNotFound)
}

func testRotation(t *testing.T, d DirectoryCloser) {
	ctx := t.Context()
	u := makeAccounts(t, d, "alice")[0]
	old := store.Token{Account: u.ID, Hash: hash(1), Label: "old"}
	next := store.Token{Account: u.ID, Hash: hash(2), Label: "new"}
	wantCode(t, d.RotateToken(ctx, old, next, 50), store.CodeNotFound)
	_, err := d.TokenByHash(u.ID, next.Hash)
	wantCode(t, err, store.CodeNotFound) // nothing was applied

	noError(t, d.PutToken(ctx, old))
	noError(t, d.RotateToken(ctx, old, next, 50))
	old.Expires = 50
	list, err := d.Tokens(u.ID)
	noError(t, err)
	wantEqual(t, list, []store.Token{old, next})

	third := store.Token{Account: u.ID, Hash: hash(3)}
	noError(t, d.RotateToken(ctx, old, third, 80)) // rotating does not prolong
	got, err := d.TokenByHash(u.ID, old.Hash)
	noError(t, err)
	wantEqual(t, got, old)

	wantCode(t, d.RotateToken(ctx, next, next, 50), store.CodeBad)
	wantCode(t, d.RotateToken(ctx, next, store.Token{Account: u.ID + 1, Hash: hash(9)}, 50), store.CodeBad)
	wantCode(t, d.RotateToken(ctx, next, store.Token{Account: u.ID, Hash: hash(9)}, 0), store.CodeBad)
}

func testRemoveDevice(t *testing.T, d DirectoryCloser) {
	ctx := t.Context()
	u := makeAccounts(t, d, "alice")[0]
	for id := range store.DeviceID(2) {
		noError(t, d.PutDevice(ctx, store.Device{Account: u.ID, ID: id + 1}, 0))
		noError(t, d.PutToken(ctx, store.Token{Account: u.ID, Hash: hash(byte(id + 1)), Device: id + 1}))
		noError(t, d.PutAnswer(ctx, u.ID, id+1, "r", store.Answer{Status: 200}))
	}
	noError(t, d.PutToken(ctx, store.Token{Account: u.ID, Hash: hash(9)}))
	noError(t, d.RemoveDevice(ctx, u.ID, 1))
	_, err := d.Device(u.ID, 1)
	wantCode(t, err, store.CodeNotFound)
	_, err = d.TokenByHash(u.ID, hash(1))
	wantCode(t, err, store.CodeNotFound)
	_, err = d.AnswerTo(u.ID, 1, "r")
	wantCode(t, err, store.CodeNotFound)
	_, err = d.AnswerTo(u.ID, 2, "r")
	noError(t, err)
	left, err := d.Tokens(u.ID)
	noError(t, err)
	if len(left) != 2 {
		t.Fatalf("%d tokens left, want the other device's and the account's", len(left))
	}
	wantCode(t, d.RemoveDevice(ctx, u.ID, 1), store.CodeNotFound)
}

func setEdge(t testing.TB, d store.Directory, kind store.Edge, from, to store.AccountID, on, want bool) {
	t.Helper()
	changed, err := d.SetEdge(t.Context(), kind, from, to, on, 0)
	noError(t, err)
	wantEqual(t, changed, want)
	has, err := d.HasEdge(kind, from, to)
	noError(t, err)
	wantEqual(t, has, on)
}

func testEdges(t *testing.T, d DirectoryCloser) {
	ctx := t.Context()
	users := makeAccounts(t, d, "a", "b", "c", "d")
	a, b, c, e := users[0].ID, users[1].ID, users[2].ID, users[3].ID
	setEdge(t, d, store.EdgeFriend, a, c, true, true)
	setEdge(t, d, store.EdgeFriend, a, c, true, false)
	setEdge(t, d, store.EdgeFriend, a, b, true, true)
	for _, not := range []struct {
		kind     store.Edge
		from, to store.AccountID
	}{{store.EdgeFriend, c, a}, {store.EdgeBlock, a, c}, {store.EdgeFriend, a, e}, {store.EdgeFriend, a, a}, {store.EdgeFriend, 999, a}} {
		has, err := d.HasEdge(not.kind, not.from, not.to)
		noError(t, err)
		if has {
			t.Errorf("has edge %+v", not)
		}
	}
	list, err := d.Edges(store.EdgeFriend, a, 0, 0)
	noError(t, err)
	wantEqual(t, list, []store.AccountID{b, c})
	list, err = d.Edges(store.EdgeFriend, a, 0, 1)
	noError(t, err)
	wantEqual(t, list, []store.AccountID{b})
	list, err = d.Edges(store.EdgeFriend, a, b, 1)
	noError(t, err)
	wantEqual(t, list, []store.AccountID{c})
	list, err = d.Edges(store.EdgeFriend, a, c, 1)
	noError(t, err)
	wantEqual(t, len(list), 0)

	_, err = d.SetEdge(ctx, store.EdgeFriend, a, e, true, 2)
	wantCode(t, err, store.CodeFull)
	changed, err := d.SetEdge(ctx, store.EdgeFriend, a, b, true, 2) // is there already
	noError(t, err)
	wantEqual(t, changed, false)
	setEdge(t, d, store.EdgeFriend, a, b, false, true)
	setEdge(t, d, store.EdgeFriend, a, b, false, false)
	changed, err = d.SetEdge(ctx, store.EdgeFriend, a, e, true, 2)
	noError(t, err)
	wantEqual(t, changed, true)

	_, err = d.SetEdge(ctx, store.EdgeFriend, a, a, true, 0)
	wantCode(t, err, store.CodeBad)
	_, err = d.SetEdge(ctx, store.EdgeFriend, a, 999, true, 0)
	wantCode(t, err, store.CodeNotFound)
	_, err = d.SetEdge(ctx, store.EdgeFriend, 999, a, true, 0)
	wantCode(t, err, store.CodeNotFound)
	_, err = d.SetEdge(ctx, 77, a, b, true, 0)
	wantCode(t, err, store.CodeBad)
}

func testEdgeLimit(t *testing.T, d DirectoryCloser) {
	a := makeAccounts(t, d, "a")[0].ID
	var others []store.Account
	for i := range 30 {
		others = append(others, makeAccounts(t, d, fmt.Sprintf("b%d", i))...)
	}
	const limit = 12
	added := together(len(others), func(i int) bool {
		changed, err := d.SetEdge(t.Context(), store.EdgeFriend, a, others[i].ID, true, limit)
		if err != nil && store.CodeOf(err) != store.CodeFull {
			t.Error(err)
		}
		return changed
	})
	list, err := d.Edges(store.EdgeFriend, a, 0, 0)
	noError(t, err)
	if len(list) != limit || added != limit || !slices.IsSorted(list) {
		t.Fatalf("%d added, limit %d, list %v", added, limit, list)
	}
}

// testFreshEdges: a block or its end acts on the very next question, while others keep asking.
func testFreshEdges(t *testing.T, d DirectoryCloser) {
	users := makeAccounts(t, d, "a", "b")
	a, b := users[0].ID, users[1].ID
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := d.HasEdge(store.EdgeBlock, a, b); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 60 {
		setEdge(t, d, store.EdgeBlock, a, b, i%2 == 0, true)
	}
	close(done)
	wg.Wait()
}

func testFreshAccounts(t *testing.T, d DirectoryCloser) {
	a := makeAccounts(t, d, "a")[0]
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := d.AccountByName("a"); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 60 {
		a.Status = fmt.Sprint(i)
		noError(t, d.SetAccount(t.Context(), a))
		got, err := d.AccountByName("a")
		noError(t, err)
		wantEqual(t, got, a)
	}
	close(done)
	wg.Wait()
}

func testAnswers(t *testing.T, d DirectoryCloser) {
	ctx := t.Context()
	a := makeAccounts(t, d, "a")[0].ID
	now := time.Now().UnixMilli()
	_, err := d.AnswerTo(a, 1, "r")
	wantCode(t, err, store.CodeNotFound)
	ans := store.Answer{Status: 409, Body: []byte(`{"code":409}`), Time: now}
	noError(t, d.PutAnswer(ctx, a, 1, "r", ans))
	got, err := d.AnswerTo(a, 1, "r")
	noError(t, err)
	wantEqual(t, got, ans)
	for _, other := range []struct {
		account store.AccountID
		device  store.DeviceID
		request string
	}{{a, 1, "R"}, {a, 2, "r"}, {a + 1, 1, "r"}, {a, 1, ""}} {
		_, err = d.AnswerTo(other.account, other.device, other.request)
		wantCode(t, err, store.CodeNotFound)
	}
	ans.Status = 200
	noError(t, d.PutAnswer(ctx, a, 1, "r", ans))
	got, err = d.AnswerTo(a, 1, "r")
	noError(t, err)
	wantEqual(t, got, ans)

	noError(t, d.PutAnswer(ctx, a, 1, "old", store.Answer{Time: now - 25*time.Hour.Milliseconds()}))
	_, err = d.AnswerTo(a, 1, "old")
	wantCode(t, err, store.CodeNotFound)
	wantCode(t, d.PutAnswer(ctx, a, 1, "big", store.Answer{Body: make([]byte, 4<<10+1)}), store.CodeTooLarge)
	noError(t, d.PutAnswer(ctx, a, 1, "big", store.Answer{Body: make([]byte, 4<<10)}))
	wantCode(t, d.PutAnswer(ctx, a, 1, "", store.Answer{}), store.CodeBad)

	// 256 per device, the oldest going first; another device's stay.
	noError(t, d.PutAnswer(ctx, a, 3, "r", ans))
	name := func(i int) string { return fmt.Sprintf("n%03d", i) }
	if together(300, func(i int) bool {
		return d.PutAnswer(ctx, a, 2, name(i), store.Answer{Status: i, Time: now + int64(i)}) != nil
	}) > 0 {
		t.Fatal("an answer was refused")
	}
	kept := 0
	for i := range 300 {
		got, err := d.AnswerTo(a, 2, name(i))
		if err == nil {
			kept++
			wantEqual(t, got.Status, i)
		} else {
			wantCode(t, err, store.CodeNotFound)
		}
	}
	if kept != 256 {
		t.Fatalf("%d answers kept, want 256", kept)
	}
	_, err = d.AnswerTo(a, 3, "r")
	noError(t, err)
}

// testRefusals: what is refused concerns nobody else, however many share a commit.
func testRefusals(t *testing.T, d DirectoryCloser) {
	a := makeAccounts(t, d, "a")[0].ID
	refused := together(60, func(i int) bool {
		var err error
		if i%3 == 0 {
			_, err = d.CreateAccount(t.Context(), store.Account{Name: "A"})
			if store.CodeOf(err) != store.CodeConflict {
				t.Error(err)
			}
		} else {
			err = d.PutDevice(t.Context(), store.Device{Account: a, ID: store.DeviceID(i)}, 0)
		}
		return err != nil
	})
	list, err := d.Devices(a)
	noError(t, err)
	if refused != 20 || len(list) != 40 {
		t.Fatalf("%d refused, %d stored", refused, len(list))
	}
}

func testDirectoryContext(t *testing.T, d DirectoryCloser) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := d.CreateAccount(ctx, store.Account{Name: "a"})
	if err == nil {
		t.Fatal("an ended context changed something")
	}
	_, err = d.AccountByName("a")
	wantCode(t, err, store.CodeNotFound)
}
