package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// op appends an operation.
func (l *logCase) op(log store.LogID, sender store.AccountID, kind store.OpKind, target store.Seq, text string, audience store.Audience) store.Seq {
	l.t.Helper()
	return l.append(store.Draft{Log: log, Sender: sender, Text: []byte(text), Audience: audience, Op: store.Op{Kind: kind, Target: target}})
}

func testEditRecall(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b)
	l.append(store.Draft{Log: log, Sender: l.a, Text: []byte("one"), Extra: []byte("extra")})
	l.say(log, l.a, "two")
	l.say(log, l.a, "three")
	wantEqual(t, l.op(log, l.a, store.OpEdit, 1, "ONE", 0), 4)
	l.op(log, l.a, store.OpRecall, 2, "", 0)   // 5
	l.op(log, l.a, store.OpEdit, 1, "One", 0)  // 6
	l.op(log, l.b, store.OpReact, 3, "!", 0)   // 7: changes no text
	l.op(log, l.a, store.OpEdit, 2, "late", 0) // 8: a recall is final
	for range 2 {
		wantEqual(t, l.sees(log, l.b), "1:One*6 2:- 3:three 4:ONE 5: 6:One 7:! 8:- ")
		p, err := l.Read(store.Query{Log: log, Viewer: l.b, Max: 1})
		noError(t, err)
		if r := p.Records[0]; string(r.Extra) != "extra" || r.Seq != 1 || r.Op.Kind != store.OpNone {
			t.Fatalf("%+v", r)
		}
		l.reopen()
	}
	l.op(log, l.a, store.OpRecall, 1, "", 0) // after a restart, on an edited one
	for range 2 {
		wantEqual(t, l.sees(log, l.b), "1:- 2:- 3:three 4:- 5: 6:- 7:! 8:- 9: ")
		l.reopen()
	}
	if _, err := l.Append(store.Draft{Log: log, Sender: l.a, Op: store.Op{Kind: store.OpRecall, Target: 10}}).Result(); store.CodeOf(err) != store.CodeBad {
		t.Fatal("an operation on itself: ", err)
	}
}

// The text of an edit is a text of the message: a recall takes it back too.
func testRecallHidesEdits(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b)
	l.say(log, l.a, "secret one")
	l.op(log, l.a, store.OpEdit, 1, "secret two", 0)
	l.op(log, l.a, store.OpRecall, 1, "", 0)
	for range 2 {
		for _, viewer := range []store.AccountID{l.a, l.b, 0} {
			if got := l.sees(log, viewer); strings.Contains(got, "secret") {
				t.Fatalf("%d sees %s", viewer, got)
			}
		}
		b, err := l.Follow(t.Context(), 0)
		noError(t, err)
		for _, e := range b.Entries {
			if e.Record != nil && strings.Contains(string(e.Record.Text), "secret") {
				t.Fatalf("a follower is given %q", e.Record.Text)
			}
		}
		l.reopen()
	}
}

// A blocked sender takes back what the other has read: only the sender sees that.
func testPrivateOps(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b)
	l.say(log, l.a, "one")
	l.say(log, l.a, "two")
	l.op(log, l.a, store.OpEdit, 2, "TWO", 0)                                                            // 3
	l.op(log, l.a, store.OpRecall, 1, "", store.AudienceSender)                                          // 4
	l.op(log, l.a, store.OpEdit, 2, "mine", store.AudienceSender)                                        // 5
	l.append(store.Draft{Log: log, Sender: l.a, Text: []byte("shadow"), Audience: store.AudienceSender}) // 6
	l.op(log, l.a, store.OpEdit, 6, "shadow!", store.AudienceSender)                                     // 7
	for range 2 {
		wantEqual(t, l.sees(log, l.a), "1:- 2:mine*5 3:TWO 4: 5:mine 6:shadow!*7 7:shadow! ")
		wantEqual(t, l.sees(log, l.b), "1:one 2:TWO*3 3:TWO ")
		wantEqual(t, l.sees(log, 0), "1:one 2:TWO*3 3:TWO 4: 5:mine 6:shadow!*7 7:shadow! ")
		l.reopen()
	}
	l.op(log, l.a, store.OpRecall, 2, "", 0)
	wantEqual(t, l.sees(log, l.a), "1:- 2:- 3:- 4: 5:- 6:shadow!*7 7:shadow! 8: ")
	wantEqual(t, l.sees(log, l.b), "1:one 2:- 3:- 8: ")
}

