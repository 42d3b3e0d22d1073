package phone

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/bolt"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ in, region, e164, country string }{
		{"010-1234-5678", "KR", "+821012345678", "KR"},
		{" 010 1234 5678 ", "kr", "+821012345678", "KR"},
		{"+82 10 1234 5678", "", "+821012345678", "KR"},
		{"+82 (0)10-1234-5678", "US", "+821012345678", "KR"},
		{"0082 10 1234 5678", "DE", "+821012345678", "KR"},
		{"01512 3456789", "DE", "+4915123456789", "DE"},
		{"(201) 555-0123", "US", "+12015550123", "US"},
		{"+1 201 555 0123 ext. 5", "", "+12015550123", "US"},
		{"06 698 1234567", "IT", "+39066981234567", ""},
		{"090-1234-5678", "JP", "+819012345678", "JP"},
		{"٠١٠١٢٣٤٥٦٧٨", "EG", "+201012345678", "EG"},
		{"＋８２１０１２３４５６７８", "", "+821012345678", "KR"},
		{"07400 123456", "GB", "+447400123456", "GB"},
		{"416 555 0123", "CA", "+14165550123", "CA"},
	} {
		n, err := Parse(c.in, c.region)
		if c.country == "" {
			if err == nil && n.E164() != c.e164 {
				t.Errorf("%q in %q: %s", c.in, c.region, n.E164())
			}
			continue
		}
		if err != nil || n.E164() != c.e164 || n.Region() != c.country {
			t.Errorf("%q in %q: %s of %s, %v", c.in, c.region, n.E164(), n.Region(), err)
		}
	}
	for _, c := range []struct {
		in, region string
		want       error
	}{
		{"", "KR", ErrNumber}, {"hello", "KR", ErrNumber}, {"12", "KR", ErrNumber}, {"+999 12345678", "", ErrNumber},
		{"112", "DE", ErrNumber}, {"010-1234-5678", "", ErrRegion}, {"010-1234-5678", "XX", ErrRegion}, {"010-1234-5678", "KOR", ErrRegion},
		{"+82 10 1234 5678 9999 8888", "", ErrNumber}, {strings.Repeat("0", 1000), "KR", ErrNumber}, {"+82\x0010", "", ErrNumber},
	} {
		if n, err := Parse(c.in, c.region); !errors.Is(err, c.want) || n != (Number{}) {
			t.Errorf("%q in %q: %v, %v; want %v", c.in, c.region, n, err, c.want)
		}
	}
}

