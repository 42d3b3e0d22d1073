package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// entryText is an entry in a few words.
func entryText(e store.Entry) string {
	switch {
	case e.Mark != nil:
		return fmt.Sprintf("mark%d@%d", e.Mark.Seq, e.Mark.Account)
	case e.Record == nil && e.Key.Kind == 0:
		return "release"
	case e.Record == nil:
		return "create"
	}
	return fmt.Sprintf("%d:%s", e.Record.Seq, shown(e.Record))
}

// followTo collects entries until the end known now.
func (l *logCase) followTo(from store.Position) (out []store.Entry, next store.Position) {
	l.t.Helper()
	_, end := l.Bounds()
	for from < end {
		b, err := l.Follow(context.Background(), from)
		noError(l.t, err)
		if b.Next <= from || len(b.Entries) == 0 {
			l.t.Fatalf("from %d to %d with %d entries", from, b.Next, len(b.Entries))
		}
		for _, e := range b.Entries {
			if e.Position < from || e.Position >= b.Next || len(out) > 0 && e.Position <= out[len(out)-1].Position {
				l.t.Fatalf("position %d in the batch from %d to %d", e.Position, from, b.Next)
			}
			out = append(out, e)
		}
		from = b.Next
	}
	return out, from
}

func testFollow(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b)
	l.append(store.Draft{Log: log, Sender: l.a, Device: 1, PacketID: 3, Text: []byte("one")})
	_, err := l.SetMark(store.Mark{Log: log, Account: l.b, Seq: 1}).Result()
	noError(t, err)
	_, err = l.Release(store.Release{Account: l.a, Device: 1, PacketID: 3}).Result()
	noError(t, err)
	_, err = l.Append(store.Draft{Log: log, Sender: l.b, Change: store.Change{Kind: store.ChangeHide, Account: l.b}}).Result()
	noError(t, err)
	l.change(log, store.ChangeLeave, l.b, 0)
	want := []string{"create", "1:one", fmt.Sprintf("mark1@%d", l.b), "release", "0:change6", "2:change2"}
	for range 2 {
		entries, next := l.followTo(0)
		var got []string
		for _, e := range entries {
			got = append(got, entryText(e))
			if e.Key.Kind != 0 && (e.Key != store.RoomKey("r") || e.Members == nil) {
				t.Fatalf("%+v", e)
			}
		}
		wantEqual(t, got, want)
		if e := entries[len(entries)-1]; e.Members.Active != 1 {
			t.Fatal("members are those after the entry")
		}
		if _, end := l.Bounds(); next != end {
			t.Fatal(next, end)
		}
		for i, e := range entries { // from every entry on
			rest, _ := l.followTo(e.Position)
			wantEqual(t, len(rest), len(entries)-i)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := l.Follow(ctx, next); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		l.reopen()
	}
}

// A follower that is far behind gets the same as one that is up to date.
func testFollowBehind(t *testing.T, l *logCase) {
	logs := []store.LogID{l.room("r", l.a, l.b), l.room("s", l.b)}
	_, start := l.Bounds()
	const n = 12000
	pending := make([]*store.Pending, 0, n)
	for i := range n {
		pending = append(pending, l.Append(store.Draft{Log: logs[i%2], Sender: l.a, Text: fmt.Append(nil, i)}))
		if i%100 == 99 {
			_, err := pending[i].Result()
			noError(t, err)
		}
	}
	for range 2 {
		entries, _ := l.followTo(start)
		if len(entries) != n {
			t.Fatal(len(entries))
		}
		for i, e := range entries {
			if e.Record.Log != logs[i%2] || e.Record.Seq != store.Seq(i/2+1) || string(e.Record.Text) != fmt.Sprint(i) {
				t.Fatalf("entry %d: %+v", i, e.Record)
			}
		}
		l.reopen()
	}
}

func testFollowLive(t *testing.T, l *logCase) {
	logs := []store.LogID{l.room("r", l.a), l.room("s", l.a), l.room("t", l.a)}
	_, start := l.Bounds()
	const n = 500
	var wg sync.WaitGroup
	for range 3 { // followers
		wg.Go(func() {
			head := map[store.LogID]store.Seq{}
			from := start
			for seen := 0; seen < n*len(logs); {
				b, err := l.Follow(context.Background(), from)
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range b.Entries {
					if e.Record.Seq != head[e.Record.Log]+1 {
						t.Errorf("%v: %d after %d", e.Record.Log, e.Record.Seq, head[e.Record.Log])
						return
					}
					head[e.Record.Log]++
					seen++
				}
				from = b.Next
			}
		})
	}
	for _, log := range logs {
		wg.Go(func() {
			for range n {
				if _, err := l.Append(store.Draft{Log: log, Sender: l.a, Text: []byte("x")}).Result(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func testManyAppenders(t *testing.T, l *logCase) {
	log := l.room("r", l.a)
	const callers, each = 50, 60
	var mu sync.Mutex
	got := map[store.Seq]string{}
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			pending := make([]*store.Pending, each)
			for i := range pending {
				pending[i] = l.Append(store.Draft{Log: log, Sender: l.a, Text: fmt.Appendf(nil, "%d.%d", c, i)})
			}
			last := store.Seq(0)
			for i, p := range pending {
				r, err := p.Result()
				if err != nil || r.Seq <= last {
					t.Errorf("%+v after %d: %v", r, last, err)
					return
				}
				last = r.Seq
				mu.Lock()
				got[r.Seq] = fmt.Sprintf("%d.%d", c, i)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for range 2 {
		n := store.Seq(0)
		for n < callers*each {
			p, err := l.Read(store.Query{Log: log, Viewer: l.a, After: n, Max: 500})
			noError(t, err)
			for _, r := range p.Records {
				if n++; r.Seq != n || got[n] != string(r.Text) {
					t.Fatalf("%d is %q, acknowledged was %q", r.Seq, r.Text, got[n])
				}
			}
		}
		l.reopen()
	}
}

func testCloseResolves(t *testing.T, l *logCase) {
	log := l.room("r", l.a)
	var pending []*store.Pending
	for range 500 {
		pending = append(pending, l.Append(store.Draft{Log: log, Sender: l.a, Text: []byte("x")}))
	}
	follower := make(chan error, 1)
	_, end := l.Bounds()
	go func() {
		var err error
		for from := end; err == nil; {
			var b store.Batch
			b, err = l.Follow(context.Background(), from)
			from = b.Next
		}
		follower <- err
	}()
	s := l.Store
	noError(t, s.Close())
	noError(t, s.Close())
	for i, p := range pending {
		select {
		case <-p.Done():
		default:
			t.Fatalf("append %d is not resolved after Close", i)
		}
		_, err := p.Result()
		noError(t, err)
	}
	wantCode(t, <-follower, store.CodeUnavailable)
	_, err := s.Append(store.Draft{Log: log, Sender: l.a}).Result()
	wantCode(t, err, store.CodeUnavailable)
	l.Store = l.open(t, l.dir)
	info, err := l.Info(log)
	noError(t, err)
	wantEqual(t, info.Head, store.Seq(500))
}
