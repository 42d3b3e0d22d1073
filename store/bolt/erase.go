package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"strings"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
)

// erasedRow reports whether an account's row is a tombstone.
func erasedRow(row []byte) bool { return len(row) > 1 && row[1] == byte(store.AccountErased) }

// EraseAccount implements store.Directory.
func (d *directory) EraseAccount(ctx context.Context, id store.AccountID) error {
	if err := d.erase(ctx, id); err != nil {
		return err
	}
	return d.erased(ctx, id)
}

// erase removes an account's rows and notes that its sessions are yet to be removed; erased ends that.
func (d *directory) erase(ctx context.Context, id store.AccountID) error {
	var name string
	var keys [][]byte
	return d.file.update(ctx, func(w *writeTx) error {
		name, keys = "", nil
		row := w.bucket(dirAccounts).Get(key64(uint64(id)))
		if row == nil || id == 0 {
			return &store.Error{Code: store.CodeNotFound, Text: "no such account"}
		}
		if hold, err := rowKey(holdTable, "", holdKey(store.Hold{Account: id})); err != nil || w.bucket(dirRows).Get(hold) != nil {
			return &store.Error{Code: store.CodeLocked, Text: "a legal hold is on the account", Err: err}
		}
		a, err := decodeAccount(key64(uint64(id)), row)
		if err != nil {
			return err
		}
		name = a.Name
		keys, err = eraseRows(w, a)
		return err
	}, func(error) {
		d.accounts.forget(id)
		d.names.forget(name)
		d.edges.forget(edgeKey{store.EdgeFriend, id})
		d.edges.forget(edgeKey{store.EdgeBlock, id})
		for _, k := range keys {
			d.rows.forget(string(k))
		}
	})
}

// eraseRows removes everything of an account and returns the keys of its tables' rows.
func eraseRows(w *writeTx, a store.Account) ([][]byte, error) {
	id := key64(uint64(a.ID))
	if a.State != store.AccountErased {
		if err := w.bucket(dirNames).delete([]byte(a.Name)); err != nil {
			return nil, err
		}
		tombstone := store.Account{ID: a.ID, State: store.AccountErased}
		if err := w.bucket(dirAccounts).put(id, appendAccount(nil, tombstone)); err != nil {
			return nil, err
		}
	}
	for _, bucket := range [][]byte{dirSalts, dirFriends, dirBlocks, dirDevices, dirTokens} {
		b := w.bucket(bucket)
		for _, k := range keysWith(b.Bucket, id) {
			if err := b.delete(k); err != nil {
				return nil, err
			}
		}
	}
	if err := unfollowAll(w, id); err != nil {
		return nil, err
	}
	if err := removeAnswers(w, id); err != nil {
		return nil, err
	}
	keys := ownedRows(w.bucket(dirRows).Bucket, store.OwnerOf(a.ID))
	for _, k := range keys {
		if err := putTableRow(w, k, store.RowPut{}); err != nil {
			return nil, err
		}
	}
	return keys, w.bucket(dirErasing).put(id, []byte{})
}

// keysWith returns the keys that begin with prefix.
func keysWith(b *bbolt.Bucket, prefix []byte) (keys [][]byte) {
	c := b.Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	return keys
}

// ownedRows returns the keys of an owner's rows in all tables that belong to accounts, going from table to table.
func ownedRows(b *bbolt.Bucket, o store.Owner) (keys [][]byte) {
	c := b.Cursor()
	for k, _ := c.First(); k != nil; {
		t, _, _, err := splitRowKey(k)
		if err != nil {
			k, _ = c.Next()
			continue
		}
		if strings.HasPrefix(string(t), "user.") {
			keys = append(keys, keysWith(b, ownerPrefix(t, o))...)
		}
		k, _ = c.Seek(append(tablePrefix(t), 0xff, 0xff)) // an owner has at most 255 bytes, and a table's rows begin with their length
		for bytes.HasPrefix(k, tablePrefix(t)) {
			k, _ = c.Next()
		}
	}
	return keys
}

