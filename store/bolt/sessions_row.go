package bolt

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/hwangso/hwangso/store"
)

// sessionKey names a device everywhere in the file "state".
type sessionKey struct {
	account store.AccountID
	device  store.DeviceID
}

func (k sessionKey) String() string { return fmt.Sprintf("device %v of %v", k.device, k.account) }
func (k sessionKey) bytes() []byte  { return key128(uint64(k.account), uint64(k.device)) }

func (k sessionKey) compare(o sessionKey) int {
	return cmp.Or(cmp.Compare(k.account, o.account), cmp.Compare(k.device, o.device))
}

func decodeSessionKey(b []byte) (sessionKey, error) {
	if len(b) != 16 {
		return sessionKey{}, corrupt("a session's key", errRowShort)
	}
	return sessionKey{
		store.AccountID(binary.BigEndian.Uint64(b)),
		store.DeviceID(binary.BigEndian.Uint64(b[8:])),
	}, nil
}

// logCursor is a cursor with its log. Lists of them are in the order of logs.
type logCursor struct {
	log store.LogID
	store.Cursor
}

// sessionRow is a session as it is stored, and where the expiry index lists it.
type sessionRow struct {
	present      bool
	expiry       uint32
	disconnected int64
	epoch        store.Epoch
	filters      []store.Filter
	inflight     []store.Inflight
	cursors      []logCursor

	deadline int64  // the row's place among the deadlines, Unix milliseconds; 0: none
	boot     uint64 // the row's place among the connected; 0: none
}

func rowOf(s *store.Session) sessionRow {
	r := sessionRow{
		present:      s.Present,
		expiry:       s.Expiry,
		disconnected: s.Disconnected,
		epoch:        s.Epoch,
		filters:      s.Filters,
		inflight:     s.Inflight,
		cursors:      sortCursors(s.Cursors),
	}
	return r
}

func sortCursors(cursors map[store.LogID]store.Cursor) []logCursor {
	out := make([]logCursor, 0, len(cursors))
	for log, c := range cursors {
		out = append(out, logCursor{log, c})
	}
	slices.SortFunc(out, func(a, b logCursor) int { return cmp.Compare(a.log, b.log) })
	return out
}

// session is the row as the contract shows it.
func (r *sessionRow) session(k sessionKey) *store.Session {
	s := &store.Session{
		Account:      k.account,
		Device:       k.device,
		Present:      r.present,
		Expiry:       r.expiry,
		Disconnected: r.disconnected,
		Epoch:        r.epoch,
		Filters:      r.filters,
		Inflight:     r.inflight,
		Cursors:      make(map[store.LogID]store.Cursor, len(r.cursors)),
	}
	for _, c := range r.cursors {
		s.Cursors[c.log] = c.Cursor
	}
	return s
}

const (
	sessionVersion = 1

	sessionPresent = 1 << 0

	filterQoS     = 0x03
	filterNoLocal = 1 << 2
)

// appendSession packs a row: flags, times, filters, in-flight list, then the cursors as sorted triples, each the
// distance from the log before, the sequence acknowledged, and how far From and Below lie behind it (0 0 for a device
// that skipped nothing, which is most of them).
func appendSession(b []byte, r *sessionRow) []byte {
	flags := byte(0)
	if r.present {
		flags |= sessionPresent
	}
	b = append(b, sessionVersion, flags)
	b = binary.AppendUvarint(b, uint64(r.expiry))
	b = binary.AppendVarint(b, r.disconnected)
	b = binary.AppendUvarint(b, uint64(r.epoch))
	b = binary.AppendVarint(b, r.deadline)
	b = binary.AppendUvarint(b, r.boot)
	b = binary.AppendUvarint(b, uint64(len(r.filters)))
	for _, f := range r.filters {
		b = appendString(b, f.Topic)
		opt := f.QoS & filterQoS
		if f.NoLocal {
			opt |= filterNoLocal
		}
		b = append(b, opt)
		b = binary.AppendUvarint(b, uint64(f.Identifier))
	}
	b = binary.AppendUvarint(b, uint64(len(r.inflight)))
	for _, f := range r.inflight {
		b = binary.AppendUvarint(b, uint64(f.Log))
		b = binary.AppendUvarint(b, uint64(f.Seq))
		b = binary.AppendUvarint(b, uint64(f.PacketID))
	}
	b = binary.AppendUvarint(b, uint64(len(r.cursors)))
	last := store.LogID(0)
	for _, c := range r.cursors {
		b = binary.AppendUvarint(b, uint64(c.log-last))
		b = binary.AppendUvarint(b, uint64(c.Acked))
		b = binary.AppendUvarint(b, uint64(c.Acked-c.From))
		b = binary.AppendUvarint(b, uint64(c.Acked-c.Below))
		last = c.log
	}
	return b
}

