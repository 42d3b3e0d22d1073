//go:build linux

package load

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hwangso/hwangso/examples/swarm/internal/check"
	"github.com/hwangso/hwangso/examples/swarm/internal/engine"
	"github.com/hwangso/hwangso/examples/swarm/internal/packet"
)

// Crash is what a crash run found. Somebody else kills the server and starts
// it again; swarm only comes back.
type Crash struct {
	Acknowledged uint64 `json:"acknowledged"` // "set": PUBACK or PUBREC came
	Found        uint64 `json:"found"`        // of these, received
	Lost         uint64 `json:"lost"`         // of these, not received
	Maybe        uint64 `json:"maybe"`        // sent, never acknowledged
	MaybeFound   uint64 `json:"maybe_found"`  // of these, received
	Resent       uint64 `json:"resent"`       // publishes repeated after a reconnect
	Reconnects   uint64 `json:"reconnects"`
	SessionsLost uint64 `json:"sessions_lost"` // a subscriber came back and had no session
	StoredTwice  uint64 `json:"stored_twice"`  // a message came under two sequence numbers
	Redelivered  uint64 `json:"redelivered"`   // came again under the same one, or flagged DUP
	Gaps         uint64 `json:"gaps"`          // sequence numbers that never came between others
	OutOfOrder   uint64 `json:"out_of_order"`
	Misplaced    uint64 `json:"stored_out_of_order"` // of these, by their sequence numbers
	Sequenced    bool   `json:"sequenced"`           // sequence numbers were seen
}

func (c *Crash) write(line func(string, string, ...any)) {
	line("acknowledged", "%s, found %s, lost %s", thousands(int(c.Acknowledged)), thousands(int(c.Found)), thousands(int(c.Lost)))
	line("unacknowledged", "%s, found %s", thousands(int(c.Maybe)), thousands(int(c.MaybeFound)))
	line("connections", "%s reconnects, %s publishes sent again", thousands(int(c.Reconnects)), thousands(int(c.Resent)))
	if c.SessionsLost > 0 {
		line("sessions lost", "%s, with all that waited in them", thousands(int(c.SessionsLost)))
	}
	gaps := "no sequence numbers seen, gaps unknown"
	if c.Sequenced {
		gaps = fmt.Sprintf("gaps %d", c.Gaps)
	}
	order := fmt.Sprint(c.OutOfOrder)
	if c.Misplaced > 0 {
		order += fmt.Sprintf(" (%d stored so)", c.Misplaced)
	}
	line("checked", "stored twice %d, redelivered %d, out of order %s, %s", c.StoredTwice, c.Redelivered, order, gaps)
}

// crash: writer i writes to user 2i+1 over however many crashes; a persistent
// subscriber of each reads everything back.
func crash(ctx context.Context, o *Options, log io.Writer) (*Report, error) {
	f, err := newFleet(o, log)
	if err != nil {
		return nil, err
	}
	defer f.close()
	k := &crashRun{fleet: f}
	for i := range o.N {
		k.add(i)
	}
	r := f.report(fmt.Sprintf("%s writers, %d in flight each, for %v", thousands(o.N), o.Window, o.Time))
	r.Connections = 2 * o.N
	if err := k.prepare(ctx); err != nil {
		return nil, err
	}
	a := f.sample()
	k.start()
	fmt.Fprintf(f.log, "swarm: %d writers for %v: crash the server now\n", o.N, o.Time)
	sleep(ctx, o.Time)
	b := f.sample()
	r.measured(f, a, b)
	f.each(func(s *shard) { s.stopped = true })

	// A ^C ends the writing; what was written is read back all the same.
	rest := context.WithoutCancel(ctx)
	if !f.await(rest, o.Drain, func(totals) bool { return k.outstanding() == 0 }) {
		r.Notes = append(r.Notes, fmt.Sprintf("%d publishes stay unacknowledged after %v without progress", k.outstanding(), o.Drain))
	}
	fmt.Fprintln(f.log, "swarm: reading back")
	k.readBack()
	want := f.totals().acked
	f.await(rest, o.Drain, func(t totals) bool { return t.delivered >= want })
	sleep(rest, stillness)
	k.end(o.Keep)
	f.close()
	r.Begin = a.at
	k.collect(r)
	return r, nil
}

// crashRun holds the writers and readers.
type crashRun struct {
	*fleet
	writers []*writer
	readers []*reader
}

func (k *crashRun) add(i int) {
	sh := k.shards[i%len(k.shards)]
	from := k.scheme.login("w", 2*i, 2*i)
	if k.opt.QoS == 2 {
		persist(&from, false) // the two halves of QoS 2 outlive a connection
	}
	w := &writer{link: link{shard: sh}, id: uint32(i), topic: []byte(k.scheme.toUser(2*i + 1)), cid: k.scheme.cid(),
		qos: byte(k.opt.QoS), size: k.opt.Size, window: k.opt.Window}
	w.link.c = sh.loop.NewConn(from, w)
	w.retry.Fire = func(int64) { w.c.Dial() }
	k.writers = append(k.writers, w)

	to := k.scheme.login("d", 2*i+1, 2*i+1)
	to.Filters, to.FilterQoS = []string{k.scheme.userFilter(2*i + 1)}, 1
	rd := &reader{link: link{shard: sh}, sender: uint32(i)}
	rd.link.c = sh.loop.NewConn(to, rd)
	rd.retry.Fire = func(int64) { rd.c.Dial() }
	k.readers = append(k.readers, rd)
}

