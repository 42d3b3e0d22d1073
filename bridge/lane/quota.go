package lane

import (
	"math"
	"time"
)

// bucket is a token bucket: rate a second, as many at once as a second brings. The zero value grants everything.
type bucket struct {
	rate   float64
	tokens float64
	last   time.Time
}

// leastBurst makes halves of a bucket differ where there are few pushes a second.
const leastBurst = 4

func newBucket(rate float64, now time.Time) bucket {
	b := bucket{rate: rate, last: now}
	b.tokens = b.burst()
	return b
}

func (b *bucket) burst() float64 { return max(b.rate, leastBurst) }

// ready reports whether one may be taken so that the given part of the burst is left, and if not, when.
func (b *bucket) ready(now time.Time, left float64) (at time.Time, ok bool) {
	if b.rate == 0 {
		return now, true
	}
	if d := now.Sub(b.last); d > 0 {
		b.tokens = min(b.tokens+d.Seconds()*b.rate, b.burst())
		b.last = now
	}
	missing := 1 + left*b.burst() - b.tokens
	if missing <= 0 {
		return now, true
	}
	// A microsecond more, so that what was rounded off is there when it is asked again.
	return now.Add(time.Duration(min(missing/b.rate, 3600)*float64(time.Second)) + time.Microsecond), false
}

func (b *bucket) take() {
	if b.rate != 0 {
		b.tokens--
	}
}

// slowdown is the rate of bulk on a route after the provider was busy: half of what it was, then a tenth more every ten
// seconds, until it is well above what it was.
type slowdown struct {
	bucket
	goal float64 // it ends at this rate
	next time.Time

	// How much bulk goes: of the five seconds before, and since.
	began    time.Time
	old, now int
}

const (
	slowStep   = 10 * time.Second
	slowGrowth = 1.1
	slowMeter  = 5 * time.Second
)

// halve is called when the provider was busy, and asks for nothing to be sent until then.
func (s *slowdown) halve(now, until time.Time) {
	s.count(now, 0)
	was := max(float64(s.old)/slowMeter.Seconds(), float64(s.now)/max(now.Sub(s.began).Seconds(), 1))
	if s.rate != 0 {
		was = s.rate
	} else {
		s.goal = max(2*was, 2)
	}
	s.bucket = newBucket(max(was/2, 1), now)
	s.next = until.Add(slowStep)
}

// ready is bucket.ready at the rate of this moment.
func (s *slowdown) ready(now time.Time) (at time.Time, ok bool) {
	if s.rate == 0 {
		return now, true
	}
	if d := now.Sub(s.next); d >= 0 {
		steps := 1 + d/slowStep
		rate := s.rate * math.Pow(slowGrowth, float64(steps))
		if rate >= s.goal {
			s.bucket = bucket{}
			return now, true
		}
		s.rate = rate
		s.next = s.next.Add(steps * slowStep)
	}
	return s.bucket.ready(now, 0)
}

// count notes pushes.
func (s *slowdown) count(now time.Time, n int) {
	switch d := now.Sub(s.began); {
	case d >= 2*slowMeter:
		s.began, s.old, s.now = now, 0, 0
	case d >= slowMeter:
		s.began, s.old, s.now = now, s.now, 0
	}
	s.now += n
}
