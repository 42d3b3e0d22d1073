package discovery

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/store"
)

const tableAccount store.Table = "user.discovery"

// account is what one account has asked for. Times are Unix milliseconds.
type account struct {
	Gen    uint64 `json:"g,omitempty"` // grows with every full sync: which address book a token belongs to
	Renew  uint64 `json:"r,omitempty"` // the Gen whose numbers are all queued, new or not: who waits is written anew
	Syncs  uint64 `json:"s,omitempty"` // names rows of numbers to be met
	Full   int64  `json:"f,omitempty"` // when the last full sync was
	Swept  int64  `json:"w,omitempty"` // when removed numbers were last forgotten
	NoAdd  bool   `json:"n,omitempty"` // contacts that are found do not become friends
	Silent bool   `json:"q,omitempty"` // the hit ratio says that this is no address book: nothing new is told

	First int64 `json:"b,omitempty"` // when the first sync was: the budgets count from here
	Total int   `json:"t,omitempty"` // new numbers within the first window
	Day   int64 `json:"d,omitempty"` // days since First
	Today int   `json:"y,omitempty"` // new numbers of that day
	Min   int64 `json:"m,omitempty"` // minutes since First
	InMin int   `json:"i,omitempty"` // new numbers of that minute

	Tried int    `json:"x,omitempty"` // numbers looked up
	Hits  int    `json:"h,omitempty"` // of them, numbers that were somebody's
	Zone  string `json:"z,omitempty"` // the country (ISO 3166) among whose accounts it is counted
	Place int    `json:"p,omitempty"` // where the account stands in the ratios of its zone, from 1; 0: nowhere
}

func (d *Discovery) readAccount(a store.AccountID) (account, error) {
	r, err := d.store.Row(tableAccount, store.OwnerOf(a), "")
	if err != nil {
		return account{}, fmt.Errorf("discovery: account: %w", err)
	}
	if r.Version == 0 {
		return account{}, nil
	}
	v, err := store.Decoded(r, func(b []byte) (v account, err error) {
		err = json.Unmarshal(b, &v)
		return v, err
	})
	if err != nil {
		return account{}, fmt.Errorf("discovery: account: %w", err)
	}
	return *v, nil
}

func (v *account) put() (store.RowPut, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return store.RowPut{}, fmt.Errorf("discovery: account: %w", err)
	}
	return store.RowPut{Table: tableAccount, Value: b}, nil
}

// left is how many new numbers the account may ask for now, and when it is worth asking for more. In the first window
// address books are imported; after it they only change.
func (v *account) left(l *Limits, now time.Time) (n int, retry time.Duration) {
	if v.First == 0 {
		return min(l.FirstDay, l.First), day
	}
	age := max(0, now.Sub(time.UnixMilli(v.First)))
	until := func(t time.Duration) time.Duration { return t - age }
	if age < l.Window {
		if n = l.First - v.Total; age < day && l.FirstDay < l.First {
			return max(0, l.FirstDay-v.Total), until(day)
		}
		return max(0, n), until(l.Window)
	}
	today, minute := int64(age/day), int64(age/time.Minute)
	n = l.PerDay
	if v.Day == today {
		n -= v.Today
	}
	if n <= 0 {
		return 0, until(time.Duration(today+1) * day)
	}
	perMin := l.PerMin
	if v.Min == minute {
		perMin -= v.InMin
	}
	if perMin < n {
		return max(0, perMin), until(time.Duration(minute+1) * time.Minute)
	}
	return n, until(time.Duration(today+1) * day)
}

// spend counts new numbers.
func (v *account) spend(n int, l *Limits, now time.Time) {
	if v.First == 0 {
		v.First = now.UnixMilli()
	}
	age := max(0, now.Sub(time.UnixMilli(v.First)))
	if age < l.Window {
		v.Total += n
		return
	}
	if today := int64(age / day); v.Day != today {
		v.Day, v.Today = today, 0
	}
	if minute := int64(age / time.Minute); v.Min != minute {
		v.Min, v.InMin = minute, 0
	}
	v.Today += n
	v.InMin += n
}