func TestTextable(t *testing.T) {
	for s, want := range map[string]bool{
		"+821012345678": true, "+12015550123": true, "+447400123456": true,
		"+442071838750": false, // a land line
		"+449012345678": false, // premium rate
		"+448001111":    false, // toll-free
		"+447012345678": false, // a personal number
		"+18002530000":  false,
	} {
		n, err := Parse(s, "")
		if err != nil {
			t.Errorf("%s: %v", s, err)
		} else if n.Textable() != want {
			t.Errorf("%s: textable %v", s, !want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"010-1234-5678", "+82 10 1234 5678", "tel:+1-201-555-0123;ext=5", "+", "＋８２", "\xff\xfe", "0082;phone-context=+82", "+82 (0)10"} {
		f.Add(s, "KR")
		f.Add(s, "")
	}
	f.Fuzz(func(t *testing.T, s, region string) {
		n, err := Parse(s, region)
		if err != nil {
			if !errors.Is(err, ErrNumber) && !errors.Is(err, ErrRegion) {
				t.Fatalf("%v", err)
			}
			return
		}
		again, err := Parse(n.E164(), "")
		if err != nil || again != n {
			t.Fatalf("%+v is %+v, %v when read again", n, again, err)
		}
	})
}

func openStore(t *testing.T, dir string) *bolt.Store {
	t.Helper()
	st, err := bolt.Open(bolt.Config{Dir: dir, MinFree: 0.001})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

func people(t *testing.T, st store.Store, names ...string) (ids []store.AccountID) {
	t.Helper()
	for _, n := range names {
		a, err := st.CreateAccount(t.Context(), store.Account{Name: n, Created: 1})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, a.ID)
	}
	return ids
}

func number(t *testing.T, s string) Number {
	t.Helper()
	n, err := Parse(s, "KR")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestKey(t *testing.T) {
	dir := t.TempDir()
	st := openStore(t, filepath.Join(dir, "data"))
	file := filepath.Join(dir, "keys", "phone.key")
	k, err := OpenKey(t.Context(), file, st)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	again, err := OpenKey(t.Context(), file, st)
	if err != nil || again.Hash(number(t, "01012345678")) != k.Hash(number(t, "+821012345678")) {
		t.Fatalf("the same number has another hash after reopening: %v", err)
	}
	if k.Hash(number(t, "01012345678")) == k.Hash(number(t, "01012345679")) {
		t.Fatal("two numbers, one hash")
	}
	if _, err := OpenKey(t.Context(), file+"2", st); !errors.Is(err, ErrKey) {
		t.Fatalf("a missing key: %v", err)
	}
	if _, err := os.Stat(file + "2"); err == nil {
		t.Fatal("a key was made in place of the missing one")
	}
	other := filepath.Join(dir, "other.key")
	if _, err := OpenKey(t.Context(), other, openStore(t, filepath.Join(dir, "data2"))); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKey(t.Context(), other, st); !errors.Is(err, ErrKey) {
		t.Fatalf("another key: %v", err)
	}
	for _, bad := range []string{"", "hwangso-key-1 " + strings.Repeat("ab", 32), keyPrefix + "ab", keyPrefix + strings.Repeat("zz", 32)} {
		if err := os.WriteFile(other, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenKey(t.Context(), other, st); err == nil || errors.Is(err, ErrKey) {
			t.Errorf("key file %q: %v", bad, err)
		}
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKey(t.Context(), file, st); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key others can read: %v", err)
	}
}

func TestBook(t *testing.T) {
	st := openStore(t, t.TempDir())
	ids := people(t, st, "alice", "bob")
	alice, bob := ids[0], ids[1]
	b := NewBook(st, NewKey([32]byte{1}))
	n1, n2 := number(t, "01012345678"), number(t, "01087654321")
	ctx := t.Context()
	want := func(n Number, who store.AccountID) {
		t.Helper()
		if a, err := b.Account(b.Key().Hash(n)); err != nil || a != who {
			t.Fatalf("%s is with %v, %v; want %v", n.E164(), a, err, who)
		}
		if who != 0 {
			e, ok, err := b.Of(who)
			if err != nil || !ok || e.Hash != b.Key().Hash(n) || e.Region != "KR" {
				t.Fatalf("%v has %+v, %v, %v", who, e, ok, err)
			}
		}
	}
	none := func(who store.AccountID) {
		t.Helper()
		if e, ok, err := b.Of(who); ok || err != nil || e != (Entry{}) {
			t.Fatalf("%v has %+v, %v", who, e, err)
		}
	}
	step := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want(n1, 0)
	none(alice)
	step(b.Move(ctx, n1, 0, alice, 7))
	want(n1, alice)
	if err := b.Move(ctx, n1, 0, bob, 7); store.CodeOf(err) != store.CodeConflict {
		t.Fatalf("taken from its owner: %v", err)
	}
	want(n1, alice)
	step(b.Move(ctx, n2, 0, alice, 8)) // another number
	want(n2, alice)
	want(n1, 0)
	step(b.Move(ctx, n2, alice, bob, 9)) // a recycled number
	want(n2, bob)
	none(alice)
	step(b.Release(ctx, alice))
	want(n2, bob)
	step(b.Release(ctx, bob))
	step(b.Release(ctx, bob))
	want(n2, 0)
	none(bob)
	for _, table := range []store.Table{tablePhone, tableUser} {
		if rows, err := st.AllRows(table, "", "", 0); err != nil || len(rows) != 0 {
			t.Fatalf("%s still has %v, %v", table, rows, err)
		}
	}
	step(b.Move(ctx, n2, 0, alice, 10))
	if c, err := b.Country(alice); err != nil || c != "KR" {
		t.Fatalf("country %q, %v", c, err)
	}
	// No number in clear anywhere.
	for _, table := range []store.Table{tablePhone, tableUser} {
		rows, err := st.AllRows(table, "", "", 0)
		step(err)
		for _, r := range rows {
			if s := string(r.Owner) + r.Key + string(r.Value); strings.Contains(s, "1087654321") {
				t.Fatalf("%s holds a number: %q", table, s)
			}
		}
	}
}

// halting fails every update after the first n.
type halting struct {
	store.Tables
	left int
}

func (h *halting) Update(ctx context.Context, u store.Update) error {
	if h.left--; h.left < 0 {
		return store.ErrUnavailable
	}
	return h.Tables.Update(ctx, u)
}

// A change that ended after any of its steps has happened or has not, and can be made again.
func TestBookHalfway(t *testing.T) {
	for steps := range 8 {
		st := openStore(t, t.TempDir())
		ids := people(t, st, "alice", "bob")
		alice, bob := ids[0], ids[1]
		h := &halting{st, 1000}
		b := NewBook(h, NewKey([32]byte{1}))
		n1, n2 := number(t, "01012345678"), number(t, "01087654321")
		for n, a := range map[Number]store.AccountID{n1: alice, n2: bob} {
			if err := b.Move(t.Context(), n, 0, a, 1); err != nil {
				t.Fatal(err)
			}
		}
		h.left = steps
		failed := b.Move(t.Context(), n2, bob, alice, 2)
		h.left = 1000
		if (failed != nil) != (steps < 5) {
			t.Fatalf("%d steps: %v", steps, failed)
		}
		at := func(n Number) store.AccountID {
			a, err := b.Account(b.Key().Hash(n))
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		first, second := at(n1), at(n2)
		if moved := steps >= 2; moved && (first != 0 || second != alice) || !moved && (first != alice || second != bob) {
			t.Fatalf("%d steps: the numbers are with %v and %v", steps, first, second)
		}
		e, ok, err := b.Of(alice)
		if err != nil || !ok || at(n1) != alice && at(n2) != alice || (e.Hash == b.Key().Hash(n1)) != (first == alice) {
			t.Fatalf("%d steps: alice has %+v, %v", steps, e, err)
		}
		if err := b.Move(t.Context(), n2, second, alice, 3); err != nil {
			t.Fatal(err)
		}
		if at(n1) != 0 || at(n2) != alice {
			t.Fatalf("%d steps, again: with %v and %v", steps, at(n1), at(n2))
		}
		for _, a := range []store.AccountID{alice, bob} {
			if err := b.Release(t.Context(), a); err != nil {
				t.Fatal(err)
			}
		}
		for _, table := range []store.Table{tablePhone, tableUser} {
			if rows, err := st.AllRows(table, "", "", 0); err != nil || len(rows) != 0 {
				t.Fatalf("%d steps: %s still has %v, %v", steps, table, rows, err)
			}
		}
	}
}

// Many want the same number at once: one gets it.
func TestBookRace(t *testing.T) {
	st := openStore(t, t.TempDir())
	ids := people(t, st, "a", "b", "c", "d", "e", "f", "g", "h")
	b := NewBook(st, NewKey([32]byte{1}))
	n := number(t, "01012345678")
	var wg sync.WaitGroup
	errs := make([]error, len(ids))
	for i, id := range ids {
		wg.Go(func() { errs[i] = b.Move(context.Background(), n, 0, id, 1) })
	}
	wg.Wait()
	got := store.AccountID(0)
	for i, err := range errs {
		switch {
		case err == nil && got != 0:
			t.Fatalf("both %v and %v got the number", got, ids[i])
		case err == nil:
			got = ids[i]
		case store.CodeOf(err) != store.CodeConflict:
			t.Error(err)
		}
	}
	if a, err := b.Account(b.Key().Hash(n)); err != nil || a != got || got == 0 {
		t.Fatalf("%v has it, %v was told so: %v", a, got, err)
	}
}

func BenchmarkParseAndHash(b *testing.B) {
	k := NewKey([32]byte{1})
	b.ReportAllocs()
	for b.Loop() {
		n, err := Parse("010-1234-5678", "KR")
		if err != nil {
			b.Fatal(err)
		}
		k.Hash(n)
	}
}
