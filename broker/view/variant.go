package view

import (
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// InVariant is a post's record as a follower sees it who gets it in this variant; nil is the record as it is. A variant
// without an Extra has that of the record: the same pictures and buttons under another text. What was taken back stays
// so, and an edit, which has one text for everybody, is newer than every variant. The result is a record of its own with
// an empty Memo, so that its encodings are not those of the record.
func InVariant(r *store.Record, v *graph.Variant) *store.Record {
	if v == nil || r.Recalled || r.Edited != 0 || r.Op.Kind != store.OpNone || r.Change.Kind != store.ChangeNone {
		return r
	}
	out := &store.Record{Log: r.Log, Seq: r.Seq, Time: r.Time, Sender: r.Sender, Device: r.Device, CID: r.CID, Kind: r.Kind,
		Audience: r.Audience, Warn: r.Warn, Expiry: r.Expiry, Text: []byte(v.Text), Extra: r.Extra, Op: r.Op, Change: r.Change,
		Position: r.Position, Recalled: r.Recalled, Edited: r.Edited}
	if v.Extra != nil {
		out.Extra = v.Extra
	}
	return out
}
