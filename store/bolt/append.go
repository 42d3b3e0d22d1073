package bolt

import (
	"errors"
	"unicode/utf8"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/journal"
)

// Append implements store.Log. Everything that can be slow or refused happens here, on the caller's goroutine:
// loading the log and the device, looking for a repeat, sealing, encoding.
func (l *logs) Append(d store.Draft) *store.Pending {
	p, err := l.append(&d)
	if err != nil {
		return store.Resolved(store.Receipt{}, err)
	}
	return p
}

func (l *logs) append(d *store.Draft) (*store.Pending, error) {
	if err := l.validDraft(d); err != nil {
		return nil, err
	}
	if err := l.refusal(); err != nil {
		return nil, err
	}
	st, err := l.states.pin(d.Log)
	if err != nil {
		return nil, err
	}
	if err := st.refuses(d); err != nil {
		st.unpin()
		return nil, err
	}
	it := newItem()
	it.st = st
	it.typ, it.sender, it.audience, it.kind, it.op, it.change = typeMessage, d.Sender, d.Audience, d.Kind, d.Op, d.Change
	it.need, it.version = d.Need, d.Version
	if d.Change.Kind != store.ChangeNone && !d.Change.Kind.Numbered() {
		it.typ = typePrivate
	}
	if it.typ == typeMessage && (d.CID != "" || d.PacketID != 0) {
		repeat, err := l.take(it, d)
		if repeat != nil || err != nil {
			it.recycle()
			return repeat, err
		}
	}
	it.buf = appendHead(it.buf[:0], it.typ, d)
	if it.typ == typeMessage {
		if it.buf, err = l.seal.seal(it.buf, d); errors.Is(err, store.ErrClosed) {
			return nil, l.abandon(it, err)
		} else if err != nil {
			return nil, l.abandon(it, &store.Error{Code: store.CodeInternal, Text: "the message could not be sealed", Err: err})
		}
	}
	it.rec = recordOf(d)
	p := it.pending
	if err := l.join(it); err != nil {
		return nil, l.abandon(it, err)
	}
	return p, nil
}

// abandon ends an item that did not join. Repeats that wait for it already share its error.
func (l *logs) abandon(it *item, err error) error {
	it.err = err
	l.resolve(it)
	return err
}

// validDraft refuses what could not be stored whatever the log's state.
func (l *logs) validDraft(d *store.Draft) error {
	switch {
	case d.Log == 0:
		return store.ErrNotFound
	case len(d.Text)+len(d.Extra) > l.cfg.MaxMessage:
		return &store.Error{Code: store.CodeTooLarge, Text: "the message is too large"}
	case len(d.CID) > maxCID:
		return &store.Error{Code: store.CodeTooLarge, Text: "the cid is too long"}
	case len(d.Change.Title) > maxTitle:
		return &store.Error{Code: store.CodeTooLarge, Text: "the title is too long"}
	case !utf8.ValidString(d.CID):
		return store.Bad("the cid is not UTF-8")
	case d.Audience > store.AudienceRequest:
		return store.Bad("unknown audience")
	case d.Op.Kind != store.OpNone && d.Op.Target == 0:
		return store.Bad("the operation names a message that does not exist")
	}
	switch c := &d.Change; c.Kind {
	case store.ChangeNone, store.ChangeTitle:
	case store.ChangeDelete:
		if c.From == 0 || c.To < c.From {
			return store.Bad("not a range of messages")
		}
		fallthrough
	case store.ChangeOpen, store.ChangeAccept, store.ChangeDecline, store.ChangeClose:
		if c.To != 0 && c.From > c.To {
			return store.Bad("not a range of messages")
		}
		fallthrough
	case store.ChangeHide:
		if len(d.Text)+len(d.Extra) > 0 {
			return store.Bad("a private change has no body")
		}
		fallthrough
	default:
		if c.Account == 0 || c.Kind > store.ChangeClose {
			return store.Bad("not a change of a member")
		}
	}
	return nil
}

// refuses is the look before joining: what the caller decided under the membership as it still is. If it has moved,
// the committer looks, because changes may wait before this draft.
func (st *logState) refuses(d *store.Draft) error {
	if d.Need == store.RoleNone {
		return nil
	}
	st.mu.Lock()
	members := st.members
	st.mu.Unlock()
	if members.Version != d.Version {
		return nil
	}
	if role := members.Role(d.Sender); role < d.Need {
		return roleError(role)
	}
	return nil
}

// recordOf is the record of a draft as followers and the tail cache will see it; the committer completes it. Text and
// extra are copied: the draft's belong to the caller.
func recordOf(d *store.Draft) *store.Record {
	r := &store.Record{
		Log: d.Log, Sender: d.Sender, Device: d.Device, CID: d.CID, Kind: d.Kind, Audience: d.Audience, Warn: d.Warn,
		Expiry: d.Expiry, Op: d.Op, Change: d.Change,
	}
	n := len(d.Text)
	if n+len(d.Extra) > 0 {
		b := make([]byte, n+len(d.Extra))
		copy(b, d.Text)
		copy(b[n:], d.Extra)
		if n > 0 {
			r.Text = b[:n:n]
		}
		if len(d.Extra) > 0 {
			r.Extra = b[n:]
		}
	}
	return r
}

