package bolt

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
)

// edgeKey names a user's edges of one kind: one row.
type edgeKey struct {
	kind store.Edge
	from store.AccountID
}

func (k edgeKey) bucket() ([]byte, error) {
	switch k.kind {
	case store.EdgeFriend:
		return dirFriends, nil
	case store.EdgeBlock:
		return dirBlocks, nil
	}
	return nil, store.Bad("no such kind of edge")
}

// SetEdge adds or removes one directed edge.
func (d *directory) SetEdge(ctx context.Context, kind store.Edge, from, to store.AccountID, on bool, limit int) (bool, error) {
	key := edgeKey{kind, from}
	if _, err := key.bucket(); err != nil {
		return false, err
	}
	if from == to {
		return false, store.Bad("nobody is a friend of, or blocks, themselves")
	}
	var changed bool
	err := d.file.update(ctx, func(w *writeTx) (err error) {
		changed, err = putEdge(w, key, to, on, limit)
		return err
	}, func(error) { d.edges.forget(key) })
	if err != nil {
		return false, err // changed is the writer's: after CodeUnknown it may still be at work
	}
	return changed, nil
}

// putEdge adds or removes one edge within a change. A refusal comes before anything is written.
func putEdge(w *writeTx, key edgeKey, to store.AccountID, on bool, limit int) (changed bool, err error) {
	bucket, err := key.bucket()
	if err != nil {
		return false, err
	}
	edges := w.bucket(bucket)
	row, err := getEdges(w.tx, key, bucket)
	if err != nil {
		return false, err
	}
	i, found := slices.BinarySearch(row, to)
	if found == on {
		return false, nil
	}
	if on {
		if err := requireAccount(w.tx, key.from); err != nil {
			return false, err
		}
		if err := requireAccount(w.tx, to); err != nil {
			return false, err
		}
		if limit > 0 && len(row) >= limit {
			return false, &store.Error{Code: store.CodeFull, Text: "the list is full"}
		}
		row = slices.Insert(row, i, to)
	} else {
		row = slices.Delete(row, i, i+1)
	}
	if len(row) == 0 {
		return true, edges.delete(key64(uint64(key.from)))
	}
	return true, edges.put(key64(uint64(key.from)), appendEdges(nil, row))
}

// HasEdge reports whether the edge exists.
func (d *directory) HasEdge(kind store.Edge, from, to store.AccountID) (bool, error) {
	row, err := d.edgesOf(edgeKey{kind, from})
	if err != nil {
		return false, err
	}
	_, found := slices.BinarySearch(row, to)
	return found, nil
}

// Edges lists a user's edges by number.
func (d *directory) Edges(kind store.Edge, from, after store.AccountID, max int) ([]store.AccountID, error) {
	row, err := d.edgesOf(edgeKey{kind, from})
	if err != nil {
		return nil, err
	}
	i, found := slices.BinarySearch(row, after)
	if found {
		i++
	}
	if max <= 0 {
		max = pageRows
	}
	n := min(i+max, len(row))
	return row[i:n:n], nil
}

// edgesOf returns the row, shared with the cache. A user without edges is cached too: most block nobody.
func (d *directory) edgesOf(key edgeKey) ([]store.AccountID, error) {
	row, age, ok := d.edges.get(key)
	if ok {
		return row, nil
	}
	bucket, err := key.bucket()
	if err != nil {
		return nil, err
	}
	err = d.file.view(func(tx *bbolt.Tx) (err error) {
		row, err = getEdges(tx, key, bucket)
		return err
	})
	if err != nil {
		return nil, err
	}
	d.edges.put(key, row, age)
	return row, nil
}

func getEdges(tx *bbolt.Tx, key edgeKey, bucket []byte) ([]store.AccountID, error) {
	packed := tx.Bucket(bucket).Get(key64(uint64(key.from)))
	if packed == nil {
		return nil, nil
	}
	row, err := decodeEdges(packed)
	if err != nil {
		return nil, corrupt(fmt.Sprintf("%s of %v", bucket, key.from), err)
	}
	return row, nil
}

const edgesVersion = 1

// appendEdges packs ascending accounts: how many, then each as its distance from the one before.
func appendEdges(b []byte, row []store.AccountID) []byte {
	b = append(b, edgesVersion)
	b = binary.AppendUvarint(b, uint64(len(row)))
	last := store.AccountID(0)
	for _, a := range row {
		b = binary.AppendUvarint(b, uint64(a-last))
		last = a
	}
	return b
}

func decodeEdges(packed []byte) ([]store.AccountID, error) {
	r := rowReader{b: packed}
	r.version(edgesVersion)
	row := make([]store.AccountID, 0, r.count(1))
	last := store.AccountID(0)
	for range cap(row) {
		a := last + store.AccountID(r.uvarint())
		if r.err == nil && a <= last {
			r.fail(errRowOrder)
		}
		row = append(row, a)
		last = a
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return row, nil
}
