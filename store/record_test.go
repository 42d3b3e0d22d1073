package store

import (
	"errors"
	"testing"
)

func TestKinds(t *testing.T) {
	byClient := map[Kind]bool{
		KindText: true, KindImage: true, KindVideo: true, KindAudio: true, KindFile: true, KindPoll: true, KindLocation: true,
	}
	for k := KindText; k <= KindNotice; k++ {
		if got, ok := ParseKind(k.String()); !ok || got != k {
			t.Errorf("kind %d is %q, read as %d %v", k, k, got, ok)
		}
		if k.ByClient() != byClient[k] {
			t.Errorf("kind %v by clients: %v", k, k.ByClient())
		}
	}
	for _, s := range []string{"", "Text", "unknown"} {
		if _, ok := ParseKind(s); ok {
			t.Errorf("%q is a kind", s)
		}
	}
	if Kind(200).String() != "unknown" || Kind(200).ByClient() {
		t.Error("kind 200")
	}
}

func TestOps(t *testing.T) {
	for o := OpEdit; o <= OpUnpin; o++ {
		if got, ok := ParseOp(o.String()); !ok || got != o {
			t.Errorf("operation %d is %q, read as %d %v", o, o, got, ok)
		}
	}
	for _, s := range []string{"", "Edit", "unknown"} {
		if o, ok := ParseOp(s); ok || o != OpNone {
			t.Errorf("%q is operation %d", s, o)
		}
	}
	if OpKind(99).String() != "unknown" {
		t.Error("operation 99")
	}
}

func TestNumbered(t *testing.T) {
	for _, c := range []ChangeKind{ChangeNone, ChangeJoin, ChangeLeave, ChangeRemove, ChangeRole, ChangeTitle} {
		if !c.Numbered() {
			t.Errorf("change %d takes no sequence", c)
		}
	}
	for _, c := range []ChangeKind{ChangeHide, ChangeDelete, ChangeOpen, ChangeAccept, ChangeDecline} {
		if c.Numbered() {
			t.Errorf("change %d takes a sequence", c)
		}
	}
}

func TestPending(t *testing.T) {
	p := NewPending()
	select {
	case <-p.Done():
		t.Fatal("done before its time")
	default:
	}
	want := Receipt{Log: 3, Seq: 4}
	go p.Resolve(want, ErrFull)
	for range 2 { // as often as one likes
		if r, err := p.Result(); r != want || !errors.Is(err, ErrFull) {
			t.Fatalf("%+v, %v", r, err)
		}
		<-p.Done()
	}
	q := Resolved(want, nil)
	if r, err := q.Result(); r != want || err != nil {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestDeviceOf(t *testing.T) {
	if DeviceOf(1, "phone") == DeviceOf(2, "phone") || DeviceOf(1, "phone") == DeviceOf(1, "phone2") || DeviceOf(1, "") == 0 {
		t.Error("devices meet")
	}
	if now, later := DeviceOf(7, "phone"), DeviceOf(7, "phone"); now != later {
		t.Error("a device changes its number")
	}
	// Numbers are on disk: they may never change. This one is from sha256sum.
	if got := DeviceOf(1, "phone").String(); got != "ac88e44a9bdb8721" {
		t.Errorf("got %s", got)
	}
}

func TestKeys(t *testing.T) {
	if PairKey(5, 3) != PairKey(3, 5) || PairKey(3, 5).A != 3 {
		t.Error("a pair has two keys")
	}
	k := PairKey(3, 5)
	if k.Peer(3) != 5 || k.Peer(5) != 3 || PairKey(4, 4).Peer(4) != 4 {
		t.Error("peer")
	}
	if RoomKey("a") == RoomKey("b") || RoomKey("a") == NoticeKey(1) || NoticeKey(1) == NoticeKey(2) {
		t.Error("keys meet")
	}
	if AccountID(7).String() != "a7" || LogID(7).String() != "l7" || DeviceID(255).String() != "ff" {
		t.Error("names of numbers")
	}
	if (Account{Name: "n"}).Shown() != "n" || (Account{Name: "n", Display: "D"}).Shown() != "D" {
		t.Error("shown name")
	}
}