// erased notes that nothing is left to be done for an erased account.
func (d *directory) erased(ctx context.Context, id store.AccountID) error {
	return d.file.update(ctx, func(w *writeTx) error {
		if w.bucket(dirErasing).Get(key64(uint64(id))) == nil {
			return nil
		}
		return w.bucket(dirErasing).delete(key64(uint64(id)))
	}, nil)
}

// erasing lists the accounts whose erasure was cut short.
func (d *directory) erasing() (ids []store.AccountID, err error) {
	err = d.file.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(dirErasing).Cursor()
		for k, _ := c.First(); len(k) == 8; k, _ = c.Next() {
			ids = append(ids, store.AccountID(binary.BigEndian.Uint64(k)))
		}
		return nil
	})
	return ids, err
}

// EraseAccount implements store.Store: the directory's rows first, and with them the key; then what is in memory; then
// the sessions.
func (s *Store) EraseAccount(ctx context.Context, id store.AccountID) error {
	if err := s.directory.erase(ctx, id); err != nil {
		return err
	}
	return s.finishErase(ctx, id)
}

func (s *Store) finishErase(ctx context.Context, id store.AccountID) error {
	s.logs.erase(id)
	if err := s.sessions.erase(ctx, id); err != nil {
		return err
	}
	return s.directory.erased(ctx, id)
}

// SaveSession implements store.Sessions. A connection that outlives its user leaves nothing.
func (s *Store) SaveSession(ctx context.Context, session *store.Session) error {
	if s.logs.seal.gone(session.Account) {
		return store.ErrNotFound
	}
	return s.sessions.SaveSession(ctx, session)
}

// erase removes the sessions of an account, those not yet written too.
func (s *sessions) erase(ctx context.Context, id store.AccountID) error {
	var devices []sessionKey
	err := s.file.view(func(tx *bbolt.Tx) error {
		for _, k := range keysWith(tx.Bucket(stateSessions), key64(uint64(id))) {
			key, err := decodeSessionKey(k)
			if err != nil {
				return err
			}
			devices = append(devices, key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	for key := range s.pending {
		if key.account == id && !slices.Contains(devices, key) {
			devices = append(devices, key)
		}
	}
	s.mu.Unlock()
	for _, key := range devices {
		if err := s.DeleteSession(ctx, key.account, key.device); err != nil {
			return err
		}
	}
	return nil
}

// erase forgets an account's key, and takes its texts out of memory. What it appends from now on is refused; what was on
// its way is committed as recalled (publishLog).
func (l *logs) erase(id store.AccountID) {
	l.seal.forget(id)
	l.ring.erase(id)
	for i := range l.states.shards {
		sh := &l.states.shards[i]
		var all []*logState
		sh.mu.Lock()
		for _, st := range sh.byID {
			all = append(all, st)
		}
		sh.mu.Unlock()
		for _, st := range all {
			st.mu.Lock()
			for i, r := range st.cached {
				if r.Sender == id || r.EditedBy == id {
					st.cached[i] = withoutText(r)
				}
			}
			st.mu.Unlock()
		}
	}
}

// withoutText is what is left of a record whose sender's key, or its editor's, is gone, as it would be read from the journal.
func withoutText(r *store.Record) *store.Record {
	if len(r.Text)+len(r.Extra) == 0 {
		return r
	}
	return recalled(r)
}

// erase takes an account's texts out of the batches kept. Batches are copied: followers may hold them.
func (r *ring) erase(id store.AccountID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.batches {
		rb := &r.batches[i]
		copied := false
		for j := range rb.entries {
			rec := rb.entries[j].Record
			if rec == nil || rec.Sender != id && rec.EditedBy != id {
				continue
			}
			if !copied {
				rb.entries, copied = slices.Clone(rb.entries), true
			}
			rb.entries[j].Record = withoutText(rec)
		}
	}
}