// take looks whether the draft is a repeat. If not, it is flying from now on: its own repeats will wait for it.
func (l *logs) take(it *item, d *store.Draft) (repeat *store.Pending, err error) {
	ds, err := l.devices.pinComplete(deviceKey{d.Sender, d.Device}, l.now())
	if err != nil {
		return nil, err
	}
	it.dev = ds
	if d.CID != "" {
		it.hash, it.cid = hashCID(d.Log, d.CID), d.CID
	}
	it.packet = d.PacketID
	var known [maxRepeats]journal.Position
	for tried := journal.Position(0); ; {
		ds.mu.Lock()
		if p, ok := ds.flying(it); ok {
			ds.mu.Unlock()
			return p, nil
		}
		if row, ok := ds.packets[it.packet]; ok && it.packet != 0 {
			ds.mu.Unlock()
			return store.Resolved(store.Receipt{Log: row.log, Seq: row.seq, Time: row.time, Epoch: l.epoch, Repeated: true}, nil), nil
		}
		var found []journal.Position
		if it.hash != 0 && ds.applied != tried {
			found = ds.find(it.hash, known[:0])
		}
		if len(found) == 0 {
			ds.takeOff(it)
			ds.mu.Unlock()
			return nil, nil
		}
		tried = ds.applied
		ds.mu.Unlock()
		for _, pos := range found { // read without the lock; then look again whether something came meanwhile
			r, ok, err := l.sameCID(pos, d)
			if err != nil {
				return nil, err
			}
			if ok {
				return store.Resolved(r, nil), nil
			}
		}
	}
}

// flying returns a Pending for the outcome of the same message if that one is on its way.
func (ds *deviceState) flying(it *item) (*store.Pending, bool) {
	var first *item
	if it.packet != 0 {
		first = ds.flyingPacket[it.packet]
	}
	if first == nil && it.hash != 0 {
		if same := ds.flyingCID[it.hash]; same != nil && same.st == it.st && same.cid == it.cid {
			first = same
		}
	}
	if first == nil {
		return nil, false
	}
	p := store.NewPending()
	first.waiters = append(first.waiters, p)
	return p, true
}

func (ds *deviceState) takeOff(it *item) {
	if it.hash != 0 {
		if ds.flyingCID == nil {
			ds.flyingCID = make(map[uint64]*item)
		}
		ds.flyingCID[it.hash] = it
	}
	if it.packet != 0 {
		if ds.flyingPacket == nil {
			ds.flyingPacket = make(map[uint16]*item)
		}
		ds.flyingPacket[it.packet] = it
	}
}

// sameCID compares a draft with the record that has the same hash.
func (l *logs) sameCID(pos journal.Position, d *store.Draft) (store.Receipt, bool, error) {
	b, err := l.journal.Read(pos, nil)
	if isTrimmed(err) {
		return store.Receipt{}, false, nil
	}
	if err != nil {
		return store.Receipt{}, false, l.readError(err)
	}
	r, err := decodeRecord(b)
	if err != nil {
		return store.Receipt{}, false, l.readError(err)
	}
	if r.typ != typeMessage || r.log != d.Log || r.sender != d.Sender || r.device != d.Device || string(r.cid) != d.CID ||
		r.time < l.now().Add(-sendsAge).UnixMilli() {
		return store.Receipt{}, false, nil
	}
	return store.Receipt{Log: r.log, Seq: r.seq, Time: r.time, Epoch: l.epoch, Repeated: true}, true, nil
}

// SetMark implements store.Log. A mark of an account that is no active member is ErrNotMember.
func (l *logs) SetMark(m store.Mark) *store.Pending {
	p, err := l.setMark(m)
	if err != nil {
		return store.Resolved(store.Receipt{}, err)
	}
	return p
}

func (l *logs) setMark(m store.Mark) (*store.Pending, error) {
	st, err := l.states.pin(m.Log)
	if err != nil {
		return nil, err
	}
	st.mu.Lock()
	known, role := st.markOf(m.Account), st.members.Role(m.Account)
	st.mu.Unlock()
	switch {
	case role == store.RoleNone:
		err = store.ErrNotMember
	case m.Seq <= known:
		st.unpin()
		return store.Resolved(store.Receipt{Log: m.Log, Seq: known, Time: l.now().UnixMilli(), Epoch: l.epoch}, nil), nil
	default:
		err = l.refusal()
	}
	if err != nil {
		st.unpin()
		return nil, err
	}
	it := newItem()
	it.st, it.typ, it.sender, it.seq = st, typeMark, m.Account, m.Seq
	it.buf = appendHead(it.buf[:0], typeMark, &store.Draft{Log: m.Log, Sender: m.Account})
	p := it.pending
	if err := l.join(it); err != nil {
		return nil, l.abandon(it, err)
	}
	return p, nil
}

// Release implements store.Log.
func (l *logs) Release(r store.Release) *store.Pending {
	p, err := l.release(r)
	if err != nil {
		return store.Resolved(store.Receipt{}, err)
	}
	return p
}

func (l *logs) release(r store.Release) (*store.Pending, error) {
	ds, err := l.devices.pin(deviceKey{r.Account, r.Device})
	if err != nil {
		return nil, err
	}
	ds.used.Store(l.now().Unix())
	ds.mu.Lock()
	_, known := ds.packets[r.PacketID]
	if r.PacketID == 0 {
		known = len(ds.packets) > 0
	}
	known = known || len(ds.flyingPacket) > 0
	ds.mu.Unlock()
	if !known { // nothing to forget, and so nothing to write
		ds.unpin()
		return store.Resolved(store.Receipt{Time: l.now().UnixMilli(), Epoch: l.epoch}, nil), nil
	}
	if err := l.refusal(); err != nil {
		ds.unpin()
		return nil, err
	}
	it := newItem()
	it.dev, it.typ, it.packet = ds, typeRelease, r.PacketID
	it.buf = appendHead(it.buf[:0], typeRelease, &store.Draft{Sender: r.Account, Device: r.Device, PacketID: r.PacketID})
	p := it.pending
	if err := l.join(it); err != nil {
		return nil, l.abandon(it, err)
	}
	return p, nil
}