// decodeSession unpacks a row; its strings and lists do not share the row's memory.
func decodeSession(b []byte) (sessionRow, error) {
	r := rowReader{b: b}
	row := readSessionHead(&r)
	for range r.count(3) {
		f := store.Filter{Topic: r.string()}
		opt := r.byte()
		f.QoS = opt & filterQoS
		f.NoLocal = opt&filterNoLocal != 0
		f.Identifier = uint32(readMax(&r, 1<<32-1))
		row.filters = append(row.filters, f)
	}
	for range r.count(3) {
		row.inflight = append(row.inflight, store.Inflight{
			Log:      store.LogID(r.uvarint()),
			Seq:      store.Seq(r.uvarint()),
			PacketID: uint16(readMax(&r, 1<<16-1)),
		})
	}
	n := r.count(4)
	row.cursors = make([]logCursor, 0, n)
	last := store.LogID(0)
	for range n {
		c := readCursor(&r, last)
		last = c.log
		row.cursors = append(row.cursors, c)
	}
	return row, r.end()
}

func readSessionHead(r *rowReader) (row sessionRow) {
	r.version(sessionVersion)
	row.present = r.byte()&sessionPresent != 0
	row.expiry = uint32(readMax(r, 1<<32-1))
	row.disconnected = r.varint()
	row.epoch = store.Epoch(readMax(r, 1<<32-1))
	row.deadline = r.varint()
	row.boot = r.uvarint()
	return row
}

func readCursor(r *rowReader, last store.LogID) logCursor {
	step := store.LogID(r.uvarint())
	acked := store.Seq(r.uvarint())
	c := logCursor{last + step, store.Cursor{
		Acked: acked,
		From:  acked - store.Seq(r.uvarint()),
		Below: acked - store.Seq(r.uvarint()),
	}}
	if r.err == nil && c.log <= last {
		r.fail(errRowOrder)
	}
	return c
}

// cursorInRow finds one cursor without unpacking the rest.
func cursorInRow(b []byte, log store.LogID) (c store.Cursor, epoch store.Epoch, err error) {
	r := rowReader{b: b}
	epoch = readSessionHead(&r).epoch
	for range r.count(3) { // filters
		r.bytes(r.count(1))
		r.byte()
		r.uvarint()
	}
	for range r.count(3) { // in flight
		r.uvarint()
		r.uvarint()
		r.uvarint()
	}
	last := store.LogID(0)
	for range r.count(4) {
		lc := readCursor(&r, last)
		if r.err != nil || lc.log > log {
			return store.Cursor{}, epoch, r.err
		}
		if lc.log == log {
			return lc.Cursor, epoch, nil
		}
		last = lc.log
	}
	return store.Cursor{}, epoch, r.end()
}

// readMax reads a number of at most max.
func readMax(r *rowReader, max uint64) uint64 {
	v := r.uvarint()
	if v > max {
		r.fail(errRowVarint)
		return 0
	}
	return v
}
