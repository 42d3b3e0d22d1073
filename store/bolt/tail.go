package bolt

import "github.com/hwangso/hwangso/store"

// recordCost is what a cached record takes besides its text, extra and cid, bytes.
const recordCost = 256

// tailCache bounds the recent records that the logs keep in memory, in bytes over all logs: the oldest go first, so
// each log keeps its newest without a gap. The committer owns it; the records hang on their logs.
type tailCache struct {
	max   int
	bytes int
	fifo  []cachedAt
	from  int // fifo[:from] is gone
}

type cachedAt struct {
	st   *logState
	cost int
}

// add keeps the newest record of a log; st.mu is held.
func (c *tailCache) add(st *logState, r *store.Record) {
	if len(st.cached) == 0 {
		st.cachedAfter = r.Seq - 1
	}
	st.cached = append(st.cached, r)
	cost := recordCost + len(r.Text) + len(r.Extra) + len(r.CID)
	c.fifo = append(c.fifo, cachedAt{st, cost})
	c.bytes += cost
}

// shrink drops the oldest records until the rest is within bounds.
func (c *tailCache) shrink() {
	for c.bytes > c.max && c.from < len(c.fifo) {
		e := c.fifo[c.from]
		c.fifo[c.from] = cachedAt{}
		c.from++
		c.bytes -= e.cost
		e.st.mu.Lock()
		e.st.cached[0] = nil
		e.st.cachedAfter++
		if e.st.cached = e.st.cached[1:]; len(e.st.cached) == 0 {
			e.st.cached = nil
		}
		e.st.mu.Unlock()
	}
	if c.from > len(c.fifo)/2 {
		n := copy(c.fifo, c.fifo[c.from:])
		clear(c.fifo[n:])
		c.fifo, c.from = c.fifo[:n], 0
	}
}

// operateCached replaces the target of an edit or recall that everybody sees; mu is held. Readers that hold the old
// record read before the operation was acknowledged.
func (st *logState) operateCached(op *store.Record) {
	if op.Audience != store.AudienceBoth {
		return
	}
	if seq := op.Op.Target; seq > st.cachedAfter && int(seq-st.cachedAfter) <= len(st.cached) {
		at := &st.cached[seq-st.cachedAfter-1]
		*at = operated(*at, op)
	}
}

// operated returns what an edit or recall leaves of a record: a new record, as records are shared.
func operated(r, op *store.Record) *store.Record {
	switch {
	case r.Recalled:
		return r
	case op.Op.Kind == store.OpRecall, op.Recalled: // an edit whose sender was erased while it was on its way
		return recalled(r)
	}
	e := copyRecord(r)
	e.Text, e.Edited, e.EditedBy = op.Text, op.Seq, op.Sender
	if len(op.Extra) > 0 { // an edit without fields of its own leaves attachments and mentions as they are
		e.Extra = op.Extra
	}
	return e
}

func recalled(r *store.Record) *store.Record {
	e := copyRecord(r)
	e.Text, e.Extra, e.Recalled, e.Edited, e.EditedBy = nil, nil, true, 0, 0
	return e
}

// copyRecord copies everything but the memo, which belongs to the old text.
func copyRecord(r *store.Record) *store.Record {
	return &store.Record{
		Log: r.Log, Seq: r.Seq, Time: r.Time, Sender: r.Sender, Device: r.Device, CID: r.CID, Kind: r.Kind,
		Audience: r.Audience, Warn: r.Warn, Expiry: r.Expiry, Text: r.Text, Extra: r.Extra, Op: r.Op, Change: r.Change,
		Position: r.Position, Recalled: r.Recalled, Edited: r.Edited, EditedBy: r.EditedBy,
	}
}
