package phone

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/hwangso/hwangso/store"
)

// The two directions. The first row's owner is a hash and its key empty; its value is the account in eight bytes.
const (
	tablePhone store.Table = "phone"
	tableUser  store.Table = "user.phone"
)

// Entry is what is kept of an account's number.
type Entry struct {
	Hash   Hash
	Region string // as Number.Region: the country of the account
	Since  int64  // Unix milliseconds
}

// Book keeps which account has which number.
type Book struct {
	tables store.Tables
	key    *Key
}

// NewBook returns the book of a store, whose hashes are made with the key.
func NewBook(t store.Tables, k *Key) *Book { return &Book{tables: t, key: k} }

// Key is the key of the book's hashes.
func (b *Book) Key() *Key { return b.key }

// userRow is an Entry as stored. next is a number that the account is about to have: it does once that number's row
// names the account, which is what decides.
type userRow struct {
	Hash   []byte `json:"h,omitempty"`
	Region string `json:"c,omitempty"`
	Since  int64  `json:"t,omitempty"`

	Next       []byte `json:"nh,omitempty"`
	NextRegion string `json:"nc,omitempty"`
	NextSince  int64  `json:"nt,omitempty"`
}

// entries are what an account's row says: the number it has and the one it is about to have.
type entries struct{ now, next Entry }

func decodeEntries(v []byte) (e entries, err error) {
	var u userRow
	if err := json.Unmarshal(v, &u); err != nil {
		return e, fmt.Errorf("phone: row: %w", err)
	}
	if len(u.Hash)%len(e.now.Hash) != 0 || len(u.Next)%len(e.now.Hash) != 0 {
		return e, fmt.Errorf("phone: hashes of %d and %d bytes", len(u.Hash), len(u.Next))
	}
	copy(e.now.Hash[:], u.Hash)
	copy(e.next.Hash[:], u.Next)
	e.now.Region, e.now.Since, e.next.Region, e.next.Since = u.Region, u.Since, u.NextRegion, u.NextSince
	return e, nil
}

func (e entries) encode() ([]byte, error) {
	u := userRow{Region: e.now.Region, Since: e.now.Since, NextRegion: e.next.Region, NextSince: e.next.Since}
	if e.now.Hash != (Hash{}) {
		u.Hash = e.now.Hash[:]
	}
	if e.next.Hash != (Hash{}) {
		u.Next = e.next.Hash[:]
	}
	v, err := json.Marshal(u)
	if err != nil {
		return nil, fmt.Errorf("phone: row: %w", err)
	}
	return v, nil
}

// Account is who has the number; 0 for nobody. Cheap: rows that the engine caches.
func (b *Book) Account(h Hash) (store.AccountID, error) {
	a, _, err := b.holder(h)
	return a, err
}

// Of is the number of an account. ok is false if it has none.
func (b *Book) Of(a store.AccountID) (e Entry, ok bool, err error) {
	both, _, err := b.entries(a)
	if err != nil {
		return Entry{}, false, err
	}
	for _, e := range []Entry{both.next, both.now} {
		if e.Hash == (Hash{}) {
			continue
		}
		row, err := b.row(e.Hash)
		if err != nil {
			return Entry{}, false, err
		}
		if accountOf(row) == a {
			return e, true, nil
		}
	}
	return Entry{}, false, nil
}

// Country is the country of an account's number (see Number.Region), "" if it has none.
func (b *Book) Country(a store.AccountID) (string, error) {
	e, _, err := b.Of(a)
	return e.Region, err
}

// Move gives the number to an account, if it is still with from (0: with nobody), else CodeConflict. from keeps nothing
// of it, and the number that the account had before is nobody's any more. now is in Unix milliseconds. After an error
// that is no conflict the number may be the account's or not; Account tells.
func (b *Book) Move(ctx context.Context, n Number, from, to store.AccountID, now int64) error {
	return b.Give(ctx, Entry{Hash: b.key.Hash(n), Region: n.region, Since: now}, from, to)
}

