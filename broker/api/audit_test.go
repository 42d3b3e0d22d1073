package api

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// Every change of an operator is in the log, whoever made it, with what it was about, also one that failed.
func TestAudit(t *testing.T) {
	w := newWorld(t)
	w.users("alice")
	w.op(200, "account.suspend", obj{"account": "alice", "reason": "spam"})
	w.op(404, "account.suspend", obj{"account": "nobody", "reason": "spam"})
	token := w.op(200, "operator.token.create", obj{"scopes": []string{ScopeAccounts}, "label": "CI"})
	auth := "Bearer " + token["secret"].(string)
	want(t, "by token", do(t, w.admin.URL, "account.restore", auth, obj{"account": "alice"}).status, 200)
	want(t, "without the scope", do(t, w.admin.URL, "hold.set", auth, obj{"account": "alice", "reason": "x"}).status, 403)
	w.op(200, "room.create", obj{"room": "club", "owner": "alice", "title": "Secret title"})
	w.op(200, "account.list", nil) // changes nothing

	var got []string
	list := w.op(200, "audit.list", nil)["entries"].([]any)
	for i := len(list) - 1; i >= 0; i-- {
		e := list[i].(obj)
		got = append(got, say(e["op"], e["accounts"], e["room"], e["reason"], e["of"], e["code_of"]))
	}
	want(t, "entries", strings.Join(got, "\n"), strings.Join([]string{
		"account.create <nil> <nil> <nil> <nil> <nil>",
		"account.create [alice] <nil> <nil> 1 200",
		"account.suspend [alice] <nil> spam <nil> <nil>",
		"account.suspend <nil> <nil> spam <nil> <nil>",
		"account.suspend <nil> <nil> <nil> 4 404",
		"operator.token.create <nil> <nil> <nil> <nil> <nil>",
		"account.restore [alice] <nil> <nil> <nil> <nil>",
		"room.create [alice] <nil> <nil> <nil> <nil>",
		"room.create <nil> club <nil> 8 200",
	}, "\n"))
	want(t, "by", list[2].(obj)["by"], "token "+token["token"].(obj)["id"].(string)+" CI")
	page := w.op(200, "audit.list", obj{"limit": 4})
	next := w.op(200, "audit.list", obj{"before": page["next"]})["entries"].([]any)
	want(t, "pages", say(len(page["entries"].([]any)), len(next)), "4 5")
	// A repeated request is one change.
	w.op(200, "account.limit", obj{"account": "alice", "reason": "x"}, "Idempotency-Key", "k")
	w.op(200, "account.limit", obj{"account": "alice", "reason": "x"}, "Idempotency-Key", "k")
	v := w.op(200, "audit.verify", nil)
	want(t, "verify", say(v["ok"], v["entries"]), "true 10")

	// Names and titles are in no row: an account is a number there.
	rows, err := w.store.Rows(tableAudit, "", "", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		for _, s := range []string{"alice", "Secret", token["secret"].(string)} {
			if strings.Contains(string(r.Value), s) {
				t.Errorf("a row holds %q: %q", s, r.Value)
			}
		}
	}
	// After a restart it goes on where it was, and changes at once have one order.
	w.stop()
	w.start()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { w.op(200, "account.create", obj{"name": fmt.Sprint("u", i)}) })
	}
	wg.Wait()
	v = w.op(200, "audit.verify", nil)
	want(t, "verify", say(v["ok"], v["entries"]), "true 26")
}

// Whatever is done to the rows behind the server's back is seen.
func TestAuditTampering(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		w.users(fmt.Sprint("u", i))
	}
	put := func(rows ...store.RowPut) {
		t.Helper()
		if err := w.store.Update(t.Context(), store.Update{Rows: rows}); err != nil {
			t.Fatal(err)
		}
	}
	get := func(key string) store.Row {
		t.Helper()
		r, err := w.store.Row(tableAudit, "", key)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	row := func(n uint64, value []byte) store.RowPut {
		return store.RowPut{Table: tableAudit, Key: store.KeyOf(n), Value: value}
	}
	verify := func() string {
		t.Helper()
		v := w.op(200, "audit.verify", nil)
		return say(v["ok"], v["broken"], v["text"])
	}
	third, fourth, last, head := get(store.KeyOf(uint64(3))), get(store.KeyOf(uint64(4))), get(store.KeyOf(uint64(10))), get(auditHead)
	want(t, "before", verify(), "true <nil> <nil>")

	changed := append([]byte(nil), third.Value...)
	changed[len(changed)-2] ^= 1
	put(row(3, changed))
	want(t, "changed", verify(), "false 3 an entry was changed")
	put(row(3, nil))
	want(t, "removed", verify(), "false 3 an entry is missing")
	put(row(3, fourth.Value))
	want(t, "another in its place", verify(), "false 3 an entry was changed")
	put(row(3, third.Value), row(10, nil))
	want(t, "the newest removed", verify(), "false 10 the end of the log is missing")
	put(row(10, last.Value))
	want(t, "put back", verify(), "true <nil> <nil>")

	// An older head, kept by somebody, cuts the end off; the server that runs knows better.
	w.users("later")
	newest := get(auditHead)
	put(store.RowPut{Table: tableAudit, Key: auditHead, Value: head.Value})
	w.op(500, "account.create", obj{"name": "more"})
	put(store.RowPut{Table: tableAudit, Key: auditHead, Value: newest.Value})
	put(store.RowPut{Table: tableAudit, Key: auditHead, Value: []byte("forged")})
	if s := verify(); !strings.HasPrefix(s, "false") {
		t.Errorf("a forged head: %s", s)
	}
	w.op(500, "account.create", obj{"name": "more"}) // nothing is changed that could not be written down
	put(store.RowPut{Table: tableAudit, Key: auditHead})
	if s := verify(); !strings.HasPrefix(s, "false") {
		t.Errorf("no head: %s", s)
	}
	w.op(500, "account.create", obj{"name": "more"})
	if _, err := w.store.AccountByName("more"); store.CodeOf(err) != store.CodeNotFound {
		t.Error("a change that is not in the log was made")
	}
}
