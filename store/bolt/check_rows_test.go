package bolt

import (
	"fmt"
	"strings"
	"testing"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
)

// checkRows is what a check of the files' rows finds.
func checkRows(t *testing.T, d *directory, s *sessions) (found []string) {
	t.Helper()
	tell := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if err := d.file.view(func(tx *bbolt.Tx) error { rowCheck{tx, tell}.directory(); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := s.file.view(func(tx *bbolt.Tx) error { rowCheck{tx, tell}.state(); return nil }); err != nil {
		t.Fatal(err)
	}
	return found
}

// Files in use have no findings; each kind of damage is found.
func TestCheckRows(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	d, s := testDirectory(t, dir, directoryOptions{}), testSessions(t, dir, sessionsOptions{})
	for i := range 20 {
		a, err := d.CreateAccount(ctx, store.Account{Name: fmt.Sprintf("u%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		dev := store.DeviceID(7)
		sess := benchSession(int(a.ID) - 1)
		sess.Device = dev
		if i%2 == 0 {
			sess.Disconnected = 5
		}
		for _, err := range []error{
			d.PutDevice(ctx, store.Device{Account: a.ID, ID: dev}, 0),
			d.PutToken(ctx, store.Token{Account: a.ID, Hash: [32]byte{1}, Device: dev}),
			d.PutAnswer(ctx, a.ID, dev, "r", store.Answer{Time: int64(i%3) + 1}), // old ones are swept
			d.PutAnswer(ctx, a.ID, dev, "s", store.Answer{}),
			d.PutAnswer(ctx, a.ID, dev, "s", store.Answer{}),
			s.SaveSession(ctx, sess),
			d.Update(ctx, store.Update{Owner: store.OwnerOf(a.ID), Rows: []store.RowPut{{Table: "user.push", Value: []byte("{}")}}}),
			d.Update(ctx, store.Update{Owner: store.OwnerOf(a.ID), Follows: []store.FollowPut{{Channel: 5, On: true}}}),
			d.Update(ctx, store.Update{Owner: "hash", Rows: []store.RowPut{{Table: "service.pushtoken", Value: []byte("{}")}}}),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if i > 0 {
			if _, err := d.SetEdge(ctx, store.EdgeFriend, a.ID, a.ID-1, true, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := d.RemoveDevice(ctx, 3, 7); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteSession(ctx, 3, 7); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ExpireSessions(ctx, 1<<50, 3); err != nil {
		t.Fatal(err)
	}
	if found := checkRows(t, d, s); len(found) > 0 {
		t.Fatalf("findings in good files: %q", found)
	}
	first := func(bucket []byte) func(w *writeTx) []byte {
		return func(w *writeTx) []byte { k, _ := w.bucket(bucket).Cursor().First(); return k }
	}
	key := func(k []byte) func(w *writeTx) []byte { return func(*writeTx) []byte { return k } }
	cases := []struct {
		file   *boltFile
		bucket []byte
		key    func(w *writeTx) []byte
		value  []byte // nil: the row goes
		want   string
	}{
		{d.file, dirAccounts, key(key64(1)), []byte{9}, "account a1"},
		{d.file, dirAccounts, key(key64(1)), nil, "a1, who does not exist"},
		{d.file, dirNames, key([]byte("u4")), nil, "account a5 has no row of its name"},
		{d.file, dirNames, key([]byte("zz")), key64(99), "a name without an account"},
		{d.file, dirSalts, key(key64(2)), []byte{1}, "salt"},
		{d.file, dirSalts, key(key64(0)), nil, "server's salt"},
		{d.file, dirDevices, first(dirDevices), []byte{}, "device 7 of a1"},
		{d.file, dirTokens, first(dirTokens), []byte{}, "a token of a1"},
		{d.file, dirFriends, first(dirFriends), []byte{}, "friends of account"},
		{d.file, dirRows, first(dirRows), []byte{9}, "a row of user.push"},
		{d.file, dirRows, key([]byte("\x09user.push\x08\x00\x00\x00\x00\x00\x00\x00\x63")), appendTableRow(nil, 1, 0, []byte("{}")), "user.push of a99, who does not exist"},
		{d.file, dirRows, key([]byte{200}), []byte{1}, "a row's key"},
		{d.file, dirFollows, first(dirFollows), nil, "which is not in follows"},
		{d.file, dirFollowers, first(dirFollowers), nil, "which is not in followers"},
		{d.file, dirFollowers, key([]byte("x")), []byte{}, "followers has"},
		{d.file, dirAnswers, first(dirAnswers), nil, "answer-order has"},
		{d.file, dirAnswerOrder, first(dirAnswerOrder), nil, "is not in order"},
		{d.file, dirAnswerTimes, first(dirAnswerTimes), nil, "is not in order"},
		{s.file, stateSessions, first(stateSessions), []byte{7}, "device 7 of a1"},
		{s.file, stateSessions, key(sessionKey{2, 7}.bytes()), nil, "belong to no session"},
		{s.file, stateConnected, first(stateConnected), nil, "is not listed under connected"},
		{s.file, stateDeadlines, first(stateDeadlines), nil, "is not listed under deadlines"},
		{s.file, stateReaders, key([]byte("push")), []byte{1}, "reader push"},
	}
	for _, c := range cases {
		var old, k []byte
		damage := func(value []byte) {
			t.Helper()
			if err := c.file.update(ctx, func(w *writeTx) error {
				b := w.bucket(c.bucket)
				if k == nil {
					k = append(k, c.key(w)...)
					if v := b.Get(k); v != nil {
						old = append([]byte{}, v...)
					}
				}
				if value == nil {
					return b.delete(k)
				}
				return b.put(k, value)
			}, nil); err != nil {
				t.Fatal(err)
			}
		}
		damage(c.value)
		if found := strings.Join(checkRows(t, d, s), "\n"); !strings.Contains(found, c.want) {
			t.Errorf("%s: want %q, found %q", c.bucket, c.want, found)
		}
		damage(old)
		if found := checkRows(t, d, s); len(found) > 0 {
			t.Fatalf("%s was not mended: %q", c.bucket, found)
		}
	}
}
