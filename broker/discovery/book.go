package discovery

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/hwangso/hwangso/hooks/phone"
	"github.com/hwangso/hwangso/store"
)

const tableBook store.Table = "user.book"

// short is the first 8 bytes of a phone.Hash: what address books hold of a number.
type short uint64

func shortOf(h phone.Hash) short { return short(binary.BigEndian.Uint64(h[:])) }

// tag says what became of a number: 0 nothing yet; else to whom it was resolved for the user, in 14 bits, so that a number
// that changes hands is seen to.
type tag uint16

const (
	tagGone    tag = 1 << 15 // the user has removed it; kept for a while, so that coming back costs nothing
	tagWaiting tag = 1 << 14 // not looked up yet: its network is slowed
	tagWho     tag = 1<<14 - 1
)

// tagOf names an account, never 0.
func tagOf(a store.AccountID) tag {
	h := uint64(a) * 0x9e3779b97f4a7c15
	return tag(1 + (h>>40)%uint64(tagWho))
}

// told reports whether the number was resolved to this account.
func (t tag) told(a store.AccountID) bool { return t&tagWho == tagOf(a) }

// present reports whether the user has the number and it was looked up.
func (t tag) present() bool { return t&(tagGone|tagWaiting) == 0 }

// A book is the packed address book of one account, ascending: in chunks of at most chunkEntries, each a row. Which chunk
// a number lies in follows from the number and how many chunks there are, so that looking one up reads one row, or two.
//
//	chunk: version, how many chunks there are, the numbers (8 bytes each), their tags (2 bytes each)
type book struct {
	entries []entry
	changed bool
	stored  int   // chunks, as they lie in the store
	expires int64 // when they end
}

type entry struct {
	n   short
	tag tag
}

const (
	bookVersion  = 1
	bookHead     = 2
	bookEntry    = 10
	chunkEntries = 6000
)

var errBook = errors.New("discovery: an address book is damaged")

func chunkKey(i int) string { return string([]byte{byte(i)}) }

// chunkOf is the chunk of a number.
func chunkOf(n short, chunks int) int { return int(uint64(n) >> 32 * uint64(chunks) >> 32) }

// readBook reads the whole book of an account.
func (d *Discovery) readBook(a store.AccountID) (*book, error) {
	rows, err := d.store.Rows(tableBook, store.OwnerOf(a), "", "", 0)
	if err != nil {
		return nil, fmt.Errorf("discovery: book: %w", err)
	}
	b := &book{stored: len(rows)}
	for _, r := range rows {
		b.expires = r.Expires
		n, err := chunkLen(r.Value)
		if err != nil {
			return nil, err
		}
		for i := range n {
			b.entries = append(b.entries, entryAt(r.Value, n, i))
		}
	}
	if !slices.IsSortedFunc(b.entries, compareEntries) {
		return nil, errBook
	}
	return b, nil
}

func compareEntries(x, y entry) int {
	switch {
	case x.n < y.n:
		return -1
	case x.n > y.n:
		return 1
	}
	return 0
}

func chunkLen(v []byte) (int, error) {
	if len(v) < bookHead || v[0] != bookVersion || v[1] == 0 || (len(v)-bookHead)%bookEntry != 0 {
		return 0, errBook
	}
	return (len(v) - bookHead) / bookEntry, nil
}

func entryAt(v []byte, n, i int) entry {
	return entry{short(binary.BigEndian.Uint64(v[bookHead+8*i:])), tag(binary.BigEndian.Uint16(v[bookHead+8*n+2*i:]))}
}

// find is the place of a number and whether it is there.
func (b *book) find(n short) (int, bool) {
	return slices.BinarySearchFunc(b.entries, entry{n: n}, compareEntries)
}

// addAll adds numbers that are not there, ascending and each once.
func (b *book) addAll(added []entry) {
	if len(added) == 0 {
		return
	}
	merged := make([]entry, 0, len(b.entries)+len(added))
	i := 0
	for _, e := range b.entries {
		for ; i < len(added) && added[i].n < e.n; i++ {
			merged = append(merged, added[i])
		}
		merged = append(merged, e)
	}
	b.entries, b.changed = append(merged, added[i:]...), true
}

