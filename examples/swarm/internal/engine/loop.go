//go:build linux

package engine

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/hwangso/hwangso/examples/swarm/internal/packet"
	"golang.org/x/sys/unix"
)

const (
	maxPacket = 1 << 20   // bytes; a larger packet ends its connection
	readChunk = 128 << 10 // bytes read from one connection before the next one's turn
	maxEvents = 256       // connections served between two looks at the timers
)

// Loop runs the connections made with NewConn. See the package comment.
type Loop struct {
	// fixed
	epfd, wakefd int
	done         chan struct{}

	// owned by the loop's goroutine
	now     int64
	buf     []byte         // what is being parsed; nothing keeps a slice of it
	message packet.Publish // what Publish is called with: one for all, nothing is allocated
	scratch []byte         // for handlers that build a payload
	conns   []*Conn        // by descriptor
	dirty   []*Conn        // have something to write
	timers  timers
	gen     int32
	ending  bool
	onTurn  func()

	// guarded by mu
	mu     sync.Mutex
	posted []func()
	woken  bool
	ended  bool
}

// Start makes a loop and starts it. onTurn, if not nil, is called on the loop
// after each round of work, at most a few hundred messages apart: the place to
// publish counters.
func Start(onTurn func()) (*Loop, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("engine: epoll: %w", err)
	}
	wakefd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epfd)
		return nil, fmt.Errorf("engine: eventfd: %w", err)
	}
	l := &Loop{
		epfd: epfd, wakefd: wakefd,
		done:   make(chan struct{}),
		buf:    make([]byte, maxPacket+readChunk),
		onTurn: onTurn,
	}
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, wakefd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wakefd)}); err != nil {
		unix.Close(wakefd)
		unix.Close(epfd)
		return nil, fmt.Errorf("engine: epoll: %w", err)
	}
	go l.run()
	return l, nil
}

// Do runs f on the loop, soon. It is for the loop itself and for the one
// goroutine that will call Close; after Close it does nothing.
func (l *Loop) Do(f func()) {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return
	}
	l.posted = append(l.posted, f)
	wake := !l.woken
	l.woken = true
	l.mu.Unlock()
	if wake {
		l.wake()
	}
}

// Close ends the loop, closing its connections without a DISCONNECT and
// without telling their handlers, and waits until it has ended. What handlers
// own may be read afterwards. Only the first call does anything.
func (l *Loop) Close() {
	l.Do(func() { l.ending = true })
	l.mu.Lock()
	again := l.ended
	l.ended = true
	l.mu.Unlock()
	<-l.done
	if !again {
		unix.Close(l.wakefd)
		unix.Close(l.epfd)
	}
}

// Now is the time of the current round, as Now tells it. Only on the loop.
func (l *Loop) Now() int64 { return l.now }

// Scratch is a buffer for building a payload; it is anybody's until the next
// handler call. Only on the loop.
func (l *Loop) Scratch() []byte { return l.scratch[:0] }

// KeepScratch gives a grown scratch buffer back, so that it grows once.
func (l *Loop) KeepScratch(b []byte) { l.scratch = b }

// Set arms t for the time at, as Now tells it. Only on the loop.
func (l *Loop) Set(t *Timer, at int64) { l.timers.set(t, at) }

// Stop disarms t. Only on the loop.
func (l *Loop) Stop(t *Timer) { l.timers.stop(t) }

func (l *Loop) run() {
	// The thread is ours for its timer slack: epoll would otherwise wake up
	// to 50 µs late, which would be counted as the server's latency.
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	defer close(l.done)
	events := make([]unix.EpollEvent, maxEvents)
	for !l.ending {
		n := l.wait(events)
		l.now = Now()
		for i := range events[:n] {
			l.handle(&events[i])
		}
		for t := l.timers.due(l.now); t != nil; t = l.timers.due(l.now) {
			t.Fire(l.now)
			l.flushDirty()
		}
		l.flushDirty()
		if l.onTurn != nil {
			l.onTurn()
		}
	}
	for _, c := range l.conns {
		if c != nil {
			c.release()
		}
	}
}

func (l *Loop) handle(e *unix.EpollEvent) {
	if int(e.Fd) == l.wakefd {
		l.runPosted()
		return
	}
	// An event may be about a descriptor that was closed and opened again in
	// this very round: the generation tells.
	c := l.conns[e.Fd]
	if c == nil || c.gen != e.Pad {
		return
	}
	c.ready(e.Events)
}

func (l *Loop) runPosted() {
	var b [8]byte
	_, _ = unix.Read(l.wakefd, b[:]) // resets the eventfd; EAGAIN is as good
	l.mu.Lock()
	fs := l.posted
	l.posted, l.woken = nil, false
	l.mu.Unlock()
	for _, f := range fs {
		f()
	}
}

func (l *Loop) flushDirty() {
	for i := 0; i < len(l.dirty); i++ { // a flush that fails may add more
		l.dirty[i].flush()
		l.dirty[i] = nil
	}
	l.dirty = l.dirty[:0]
}

func (l *Loop) wake() {
	one := [8]byte{1}
	_, _ = unix.Write(l.wakefd, one[:]) // fails only when already signalled
}

// wait is epoll_pwait2, whose timeout is in nanoseconds: with epoll_wait's
// milliseconds an open loop would send in bursts. Kernels before 5.11 lack it
// and get whole milliseconds, rounded up.
func (l *Loop) wait(events []unix.EpollEvent) int {
	ns := int64(-1)
	if len(l.timers) > 0 {
		ns = max(0, l.timers[0].at-Now())
	}
	var ts *unix.Timespec
	if ns >= 0 {
		t := unix.NsecToTimespec(ns)
		ts = &t
	}
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epfd),
		uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(unsafe.Pointer(ts)), 0, 0)
	switch errno {
	case 0:
		return int(n)
	case unix.ENOSYS:
		ms := -1
		if ns >= 0 {
			ms = int(min((ns+999_999)/1_000_000, 60_000))
		}
		n, err := unix.EpollWait(l.epfd, events, ms)
		if err != nil {
			return 0 // EINTR
		}
		return n
	}
	return 0 // EINTR
}
