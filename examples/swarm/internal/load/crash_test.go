//go:build linux

package load

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
)

// crashes arranges for the server to crash at every 150th message, losing the
// last lose entries of each log, five times. Some messages after the last one
// it calls done.
func crashes(b *faulty, lose int, done func()) {
	crashed, after := 0, 0
	var over atomic.Int64
	b.before = func(n int) {
		if n/150 > crashed && crashed < 5 {
			crashed = n / 150
			b.wg.Go(func() {
				b.crash(lose)
				over.Add(1)
			})
		}
		if over.Load() == 5 {
			if after++; after == 100 {
				done()
			}
		}
	}
}

// forever is the -time of runs that a test ends itself, when as much has
// happened as it needs.
const forever = "1h"

// TestCrashWithRepeatsRecognized: with ids that the server remembers nothing is
// stored twice, and what was acknowledged is found.
func TestCrashWithRepeatsRecognized(t *testing.T) {
	for _, qos := range []string{"1", "2"} {
		for _, live := range []string{"-live=false", "-live"} {
			b := newFaulty(t)
			b.chat, b.dedupe = true, true
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			crashes(b, 0, cancel)
			r, err := trySwarm(t, ctx, "crash", "-addr", b.addr(), "-target", "hwangso", "-n", "4", "-inflight", "3", "-qos", qos, live, "-time", forever, "-strict")
			if err != nil {
				t.Fatal(err)
			}
			c := r.Crash
			if c.Acknowledged == 0 || c.Lost != 0 || c.SessionsLost != 0 || c.StoredTwice != 0 || c.Gaps != 0 || c.OutOfOrder != 0 || c.Maybe != 0 || !c.Sequenced {
				t.Errorf("QoS %s %s: %+v", qos, live, c)
			}
			if c.Reconnects == 0 {
				t.Errorf("QoS %s %s: the crash was not noticed", qos, live)
			}
			if c.Found != c.Acknowledged {
				t.Errorf("found %d of %d", c.Found, c.Acknowledged)
			}
		}
	}
}

// TestCrashFindsWhatIsLost: a server that acknowledges before it stores is
// found out.
func TestCrashFindsWhatIsLost(t *testing.T) {
	b := newFaulty(t)
	b.chat, b.dedupe = true, true
	// Of each log the server acknowledges message 20 and forgets it, leaving a
	// gap in the sequence.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	far := 0
	b.keep = func(_ string, n int, e entry) []entry {
		if n == 60 {
			if far++; far == 3 {
				cancel()
			}
		}
		if n == 20 {
			return []entry{{e.topic, []byte(`{"s":21,"b":"something else"}`)}}
		}
		if n == 30 {
			return []entry{{"user/u0/text", []byte("hole")}}
		}
		return []entry{e}
	}
	r, err := trySwarm(t, ctx, "crash", "-addr", b.addr(), "-target", "hwangso", "-n", "3", "-time", forever, "-drain", quiet)
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Crash; c.Lost != 6 || c.Gaps != 3 || c.Found+6 != c.Acknowledged || r.Clean() {
		t.Errorf("lost %d, gaps %d, found %d of %d", c.Lost, c.Gaps, c.Found, c.Acknowledged)
	}
}

// TestCrashFindsWhatIsStoredTwice: without de-duplication a repeat whose first
// sending was stored and not acknowledged has two sequence numbers.
func TestCrashFindsWhatIsStoredTwice(t *testing.T) {
	b := newFaulty(t)
	b.chat = true
	b.ignore = func(n int) bool { return n == 40 || n == 80 }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var over atomic.Int64
	b.before = func(n int) {
		// The others go on until the one without an answer is resent.
		if n == 60 || n == 100 {
			b.wg.Go(func() {
				b.crash(0)
				over.Add(1)
			})
		}
		if n >= 200 && over.Load() == 2 {
			cancel()
		}
	}
	r, err := trySwarm(t, ctx, "crash", "-addr", b.addr(), "-target", "hwangso", "-n", "3", "-inflight", "2", "-time", forever)
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Crash; c.StoredTwice < 2 || c.Lost != 0 || c.Redelivered != 0 || r.Clean() {
		t.Errorf("%+v", c)
	}
	// And the server's own log agrees.
	if c := r.Crash; uint64(b.stored()) != c.Found+c.StoredTwice {
		t.Errorf("stored %d, found %d + %d twice", b.stored(), c.Found, c.StoredTwice)
	}
}

// TestCrashTellsStoredFromDeliveredOrder: swapped in the log is the store's
// fault, swapped on the way is not.
func TestCrashTellsStoredFromDeliveredOrder(t *testing.T) {
	for _, stored := range []bool{true, false} {
		b := newFaulty(t)
		b.chat = true
		held := make(map[string]entry) // by topic: both writers have a message 10
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		far := 0
		b.keep = func(topic string, n int, e entry) []entry {
			if n == 20 {
				if far++; far == 2 {
					cancel()
				}
			}
			seq := func(s int) entry {
				e.payload = append(fmt.Appendf(nil, `{"s":%d,`, s), e.payload[bytes.IndexByte(e.payload, ',')+1:]...)
				return e
			}
			switch {
			case n == 10 && stored: // 10 comes behind 11, in the log too
				held[topic] = seq(12)
				return nil
			case n == 10:
				held[topic] = seq(11)
				return nil
			case n == 11 && stored:
				return []entry{seq(11), held[topic]}
			case n == 11:
				return []entry{seq(12), held[topic]}
			}
			return []entry{seq(n + 1)}
		}
		r, err := trySwarm(t, ctx, "crash", "-addr", b.addr(), "-target", "hwangso", "-n", "2", "-time", forever)
		if err != nil {
			t.Fatal(err)
		}
		want := uint64(0)
		if stored {
			want = 2
		}
		if c := r.Crash; c.OutOfOrder != 2 || c.Misplaced != want || c.Gaps != 0 {
			t.Errorf("stored %v: %+v", stored, c)
		}
	}
}

func TestSequence(t *testing.T) {
	for in, want := range map[string]uint64{
		`{"s":12,"b":"x"}`: 12, `{"b":"\"s\":99","s": 7}`: 7, `{"s":0}`: 0, `"s":5`: 0, ``: 0, `{`: 0, `{"s":`: 0,
		`{"s":99999999999999999999999999}`: 999999999999999999,
		`{"f":"u1","s":18446744073709551}`: 18446744073709551,
	} {
		if got := sequence([]byte(in)); got != want {
			t.Errorf("%s: %d, want %d", in, got, want)
		}
	}
}
