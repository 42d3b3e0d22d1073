package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
)

// The rows of all tables lie in one bucket. A key is the table and the owner, each behind its length in one byte, and
// then the row's own key, so that the rows of a table, and of an owner within it, are neighbours.

func tableRowCost(key string, r store.Row) int { return 240 + len(key) + len(r.Value) }

func tablePrefix(t store.Table) []byte {
	return append(append(make([]byte, 0, 64), byte(len(t))), t...)
}

func ownerPrefix(t store.Table, o store.Owner) []byte {
	b := append(tablePrefix(t), byte(len(o)))
	return append(b, o...)
}

// rowKey is a row's key in the file, checked.
func rowKey(t store.Table, o store.Owner, key string) ([]byte, error) {
	return appendRowKey(make([]byte, 0, 64), t, o, key)
}

func appendRowKey(b []byte, t store.Table, o store.Owner, key string) ([]byte, error) {
	if t == "" {
		return nil, store.Bad("a row needs a table")
	}
	if len(t) > 255 || len(o) > 255 || len(t)+len(o)+len(key) > store.MaxRowKey {
		return nil, &store.Error{Code: store.CodeTooLarge, Text: "the key of a row is too long"}
	}
	b = append(append(b, byte(len(t))), t...)
	b = append(append(b, byte(len(o))), o...)
	return append(b, key...), nil
}

// splitRowKey takes a key of the file apart.
func splitRowKey(k []byte) (t store.Table, o store.Owner, key string, err error) {
	cut := func() string {
		if len(k) == 0 || len(k) < 1+int(k[0]) {
			err = errRowShort
			return ""
		}
		s := string(k[1 : 1+k[0]])
		k = k[1+k[0]:]
		return s
	}
	t, o = store.Table(cut()), store.Owner(cut())
	return t, o, string(k), err
}

const tableRowVersion = 1

func appendTableRow(b []byte, version uint64, expires int64, value []byte) []byte {
	b = append(b, tableRowVersion)
	b = binary.AppendUvarint(b, version)
	b = binary.AppendVarint(b, expires)
	return append(b, value...)
}

// decodeTableRow copies the row out of the file.
func decodeTableRow(k, row []byte) (store.Row, error) {
	_, o, key, err := splitRowKey(k)
	if err != nil {
		return store.Row{}, corrupt("a row's key", err)
	}
	return decodeRowOf(o, key, row)
}

// decodeRowOf is decodeTableRow where the owner and the key are known.
func decodeRowOf(o store.Owner, key string, row []byte) (store.Row, error) {
	out, err := peekRow(row)
	if err != nil {
		return store.Row{}, err
	}
	out.Owner, out.Key, out.Value = o, key, bytes.Clone(out.Value)
	return out, nil
}

// peekRow decodes a row without its owner and key. Its value is part of what is given.
func peekRow(row []byte) (store.Row, error) {
	r := rowReader{b: row}
	r.version(tableRowVersion)
	out := store.Row{Version: r.uvarint(), Expires: r.varint()}
	if r.err != nil {
		return store.Row{}, corrupt("a row", r.err)
	}
	out.Value = r.b
	return out, nil
}

// Row implements store.Tables. A row that does not exist is cached too: most users have no settings of their own.
func (d *directory) Row(t store.Table, o store.Owner, key string) (store.Row, error) {
	var buf [80]byte // most keys fit: a row in the cache costs no allocation for its key
	k, err := appendRowKey(buf[:0], t, o, key)
	if err != nil {
		return store.Row{}, err
	}
	r, age, ok := d.rows.get(string(k))
	if !ok {
		if r, err = d.loadRow(bytes.Clone(k), o, key, age); err != nil {
			return store.Row{}, err
		}
	}
	if r.Expires != 0 && r.Expires <= d.now().UnixMilli() {
		return store.Row{Owner: o, Key: key}, nil
	}
	return r, nil
}

// loadRow reads a row and puts it into the cache, one that does not exist too.
func (d *directory) loadRow(k []byte, o store.Owner, key string, age uint64) (r store.Row, err error) {
	err = d.file.view(func(tx *bbolt.Tx) (err error) {
		row := tx.Bucket(dirRows).Get(k)
		if row == nil {
			r = store.Row{Owner: o, Key: key}
			return nil
		}
		r, err = decodeRowOf(o, key, row)
		return err
	})
	if err != nil {
		return store.Row{}, err
	}
	r.Memo = new(atomic.Pointer[store.Memo])
	d.rows.put(string(k), r, age)
	return r, nil
}

// Rows implements store.Tables.
func (d *directory) Rows(t store.Table, o store.Owner, prefix, after string, max int) ([]store.Row, error) {
	within, err := rowKey(t, o, prefix)
	if err != nil {
		return nil, err
	}
	from := within
	if after != "" {
		if from, err = rowKey(t, o, after); err != nil {
			return nil, err
		}
		from = append(from, 0)
		if bytes.Compare(from, within) < 0 {
			from = within
		}
	}
	return d.listRows(within, from, max)
}