// From the moment a recall is acknowledged no read returns the text.
func testRecallRace(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b)
	var wg sync.WaitGroup
	for i := range 100 {
		text := fmt.Sprint("text ", i)
		seq := l.say(log, l.a, text)
		stop := make(chan struct{})
		for range 2 {
			wg.Go(func() {
				for {
					_, err := l.Read(store.Query{Log: log, Viewer: l.b, After: seq - 1, Max: 1})
					if err != nil {
						t.Error(err)
						return
					}
					select {
					case <-stop:
						p, err := l.Read(store.Query{Log: log, Viewer: l.b, After: seq - 1, Max: 1})
						if err != nil || len(p.Records) != 1 || !p.Records[0].Recalled || p.Records[0].Text != nil {
							t.Errorf("after the recall: %v %v", p, err)
						}
						return
					default:
					}
				}
			})
		}
		l.op(log, l.a, store.OpRecall, seq, "", 0)
		close(stop)
		wg.Wait()
	}
}

// What a reader withholds is not there for it, and what an operation that it withholds did is not done for it; others
// see what they saw.
func testWithhold(t *testing.T, l *logCase) {
	log := l.room("r", l.a, l.b, l.c)
	l.say(log, l.a, "one")
	l.say(log, l.b, "two")
	l.say(log, l.a, "three")
	l.op(log, l.a, store.OpEdit, 1, "ONE", 0)  // 4
	l.op(log, l.a, store.OpRecall, 3, "", 0)   // 5
	l.op(log, l.b, store.OpEdit, 2, "TWO", 0)  // 6
	l.op(log, l.a, store.OpEdit, 1, "One", 0)  // 7
	l.op(log, l.a, store.OpEdit, 3, "late", 0) // 8
	late := func(r *store.Record) (bool, error) { return r.Sender == l.a && r.Seq >= 4, nil }
	last := func(r *store.Record) (bool, error) { return r.Seq == 7, nil }
	all := func(r *store.Record) (bool, error) { return r.Sender == l.a, nil }
	for range 2 { // from memory, then from disk
		for _, c := range []struct {
			withhold func(*store.Record) (bool, error)
			want     string
		}{
			{nil, "1:One*7 2:TWO*6 3:- 4:ONE 5: 6:TWO 7:One 8:- "},
			{late, "1:one 2:TWO*6 3:- 6:TWO "},
			{last, "1:ONE*4 2:TWO*6 3:- 4:ONE 5: 6:TWO 8:- "},
			{all, "2:TWO*6 6:TWO "},
		} {
			out, after := "", store.Seq(0)
			for {
				p, err := l.Read(store.Query{Log: log, Viewer: l.c, After: after, Max: 2, Withhold: c.withhold})
				noError(t, err)
				for _, r := range p.Records {
					out += fmt.Sprintf("%d:%s ", r.Seq, shown(r))
				}
				if after = p.Next; after == p.Head {
					break
				}
			}
			if out != c.want {
				t.Errorf("got %s, want %s", out, c.want)
			}
		}
		l.reopen()
	}
	no := store.Bad("no")
	if _, err := l.Read(store.Query{Log: log, Viewer: l.c, Withhold: func(*store.Record) (bool, error) { return false, no }}); !errors.Is(err, no) {
		t.Errorf("the reader's own error: %v", err)
	}
}

// An operation is seen by those who see what it operates on; who joins with an open history sees that too.
func testSpansOfOperations(t *testing.T, l *logCase) {
	log := l.room("r", l.a)
	l.say(log, l.a, "one")
	l.say(log, l.a, "two")
	l.append(store.Draft{Log: log, Kind: store.KindSystem, Change: store.Change{Kind: store.ChangeJoin, Account: l.b}})          // 3
	l.append(store.Draft{Log: log, Kind: store.KindSystem, Change: store.Change{Kind: store.ChangeJoin, Account: l.c, From: 2}}) // 4
	l.op(log, l.a, store.OpEdit, 1, "ONE", 0)                                                                                    // 5
	l.op(log, l.a, store.OpReact, 2, "!", 0)                                                                                     // 6
	for range 2 {
		wantEqual(t, l.sees(log, l.a), "1:ONE*5 2:two 3:change1 4:change1 5:ONE 6:! ")
		wantEqual(t, l.sees(log, l.b), "3:change1 4:change1 ")
		wantEqual(t, l.sees(log, l.c), "2:two 3:change1 4:change1 6:! ")
		l.reopen()
	}
}
