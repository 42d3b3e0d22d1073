package broker

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Beside chat bulk gets its rate and no more, and waits for nothing when there is none.
func TestBulkLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l bulkLane
		if d := l.take(1000, time.Now()); d != 0 {
			t.Errorf("without chat bulk waits %v", d)
		}
		began := time.Now()
		taken := 0
		for time.Since(began) < 10*time.Second {
			l.chat.Add(100)
			time.Sleep(l.take(100, time.Now()))
			if taken += 100; time.Since(began) == 0 && taken > 1000 {
				t.Fatal("bulk is not paced beside chat")
			}
		}
		if rate := float64(taken) / time.Since(began).Seconds(); rate < 0.9*bulkRate || rate > 1.1*bulkRate {
			t.Errorf("%.0f records/s beside chat, want %d", rate, bulkRate)
		}
		time.Sleep(2 * time.Second)
		l.take(1, time.Now())
		time.Sleep(bulkSpan)
		if d := l.take(1000, time.Now()); d != 0 {
			t.Errorf("after chat has ended bulk waits %v", d)
		}
	})
}

// A device that catches up beside chat gets everything in order, and what is new in other conversations at once.
func TestCatchUpBesideChat(t *testing.T) {
	w := newWorld(t, "alice", "bob", "carol")
	alice, bob, carol := w.connect("alice", "a"), w.connect("bob", "b"), w.connect("carol", "c")
	bob.subscribe("user/+/json")
	bob.leave()
	const n = 5000
	for i := range n {
		alice.s.Publish(Publication{Topic: "user/bob/text", Payload: fmt.Append(nil, i)}, Ack{PacketID: uint16(i + 1), QoS: 1})
	}
	alice.wait(n, outcome)
	stop := make(chan struct{})
	chatting := make(chan struct{})
	go func() {
		defer close(chatting)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				carol.must("user/alice/text", fmt.Sprint(i))
			}
		}
	}()
	w.b.bulk.chat.Add(bulkChat)
	bob = w.connect("bob", "b")
	alice.must("user/alice/text", "notes")
	carol2 := w.connect("carol", "c2")
	carol2.must("user/bob/text", "news")
	seq := 0
	news := false
	for _, it := range bob.wait(n+1, delivery) {
		p := string(it.Payload)
		if it.Topic == "user/carol/json" {
			news = strings.Contains(p, `"b":"news"`)
			continue
		}
		if seq++; !strings.HasPrefix(p, fmt.Sprintf(`{"s":%d,`, seq)) {
			t.Fatalf("delivery %d is %s", seq, p)
		}
	}
	if !news || seq != n {
		t.Errorf("%d messages caught up, news of carol: %v", seq, news)
	}
	close(stop)
	<-chatting
}