// AllRows implements store.Tables.
func (d *directory) AllRows(t store.Table, after store.Owner, afterKey string, max int) ([]store.Row, error) {
	within, err := rowKey(t, "", "")
	if err != nil {
		return nil, err
	}
	within = within[:len(within)-1] // the table alone
	from := within
	if after != "" || afterKey != "" {
		if from, err = rowKey(t, after, afterKey); err != nil {
			return nil, err
		}
		from = append(from, 0)
	}
	return d.listRows(within, from, max)
}

// listRows lists the rows that begin with within, from a key on.
func (d *directory) listRows(within, from []byte, max int) (out []store.Row, err error) {
	if max <= 0 {
		max = pageRows
	}
	now := d.now().UnixMilli()
	for from != nil && len(out) < max {
		err := d.file.view(func(tx *bbolt.Tx) error {
			c := tx.Bucket(dirRows).Cursor()
			k, v := c.Seek(from)
			from = nil
			for n, size := 0, 0; bytes.HasPrefix(k, within) && len(out) < max; n++ {
				if n == pageRows || size > pageBytes {
					from = bytes.Clone(k)
					return nil
				}
				r, err := decodeTableRow(k, v)
				if err != nil {
					return err
				}
				if r.Expires == 0 || r.Expires > now {
					out = append(out, r)
				}
				size += len(v)
				k, v = c.Next()
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// pageOf are the values of rows that RowsOf has found in one transaction, one behind the other.
type pageOf struct {
	accounts []store.AccountID
	ends     []int // in values
	values   []byte
}

// pagesOf are kept, because whoever asks for one page asks for a hundred more.
var pagesOf = sync.Pool{New: func() any { return new(pageOf) }}

// RowsOf implements store.Tables.
func (d *directory) RowsOf(t store.Table, accounts []store.AccountID, key string, fn func(a store.AccountID, value []byte) error) error {
	k, err := rowKey(t, store.OwnerOf(0), key)
	if err != nil {
		return err
	}
	at := len(tablePrefix(t)) + 1
	now := d.now().UnixMilli()
	p := pagesOf.Get().(*pageOf)
	defer func() {
		if cap(p.values) <= 2*pageBytes {
			pagesOf.Put(p)
		}
	}()
	for len(accounts) > 0 {
		p.accounts, p.ends, p.values = p.accounts[:0], p.ends[:0], p.values[:0]
		n := 0
		err := d.file.view(func(tx *bbolt.Tx) error {
			c := tx.Bucket(dirRows).Cursor() // one for all: Bucket.Get makes a new one each time
			for ; n < min(len(accounts), pageRows) && len(p.values) < pageBytes; n++ {
				binary.BigEndian.PutUint64(k[at:], uint64(accounts[n]))
				is, row := c.Seek(k)
				if !bytes.Equal(is, k) {
					continue
				}
				r, err := peekRow(row)
				if err != nil {
					return err
				}
				if r.Expires == 0 || r.Expires > now {
					p.values = append(p.values, r.Value...)
					p.accounts, p.ends = append(p.accounts, accounts[n]), append(p.ends, len(p.values))
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		from := 0
		for i, upto := range p.ends {
			if err := fn(p.accounts[i], p.values[from:upto:upto]); err != nil {
				return err
			}
			from = upto
		}
		accounts = accounts[n:]
	}
	return nil
}

// Update implements store.Tables.
func (d *directory) Update(ctx context.Context, u store.Update) error {
	keys := make([][]byte, len(u.Rows))
	for i, p := range u.Rows {
		k, err := rowKey(p.Table, u.Owner, p.Key)
		if err != nil {
			return err
		}
		if len(p.Value) > store.MaxRowValue {
			return &store.Error{Code: store.CodeTooLarge, Text: "the value of a row is too large"}
		}
		keys[i] = k
		u.Rows[i].Value = bytes.Clone(p.Value)
	}
	from := store.AccountID(u.Owner.Number())
	for _, e := range u.Edges {
		if _, err := (edgeKey{e.Kind, from}).bucket(); err != nil {
			return err
		}
		if from == 0 || e.To == from {
			return store.Bad("an edge leads from one user to another")
		}
	}
	for _, f := range u.Follows {
		if from == 0 || f.Channel == 0 {
			return store.Bad("a user follows a channel")
		}
	}
	now := d.now().UnixMilli()
	return d.file.update(ctx, func(w *writeTx) error {
		if err := d.checkUpdate(w, u, keys, now); err != nil {
			return err // before anything was written: see boltFile.commit
		}
		for i, p := range u.Rows {
			if err := putTableRow(w, keys[i], p); err != nil {
				return err
			}
		}
		for _, e := range u.Edges {
			if _, err := putEdge(w, edgeKey{e.Kind, from}, e.To, e.On, 0); err != nil {
				return err
			}
		}
		for _, f := range u.Follows {
			if err := putFollow(w, u.Owner.Number(), f); err != nil {
				return err
			}
		}
		return nil
	}, func(error) {
		for _, k := range keys {
			d.rows.forget(string(k))
		}
		for _, e := range u.Edges {
			d.edges.forget(edgeKey{e.Kind, from})
		}
	})
}

// checkUpdate looks whether the whole update can be applied, before anything is.
func (d *directory) checkUpdate(w *writeTx, u store.Update, keys [][]byte, now int64) error {
	if strings.HasPrefix(string(tableOf(u)), "user.") {
		if err := requireAccount(w.tx, store.AccountID(u.Owner.Number())); err != nil {
			return err
		}
	}
	for i, p := range u.Rows {
		if p.If == nil {
			continue
		}
		var version uint64
		if row := w.bucket(dirRows).Get(keys[i]); row != nil {
			r, err := decodeTableRow(keys[i], row)
			if err != nil {
				return err
			}
			if r.Expires == 0 || r.Expires > now {
				version = r.Version
			}
		}
		if version != *p.If {
			return &store.Error{Code: store.CodeConflict, Text: "somebody else was faster"}
		}
	}
	from := store.AccountID(u.Owner.Number())
	added := map[store.Edge]int{}
	for _, e := range u.Edges {
		if !e.On {
			continue
		}
		bucket, err := edgeKey{e.Kind, from}.bucket()
		if err != nil {
			return err
		}
		row, err := getEdges(w.tx, edgeKey{e.Kind, from}, bucket)
		if err != nil {
			return err
		}
		if _, found := slices.BinarySearch(row, e.To); found {
			continue
		}
		if err := errors.Join(requireAccount(w.tx, from), requireAccount(w.tx, e.To)); err != nil {
			return &store.Error{Code: store.CodeNotFound, Text: "no such account"}
		}
		if added[e.Kind]++; e.Limit > 0 && len(row)+added[e.Kind] > e.Limit {
			return &store.Error{Code: store.CodeFull, Text: "the list is full"}
		}
	}
	return checkFollows(w, u)
}

// tableOf is the first table of an update that belongs to accounts, "" if none does.
func tableOf(u store.Update) store.Table {
	for _, p := range u.Rows {
		if p.Value != nil && strings.HasPrefix(string(p.Table), "user.") {
			return p.Table
		}
	}
	return ""
}

// putTableRow writes or removes one row and its place in the order of expiry.
func putTableRow(w *writeTx, key []byte, p store.RowPut) error {
	rows, times := w.bucket(dirRows), w.bucket(dirRowTimes)
	if old := rows.Get(key); old != nil {
		r, err := decodeTableRow(key, old)
		if err != nil {
			return err
		}
		if r.Expires != 0 {
			if err := times.delete(rowTimeKey(r.Expires, key)); err != nil {
				return err
			}
		}
	}
	if p.Value == nil {
		return rows.delete(key)
	}
	version := rows.Sequence() + 1
	if err := rows.SetSequence(version); err != nil {
		return err
	}
	if p.Expires != 0 {
		if err := times.put(rowTimeKey(p.Expires, key), []byte{}); err != nil {
			return err
		}
	}
	return rows.put(key, appendTableRow(nil, version, p.Expires, p.Value))
}

func rowTimeKey(expires int64, key []byte) []byte {
	return append(key64(uint64(max(0, expires))), key...)
}

// SweepRows implements store.Tables.
func (d *directory) SweepRows(ctx context.Context, now int64, max int) (n int, err error) {
	if max <= 0 {
		max = pageRows
	}
	var keys [][]byte
	err = d.file.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(dirRowTimes).Cursor()
		for k, _ := c.First(); k != nil && len(keys) < min(max, pageRows); k, _ = c.Next() {
			if len(k) < 8 {
				return corrupt("a row's expiry", errRowShort)
			}
			if binary.BigEndian.Uint64(k) > uint64(now) {
				break
			}
			keys = append(keys, bytes.Clone(k))
		}
		return nil
	})
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	removed := 0
	err = d.file.update(ctx, func(w *writeTx) error {
		removed = 0
		rows, times := w.bucket(dirRows), w.bucket(dirRowTimes)
		for _, k := range keys {
			if times.Get(k) == nil {
				continue // changed meanwhile
			}
			if err := times.delete(k); err != nil {
				return err
			}
			if err := rows.delete(k[8:]); err != nil {
				return err
			}
			removed++
		}
		return nil
	}, func(error) {
		for _, k := range keys {
			d.rows.forget(string(k[8:]))
		}
	})
	if err != nil {
		return 0, fmt.Errorf("bolt: sweep: %w", err)
	}
	return removed, nil
}