// prepare makes the readers' sessions and connects the writers, wiping what
// earlier runs left of either.
func (k *crashRun) prepare(ctx context.Context) error {
	var peers []*peer
	for _, rd := range k.readers {
		cfg := rd.c.Config
		wipe(&cfg)
		peers = append(peers, k.peer(int(rd.sender), cfg))
	}
	for _, w := range k.writers {
		cfg := w.c.Config
		wipe(&cfg)
		peers = append(peers, k.peer(int(w.id), cfg))
	}
	if _, err := k.open(ctx, peers, false); err != nil {
		return err
	}
	k.leave(peers)
	var subscribe []*peer
	for _, rd := range k.readers {
		cfg := rd.c.Config
		persist(&cfg, true)
		subscribe = append(subscribe, k.peer(int(rd.sender), cfg))
		persist(&rd.c.Config, false)
	}
	if _, err := k.open(ctx, subscribe, false); err != nil {
		return err
	}
	k.leave(subscribe)
	k.peers = nil
	return nil
}

func (k *crashRun) start() {
	k.each(func(sh *shard) {
		sh.stopped = false
		for _, rd := range k.readers {
			if rd.shard == sh && k.opt.Live {
				rd.c.Dial()
			}
		}
		for _, w := range k.writers {
			if w.shard == sh {
				w.c.Dial()
			}
		}
	})
}

// outstanding is how many publishes wait for an acknowledgement.
func (k *crashRun) outstanding() uint64 {
	var n uint64
	k.each(func(sh *shard) {
		for _, w := range k.writers {
			if w.shard == sh {
				for _, m := range w.open {
					if !m.received {
						n++
					}
				}
			}
		}
	})
	return n
}

func (k *crashRun) readBack() {
	k.each(func(sh *shard) {
		for _, w := range k.writers {
			if w.shard == sh {
				w.quit()
			}
		}
		for _, rd := range k.readers {
			if rd.shard == sh && !k.opt.Live {
				rd.c.Dial()
			}
		}
	})
}

