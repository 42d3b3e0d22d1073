package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
)

// Disk are the switches of a store's disk. They act on what Append writes, not on the directory.
type Disk struct {
	FailWrites func()                 // every write fails from now on
	TearWrites func()                 // every write stops in the middle and fails
	FailSyncs  func()                 // every sync fails; what was written before it may or may not be there
	Fill       func()                 // no space is left
	Freeze     func() <-chan struct{} // syncs hang; the channel is closed when the first one does
	Heal       func()                 // all is well again
}

// Faults tests what a store.Log does when its disk fails: senders get errors, what was refused is not visible and does
// not come back, sequences are given back, and when the disk works again so does the store, without help.
func Faults(t *testing.T, open func(t testing.TB, dir string) (store.Store, Disk)) {
	faults := []struct {
		name string
		code store.Code
		with func(Disk) func()
	}{
		{"write error", store.CodeUnavailable, func(d Disk) func() { return d.FailWrites }},
		{"torn write", store.CodeUnavailable, func(d Disk) func() { return d.TearWrites }},
		{"failing sync", store.CodeUnavailable, func(d Disk) func() { return d.FailSyncs }},
		{"disk full", store.CodeUnavailable, func(d Disk) func() { return d.Fill }},
	}
	var disk Disk
	opened := func(t testing.TB, dir string) (s store.Store) {
		s, disk = open(t, dir)
		return s
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			l := newLogCase(t, opened)
			testFault(t, l, func() { f.with(disk)() }, func() { disk.Heal() }, f.code)
			noError(t, l.Close())
		})
		t.Run(f.name+" again and again", func(t *testing.T) {
			l := newLogCase(t, opened)
			testFaultsRepeat(t, l, func() { f.with(disk)() }, func() { disk.Heal() })
			noError(t, l.Close())
		})
	}
	t.Run("nothing before the sync", func(t *testing.T) {
		l := newLogCase(t, opened)
		testBeforeSync(t, l, disk)
		noError(t, l.Close())
	})
}

func testFault(t *testing.T, l *logCase, breaks, heals func(), code store.Code) {
	log := l.room("r", l.a, l.b)
	for i := range 5 {
		l.say(log, l.a, fmt.Sprint("before ", i))
	}
	_, end := l.Bounds()
	noError(t, l.Healthy())
	breaks()
	retried := store.Draft{Log: log, Sender: l.a, Device: 1, CID: "again", PacketID: 4, Text: []byte("refused")}
	for _, p := range []*store.Pending{
		l.Append(retried), l.Append(retried),
		l.Append(store.Draft{Log: log, Sender: l.a, Text: []byte("refused")}),
		l.Append(store.Draft{Log: log, Sender: l.a, Op: store.Op{Kind: store.OpRecall, Target: 1}}),
		l.Append(store.Draft{Log: log, Change: store.Change{Kind: store.ChangeRemove, Account: l.b}}),
		l.Append(store.Draft{Log: log, Change: store.Change{Kind: store.ChangeDelete, Account: l.b, From: 1, To: 2}}),
		l.SetMark(store.Mark{Log: log, Account: l.b, Seq: 3}),
	} {
		_, err := p.Result()
		wantCode(t, err, code)
	}
	_, _, err := l.Open(context.Background(), store.RoomKey("refused"), store.Creation{By: l.a})
	wantCode(t, err, code)
	if l.Healthy() == nil {
		t.Fatal("the disk fails and the store says it is healthy")
	}
	before := "1:before 0 2:before 1 3:before 2 4:before 3 5:before 4 "
	same := func() {
		t.Helper()
		wantEqual(t, l.sees(log, l.b), before)
		m, err := l.Standing(log)
		noError(t, err)
		wantEqual(t, m.Of(l.b), 0)
		_, err = l.Find(store.RoomKey("refused"))
		wantCode(t, err, store.CodeNotFound)
	}
	same()
	if _, now := l.Bounds(); now != end {
		t.Fatalf("the end moved from %d to %d", end, now)
	}
	heals()
	same()
	wantEqual(t, l.append(retried), 6) // not a repeat: it was refused
	noError(t, l.Healthy())
	before += "6:refused "
	l.reopen()
	same()
	l.repeated(retried, 6)
	entries, _ := l.followTo(end)
	// A store may try whether its disk is well again with an entry that belongs to no log, at a moment of its own.
	entries = slices.DeleteFunc(entries, func(e store.Entry) bool { return e.Key == store.Key{} })
	if len(entries) != 1 || entries[0].Record == nil || entries[0].Record.Seq != 6 {
		t.Fatalf("after the fault %d entries are followed, want the one that was appended: %+v", len(entries), entries)
	}
	wantEqual(t, l.say(log, l.b, "after"), 7)
}

