package store

import (
	"context"
	"encoding/binary"
	"sync/atomic"
)

// Table names a kind of row. A name that begins with "user." belongs to accounts: its owners are OwnerOf an account,
// and the rows go when the account is erased.
type Table string

// Owner says whose a row is: of "user." tables OwnerOf an account, of others what the table says (OwnerOfLog, a hash, or
// "" for what belongs to the whole service). One change stays within one owner.
type Owner string

// OwnerOf is the owner of an account's rows: its number in eight bytes, big endian, so that rows are in the order of
// accounts.
func OwnerOf(a AccountID) Owner { return owner(uint64(a)) }

// OwnerOfLog is the owner of a log's rows.
func OwnerOfLog(l LogID) Owner { return owner(uint64(l)) }

func owner(n uint64) Owner { return Owner(binary.BigEndian.AppendUint64(nil, n)) }

// Number is the account or log of an owner made by OwnerOf or OwnerOfLog, 0 for any other.
func (o Owner) Number() uint64 {
	if len(o) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64([]byte(o))
}

// KeyOf is a number as the key of a row, in eight bytes, big endian, so that rows are in the order of numbers. Number is
// its inverse.
func KeyOf[N ~uint64](n N) string { return string(owner(uint64(n))) }

// NumberOf is the number of a key made by KeyOf, 0 for any other.
func NumberOf(key string) uint64 { return Owner(key).Number() }

// Limits of a row.
const (
	MaxRowKey   = 512      // bytes of table, owner and key together
	MaxRowValue = 64 << 10 // bytes
)

// Row is one value of a table. Rows are immutable and shared.
type Row struct {
	Owner   Owner
	Key     string
	Value   []byte
	Version uint64 // grows with every change of the row; 0: there is no such row
	Expires int64  // Unix milliseconds from which on there is no such row any more, 0: never

	// Memo is a place for what a reader makes of Value, kept as long as the row stays in the engine's cache; nil where
	// the engine keeps none. See Decoded.
	Memo *atomic.Pointer[Memo]
}

// Decoded returns what decode makes of the row's value, from the row's Memo if it was made before. One type per table:
// a Memo that holds another one is not looked at. The result is shared, so it must not be modified.
func Decoded[T any](r Row, decode func([]byte) (T, error)) (*T, error) {
	if r.Memo != nil {
		if m := r.Memo.Load(); m != nil {
			if v, ok := m.Value.(*T); ok {
				return v, nil
			}
		}
	}
	v, err := decode(r.Value)
	if err != nil {
		return nil, err
	}
	if r.Memo != nil {
		r.Memo.Store(&Memo{Value: &v})
	}
	return &v, nil
}

// RowPut is a change of one row: a new value, or with a nil Value its removal.
type RowPut struct {
	Table   Table
	Key     string
	Value   []byte
	Expires int64

	// If holds the change to a condition: the row's version must be this (0: there is no such row), or nothing of the
	// whole update is applied (CodeConflict). nil asks nothing.
	If *uint64
}

// EdgePut is a change of one directed edge of the owner, which must be an account.
type EdgePut struct {
	Kind  Edge
	To    AccountID
	On    bool
	Limit int // more edges of this kind are CodeFull; 0: none
}

// Update is one atomic change of what belongs to one owner.
type Update struct {
	Owner   Owner
	Rows    []RowPut
	Edges   []EdgePut
	Follows []FollowPut // of the owner, which must be an account
}

// IfVersion is the condition that a row has this version; of an absent row it is 0.
func IfVersion(v uint64) *uint64 { return &v }

// Tables is the contract of rows that are looked up by table, owner and key. It is what the rules of a feature are
// written in when nothing but the feature itself has to understand the value.
type Tables interface {
	// Row returns a row; one that does not exist has Version 0 and is no error. Cheap: it is asked per message.
	Row(t Table, o Owner, key string) (Row, error)
	// Rows lists an owner's rows whose key begins with prefix, by key, after the given key ("" from the start), at most
	// max (0: 1,000).
	Rows(t Table, o Owner, prefix, after string, max int) ([]Row, error)
	// AllRows lists the rows of every owner, by owner (shorter ones first, then by byte) and key, after the given one, at
	// most max (0: 1,000).
	AllRows(t Table, after Owner, afterKey string, max int) ([]Row, error)
	// RowsOf looks up the rows of accounts with one key, and calls fn with the values of those that there are, in the order of
	// accounts. It is for who goes through a large part of all accounts: nothing of it stays in a cache, nor takes the place
	// of what is there, and a row costs no allocation. value is fn's until it returns. Its error ends it and is returned.
	RowsOf(t Table, accounts []AccountID, key string, fn func(a AccountID, value []byte) error) error
	// Update applies one change: all of it, durably, or nothing. CodeConflict: a condition did not hold. CodeNotFound: an
	// edge to or from nobody. CodeTooLarge: a key or value over the limits.
	Update(ctx context.Context, u Update) error
	// SweepRows removes rows that expired before now (Unix milliseconds), at most max, and returns how many.
	SweepRows(ctx context.Context, now int64, max int) (int, error)
}