// Give is Move for a number of which only the hash is still known.
func (b *Book) Give(ctx context.Context, e Entry, from, to store.AccountID) error {
	h := e.Hash
	holder, row, err := b.holder(h)
	if err != nil {
		return err
	}
	if holder != from {
		return &store.Error{Code: store.CodeConflict, Text: "the number has changed hands meanwhile"}
	}
	before, ok, err := b.Of(to)
	if err != nil {
		return err
	}
	if !ok {
		before = Entry{}
	}
	stale, mine, err := b.entries(to)
	if err != nil {
		return err
	}
	for _, old := range []Hash{stale.now.Hash, stale.next.Hash} { // what an earlier change left
		if old != before.Hash && old != h {
			if err := b.free(ctx, old, to); err != nil {
				return err
			}
		}
	}
	if err := b.put(ctx, to, mine, entries{now: before, next: e}); err != nil {
		return err
	}
	// This decides.
	err = b.tables.Update(ctx, store.Update{Owner: owner(h), Rows: []store.RowPut{{
		Table: tablePhone, Value: []byte(store.OwnerOf(to)), If: store.IfVersion(row.Version),
	}}})
	if err != nil {
		return fmt.Errorf("phone: give: %w", err)
	}
	// What follows tidies up. If it is cut short, the answers are the same.
	if before.Hash != h {
		if err := b.free(ctx, before.Hash, to); err != nil {
			return err
		}
	}
	if _, mine, err = b.entries(to); err != nil {
		return err
	}
	if err := b.put(ctx, to, mine, entries{now: e}); err != nil && store.CodeOf(err) != store.CodeConflict {
		return err
	}
	if from != 0 && from != to {
		return b.forget(ctx, from)
	}
	return nil
}

// Release takes the number away from an account; none is no error. It is the first step of erasing the account, which
// can be repeated after a crash.
func (b *Book) Release(ctx context.Context, a store.AccountID) error {
	both, row, err := b.entries(a)
	if err != nil || row.Version == 0 {
		return err
	}
	for _, e := range []Entry{both.now, both.next} {
		if err := b.free(ctx, e.Hash, a); err != nil {
			return err
		}
	}
	return b.forget(ctx, a)
}

// holder is who has a number, and the number's row as read.
func (b *Book) holder(h Hash) (store.AccountID, store.Row, error) {
	row, err := b.row(h)
	if err != nil {
		return 0, row, err
	}
	a := accountOf(row)
	if a == 0 {
		return 0, row, nil
	}
	e, ok, err := b.Of(a)
	if err != nil || !ok || e.Hash != h {
		return 0, row, err
	}
	return a, row, nil
}

func (b *Book) row(h Hash) (store.Row, error) {
	row, err := b.tables.Row(tablePhone, owner(h), "")
	if err != nil {
		return row, fmt.Errorf("phone: number: %w", err)
	}
	return row, nil
}

func (b *Book) entries(a store.AccountID) (entries, store.Row, error) {
	row, err := b.tables.Row(tableUser, store.OwnerOf(a), "")
	if err != nil {
		return entries{}, row, fmt.Errorf("phone: account: %w", err)
	}
	if row.Version == 0 {
		return entries{}, row, nil
	}
	e, err := store.Decoded(row, decodeEntries)
	if err != nil {
		return entries{}, row, err
	}
	return *e, row, nil
}

// put replaces an account's row as it was read.
func (b *Book) put(ctx context.Context, a store.AccountID, was store.Row, e entries) error {
	v, err := e.encode()
	if err != nil {
		return err
	}
	err = b.tables.Update(ctx, store.Update{Owner: store.OwnerOf(a), Rows: []store.RowPut{{Table: tableUser, Value: v, If: store.IfVersion(was.Version)}}})
	if err != nil {
		return fmt.Errorf("phone: give: %w", err)
	}
	return nil
}

// free removes a number's row if it still names the account.
func (b *Book) free(ctx context.Context, h Hash, a store.AccountID) error {
	if h == (Hash{}) {
		return nil
	}
	row, err := b.row(h)
	if err != nil || accountOf(row) != a {
		return err
	}
	err = b.tables.Update(ctx, store.Update{Owner: owner(h), Rows: []store.RowPut{{Table: tablePhone, If: store.IfVersion(row.Version)}}})
	if err != nil && store.CodeOf(err) != store.CodeConflict { // a conflict: somebody else has it now
		return fmt.Errorf("phone: free: %w", err)
	}
	return nil
}

// forget removes an account's row, unless the account has a number.
func (b *Book) forget(ctx context.Context, a store.AccountID) error {
	_, row, err := b.entries(a)
	if err != nil || row.Version == 0 {
		return err
	}
	if _, ok, err := b.Of(a); ok || err != nil {
		return err
	}
	err = b.tables.Update(ctx, store.Update{Owner: store.OwnerOf(a), Rows: []store.RowPut{{Table: tableUser, If: store.IfVersion(row.Version)}}})
	if err != nil && store.CodeOf(err) != store.CodeConflict { // a conflict: it has another one now
		return fmt.Errorf("phone: forget: %w", err)
	}
	return nil
}

func owner(h Hash) store.Owner { return store.Owner(h[:]) }

func accountOf(r store.Row) store.AccountID {
	return store.AccountID(store.Owner(r.Value).Number())
}
