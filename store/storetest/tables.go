package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

func update(t testing.TB, d store.Tables, u store.Update) {
	t.Helper()
	noError(t, d.Update(context.Background(), u))
}

func put(table store.Table, key, value string) store.RowPut {
	return store.RowPut{Table: table, Key: key, Value: []byte(value)}
}

func rowText(rows []store.Row) string {
	var out []string
	for _, r := range rows {
		out = append(out, fmt.Sprintf("%x/%s=%s", string(r.Owner), r.Key, r.Value))
	}
	return strings.Join(out, " ")
}

func testRows(t *testing.T, d DirectoryCloser) {
	r, err := d.Row("things", "x", "k")
	noError(t, err)
	wantEqual(t, fmt.Sprint(r.Version, len(r.Value)), "0 0")
	value := []byte("one")
	update(t, d, store.Update{Owner: "x", Rows: []store.RowPut{{Table: "things", Key: "k", Value: value}}})
	copy(value, "!!!") // what was given belongs to the caller again
	r, err = d.Row("things", "x", "k")
	noError(t, err)
	wantEqual(t, string(r.Value), "one")
	first := r.Version
	if first == 0 {
		t.Fatal("a row with version 0")
	}
	for _, other := range []struct {
		table store.Table
		owner store.Owner
		key   string
	}{{"thing", "x", "k"}, {"things", "", "xk"}, {"things", "xk", ""}, {"things", "x", ""}, {"thingsx", "", "k"}} {
		r, err := d.Row(other.table, other.owner, other.key)
		noError(t, err)
		if r.Version != 0 {
			t.Errorf("%v is the row of another key", other)
		}
	}
	v, err := store.Decoded(r, func(b []byte) (int, error) { return len(b), nil })
	noError(t, err)
	wantEqual(t, *v, 3)
	update(t, d, store.Update{Owner: "x", Rows: []store.RowPut{put("things", "k", "seven"), put("things", "l", "")}})
	r, err = d.Row("things", "x", "k")
	noError(t, err)
	if r.Version <= first {
		t.Errorf("version %d after %d", r.Version, first)
	}
	if v, err = store.Decoded(r, func(b []byte) (int, error) { return len(b), nil }); err != nil || *v != 5 {
		t.Errorf("decoded %v, %v", v, err)
	}
	if _, err := store.Decoded(r, func([]byte) (string, error) { return "", errors.New("no") }); err == nil {
		t.Error("a decoder's error is lost")
	}
	if r, err = d.Row("things", "x", "l"); err != nil || r.Version == 0 || len(r.Value) != 0 {
		t.Errorf("an empty value: %+v, %v", r, err)
	}
	update(t, d, store.Update{Owner: "x", Rows: []store.RowPut{{Table: "things", Key: "k"}, {Table: "things", Key: "never"}}})
	if r, err = d.Row("things", "x", "k"); err != nil || r.Version != 0 {
		t.Errorf("a removed row: %+v, %v", r, err)
	}
}

