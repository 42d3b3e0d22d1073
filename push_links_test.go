package main

import (
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hwangso/hwangso/bridge"
	"github.com/hwangso/hwangso/bridge/pushsim"
	"github.com/hwangso/hwangso/store"
)

// relay carries bytes between a device and the server until it is cut: from then on it swallows them in both directions,
// and neither end notices.
type relay struct {
	ln  net.Listener
	to  string
	run sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func newRelay(t testing.TB, to string) *relay {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &relay{ln: ln, to: to}
	l.run.Go(l.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		l.mu.Lock()
		for _, c := range l.conns {
			_ = c.Close()
		}
		l.mu.Unlock()
		l.run.Wait()
	})
	return l
}

func (l *relay) addr() string { return l.ln.Addr().String() }

func (l *relay) accept() {
	for {
		near, err := l.ln.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", l.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		l.mu.Lock()
		l.conns = append(l.conns, near, far)
		l.mu.Unlock()
		l.run.Go(func() { l.carry(near, far) })
		l.run.Go(func() { l.carry(far, near) })
	}
}

func (l *relay) carry(from, to net.Conn) {
	b := make([]byte, 4096)
	for {
		n, err := from.Read(b)
		l.mu.Lock()
		dead := l.cut
		l.mu.Unlock()
		if err != nil && !dead {
			_ = to.Close()
		}
		if err != nil {
			return
		}
		if !dead {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
	}
}

// die cuts the line.
func (l *relay) die() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
}

// gadget makes a device of a user that is known to the server, so that its first connection is no news, not connected yet.
func (r *ringing) gadget(user, client string, version byte) *actor {
	r.t.Helper()
	if err := r.store.PutDevice(r.t.Context(), store.Device{Account: r.account(user), ID: r.deviceID(user, client), ClientID: client}, 0); err != nil {
		r.t.Fatal(err)
	}
	return r.device(user, client, version)
}

// calm waits until nothing is under way: every entry is read and decided about, no push is on its way, and what waits does so
// as a row that is not due yet. What a phone shows then it shows until the clock moves or somebody does something.
func (r *ringing) calm() {
	r.t.Helper()
	var s bridge.Status
	due := 0
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		s = r.bridge.Status()
		if s.Behind != 0 || s.Unsettled != 0 || s.Rings != 0 {
			continue
		}
		if due = r.dueRows(); due != 0 {
			continue
		}
		if s = r.bridge.Status(); s.Behind == 0 && s.Unsettled == 0 && s.Rings == 0 {
			return
		}
	}
	r.t.Fatalf("something is still under way: %+v, %d rows are due", s, due)
}

// dueRows is how many rows are due by the clock.
func (r *ringing) dueRows() (n int) {
	r.t.Helper()
	rows, err := r.store.AllRows("user.ring", store.Owner(""), "", 10_000)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, row := range rows {
		var st struct {
			Due int64 `json:"u"`
		}
		if err := json.Unmarshal(row.Value, &st); err != nil {
			r.t.Fatal(err)
		}
		if st.Due != 0 && st.Due <= r.now().UnixMilli() {
			n++
		}
	}
	return n
}

// caughtUp waits until the journal is read.
func (r *ringing) caughtUp() {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); r.bridge.Status().Behind != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("the journal is not read: %+v", r.bridge.Status())
		}
	}
}

// later moves the clock and waits until everything has happened that was due.
func (r *ringing) later(d time.Duration) {
	r.t.Helper()
	r.caughtUp()
	r.pass(d)
	r.calm()
}

// attempts are those that were made for a phone so far.
func (r *ringing) attempts(token string) (out []pushsim.Attempt) {
	for _, a := range r.sim.Attempts() {
		if a.Token == token {
			out = append(out, a)
		}
	}
	return out
}

// never sees to it that nothing is sent to a phone but what was sent already: not now, and not within the longest window.
func (r *ringing) never(token string, sent int) {
	r.t.Helper()
	r.calm()
	for _, d := range []time.Duration{0, 20 * time.Second, time.Minute, 10 * time.Minute} {
		r.later(d)
	}
	if got := r.attempts(token); len(got) != sent {
		r.t.Errorf("%d pushes instead of %d", len(got), sent)
		for _, a := range got {
			r.t.Logf("%+v", a)
		}
	}
}

// shows waits until everything has happened and returns what a phone shows.
func (r *ringing) shows(token string) pushsim.Phone {
	r.t.Helper()
	r.calm()
	p, _ := r.sim.Phone(token)
	return p
}

// room makes a room of a user's with members.
func (r *ringing) room(name, title, owner string, members ...string) store.LogID {
	r.t.Helper()
	r.does(owner, "room.create", fmt.Sprintf(`{"room":%q,"title":%q}`, name, title))
	for _, m := range members {
		r.does(owner, "room.invite", fmt.Sprintf(`{"room":%q,"users":[%q]}`, name, m))
		if r.roomRole(name, m) == store.RoleNone {
			r.does(m, "room.accept", fmt.Sprintf(`{"room":%q}`, name))
		}
	}
	return r.roomLog(name)
}

func (r *ringing) roomLog(name string) store.LogID {
	r.t.Helper()
	info, err := r.store.Find(store.RoomKey(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return info.ID
}

func (r *ringing) roomRole(name, user string) store.Role {
	r.t.Helper()
	info, err := r.store.Info(r.roomLog(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return info.Members.Role(r.account(user))
}

// sends sends a message by the API, with what body says beside the place, and returns its sequence.
func (r *ringing) sends(user, body string) store.Seq {
	r.t.Helper()
	return store.Seq(r.does(user, "message.send", body)["seq"].(float64))
}
