package broker

import (
	"runtime"
	"sync/atomic"
	"time"
)

// pace is how fast the herald wakes followers. While there is chat it is as fast as chat allows: what is measured is how
// long after its wake-up a delivery of chat was written, and how late the herald itself is woken from a pause; when either
// is late the pace is cut, else it grows (additive increase, multiplicative decrease). It never falls below paceLow, so
// that a broadcast ends also on a machine that is too small for its chat. Without chat there is no pause, and the slices
// alone keep the first message that comes from waiting long.
//
// Fields without a note are owned by the herald.
type pace struct {
	late  atomic.Int64 // the longest wait of a chat delivery since the last look, in nanoseconds; noted by pumps
	chats atomic.Int64 // deliveries of chat since the last look; noted by pumps
	shown atomic.Int64 // sessions a second, 0: not paced; for metrics

	rate   float64 // sessions a second
	looked time.Time
	busy   time.Time // chat was there until then
	due    time.Time // when what was woken so far is paid for
	over   time.Duration
}

const (
	paceLow   = 2_000.0  // sessions a second, whatever chat says, unless they get more posts than
	postsLow  = 10_000.0 // posts a second, which is the least then
	paceBegin = 3_000.0  // when chat begins
	paceCore  = 4_000.0  // of each core, however idle chat is: it bounds what comes back from those who are told, too
	pacePosts = 10_000.0 // posts a second of each core, beside chat: each comes back as an acknowledgement
	paceSlice = 16       // sessions woken at once, at most
	paceStep  = time.Millisecond
	paceLook  = 10 * time.Millisecond
	paceChat  = time.Second          // chat is there for so long after a delivery
	lateChat  = 2 * time.Millisecond // from the wake-up of a delivery to its write
	lateTimer = 4 * time.Millisecond // from the end of a pause to the herald
)

// wrote notes a delivery of chat that was written so long after its wake-up.
func (p *pace) wrote(after time.Duration) {
	p.chats.Add(1)
	for {
		late := p.late.Load()
		if int64(after) <= late || p.late.CompareAndSwap(late, int64(after)) {
			return
		}
	}
}

// slice is how many sessions are to be woken now.
func (p *pace) slice(now time.Time) int {
	p.look(now)
	if !p.paced(now) {
		return paceSlice
	}
	return min(max(int(p.rate*paceStep.Seconds()), 1), paceSlice)
}

func (p *pace) paced(now time.Time) bool { return now.Before(p.busy) }

// look adapts the pace to what was noted since the last look.
func (p *pace) look(now time.Time) {
	if now.Sub(p.looked) < paceLook {
		return
	}
	stale := now.Sub(p.looked) > 10*paceLook // what was noted then says nothing about broadcasts
	p.looked = now
	late, chats, over := time.Duration(p.late.Swap(0)), p.chats.Swap(0), p.over
	p.over = 0
	was := p.paced(now)
	switch {
	case chats > 0 && stale:
		p.busy = now.Add(5 * paceLook) // until then it shows whether there is chat now
	case chats > 0:
		p.busy = now.Add(paceChat)
	}
	switch {
	case !p.paced(now):
		p.shown.Store(0)
		return
	case !was || p.rate == 0:
		p.rate, p.due = max(p.rate, paceBegin), now
	case stale:
	case late > lateChat || over > lateTimer:
		p.rate = max(paceLow, p.rate*0.7)
	default:
		p.rate = min(max(paceLow, paceCore*float64(runtime.GOMAXPROCS(0))), p.rate*1.05+20)
	}
	p.shown.Store(int64(p.rate))
}

// pause is how long the herald waits after it has woken so many sessions for so many posts together.
func (p *pace) pause(woken, posts int, began, now time.Time) time.Duration {
	if !p.paced(now) {
		return 0
	}
	if floor := began.Add(-4 * paceStep); p.due.Before(floor) { // what was not used is not saved up
		p.due = floor
	}
	cost := float64(posts) / (pacePosts * float64(runtime.GOMAXPROCS(0)))
	cost = max(min(cost, max(float64(woken)/paceLow, float64(posts)/postsLow)), float64(woken)/p.rate)
	p.due = p.due.Add(time.Duration(cost * float64(time.Second)))
	return p.due.Sub(now)
}

// slept notes a pause that was to take d and has ended.
func (p *pace) slept(paused time.Time, d time.Duration, now time.Time) {
	p.over = max(p.over, now.Sub(paused)-d)
}
