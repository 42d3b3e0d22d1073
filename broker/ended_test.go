package broker

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
)

// lingering is a store whose next read by one viewer waits until the test lets it go on.
type lingering struct {
	store.Store
	viewer  store.AccountID
	reading chan struct{} // a read has begun; nil: reads do not wait
	goOn    chan struct{}
}

func (l *lingering) Read(q store.Query) (store.Page, error) {
	if q.Viewer == l.viewer {
		select {
		case l.reading <- struct{}{}:
			<-l.goOn
		case <-l.goOn:
		}
	}
	return l.Store.Read(q)
}

// A connection that ends while its pump reads the log has been given nothing of that page: the next one gets it. This
// lost messages, when the end of the page was taken for delivered.
func TestEndedWhileReading(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	if err := w.b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	slow := &lingering{Store: w.st, viewer: w.users["bob"].ID, reading: make(chan struct{}), goOn: make(chan struct{})}
	b, err := New(Config{Store: slow})
	if err != nil {
		t.Fatal(err)
	}
	w.b = b
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b")
	bob.subscribe("user/+/json")
	for i := range 5 {
		alice.must("user/bob/text", fmt.Sprint(i))
	}
	<-slow.reading
	left := make(chan struct{})
	go func() {
		bob.leave()
		close(left)
	}()
	for ended := false; !ended; runtime.Gosched() {
		bob.s.mu.Lock()
		ended = bob.s.ended
		bob.s.mu.Unlock()
	}
	close(slow.goOn)
	<-left

	bob = w.connect("bob", "b")
	for i, p := range bob.deliveries(5) {
		if !strings.Contains(p, fmt.Sprintf(`"b":"%d"`, i)) {
			t.Errorf("delivery %d is %s", i, p)
		}
	}
}

// meddling is a store in which something happens between the loading and the saving of a row.
type meddling struct {
	store.Store
	meanwhile func()
}

func (m *meddling) SaveSession(ctx context.Context, row *store.Session) error {
	if f := m.meanwhile; f != nil {
		m.meanwhile = nil
		f()
	}
	return m.Store.SaveSession(ctx, row)
}

// What is acknowledged while a SUBSCRIBE replaces the row is not forgotten.
func TestAcknowledgedWhileSubscribing(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	if err := w.b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := &meddling{Store: w.st}
	b, err := New(Config{Store: m})
	if err != nil {
		t.Fatal(err)
	}
	w.b = b
	alice, bob := w.connect("alice", "a"), w.connect("bob", "b", withoutAcks)
	bob.subscribe("user/+/json")
	for i := range 3 {
		alice.must("user/bob/text", fmt.Sprint(i))
	}
	got := bob.wait(3, delivery)
	m.meanwhile = func() {
		for _, it := range got {
			bob.s.Acked(it.PacketID)
		}
		bob.s.saveCursors()
	}
	bob.subscribe("room/+/json")
	bob.s.saveCursors()
	bob.leave()
	alice.must("user/bob/text", "new")
	bob = w.connect("bob", "b")
	if p := bob.deliveries(1)[0]; !strings.Contains(p, `"b":"new"`) {
		t.Errorf("what was acknowledged came again: %s", p)
	}
}

// failing is a store that loads a row once, and fails the next time.
type failing struct {
	store.Store
	loads         int
	loaded, fails func()
}

func (f *failing) LoadSession(a store.AccountID, d store.DeviceID) (*store.Session, error) {
	if f.loads++; f.loads > 1 {
		f.fails()
		return nil, store.ErrClosed
	}
	defer f.loaded()
	return f.Store.LoadSession(a, d)
}

// foundLink tells that somebody has found its session.
type foundLink struct{ found chan struct{} }

func (l *foundLink) Write([]Item) error { return nil }
func (l *foundLink) Close(error)        { close(l.found) }
func (l *foundLink) Overdue() bool      { return false }

// Whoever ends a session that is found before its connection turns out to fail does not wait for it.
func TestDisconnectWhileAttachingFails(t *testing.T) {
	f := &failing{}
	w := newWorldStore(t, Events{}, func(st store.Store) store.Store { f.Store = st; return f }, "bob")
	l := &foundLink{found: make(chan struct{})}
	ended := make(chan error, 1)
	f.loaded = func() { // so many were accepted since that they are forgotten: the row is loaded again
		w.b.rewinds.mu.Lock()
		w.b.rewinds.n++
		w.b.rewinds.mu.Unlock()
	}
	f.fails = func() {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), longest)
			defer cancel()
			ended <- w.b.Disconnect(ctx, w.users["bob"].ID, 0, ErrRemoved)
		}()
		<-l.found
	}
	if _, _, err := w.b.Attach(t.Context(), Connect{Identity: w.identity("bob", "b", false), Expiry: 60}, l); !errors.Is(err, store.ErrClosed) {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