// drop removes the numbers that the user has removed.
func (b *book) drop() {
	n := len(b.entries)
	b.entries = slices.DeleteFunc(b.entries, func(e entry) bool { return e.tag&tagGone != 0 })
	b.changed = b.changed || len(b.entries) != n
}

// mark changes the tag of a number that is there.
func (b *book) mark(i int, t tag) {
	if b.entries[i].tag != t {
		b.entries[i].tag, b.changed = t, true
	}
}

// puts are the rows of the book. All of them are written together, so that they end together.
func (b *book) puts(expires int64) []store.RowPut {
	chunks := max(b.stored, 1)
	for !b.fits(chunks) {
		chunks *= 2
	}
	var out []store.RowPut
	for i := range chunks {
		part := b.part(i, chunks)
		v := make([]byte, 0, bookHead+bookEntry*len(part))
		v = append(v, bookVersion, byte(chunks))
		for _, e := range part {
			v = binary.BigEndian.AppendUint64(v, uint64(e.n))
		}
		for _, e := range part {
			v = binary.BigEndian.AppendUint16(v, uint16(e.tag))
		}
		out = append(out, store.RowPut{Table: tableBook, Key: chunkKey(i), Value: v, Expires: expires})
	}
	return out
}

func (b *book) fits(chunks int) bool {
	for i := range chunks {
		if len(b.part(i, chunks)) > chunkEntries {
			return false
		}
	}
	return true
}

// part is what lies in a chunk.
func (b *book) part(i, chunks int) []entry {
	from := sort.Search(len(b.entries), func(k int) bool { return chunkOf(b.entries[k].n, chunks) >= i })
	to := sort.Search(len(b.entries), func(k int) bool { return chunkOf(b.entries[k].n, chunks) > i })
	return b.entries[from:to]
}

// locate is the row of an account's book that has a number, and its place there; count 0 if the user does not have it. It
// reads one row of the cache, of a large book two.
func (d *Discovery) locate(a store.AccountID, n short) (r store.Row, count, at int, err error) {
	for i := 0; ; {
		if r, err = d.store.Row(tableBook, store.OwnerOf(a), chunkKey(i)); err != nil {
			return r, 0, 0, fmt.Errorf("discovery: book: %w", err)
		}
		if r.Version == 0 {
			return r, 0, 0, nil
		}
		if count, err = chunkLen(r.Value); err != nil {
			return r, 0, 0, err
		}
		if is := chunkOf(n, int(r.Value[1])); is > i { // the first chunk says how many there are
			i = is
			continue
		}
		at = sort.Search(count, func(k int) bool { return entryAt(r.Value, count, k).n >= n })
		if at == count || entryAt(r.Value, count, at).n != n {
			return r, 0, 0, nil
		}
		return r, count, at, nil
	}
}

// tagIn is the tag of a number in an account's book; false if the user does not have it.
func (d *Discovery) tagIn(a store.AccountID, n short) (tag, bool, error) {
	r, count, at, err := d.locate(a, n)
	if err != nil || count == 0 {
		return 0, false, err
	}
	return entryAt(r.Value, count, at).tag, true, nil
}

// retag is the change of one tag; false if the number is not there. The account's turn must be held.
func (d *Discovery) retag(a store.AccountID, n short, fn func(tag) tag) (store.RowPut, bool, error) {
	r, count, at, err := d.locate(a, n)
	if err != nil || count == 0 {
		return store.RowPut{}, false, err
	}
	old := entryAt(r.Value, count, at).tag
	t := fn(old)
	if t == old {
		return store.RowPut{}, false, nil
	}
	v := slices.Clone(r.Value)
	binary.BigEndian.PutUint16(v[bookHead+8*count+2*at:], uint16(t))
	return store.RowPut{Table: tableBook, Key: r.Key, Value: v, Expires: r.Expires, If: store.IfVersion(r.Version)}, true, nil
}

// has reports whether an account has a number in its book, as others may know it.
func (d *Discovery) has(a store.AccountID, n short) (bool, error) {
	t, ok, err := d.tagIn(a, n)
	return ok && t.present(), err
}
