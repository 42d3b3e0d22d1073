package lane

import "time"

// guard keeps a mistake of ours from ending every subscription: a wrong environment or key makes each token look invalid.
//
// A token goes only where successes stand beside it, and few go however many look bad:
//
//   - at least guardLeast devices were reached in the window, 12 to 24 hours;
//   - a push was taken since the suspect before it. When everything turns bad at once, one token goes, however many
//     devices had been reached until then and however many attempts were under way;
//   - one token, and one more per hundred devices that were reached, goes in a window. Bad ones that trickle in among good
//     ones, too few of them at a time to be noticed, cannot take more.
//
// Devices are counted, not pushes: neither does one that gets a hundred pushes vouch for a hundred others, nor does one
// that fails a hundred times look like a fleet.
//
// It trips when suspects come without a success between them: as many devices as were reached in the window, at least 3
// and at most 20.
type guard struct {
	bits int // how many devices a window tells apart; it counts too few beyond that, never too many

	window [2]window // the current one and the one before
	run    map[uint64]struct{}

	removed, kept uint64 // tokens, ever
	trips         uint64
	tripped       time.Time // the last time
}

type window struct {
	began            time.Time
	seen             []uint64 // a bit per device that was reached, by its hash
	reached, removed int
}

const (
	guardWindow  = 12 * time.Hour
	guardLeast   = 10
	guardPercent = 100 // devices reached per token that goes
	guardRunMin  = 3
	guardRunMax  = 20
	guardRunKept = 256 // suspects of a run that are told apart

	// suspectsLast is how long after the end of a pause only other devices may find out whether it is over.
	suspectsLast = 15 * time.Second
)

// doubt is what is to be done about a suspect.
type doubt uint8

const (
	remove doubt = iota // the token is not valid
	spare               // enough have gone: it stays, and its push is lost
	later               // it cannot be told yet: try again
	trip                // all of them look bad
)

// delivered notes that a device was reached.
func (g *guard) delivered(device uint64, now time.Time) {
	clear(g.run)
	g.turn(now)
	w := &g.window[0]
	if w.seen == nil {
		w.seen = make([]uint64, g.bits/64)
	}
	bit := device % uint64(g.bits)
	if w.seen[bit/64]&(1<<(bit%64)) == 0 {
		w.seen[bit/64] |= 1 << (bit % 64)
		w.reached++
	}
}

// suspect notes that a device's token looks invalid, and tells what to do about it.
func (g *guard) suspect(device uint64, now time.Time) doubt {
	g.turn(now)
	first := len(g.run) == 0
	g.another(device)
	reached := g.reached()
	switch {
	case first && reached >= guardLeast && g.window[0].removed+g.window[1].removed < 1+reached/guardPercent:
		g.window[0].removed++
		g.removed++
		return remove
	case len(g.run) >= min(max(reached, guardRunMin), guardRunMax):
		g.trips++
		g.tripped = now
		return trip
	case first && reached >= guardLeast:
		g.kept++
		return spare
	default:
		return later
	}
}

// another adds to the suspects since the last success.
func (g *guard) another(device uint64) {
	if g.run == nil {
		g.run = make(map[uint64]struct{})
	}
	if len(g.run) < guardRunKept {
		g.run[device] = struct{}{}
	}
}

// suspected reports whether a device's token looked invalid since the last success.
func (g *guard) suspected(device uint64) bool {
	_, ok := g.run[device]
	return ok
}

// reached is how many devices were, in the window before or in this one: never more than in both.
func (g *guard) reached() int { return max(g.window[0].reached, g.window[1].reached) }

// turn begins a window when the current one has lasted.
func (g *guard) turn(now time.Time) {
	age := now.Sub(g.window[0].began)
	switch {
	case age < guardWindow:
		return
	case age < 2*guardWindow:
		old := g.window[1].seen
		clear(old)
		g.window[1] = g.window[0]
		g.window[0] = window{began: now, seen: old}
	default:
		g.window = [2]window{{began: now}}
	}
}
