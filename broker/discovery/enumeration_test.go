package discovery

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// scale is 1, or what the race detector leaves of a test's size.
func scale(n int) int {
	if raceEnabled {
		return n / 20
	}
	return n
}

// open makes accounts that let anyone find them, one for every step numbers.
func (w *world) openAccounts(numbers, step int) {
	w.t.Helper()
	w.must(each(numbers/step, func(i int) error {
		u, err := w.store.CreateAccount(context.Background(), store.Account{Name: fmt.Sprintf("open%d", i)})
		if err != nil {
			return err
		}
		w.discovery(u.ID, graph.DiscoveryAnyone)
		w.number(u.ID, i*step)
		return nil
	}))
	w.settle()
}

// 100,000 numbers tried from one account: it learns of 1,000 on its first day, of 2,000 in ten days and of 200 on each day
// after that, whatever it tries and however often.
func TestNumberEnumeration(t *testing.T) {
	tries := scale(100_000)
	w := newWorld(t, func(c *Config) {
		c.Limits.FirstDay, c.Limits.First, c.Limits.PerDay, c.Limits.Numbers = scale(1000), scale(2000), scale(200), scale(2000)
	})
	const step = 10
	w.openAccounts(tries, step)
	mallory := w.user("mallory", tries+1)
	learnt := make(map[string]bool)
	try := func() int {
		token := ""
		for from := 0; from < tries; from += w.d.limits().Numbers {
			a := w.sync(Request{Account: mallory, Address: network(from), Region: "KR", Token: token, Numbers: nums(from, from+w.d.limits().Numbers)})
			token = a.Token
			for _, f := range a.Found {
				learnt[f.Account.Name] = true
			}
			w.later(time.Second)
		}
		w.settle()
		return len(learnt)
	}
	for _, c := range []struct {
		wait time.Duration
		at   int // numbers that may have been looked up by then
	}{{0, scale(1000)}, {time.Hour, scale(1000)}, {day, scale(2000)}, {9 * day, scale(2200)}} {
		w.later(c.wait)
		got := try()
		t.Logf("%d numbers tried, %v later: %d accounts learnt", tries, c.wait, got)
		if got > c.at/step || got < c.at/step/2 {
			t.Fatalf("%d accounts learnt, of at most %d numbers", got, c.at)
		}
	}
	ids, err := w.store.Edges(store.EdgeFriend, mallory, 0, 0)
	w.must(err)
	want(t, "nothing more by notices", len(ids), len(learnt))
}

// 100,000 numbers tried from 50 accounts behind one carrier's address: 10,000 are answered at once, the others at 2,500 an
// hour, and in the end everybody has its answer.
func TestNumberEnumerationBehindOneAddress(t *testing.T) {
	const accounts, step = 50, 10
	perAccount := scale(2000)
	tries := accounts * perAccount
	w := newWorld(t, func(c *Config) {
		c.Limits.FirstDay, c.Limits.First, c.Limits.Prefix, c.Limits.SlowRate = scale(1000), scale(2000), scale(10_000), scale(2500)
	})
	w.openAccounts(tries, step)
	people := make([]store.AccountID, accounts)
	waiting, at := 0, 0
	for i := range people {
		people[i] = w.user(fmt.Sprint("m", i), tries+1+i)
		a := w.sync(Request{Account: people[i], Address: network(7), Region: "KR", Numbers: nums(i*perAccount, (i+1)*perAccount)})
		at += len(a.Found)
		waiting += a.Waiting
		want(t, "beyond the account's budget", len(a.Later), perAccount/2)
	}
	want(t, "at once", at, scale(10_000)/step)
	want(t, "waiting", waiting, accounts*scale(1000)-scale(10_000))
	told := func() (n int) {
		for _, p := range people {
			ids, err := w.store.Edges(store.EdgeFriend, p, 0, 0)
			w.must(err)
			n += len(ids)
		}
		return n
	}
	before := told()
	w.settle()
	w.later(time.Hour)
	w.settle()
	t.Logf("%d numbers tried: %d accounts at once, %d more after an hour", tries, before, told()-before)
	if n := told() - before; n > scale(2500)/step+1 || n == 0 {
		t.Fatalf("%d accounts in an hour", n)
	}
	for range 24 {
		w.later(time.Hour)
		w.settle()
	}
	want(t, "in the end", told(), accounts*scale(1000)/step)
}
