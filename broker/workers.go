package broker

import (
	"sync"
	"time"
)

// workers are the pump goroutines: each serves one session until nothing is due, then waits for another one. One that
// waits has a stack that has grown already, and is woken by a plain channel.
type workers struct {
	mu     sync.Mutex
	idle   []*worker // the last one waits the shortest
	closed bool
}

// worker is a pump goroutine that waits, or is about to.
type worker struct {
	work  chan *Session // holds one; closed: end
	since time.Time     // when it was found waiting; guarded by workers.mu
}

// workerIdle is how long a pump goroutine waits before it ends.
const workerIdle = 5 * time.Second

// startPump gives the session to a waiting pump goroutine, or to a new one.
func (b *Broker) startPump(s *Session) {
	l := &b.workers
	l.mu.Lock()
	if n := len(l.idle); n > 0 {
		w := l.idle[n-1]
		l.idle[n-1], l.idle = nil, l.idle[:n-1]
		l.mu.Unlock()
		w.work <- s // it has room: who waits was given nothing
		return
	}
	l.mu.Unlock()
	b.wg.Go(func() { b.pump(s) })
}

// pump is a pump goroutine.
func (b *Broker) pump(s *Session) {
	w := &worker{work: make(chan *Session, 1)}
	for {
		for s.step(s.work) {
		}
		if !b.workers.wait(w) {
			return
		}
		ok := false
		if s, ok = <-w.work; !ok {
			return
		}
	}
}

// wait lists a worker as waiting; false after close.
func (l *workers) wait(w *worker) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	w.since = time.Time{}
	l.idle = append(l.idle, w)
	return true
}

// sweep ends the workers that have waited for long. The housekeeper calls it every second.
func (l *workers) sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := 0
	for i, w := range l.idle {
		if w.since.IsZero() {
			w.since = now
		}
		if now.Sub(w.since) >= workerIdle {
			old = i + 1 // what lies below the last old one waits longer
		}
	}
	for _, w := range l.idle[:old] {
		close(w.work)
	}
	if l.idle = append([]*worker(nil), l.idle[old:]...); len(l.idle) == 0 {
		l.idle = nil
	}
}

// close ends the workers that wait, and those that would.
func (l *workers) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, w := range l.idle {
		close(w.work)
	}
	l.idle = nil
}
