// Package graph keeps what users say about each other and about themselves beyond plain edges: settings, relations with
// a history (blocks, removed friends), daily budgets. Its rows lie in store.Tables; its rules about them (what a block
// freezes, what ends an answer) are here, so that whoever changes a relation changes all of it.
//
// A user with default settings and plain friends has no row at all. What methods return is shared and must not be
// modified. The package starts no goroutine. Changes of one row are serialised by its version: who loses a race reads
// again.
package graph