func testRowLists(t *testing.T, d DirectoryCloser) {
	for _, o := range []store.Owner{"", "b", "aa"} {
		u := store.Update{Owner: o}
		for _, k := range []string{"a", "b1", "b2", "b3", "c"} {
			u.Rows = append(u.Rows, put("t", k, "v"))
		}
		update(t, d, u)
	}
	update(t, d, store.Update{Owner: "b", Rows: []store.RowPut{put("u", "z", "other table")}})
	list := func(prefix, after string, max int, want string) {
		t.Helper()
		rows, err := d.Rows("t", "b", prefix, after, max)
		noError(t, err)
		wantEqual(t, rowText(rows), want)
	}
	list("", "", 0, "62/a=v 62/b1=v 62/b2=v 62/b3=v 62/c=v")
	list("b", "", 2, "62/b1=v 62/b2=v")
	list("b", "b2", 9, "62/b3=v")
	list("b", "a", 9, "62/b1=v 62/b2=v 62/b3=v")
	list("b", "c", 9, "")
	list("x", "", 9, "")
	var all []store.Row
	owner, key := store.Owner(""), ""
	for {
		rows, err := d.AllRows("t", owner, key, 4)
		noError(t, err)
		all = append(all, rows...)
		if len(rows) < 4 {
			break
		}
		owner, key = rows[3].Owner, rows[3].Key
	}
	wantEqual(t, rowText(all), "/a=v /b1=v /b2=v /b3=v /c=v 62/a=v 62/b1=v 62/b2=v 62/b3=v 62/c=v "+
		"6161/a=v 6161/b1=v 6161/b2=v 6161/b3=v 6161/c=v")
	many := store.Update{Owner: store.OwnerOf(7)}
	for i := range 2500 {
		many.Rows = append(many.Rows, put("many", store.KeyOf(uint64(i)), "x"))
	}
	update(t, d, many)
	for a := range uint64(2500) {
		if a%100 == 0 {
			update(t, d, store.Update{Owner: store.OwnerOf(store.AccountID(a)), Rows: []store.RowPut{put("wide", "k", fmt.Sprint(a))}})
		}
	}
	var asked []store.AccountID
	for a := range store.AccountID(3000) {
		asked = append(asked, a)
	}
	n := 0
	noError(t, d.RowsOf("wide", asked, "k", func(a store.AccountID, value []byte) error {
		if a != store.AccountID(n*100) || string(value) != fmt.Sprint(n*100) {
			t.Errorf("row %d is of %v: %q", n, a, value)
		}
		n++
		return nil
	}))
	if n != 25 {
		t.Errorf("%d rows of 25", n)
	}
	for a := range store.AccountID(24) { // more than an engine reads at once
		update(t, d, store.Update{Owner: store.OwnerOf(a), Rows: []store.RowPut{put("wide", "large", strings.Repeat(string('a'+rune(a)), store.MaxRowValue))}})
	}
	n = 0
	noError(t, d.RowsOf("wide", asked, "large", func(a store.AccountID, value []byte) error {
		if a != store.AccountID(n) || string(value) != strings.Repeat(string('a'+rune(n)), store.MaxRowValue) {
			t.Errorf("row %d is of %v: %d bytes", n, a, len(value))
		}
		n++
		return nil
	}))
	if n != 24 {
		t.Errorf("%d large rows of 24", n)
	}
	stop := errors.New("stop")
	if err := d.RowsOf("wide", asked, "k", func(store.AccountID, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("fn's error is not returned: %v", err)
	}
	for _, key := range []string{"", "kk"} {
		noError(t, d.RowsOf("wide", asked, key, func(store.AccountID, []byte) error { return stop }))
	}
	rows, err := d.Rows("many", store.OwnerOf(7), "", "", 5000)
	noError(t, err)
	if len(rows) != 2500 || store.NumberOf(rows[2499].Key) != 2499 || rows[0].Owner.Number() != 7 {
		t.Errorf("%d rows", len(rows))
	}
}

func testRowConditions(t *testing.T, d DirectoryCloser) {
	ctx := context.Background()
	none := store.RowPut{Table: "t", Key: "k", Value: []byte("1"), If: store.IfVersion(0)}
	update(t, d, store.Update{Owner: "o", Rows: []store.RowPut{none}})
	wantCode(t, d.Update(ctx, store.Update{Owner: "o", Rows: []store.RowPut{put("t", "other", "x"), none}}), store.CodeConflict)
	if r, err := d.Row("t", "o", "other"); err != nil || r.Version != 0 {
		t.Errorf("half of a refused update was applied: %+v, %v", r, err)
	}
	r, err := d.Row("t", "o", "k")
	noError(t, err)
	next := store.RowPut{Table: "t", Key: "k", Value: []byte("2"), If: &r.Version}
	update(t, d, store.Update{Owner: "o", Rows: []store.RowPut{next}})
	wantCode(t, d.Update(ctx, store.Update{Owner: "o", Rows: []store.RowPut{next}}), store.CodeConflict)
	if r, err = d.Row("t", "o", "k"); err != nil || string(r.Value) != "2" {
		t.Errorf("%s, %v", r.Value, err)
	}
}

// testRowCounter counts with conditions from many goroutines: no count is lost.
func testRowCounter(t *testing.T, d DirectoryCloser) {
	const workers, each = 8, 20
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for n := 0; n < each; {
				r, err := d.Row("t", "o", "n")
				if err != nil {
					t.Error(err)
					return
				}
				count, _ := strconv.Atoi(string(r.Value))
				err = d.Update(context.Background(), store.Update{Owner: "o", Rows: []store.RowPut{
					{Table: "t", Key: "n", Value: strconv.AppendInt(nil, int64(count+1), 10), If: &r.Version}}})
				switch store.CodeOf(err) {
				case 0:
					n++
				case store.CodeConflict:
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	r, err := d.Row("t", "o", "n")
	noError(t, err)
	wantEqual(t, string(r.Value), strconv.Itoa(workers*each))
}

func testRowExpiry(t *testing.T, d DirectoryCloser) {
	ctx := context.Background()
	now := time.Now().UnixMilli()
	update(t, d, store.Update{Owner: "o", Rows: []store.RowPut{
		{Table: "t", Key: "past", Value: []byte("p"), Expires: now - 1},
		{Table: "t", Key: "later", Value: []byte("l"), Expires: now + 3_600_000},
		{Table: "t", Key: "moved", Value: []byte("m"), Expires: now - 1},
	}})
	r, err := d.Row("t", "o", "past")
	noError(t, err)
	wantEqual(t, r.Version, 0)
	rows, err := d.Rows("t", "o", "", "", 0)
	noError(t, err)
	wantEqual(t, rowText(rows), "6f/later=l")
	update(t, d, store.Update{Owner: "o", Rows: []store.RowPut{
		{Table: "t", Key: "moved", Value: []byte("again"), If: store.IfVersion(0)}}})
	n, err := d.SweepRows(ctx, now, 10)
	noError(t, err)
	wantEqual(t, n, 1)
	n, err = d.SweepRows(ctx, now, 10)
	noError(t, err)
	wantEqual(t, n, 0)
	rows, err = d.Rows("t", "o", "", "", 0)
	noError(t, err)
	wantEqual(t, rowText(rows), "6f/later=l 6f/moved=again")
	n, err = d.SweepRows(ctx, now+3_600_000, 10)
	noError(t, err)
	wantEqual(t, n, 1)
	if r, err = d.Row("t", "o", "later"); err != nil || r.Version != 0 {
		t.Errorf("a swept row: %+v, %v", r, err)
	}
}

func testRowsAndEdges(t *testing.T, d DirectoryCloser) {
	ctx := context.Background()
	a := makeAccounts(t, d, "a", "b", "c")
	owner := store.OwnerOf(a[0].ID)
	block := store.EdgePut{Kind: store.EdgeBlock, To: a[1].ID, On: true, Limit: 1}
	update(t, d, store.Update{Owner: owner, Rows: []store.RowPut{put("user.x", "k", "v")}, Edges: []store.EdgePut{block}})
	has := func(to int, want bool) {
		t.Helper()
		got, err := d.HasEdge(store.EdgeBlock, a[0].ID, a[to].ID)
		if err != nil || got != want {
			t.Errorf("edge to %s: %v, %v", a[to].Name, got, err)
		}
	}
	has(1, true)
	refused := func(code store.Code, u store.Update) {
		t.Helper()
		u.Rows = append(u.Rows, put("user.x", "k", "changed"))
		wantCode(t, d.Update(ctx, u), code)
		if r, err := d.Row("user.x", owner, "k"); err != nil || string(r.Value) != "v" {
			t.Errorf("a refused update changed a row: %s, %v", r.Value, err)
		}
	}
	block.To = a[2].ID
	refused(store.CodeFull, store.Update{Owner: owner, Edges: []store.EdgePut{block}})
	has(2, false)
	block.To, block.Limit = 999, 0
	refused(store.CodeNotFound, store.Update{Owner: owner, Edges: []store.EdgePut{block}})
	block.To = a[0].ID
	refused(store.CodeBad, store.Update{Owner: owner, Edges: []store.EdgePut{block}})
	wantCode(t, d.Update(ctx, store.Update{Owner: "room", Edges: []store.EdgePut{block}}), store.CodeBad)
	wantCode(t, d.Update(ctx, store.Update{Owner: store.OwnerOf(999), Rows: []store.RowPut{put("user.x", "k", "v")}}), store.CodeNotFound)
	update(t, d, store.Update{Owner: owner, Edges: []store.EdgePut{{Kind: store.EdgeBlock, To: a[1].ID}}})
	has(1, false)
}

func testRowLimits(t *testing.T, d DirectoryCloser) {
	ctx := context.Background()
	long := strings.Repeat("k", store.MaxRowKey-2)
	update(t, d, store.Update{Owner: "o", Rows: []store.RowPut{{Table: "t", Key: long, Value: bytes.Repeat([]byte("v"), store.MaxRowValue)}}})
	r, err := d.Row("t", "o", long)
	noError(t, err)
	wantEqual(t, len(r.Value), store.MaxRowValue)
	wantCode(t, d.Update(ctx, store.Update{Owner: "o", Rows: []store.RowPut{put("t", long+"x", "")}}), store.CodeTooLarge)
	wantCode(t, d.Update(ctx, store.Update{Owner: "o", Rows: []store.RowPut{
		{Table: "t", Key: "k", Value: make([]byte, store.MaxRowValue+1)}}}), store.CodeTooLarge)
	wantCode(t, d.Update(ctx, store.Update{Owner: "o", Rows: []store.RowPut{put("", "k", "")}}), store.CodeBad)
}