// The disk fails at random moments under load; the model of each message is acknowledged, refused, or both never.
func testFaultsRepeat(t *testing.T, l *logCase, breaks, heals func()) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	log := l.room("r", l.a, l.b)
	acked := map[store.Seq]string{}
	refused := map[string]bool{}
	n := 0
	for range 12 {
		if rng.IntN(2) == 0 {
			breaks()
		}
		var pending []*store.Pending
		first := n
		for range rng.IntN(60) + 1 {
			pending = append(pending, l.Append(store.Draft{Log: log, Sender: l.a, Text: fmt.Append(nil, "m", n)}))
			n++
		}
		for i, p := range pending {
			text := fmt.Sprint("m", first+i)
			r, err := p.Result()
			if err != nil {
				refused[text] = true
				continue
			}
			if old, twice := acked[r.Seq]; twice {
				t.Fatalf("sequence %d was given to %s and %s", r.Seq, old, text)
			}
			acked[r.Seq] = text
		}
		heals()
		if rng.IntN(4) == 0 {
			l.reopen()
		}
	}
	l.reopen()
	info, err := l.Info(log)
	noError(t, err)
	wantEqual(t, int(info.Head), len(acked))
	for after := store.Seq(0); after < info.Head; {
		p, err := l.Read(store.Query{Log: log, Viewer: l.b, After: after})
		noError(t, err)
		for _, r := range p.Records {
			if text := string(r.Text); acked[r.Seq] != text || refused[text] {
				t.Fatalf("%d is %q, acknowledged was %q, refused %v", r.Seq, text, acked[r.Seq], refused[text])
			}
			after++
			wantEqual(t, r.Seq, after)
		}
	}
}

// A nil error means durable: while the sync hangs nothing is acknowledged and nobody sees the record.
func testBeforeSync(t *testing.T, l *logCase, disk Disk) {
	log := l.room("r", l.a, l.b)
	l.say(log, l.a, "one")
	_, end := l.Bounds()
	hangs := disk.Freeze()
	p := l.Append(store.Draft{Log: log, Sender: l.a, Text: []byte("two")})
	m := l.SetMark(store.Mark{Log: log, Account: l.b, Seq: 1})
	ctx, cancel := context.WithCancel(context.Background())
	followed := make(chan store.Batch, 1)
	go func() {
		b, _ := l.Follow(ctx, end) //nolint:errcheck // an error gives an empty batch, which fails the test
		followed <- b
	}()
	<-hangs
	select {
	case <-p.Done():
		t.Fatal("acknowledged before the sync")
	case <-m.Done():
		t.Fatal("mark acknowledged before the sync")
	case b := <-followed:
		t.Fatalf("followers see %+v before the sync", b)
	default:
	}
	wantEqual(t, l.sees(log, l.b), "1:one ")
	if _, now := l.Bounds(); now != end {
		t.Fatal("the end moved before the sync")
	}
	disk.Heal()
	r, err := p.Result()
	noError(t, err)
	wantEqual(t, r.Seq, 2)
	_, err = m.Result()
	noError(t, err)
	if b := <-followed; len(b.Entries) == 0 || string(b.Entries[0].Record.Text) != "two" {
		t.Fatalf("%+v", b)
	}
	cancel()
	wantEqual(t, l.sees(log, l.b), "1:one 2:two ")
}
