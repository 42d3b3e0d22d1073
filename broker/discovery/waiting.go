package discovery

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/hwangso/hwangso/store"
)

const tableWaiting store.Table = "service.waiting"

// waiting says who waits for which number that is nobody's yet: a log-structured index, because one address book has
// hundreds of numbers anywhere among millions.
//
// What is added becomes a sorted row of level 0. When a place has 16 rows, they are merged and dealt out to the 16
// places below it, by the next four bits of the number. So a number is written about once per level, in rows of many,
// and is looked up in about 16 rows per level, of which millions of address books need five. One merge is one change: a
// crash leaves either side of it.
//
// A row is ascending records of 10 bytes: the first four of the number, the account, and the month it was added in.
// Four bytes are not the number: whoever looks one up asks the account's address book, which also says whether the user
// still has it. A record counts for Limits.Keep after its month. It leaves the file at the next merge, or with its row,
// which ends with its newest record.
type waiting struct {
	store store.Store
	now   func() time.Time
	most  int   // accounts per number
	keep  int   // months
	last  int64 // of the rows' numbers
}

const (
	waitRecord  = 10
	waitRows    = 16
	waitLevels  = 8 // × 4 bits: then the four bytes are used up
	waitEntries = 6000
	waitMonth   = 30 * day
)

type waitEntry struct {
	n       short
	account store.AccountID
}

func (w *waiting) init(s store.Store, now func() time.Time, l Limits) {
	w.store, w.now, w.most, w.keep = s, now, l.Waiting, int((l.Keep+waitMonth-1)/waitMonth)
}

func (w *waiting) month() byte { return byte(w.now().UnixMilli() / waitMonth.Milliseconds()) }

// expired reports whether a record's month is over. Months are counted modulo 256: 21 years.
func (w *waiting) expired(r []byte) bool { return int(w.month()-r[9]) > w.keep && w.month()-r[9] < 128 }

// place is the key of the rows of a level on a number's way.
func place(key4 uint32, level int) string {
	p := make([]byte, 1, 1+level)
	p[0] = byte(level)
	for i := range level {
		p = append(p, byte(key4>>(28-4*i)&15))
	}
	return string(p)
}

// add adds entries. One caller at a time.
func (w *waiting) add(ctx context.Context, entries []waitEntry) error {
	if len(entries) == 0 {
		return nil
	}
	b := make([]byte, 0, waitRecord*len(entries))
	for _, e := range entries {
		if e.account >= 1<<40 {
			return fmt.Errorf("discovery: account %v does not fit into the index", e.account)
		}
		b = binary.BigEndian.AppendUint32(b, uint32(e.n>>32))
		b = append(b, byte(e.account>>32))
		b = binary.BigEndian.AppendUint32(b, uint32(e.account))
		b = append(b, w.month())
	}
	puts := w.rows(nil, place(0, 0), records(b))
	if err := w.update(ctx, puts); err != nil {
		return err
	}
	return w.merge(ctx, place(0, 0))
}

func (w *waiting) update(ctx context.Context, puts []store.RowPut) error {
	if err := w.store.Update(ctx, store.Update{Rows: puts}); err != nil {
		return fmt.Errorf("discovery: waiting: %w", err)
	}
	return nil
}

// records takes packed records apart.
func records(b []byte) [][]byte {
	out := make([][]byte, 0, len(b)/waitRecord)
	for ; len(b) >= waitRecord; b = b[waitRecord:] {
		out = append(out, b[:waitRecord:waitRecord])
	}
	return out
}

// rows appends new rows of a place with these records, sorted, each once with its newest month, without those that have
// ended and without those beyond what one number may have.
func (w *waiting) rows(puts []store.RowPut, at string, list [][]byte) []store.RowPut {
	month := w.month()
	slices.SortFunc(list, func(x, y []byte) int {
		return cmp.Or(bytes.Compare(x[:9], y[:9]), cmp.Compare(month-x[9], month-y[9]))
	})
	var value []byte
	age := byte(255) // of the newest record, in months
	flush := func() {
		if len(value) > 0 {
			w.last = max(w.last+1, w.now().UnixNano())
			expires := w.now().Add(time.Duration(w.keep+1-int(age)) * waitMonth).UnixMilli()
			puts = append(puts, store.RowPut{Table: tableWaiting, Key: at + store.KeyOf(uint64(w.last)), Value: value,
				Expires: expires, If: store.IfVersion(0)})
			value, age = nil, 255
		}
	}
	run := 0
	for i, r := range list {
		switch {
		case i > 0 && bytes.Equal(r[:9], list[i-1][:9]) || w.expired(r):
			continue
		case i > 0 && bytes.Equal(r[:4], list[i-1][:4]):
			if run++; run >= w.most {
				continue
			}
		default:
			run = 0
		}
		value, age = append(value, r...), min(age, month-r[9])
		if len(value) == waitRecord*waitEntries {
			flush()
		}
	}
	flush()
	return puts
}

// merge deals out the rows of a place if they are many, and those of the places below.
func (w *waiting) merge(ctx context.Context, at string) error {
	old, err := w.store.Rows(tableWaiting, "", at, "", 0)
	if err != nil {
		return fmt.Errorf("discovery: waiting: %w", err)
	}
	level := int(at[0])
	if len(old) < waitRows {
		return nil
	}
	var puts []store.RowPut
	var parts [16][][]byte
	for _, r := range old {
		puts = append(puts, store.RowPut{Table: tableWaiting, Key: r.Key})
		for _, rec := range records(r.Value) {
			nibble := 0
			if level < waitLevels {
				nibble = int(rec[level/2] >> (4 * (1 - level%2)) & 15)
			}
			parts[nibble] = append(parts[nibble], rec)
		}
	}
	if level == waitLevels { // nothing is left to divide by, but few numbers share all four bytes
		return w.update(ctx, w.rows(puts, at, parts[0]))
	}
	below := string(byte(level+1)) + at[1:]
	for i, part := range parts {
		puts = w.rows(puts, below+string([]byte{byte(i)}), part)
	}
	if err := w.update(ctx, puts); err != nil {
		return err
	}
	for i, part := range parts {
		if len(part) > 0 {
			if err := w.merge(ctx, below+string([]byte{byte(i)})); err != nil {
				return err
			}
		}
	}
	return nil
}

// find is who may wait for a number, ascending. Some of them may not: see waiting.
func (w *waiting) find(n short) ([]store.AccountID, error) {
	var out []store.AccountID
	key := binary.BigEndian.AppendUint32(nil, uint32(n>>32))
	for level := range waitLevels + 1 {
		rows, err := w.store.Rows(tableWaiting, "", place(uint32(n>>32), level), "", 0)
		if err != nil {
			return nil, fmt.Errorf("discovery: waiting: %w", err)
		}
		for _, r := range rows {
			list := r.Value
			count := len(list) / waitRecord
			i := sort.Search(count, func(i int) bool { return bytes.Compare(list[i*waitRecord:i*waitRecord+4], key) >= 0 })
			for ; i < count && bytes.Equal(list[i*waitRecord:i*waitRecord+4], key); i++ {
				rec := list[i*waitRecord : (i+1)*waitRecord]
				if !w.expired(rec) {
					out = append(out, store.AccountID(rec[4])<<32|store.AccountID(binary.BigEndian.Uint32(rec[5:])))
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
