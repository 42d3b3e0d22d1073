package broker

import (
	"fmt"

	"github.com/hwangso/hwangso/store"
)

// MarksFor are the read marks of a log as one of its users may know them. It is the one place where this is decided, for
// what is delivered live, for the unread numbers in envelopes, for history and lists. In a group they are the same for
// everybody. In a conversation of two the other's mark is what the viewer may know of it: it moves for those whom the other
// knows, and stands still from a block on; and nothing lies beyond the newest record that exists for the viewer.
func (b *Broker) MarksFor(viewer store.AccountID, info *store.LogInfo) (store.Marks, error) {
	marks, err := b.store.Standing(info.ID)
	if err != nil {
		return marks, fmt.Errorf("broker: marks: %w", err)
	}
	if info.Key.OfChannel() { // nobody learns who has read there, not even how many
		return marks.Own(viewer), nil
	}
	peer := info.Key.Peer(viewer)
	if info.Key.Kind != store.LogPair || peer == viewer {
		return marks, nil
	}
	v, err := b.access.Live(viewer, peer)
	if err != nil {
		return marks, err
	}
	at := marks.Of(peer)
	if shown := min(v.Mark(at), knownHead(info, viewer)); shown != at {
		marks = marks.With(peer, shown)
	}
	return marks, nil
}

// marksMove reports whether a read mark that moved is anything to a user: the other's in a conversation of two is only
// where the user gets receipts, and only up to what exists for it.
func (b *Broker) marksMove(e *store.Entry, viewer store.AccountID) bool {
	if e.Key.Kind != store.LogPair || e.Mark.Account == viewer {
		return true
	}
	v, err := b.access.Live(viewer, e.Mark.Account)
	return err == nil && v.Receipts
}
