package broker

import (
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
