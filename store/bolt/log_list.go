package bolt

import (
	"encoding/binary"
	"slices"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
)

// Logs implements store.Log. Memory is looked at before the index: a checkpoint moves logs from the first to the second.
func (l *logs) Logs(kind store.LogKind, after store.LogID, limit int) ([]store.LogInfo, error) {
	if limit <= 0 {
		limit = refsDefault
	}
	ids := l.states.listed(kind, after)
	stored, err := l.ix.logs(kind, after, limit)
	if err != nil {
		return nil, err
	}
	ids = append(ids, stored...)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	ids = ids[:min(limit, len(ids))]
	out := make([]store.LogInfo, 0, len(ids))
	for _, id := range ids {
		info, err := l.states.glance(id)
		if err != nil {
			return nil, err
		}
		out = append(out, info)
	}
	return out, nil
}

// listed returns the logs of a kind in memory after a number, in no order.
func (s *logStates) listed(kind store.LogKind, after store.LogID) (ids []store.LogID) {
	var all []*logState
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for id, st := range sh.byID {
			if id > after {
				all = append(all, st)
			}
		}
		sh.mu.Unlock()
	}
	for _, st := range all {
		st.mu.Lock()
		if st.key.Kind == kind {
			ids = append(ids, st.id)
		}
		st.mu.Unlock()
	}
	return ids
}

// logs returns the logs of a kind after a number, at most max, in short transactions.
func (ix *index) logs(kind store.LogKind, after store.LogID, max int) (ids []store.LogID, err error) {
	for more := true; more && err == nil; {
		err = ix.view(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketHeads).Cursor()
			k, v := c.Seek(key1(uint64(after) + 1))
			for rows := 0; len(k) == 8 && len(ids) < max && rows < sliceRows; rows++ {
				after = store.LogID(binary.BigEndian.Uint64(k))
				if len(v) > 1 && store.LogKind(v[1]) == kind { // behind the row's format: see logState.appendHead
					ids = append(ids, after)
				}
				k, v = c.Next()
			}
			more = len(k) == 8 && len(ids) < max
			return nil
		})
	}
	return ids, err
}
