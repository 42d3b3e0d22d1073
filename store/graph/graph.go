package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/hwangso/hwangso/store"
)

// Store is what the graph is kept in; every store.Store has it.
type Store interface {
	store.Tables
	HasEdge(kind store.Edge, from, to store.AccountID) (bool, error)
	Find(key store.Key) (store.LogInfo, error)
	Standing(log store.LogID) (store.Marks, error)
}

// Graph reads and changes the rows. It may be used from any goroutine.
type Graph struct {
	store Store
	now   func() time.Time
	turns [64]chan struct{} // changes of one row take turns: without, many at once would lose too many races
	seed  maphash.Seed
}

// New returns the graph in a store. now is the clock; nil is time.Now.
func New(s Store, now func() time.Time) *Graph {
	if now == nil {
		now = time.Now
	}
	g := &Graph{store: s, now: now, seed: maphash.MakeSeed()}
	for i := range g.turns {
		g.turns[i] = make(chan struct{}, 1)
	}
	return g
}

// turn waits until no other change of a row is under way here, and returns what ends the turn.
func (g *Graph) turn(ctx context.Context, o store.Owner, key string) (end func(), err error) {
	var h maphash.Hash
	h.SetSeed(g.seed)
	h.WriteString(string(o))
	h.WriteString(key)
	c := g.turns[h.Sum64()%uint64(len(g.turns))]
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, &store.Error{Code: store.CodeUnavailable, Text: "too much at once", Retry: time.Second, Err: ctx.Err()}
	}
}

// races is how often a change that lost against another process is tried again.
const races = 16

// change reads a row, lets fn change what it says, and stores it unless somebody else was faster; then it begins again.
// fn returns the edges that change with the row, and may return an error to change nothing. A value that empty reports as
// saying nothing has no row.
func change[T any](ctx context.Context, g *Graph, t store.Table, o store.Owner, key string, empty func(*T) bool,
	fn func(*T) ([]store.EdgePut, error)) error {
	end, err := g.turn(ctx, o, key)
	if err != nil {
		return err
	}
	defer end()
	for try := 0; ; try++ {
		r, err := g.store.Row(t, o, key)
		if err != nil {
			return fmt.Errorf("graph: %s: %w", t, err)
		}
		var v T
		if r.Version != 0 {
			if err := json.Unmarshal(r.Value, &v); err != nil {
				return fmt.Errorf("graph: %s: %w", t, err)
			}
		}
		edges, err := fn(&v)
		if err != nil {
			return err
		}
		put := store.RowPut{Table: t, Key: key, If: &r.Version}
		if !empty(&v) {
			if put.Value, err = json.Marshal(&v); err != nil {
				return fmt.Errorf("graph: %s: %w", t, err)
			}
		}
		u := store.Update{Owner: o, Edges: edges}
		if put.Value != nil || r.Version != 0 {
			u.Rows = []store.RowPut{put}
		}
		if len(u.Rows)+len(u.Edges) == 0 {
			return nil
		}
		err = g.store.Update(ctx, u)
		if store.CodeOf(err) == store.CodeConflict && try < races {
			continue
		}
		if err != nil {
			return fmt.Errorf("graph: %s: %w", t, err)
		}
		return nil
	}
}

// read returns what a row says, the zero value of T where there is none.
func read[T any](g *Graph, t store.Table, o store.Owner, key string) (*T, error) {
	r, err := g.store.Row(t, o, key)
	if err != nil {
		return nil, fmt.Errorf("graph: %s: %w", t, err)
	}
	v, err := store.Decoded(r, func(b []byte) (v T, err error) {
		if b != nil { // else there is no such row, which is remembered like one
			err = json.Unmarshal(b, &v)
		}
		return v, err
	})
	if err != nil {
		return nil, fmt.Errorf("graph: %s: %w", t, err)
	}
	return v, nil
}
