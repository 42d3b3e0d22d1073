package bolt

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// encodeRecord is the inverse of decodeRecord.
func encodeRecord(r *record) []byte {
	d := store.Draft{Log: r.log, Sender: r.sender, Device: r.device, CID: string(r.cid), PacketID: r.packet, Kind: r.kind,
		Audience: r.audience, Warn: r.warn, Expiry: r.expiry, Op: r.op, Change: r.change.store()}
	b := appendHead(nil, r.typ, &d)
	setPlace(b, r.seq, r.time)
	return append(b, r.body...)
}

func sampleState() *fullState {
	return &fullState{
		key: store.RoomKey("lobby"), by: 1, created: 1 << 40, title: "the lobby", head: 900, headTime: 1 << 41,
		members: &store.Membership{Version: 7, Active: 1, Members: []store.Member{
			{Account: 3, Role: store.RoleOwner, Since: 5, Spans: []store.Span{{From: 1, To: 4}, {From: 9}}, Deleted: []store.Span{{From: 2, To: 3}}},
			{Account: 9, Since: 5, Spans: []store.Span{{From: 1, To: 4}}, HiddenAt: 88},
		}},
		marks: []mark{{3, 800}, {9, 2}},
	}
}

// sampleRecords has one record of each type and with each field.
func sampleRecords() [][]byte {
	drafts := []struct {
		typ recordType
		seq store.Seq
		d   store.Draft
	}{
		{typeMessage, 5, store.Draft{Log: 3, Sender: 8, Device: 1 << 63, CID: "c1", PacketID: 9, Kind: store.KindPoll, Warn: true, Expiry: 77}},
		{typeMessage, 6, store.Draft{Log: 3, Sender: 8, Audience: store.AudienceRequest, Op: store.Op{Kind: store.OpEdit, Target: 300}}},
		{typeMessage, 7, store.Draft{Log: 3, Change: store.Change{Kind: store.ChangeTitle, Title: "title"}}},
		{typeMessage, 8, store.Draft{Log: 3, Change: store.Change{Kind: store.ChangeRole, Account: 4, Role: store.RoleOwner}}},
		{typePrivate, 0, store.Draft{Log: 3, Sender: 8, Change: store.Change{Kind: store.ChangeDelete, Account: 8, From: 1, To: 200}}},
		{typeMark, 8, store.Draft{Log: 3, Sender: 8}},
		{typeRelease, 0, store.Draft{Sender: 8, Device: 5, PacketID: 65535}},
		{typeRelease, 0, store.Draft{Sender: 8, Device: 5}},
		{typeCreate, 0, store.Draft{Log: 3, Sender: 8}},
		{typeState, 900, store.Draft{Log: 3}},
	}
	var out [][]byte
	for _, s := range drafts {
		b := appendHead(nil, s.typ, &s.d)
		setPlace(b, s.seq, 1234567890123)
		switch s.typ {
		case typeMessage:
			b = append(b, "sealed body"...)
		case typeCreate, typeState:
			b = appendFullState(b, sampleState())
		}
		out = append(out, b)
	}
	return out
}

func TestRecordRoundTrip(t *testing.T) {
	for i, b := range sampleRecords() {
		r, err := decodeRecord(b)
		if err != nil {
			t.Fatalf("sample %d: %v", i, err)
		}
		if r.time != 1234567890123 {
			t.Fatalf("sample %d: time %d", i, r.time)
		}
		if again := encodeRecord(&r); !bytes.Equal(again, b) {
			t.Fatalf("sample %d: %x became %x", i, b, again)
		}
		fixed := len(b) - len(r.body)
		for n := range fixed { // cut anywhere in head or fields it is refused
			if _, err := decodeRecord(b[:n]); err == nil {
				t.Fatalf("sample %d cut to %d bytes is accepted", i, n)
			}
		}
	}
	s := sampleState()
	got, ok := decodeFullState(appendFullState(nil, s))
	if !ok || !reflect.DeepEqual(&got, s) {
		t.Fatalf("%+v", got)
	}
}

func TestRecordNewerVersion(t *testing.T) {
	b := sampleRecords()[0]
	b[0] = recordVersion + 1
	if _, err := decodeRecord(b); err == nil {
		t.Fatal("a record of a newer version is accepted")
	}
}

func FuzzRecord(f *testing.F) {
	for _, b := range sampleRecords() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b)
		if err != nil {
			return
		}
		if again := encodeRecord(&r); !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}

func FuzzFullState(f *testing.F) {
	f.Add(appendFullState(nil, sampleState()))
	f.Add(appendFullState(nil, &fullState{key: store.PairKey(1, 2)})) // as format 1 wrote them
	f.Add(appendFullState(nil, &fullState{key: store.PairKey(1, 2), sided: true}))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := decodeFullState(b)
		if !ok {
			return
		}
		for i := range s.members.Members { // what lookups and changes rely on
			s.members.Apply(store.Change{Kind: store.ChangeLeave, Account: s.members.Members[i].Account}, 1, 1)
		}
		again, ok := decodeFullState(appendFullState(nil, &s))
		if !ok || !reflect.DeepEqual(again, s) {
			t.Fatalf("%+v became %+v", s, again)
		}
	})
}

// The rows of the index come from our own disk, but a damaged one must be told and not crash.
func FuzzIndexRows(f *testing.F) {
	st := &logState{id: 1, key: store.PairKey(1, 2), first: 1, members: &store.Membership{}}
	for i := range 70 {
		st.applySequenced(store.Seq(i+1), 1, 100)
	}
	f.Add(st.appendHead(nil))
	ds := &deviceState{packets: map[uint16]packetRow{1: {2, 3, 4}}}
	for i := range 70 {
		ds.add(send{uint64(i), 9})
	}
	f.Add(ds.append(nil))
	f.Add(appendOps(nil, []logOp{{store.OpEdit, 4, 5, 6, true}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		st := logState{id: 1}
		if st.decodeHead(b) {
			st.applySequenced(st.head+1, 1, 1)
			st.appendHead(nil)
		}
		var ds deviceState
		if ds.decode(b) {
			ds.add(send{1, 1})
			ds.append(nil)
		}
		decodeOps(b)
		d := decoder{b: b}
		d.positions(nil)
	})
}
