package lane

import (
	"time"

	"github.com/hwangso/hwangso/bridge/push"
)

// item is a job in the lane.
type item struct {
	job    Job
	class  push.Class
	device uint64 // hash of where it goes
	route  *route
	since  time.Time
	probe  bool // it finds out whether a pause is over
	warmup bool // it goes alone
	small  bool // it is counted among those of small routes: in the queue, then in flight
}

// fifo is a queue of items; its owner bounds it.
type fifo struct {
	items []item
	head  int
}

func (f *fifo) len() int { return len(f.items) - f.head }

func (f *fifo) push(it item) {
	if f.head > 32 && f.head >= len(f.items)/2 {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	f.items = append(f.items, it)
}

func (f *fifo) first() *item { return &f.items[f.head] }

func (f *fifo) pop() item {
	it := f.items[f.head]
	f.items[f.head] = item{}
	if f.head++; f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
	}
	return it
}

// waiting is what of one class is queued: the routes that have some, each in its turn.
type waiting struct {
	routes []*route
	next   int
	n      int // items, and those of the class that are being given back
	small  int // of them, of small routes
}

// left is called when an item is queued no more.
func (w *waiting) left(it *item) {
	w.n--
	if it.small {
		w.small--
	}
}

// room reports whether one more job of a route may be queued. Where users choose the routes, none takes more than it leaves
// to others, and the small ones have half together.
func (l *Lane) room(r *route, c push.Class) bool {
	w := &l.waiting[c]
	switch {
	case w.n >= l.cfg.Queue:
		return false
	case !l.shared:
		return true
	}
	return r.queue[c].len() < l.cfg.Queue-w.n && (!l.small(r) || w.small < l.cfg.Queue/2)
}

// share is how many of n slots a class may have at once. Those of clear and bulk together leave a quarter to chat.
func share(c push.Class, n int) int {
	switch c {
	case push.Chat:
		return n
	case push.Clear:
		return max(n/2, 1)
	default:
		return max(n/4, 1)
	}
}

// clearsInARow is how many clears may go while bulk waits that could.
const clearsInARow = 3

// quotaLeft is the part of the quota that only chat may use.
const quotaLeft = 0.5

// pick takes the next item that may be sent, and its slots. What waits for a quota sets the alarm.
func (l *Lane) pick(now time.Time) (item, bool) {
	order := [...]push.Class{push.Chat, push.Clear, push.Bulk}
	if l.clears >= clearsInARow {
		order[1], order[2] = order[2], order[1]
	}
	for _, c := range order {
		w := &l.waiting[c]
		if len(w.routes) == 0 || l.busy[c] >= share(c, l.cfg.InFlight) || l.inFlight() >= l.cfg.InFlight {
			continue
		}
		left := quotaLeft
		if c == push.Chat {
			left = 0
		}
		if at, ok := l.quota.ready(now, left); !ok {
			l.wake(now, at)
			continue
		}
		if c == push.Bulk {
			if at, ok := l.bulk.ready(now, 0); !ok {
				l.wake(now, at)
				continue
			}
		}
		for i := range w.routes {
			at := (w.next + i) % len(w.routes)
			if r := w.routes[at]; l.admits(r, c, now) {
				w.next = at + 1
				return l.take(c, w, at, now), true
			}
		}
	}
	return item{}, false
}

func (l *Lane) take(c push.Class, w *waiting, at int, now time.Time) item {
	r := w.routes[at]
	it := r.queue[c].pop()
	if r.queue[c].len() == 0 {
		w.routes = append(w.routes[:at], w.routes[at+1:]...)
		w.next = at
	}
	w.left(&it)
	if it.small = l.small(r); it.small {
		l.smalls++
	}
	l.busy[c]++
	l.quota.take()
	switch c {
	case push.Clear:
		if l.clears++; len(l.waiting[push.Bulk].routes) == 0 {
			l.clears = 0
		}
	case push.Bulk:
		l.clears = 0
		l.bulk.take()
		r.slow.take()
		r.slow.count(now, 1)
	}
	r.flying[c]++
	if !r.warm {
		it.warmup, r.warming = true, true
	}
	return it
}

// admits reports whether a route takes one more push now.
func (l *Lane) admits(r *route, c push.Class, now time.Time) bool {
	n := r.inFlight()
	if n == 0 && now.Sub(r.answered) > idle {
		r.warm = false
	}
	switch {
	case r.refreshing:
		return false
	case r.state != Open && !r.queue[c].first().probe:
		return false
	case l.small(r) && l.smalls >= l.cfg.InFlight/2:
		return false
	case !r.warm:
		return !r.warming
	case n >= r.limit || r.flying[c] >= share(c, r.limit):
		return false
	case c == push.Bulk:
		at, ok := r.slow.ready(now)
		if !ok {
			l.wake(now, at)
		}
		return ok
	}
	return true
}

// enqueue adds an item to those of its class and route.
func (l *Lane) enqueue(it item) {
	w, q := &l.waiting[it.class], &it.route.queue[it.class]
	if q.len() == 0 {
		w.routes = append(w.routes, it.route)
	}
	if it.small = l.small(it.route); it.small {
		w.small++
	}
	q.push(it)
	w.n++
	it.route.jobs++
}

// drain hands everything that a route has queued to those who give it back. It counts as queued until it is: Submit must
// not fill the queue meanwhile.
func (l *Lane) drain(r *route) {
	for _, c := range push.Classes() {
		q, w := &r.queue[c], &l.waiting[c]
		if q.len() == 0 {
			continue
		}
		for q.len() > 0 {
			l.back = append(l.back, q.pop())
		}
		for i := range w.routes {
			if w.routes[i] == r {
				w.routes = append(w.routes[:i], w.routes[i+1:]...)
				break
			}
		}
	}
	for l.givers < min(maxGivers, len(l.back)) {
		l.givers++
		l.wg.Go(l.give)
	}
}

// maxGivers is how many goroutines give back: the owner writes a row for each job, and rows are written together.
const maxGivers = 4

func (l *Lane) give() {
	l.mu.Lock()
	for len(l.back) > 0 {
		it := l.back[0]
		l.back[0] = item{}
		l.back = l.back[1:]
		at := l.cfg.Now()
		if !l.closed {
			at = it.route.comeBack(at)
		}
		l.mu.Unlock()
		it.job.Done(Result{Action: Again, At: at})
		l.metrics.did(it.class, Again)
		l.mu.Lock()
		l.waiting[it.class].left(&it)
		l.leave(&it)
	}
	l.back = nil
	l.givers--
	l.mu.Unlock()
}

func (l *Lane) inFlight() int {
	n := 0
	for _, c := range l.busy {
		n += c
	}
	return n
}

// wake makes the alarm ring at a time, unless it does before.
func (l *Lane) wake(now, at time.Time) {
	if l.alarm.IsZero() || at.Before(l.alarm) || !l.alarm.After(now) {
		l.alarm = at
		select {
		case l.alarms <- struct{}{}:
		default:
		}
	}
}

// watch looks at the queue when a quota allows the next push.
func (l *Lane) watch() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-l.done:
			return
		case <-l.alarms:
			l.mu.Lock()
			at := l.alarm
			l.mu.Unlock()
			if !at.IsZero() {
				timer.Reset(max(at.Sub(l.cfg.Now()), 0))
			}
		case <-timer.C:
			l.mu.Lock()
			l.alarm = time.Time{}
			l.dispatch(l.cfg.Now())
			l.mu.Unlock()
		}
	}
}