func (k *crashRun) end(keep bool) {
	k.each(func(sh *shard) {
		for _, rd := range k.readers {
			if rd.shard == sh {
				rd.quit()
			}
		}
	})
	if keep {
		return
	}
	var peers []*peer
	for _, rd := range k.readers {
		cfg := rd.c.Config
		wipe(&cfg)
		peers = append(peers, k.peer(int(rd.sender), cfg))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := k.open(ctx, peers, false); err == nil {
		k.leave(peers)
	}
	k.peers = nil
}

func (k *crashRun) collect(r *Report) {
	r.collect(k.fleet)
	c := &Crash{}
	for i, w := range k.writers {
		rd := k.readers[i]
		missing := rd.stream.Missing(uint64(w.next))
		lost := w.acked.Common(&missing)
		maybe := uint64(w.next) - w.acked.Count() - w.refused.Count()
		var open check.Ranges
		for _, m := range w.open {
			if !w.acked.Has(uint64(m.number)) {
				open.Add(uint64(m.number))
			}
		}
		c.Acknowledged += w.acked.Count()
		c.Lost += lost
		c.Found += w.acked.Count() - lost
		c.Maybe += maybe
		c.MaybeFound += open.Count() - open.Common(&missing)
		c.Resent += w.resent
		c.Reconnects += w.reconnects + rd.reconnects
		c.StoredTwice += rd.twice
		c.Redelivered += rd.again
		c.OutOfOrder += rd.stream.OutOfOrder()
		c.SessionsLost += rd.forgotten
		c.Misplaced += rd.misplaced
		gaps := rd.gaps()
		c.Gaps += gaps.Count()
		if lost > 0 {
			r.example(k.scheme.user(2*i+1)+" lacks messages", &missing)
		}
		if gaps.Count() > 0 {
			r.example(k.scheme.user(2*i+1)+" lacks sequence numbers", &gaps)
		}
		c.Sequenced = c.Sequenced || rd.sequenced
		r.Strays += rd.stream.Unsent(uint64(w.next)) + rd.strays
	}
	r.Crash = c
}

// example notes which numbers somebody lacks, as far as ten notes go.
func (r *Report) example(what string, s *check.Ranges) {
	if len(r.Notes) >= 10 {
		return
	}
	what += ":"
	for first, last := range s.All() {
		if len(what) > 100 {
			what += " …"
			break
		}
		what += fmt.Sprintf(" %d", first)
		if last > first {
			what += fmt.Sprintf("–%d", last)
		}
	}
	r.Notes = append(r.Notes, what)
}

// link is a connection that comes back until quit.
type link struct {
	shard      *shard
	c          *engine.Conn
	retry      engine.Timer
	over       bool
	was        bool // it was ready before
	reconnects uint64
}

func (l *link) ready() {
	if l.was {
		l.reconnects++
	}
	l.was = true
}

// Closed comes back after 20 to 100 ms: a crashed server's clients do not come
// in step.
func (l *link) Closed(*engine.Conn, error) {
	if !l.over {
		l.shard.loop.Set(&l.retry, engine.Now()+int64(20*time.Millisecond)+rand.Int64N(int64(80*time.Millisecond)))
	}
}

func (l *link) quit() {
	l.over = true
	l.shard.loop.Stop(&l.retry)
	l.c.Disconnect()
}

// writer publishes and keeps what is not acknowledged until it is.
type writer struct {
	link
	id     uint32
	topic  []byte
	cid    bool
	qos    byte
	size   int
	window int

	next    uint32
	packet  uint16
	open    []message // in the order of sending
	acked   check.Ranges
	refused check.Ranges
	resent  uint64
}

// message is one that was sent and may have to be sent again.
type message struct {
	number   uint32
	id       uint16
	received bool // QoS 2: PUBREC came, PUBCOMP did not
	intended int64
}

var _ engine.Handler = (*writer)(nil)

// Ready implements engine.Handler: first what is open, in order, then more.
// If the server kept the session, a repeat keeps its packet identifier and says
// DUP (MQTT 3.1.1, 4.4); otherwise it is a new publish and only the cid tells.
func (w *writer) Ready(_ *engine.Conn, present bool) {
	w.ready()
	if !present {
		// Without the session nothing waits for PUBREL.
		w.open = slices.DeleteFunc(w.open, func(m message) bool { return m.received })
	}
	for i := range w.open {
		m := &w.open[i]
		if m.received {
			w.c.Release(m.id)
			continue
		}
		if !present {
			m.id = w.identifier(w.open[i+1:])
		}
		w.resent++
		w.publish(m, present)
	}
	w.pump()
}

func (w *writer) pump() {
	for w.c.Open() && !w.shard.stopped && len(w.open) < min(w.window, int(w.c.Window())) {
		m := message{number: w.next, id: w.identifier(nil), intended: w.shard.loop.Now()}
		w.next++
		w.shard.n.sent++
		w.open = append(w.open, m)
		w.publish(&m, false)
	}
}

func (w *writer) publish(m *message, dup bool) {
	b := w.shard.run.appendPayload(w.shard.loop.Scratch(), stamp{w.id, m.number, m.intended}, w.size)
	end := len(b)
	if w.cid {
		b = w.shard.run.appendCID(b, m.number)
	}
	w.c.Publish(w.qos, dup, m.id, w.topic, b[end:], b[:end])
	w.shard.loop.KeepScratch(b)
}

// identifier is the next packet identifier that no open message has.
func (w *writer) identifier(except []message) uint16 {
	for {
		if w.packet++; w.packet == 0 {
			continue
		}
		used := slices.ContainsFunc(w.open, func(m message) bool { return m.id == w.packet })
		// Messages still to be renumbered do not keep theirs.
		used = used && !slices.ContainsFunc(except, func(m message) bool { return m.id == w.packet })
		if !used {
			return w.packet
		}
	}
}

// Acked implements engine.Handler. PUBACK and PUBREC move the responsibility
// to the server: from then on the message may not be lost.
func (w *writer) Acked(_ *engine.Conn, kind byte, id uint16, reason byte) {
	i := slices.IndexFunc(w.open, func(m message) bool { return m.id == id })
	if i < 0 {
		w.shard.failed("acknowledgement of nothing sent")
		return
	}
	m := &w.open[i]
	switch {
	case kind == packet.PUBCOMP:
		if !m.received {
			w.shard.failed("PUBCOMP without PUBREC")
			return
		}
		w.open = slices.Delete(w.open, i, i+1)
	case reason >= 0x80:
		w.shard.failed("refused " + engine.ReasonName(reason))
		w.shard.n.refused++
		w.refused.Add(uint64(m.number))
		w.open = slices.Delete(w.open, i, i+1)
	default:
		if !m.received {
			w.acked.Add(uint64(m.number))
			w.shard.n.acked++
			w.shard.ack.Record(w.shard.loop.Now() - m.intended)
		}
		m.received = true
		if kind == packet.PUBACK {
			w.open = slices.Delete(w.open, i, i+1)
		}
	}
	w.pump()
}

// Publish implements engine.Handler: a writer subscribes to nothing, so it can
// only be told why it was refused.
func (w *writer) Publish(_ *engine.Conn, m *packet.Publish) {
	rest, ok := bytes.CutPrefix(m.Topic, []byte("reply/"))
	what, refused := readReply(m.Payload)
	if !ok || !refused {
		return
	}
	w.shard.failed(what)
	number, byCID := w.shard.run.cidNumber(rest)
	id, byID := packetID(rest)
	for i, o := range w.open {
		// 503 asks to send again, and a positive PUBACK does not follow it.
		if (byCID && o.number == number || byID && o.id == id) && !bytes.Contains(m.Payload, []byte("503")) {
			w.refused.Add(uint64(o.number))
			w.shard.n.refused++
			w.open = slices.Delete(w.open, i, i+1)
			break
		}
	}
}
