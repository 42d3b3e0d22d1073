package bridge

import (
	"sync"
	"sync/atomic"

	"github.com/hwangso/hwangso/bridge/lane"
	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

// shards is how many locks the table spreads accounts over.
const shards = 64

// table has the rings that something is under way with, by account. What waits as a row is not among them.
type table struct {
	shards [shards]shard
	rings  atomic.Int64
	shrunk chan struct{} // a ring was removed; for who waits for room
}

type shard struct {
	mu       sync.Mutex
	accounts map[store.AccountID]*account
	// rows counts the rows that were written: who has read one outside the lock reads again if it has moved.
	rows uint64
	_    [40]byte // on cache lines of their own
}

// account has the rings of one user. One worker at a time looks after them, so that what belongs together (a ring and
// the summary that it is folded into) is written together and in order.
type account struct {
	id      store.AccountID
	rings   []*bell         // guarded by shard.mu, as what follows
	by      map[place]*bell // once there are many
	one     [1]*bell        // room for rings, because most accounts have one
	queued  bool
	working bool
}

// place is a key within its account.
type place struct {
	device store.DeviceID
	log    store.LogID
}

// manyRings is from when on an account's rings are looked up by a map.
const manyRings = 32

// bell is one conversation for one device, while something is under way. Guarded by shard.mu.
type bell struct {
	key
	a *account

	provider graph.PushProvider // as far as is known; for metrics
	loaded   bool               // st is known
	st       *state             // as the row has it, never modified; nil: there is no row
	due      int64              // when to look, Unix milliseconds; 0: there is nothing to wait for
	why      Reason             // it waits
	news     news
	kick     *segment     // held: an entry that is no message has to be seen to
	fly      *job         // the push that a lane has
	result   *lane.Result // and what became of it, until a worker has seen to it
	todo     bool         // a worker has to look at it
	touched  bool         // and once more when what became of the push under way has been seen to
}

// mark is where messages begin that came at about the same time.
type mark struct {
	seq  store.Seq
	time int64
	seg  *segment // held
}

// news are the messages of a ring that came and are not settled. The marks say how old those are that are left when some
// of them are: each is the first message of a stretch of time.
type news struct {
	since int64  // when the first one came to us, Unix milliseconds
	first mark   // seq 0: no news
	more  []mark // later ones, at most maxMarks
	last  store.Seq
	time  int64 // of the last one
}

const maxMarks = 4

// add notes messages from seq on that were written at a time; apart is how long a mark lasts.
func (n *news) add(seq, last store.Seq, time, now int64, seg *segment, apart int64) {
	switch {
	case n.first.seq == 0:
		seg.hold()
		n.first, n.since = mark{seq, time, seg}, now
	case seq < n.first.seq: // of a room's members it may come late
		seg.hold()
		n.first.seg.release()
		n.first = mark{seq, min(time, n.first.time), seg}
	case seq <= n.last: // read again
	default:
		newest := &n.first
		if k := len(n.more); k > 0 {
			newest = &n.more[k-1]
		}
		if time-newest.time >= apart && len(n.more) < maxMarks {
			seg.hold()
			n.more = append(n.more, mark{seq, time, seg})
		}
	}
	n.last, n.time = max(n.last, last), max(n.time, time)
}

// settle takes out the messages up to a sequence.
func (n *news) settle(upto store.Seq) {
	if n.first.seq == 0 || upto < n.first.seq {
		return
	}
	if upto >= n.last {
		n.drop()
		return
	}
	k := 0 // marks of n.more that begin at most at the first message that is left
	for k < len(n.more) && n.more[k].seq <= upto+1 {
		k++
	}
	if k > 0 {
		n.first.seg.release()
		for _, m := range n.more[:k-1] {
			m.seg.release()
		}
		n.first = n.more[k-1]
		n.more = append(n.more[:0], n.more[k:]...)
	}
	if n.first.seq < upto+1 {
		// Within a stretch nobody knows; it is not younger than where the next one begins.
		n.first.seq = upto + 1
		if n.first.time = n.time; len(n.more) > 0 {
			n.first.time = n.more[0].time
		}
	}
}

// drop takes out all of them.
func (n *news) drop() {
	if n.first.seq == 0 {
		return
	}
	n.first.seg.release()
	for _, m := range n.more {
		m.seg.release()
	}
	*n = news{}
}

func newTable() *table {
	t := &table{shrunk: make(chan struct{}, 1)}
	for i := range t.shards {
		t.shards[i].accounts = make(map[store.AccountID]*account)
	}
	return t
}

func (t *table) shard(a store.AccountID) *shard { return &t.shards[uint64(a)%shards] }

// find returns the ring, or nil. The caller holds mu.
func (s *shard) find(k key) *bell {
	a := s.accounts[k.account]
	if a == nil {
		return nil
	}
	if a.by != nil {
		return a.by[place{k.device, k.log}]
	}
	for _, r := range a.rings {
		if r.log == k.log && r.device == k.device {
			return r
		}
	}
	return nil
}

// make returns the ring, a new one if there is none. The caller holds the shard's mu.
func (t *table) make(s *shard, k key) *bell {
	if r := s.find(k); r != nil {
		return r
	}
	a := s.accounts[k.account]
	if a == nil {
		a = &account{id: k.account}
		a.rings = a.one[:0]
		s.accounts[k.account] = a
	}
	r := &bell{key: k, a: a}
	a.rings = append(a.rings, r)
	if a.by != nil {
		a.by[place{k.device, k.log}] = r
	} else if len(a.rings) > manyRings {
		a.by = make(map[place]*bell, 2*manyRings)
		for _, r := range a.rings {
			a.by[place{r.device, r.log}] = r
		}
	}
	t.rings.Add(1)
	return r
}

// idle reports whether nothing is under way with a ring.
func (r *bell) idle() bool {
	return !r.todo && r.fly == nil && r.due == 0 && r.news.first.seq == 0
}

// sweep removes the rings of an account that are idle, and the account if none is left. The caller holds the shard's mu.
func (t *table) sweep(s *shard, a *account) {
	kept := a.rings[:0]
	for _, r := range a.rings {
		if r.idle() && !a.working {
			if a.by != nil {
				delete(a.by, place{r.device, r.log})
			}
			continue
		}
		kept = append(kept, r)
	}
	gone := len(a.rings) - len(kept)
	clear(a.rings[len(kept):])
	a.rings = kept
	if len(kept) == 0 && !a.working && !a.queued {
		delete(s.accounts, a.id)
	}
	if gone == 0 {
		return
	}
	t.rings.Add(int64(-gone))
	select {
	case t.shrunk <- struct{}{}:
	default:
	}
}

// len is how many rings there are.
func (t *table) len() int { return int(t.rings.Load()) }
