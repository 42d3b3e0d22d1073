package bolt

import (
	"slices"

	"github.com/hwangso/hwangso/store"
)

// put is what a device's connection reported since the row was last written.
type put struct {
	rewinds      []rewind    // before cursors, one per log
	cursors      []logCursor // acknowledged
	disconnected bool
	at           int64
	inflight     []store.Inflight
}

// weight is roughly how much memory a put holds, in cursors.
func (p *put) weight() int {
	if p == nil {
		return 0
	}
	return 2 + len(p.rewinds) + len(p.cursors) + len(p.inflight)
}

func (p *put) clone() *put {
	if p == nil {
		return nil
	}
	c := *p
	c.rewinds, c.cursors = slices.Clone(p.rewinds), slices.Clone(p.cursors)
	return &c // inflight is never changed in place
}

// merge adds what was reported later.
func (p *put) merge(later *put) *put {
	if p == nil {
		return later
	}
	if later == nil {
		return p
	}
	for _, w := range later.rewinds {
		p.addRewind(w)
	}
	p.cursors = mergeCursors(p.cursors, later.cursors)
	if later.disconnected {
		p.disconnected, p.at, p.inflight = true, later.at, later.inflight
	}
	return p
}

// applyTo changes a row by what was reported.
func (p *put) applyTo(r *sessionRow) {
	if p == nil {
		return
	}
	for _, w := range p.rewinds {
		r.cursors = w.applyTo(r.cursors)
		r.inflight = dropInflight(r.inflight, w.log, w.after)
	}
	r.cursors = mergeCursors(r.cursors, p.cursors)
	if p.disconnected {
		r.disconnected, r.inflight = p.at, p.inflight
	}
}

// mergeCursors puts later acknowledgements into an ordered list of cursors, in place where it can.
func mergeCursors(list, later []logCursor) []logCursor {
	for _, c := range later {
		i, found := findCursor(list, c.log)
		if !found {
			c.Cursor = store.Cursor{}.Ack(c.Acked)
			list = slices.Insert(list, i, c)
			continue
		}
		list[i].Cursor = list[i].Ack(c.Acked) // cursors never go back, and a hole below stays one
	}
	return list
}

// pending is what is not in a device's row yet. Applied to the row in the order of its fields it gives the present
// state, also when a part of it is in the row already.
type pending struct {
	flushing *put  // handed to the file's writer; not changed any more
	before   *put  // waits for the next flush
	save     *save // handed to the writer; replaces the row and what came before
	after    *put  // came after save began, waits for its end

	settled uint64 // counts what was taken away from here because it is in the row
}

// save is a row on its way to the disk.
type save struct {
	row  []byte // packed; nil: the row is removed
	done chan struct{}
}

func (p *pending) weight() int { return p.flushing.weight() + p.before.weight() + p.after.weight() }

func (p *pending) empty() bool {
	return p.flushing == nil && p.before == nil && p.save == nil && p.after == nil
}

// add notes what a connection reported.
func (p *pending) add(later *put) {
	if p.save != nil {
		p.after = p.after.merge(later)
		return
	}
	p.before = p.before.merge(later)
}

// snapshot is a copy that does not change.
func (p *pending) snapshot() pending {
	return pending{flushing: p.flushing, before: p.before.clone(), save: p.save, after: p.after.clone(), settled: p.settled}
}

// applyTo returns the present state; row is nil if there is none.
func (p *pending) applyTo(row *sessionRow) (*sessionRow, error) {
	if row != nil {
		p.flushing.applyTo(row)
		p.before.applyTo(row)
	}
	if p.save != nil {
		row = nil
		if p.save.row != nil {
			saved, err := decodeSession(p.save.row)
			if err != nil {
				return nil, err
			}
			row = &saved
		}
	}
	if row != nil {
		p.after.applyTo(row)
	}
	return row, nil
}
