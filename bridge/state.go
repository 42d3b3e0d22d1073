package bridge

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/store"
)

// What becomes of a state, as functions of nothing but it and the decision, so that every change of it can be read here.

// add notes messages that may have to ring.
func (s *state) add(first, last store.Seq, time int64) {
	if first = max(first, s.Done+1); first > last {
		return
	}
	if s.First == 0 || first <= s.First {
		s.First = first
		if s.Time == 0 || time < s.Time {
			s.Time = time
		}
	}
	s.Last = max(s.Last, last)
}

// settled notes that messages will never ring, or have. What is left is as old as that.
func (s *state) settled(upto store.Seq, why Reason, now time.Time) {
	s.Done = max(s.Done, upto)
	if s.First != 0 && s.First <= upto {
		s.First, s.Time = upto+1, now.UnixMilli()
	}
	if s.First > s.Last {
		s.First, s.Last, s.Time = 0, 0, 0
	}
	s.Due, s.Tries, s.Bare, s.Reason = 0, 0, false, why
}

// told notes that the provider took a push.
func (s *state) told(v *verdict, now time.Time) {
	again := s.Due // of a summary that got more to tell meanwhile
	s.settled(v.upto, v.reason, now)
	if s.First != 0 {
		s.Due = again
	}
	if v.ends {
		s.forgotten()
		return
	}
	if v.begins || s.Began == 0 {
		s.Began, s.Window = now.UnixMilli(), 0
	}
	s.Window++
	s.Shown, s.Rang, s.Count = v.shown, now.UnixMilli(), v.count
	if s.Shown == 0 {
		s.forgotten()
	}
}

// forgotten ends the run: the phone shows nothing any more, or nobody knows what.
func (s *state) forgotten() { s.Shown, s.Began, s.Rang, s.Window, s.Count = 0, 0, 0, 0, 0 }

// waits notes when to look again.
func (s *state) waits(until time.Time, why Reason) {
	s.Due, s.Reason = max(1, until.UnixMilli()), why
}

// folded notes in the state of a summary that a message is to be told in it, at the latest then. It reports whether that
// was not so already.
func (s *state) folded(written int64, until time.Time) bool {
	at := max(1, until.UnixMilli())
	if s.First != 0 && s.Due != 0 && s.Due <= at {
		return false
	}
	s.Last = max(s.Last, s.Done) + 1
	if s.First == 0 {
		s.First, s.Time = s.Last, written
	}
	if s.Due == 0 || at < s.Due {
		s.Due = at
	}
	s.Reason = ReasonSummary
	return true
}

// waiting reports whether the row alone sees to it that something rings later.
func (s *state) waiting() bool { return s.First != 0 && s.Due != 0 }

// keeps reports whether losing the state would let a phone ring twice or not at all. What was decided from facts that are
// still there is decided again in the same way; what was decided once and for all has to be remembered.
func (s *state) keeps() bool {
	if s.Shown != 0 || s.waiting() {
		return true
	}
	switch s.Reason {
	case ReasonRefused, ReasonExpired, ReasonCapped, ReasonBoxed:
		return s.Done != 0
	}
	return false
}

// expires is from when on the row may go: what a phone has shown for so long is not replaced any more.
func (s *state) expires(ttl time.Duration, now time.Time) int64 {
	return max(s.Due, now.UnixMilli()) + ttl.Milliseconds()
}

// tableRing has the states; the owner is the account.
const tableRing store.Table = "user.ring"

func rowKey(k key) string { return store.KeyOf(k.device) + store.KeyOf(k.log) }

// keyOfRow is the inverse; ok is false for a row of nobody.
func keyOfRow(r store.Row) (k key, ok bool) {
	a := r.Owner.Number()
	if a == 0 || len(r.Key) != 16 {
		return key{}, false
	}
	return key{store.AccountID(a), store.DeviceID(store.NumberOf(r.Key[:8])), store.LogID(store.NumberOf(r.Key[8:]))}, true
}

func decodeState(b []byte) (s state, err error) {
	if err := json.Unmarshal(b, &s); err != nil {
		return state{}, fmt.Errorf("bridge: %s: %w", tableRing, err)
	}
	return s, nil
}

// load reads a state. It is shared and must not be modified; nil: there is no row. A row that cannot be read is as one that
// says nothing, and told to the operator: a phone that rings twice is better than one that never does again.
func (b *Bridge) load(k key) (*state, error) {
	r, err := b.store.Row(tableRing, store.OwnerOf(k.account), rowKey(k))
	if err != nil {
		return nil, fmt.Errorf("bridge: %s: %w", tableRing, err)
	}
	if r.Version == 0 {
		return nil, nil
	}
	s, err := store.Decoded(r, decodeState)
	if err != nil {
		b.log.Error("row not readable", keyUser, k.account, keyDevice, k.device, keyLog, k.log, keyErr, err)
		return &state{}, nil
	}
	return s, nil
}
