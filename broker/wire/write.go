package wire

import (
	"errors"
	"fmt"
	"sync"

	"github.com/hwangso/hwangso/broker"
	"github.com/hwangso/hwangso/broker/view"
)

// chunkSize is the most that is given to the kernel at once.
const chunkSize = 16 << 10

// chunk gathers encoded packets until they are worth a write.
type chunk struct {
	c       *conn
	n       int // bytes in b
	packets int
	bytes   int // written before
	err     error
	b       [chunkSize]byte
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// Write encodes the items and writes them in as few chunks as they need. It implements broker.Link; only the session's
// pump calls it.
func (c *conn) Write(items []broker.Item) error {
	w := chunks.Get().(*chunk)
	w.c, w.n, w.packets, w.bytes, w.err = c, 0, 0, 0, nil
	var failed error
	for i := range items {
		switch it := &items[i]; it.Kind {
		case broker.ItemDelivery:
			w.delivery(it)
		case broker.ItemOutcome:
			failed = w.outcome(it)
		case broker.ItemFrame:
			w.put(it.Frame)
			if f := c.farewell.Load(); f != nil && &f.frame[0] == &it.Frame[0] {
				failed = f.why
			}
		}
		if failed != nil || w.err != nil {
			break
		}
	}
	w.flush()
	err := w.err
	c.srv.metrics.sent(w.packets, w.bytes)
	w.c = nil
	chunks.Put(w)
	if err == nil && failed != nil {
		err = failed
		c.Close(failed)
	}
	return err
}

// room returns the free part of the chunk if n bytes fit into it after writing out what is there, else nil.
func (w *chunk) room(n int) []byte {
	w.packets++
	if n > chunkSize-w.n {
		w.flush()
		if n > chunkSize {
			return nil
		}
	}
	return w.b[w.n:w.n]
}

func (w *chunk) took(n int) { w.n += n }

// put adds an encoded packet.
func (w *chunk) put(p []byte) {
	if b := w.room(len(p)); b != nil {
		w.took(copy(b[:len(p)], p))
		return
	}
	w.long(p)
}

// long writes a packet larger than a chunk, in pieces.
func (w *chunk) long(p []byte) {
	for len(p) > 0 && w.err == nil {
		n := copy(w.b[:], p)
		w.n, p = n, p[n:]
		w.flush()
	}
}

func (w *chunk) flush() {
	if w.n == 0 || w.err != nil {
		w.n = 0
		return
	}
	w.err = w.c.send(w.b[:w.n])
	w.bytes += w.n
	w.n = 0
}

func (w *chunk) delivery(it *broker.Item) {
	props := 0
	if w.c.version == v5 {
		props = publishProps(it)
	}
	n := publishSize(it, w.c.version, props)
	size := 1 + varintSize(n) + n
	if b := w.room(size); b != nil {
		w.took(len(appendPublish(b, it, w.c.version, n, props)))
		return
	}
	w.long(appendPublish(make([]byte, 0, size), it, w.c.version, n, props))
}

// outcome writes the answer to a packet. An error means that the connection must end after what was written: on 3.x a
// message that could not be stored has no other way back to the client's queue than a new connection.
func (w *chunk) outcome(it *broker.Item) error {
	c, a := w.c, &it.Ack
	err := it.Err
	if a.Release {
		return w.released(a.PacketID, it.Receipt.Repeated, err)
	}
	flood := errors.Is(err, broker.ErrFlood)
	tell := err != nil && (a.QoS == 0 || c.version != v5) && (!a.Quiet || flood) || err == nil && a.Tell && a.CID != ""
	if tell {
		o := view.Success(it.Receipt, a.CID)
		if err != nil {
			o = view.Failure(err, a.CID, view.English)
		}
		if frame := c.encodeReply(a.PacketID, a.CID, o); frame != nil {
			w.put(frame)
		}
	}
	if a.QoS == 0 {
		if flood { // what was refused often enough ends the connection
			return err
		}
		return nil
	}
	if err != nil && c.version != v5 && row(err).V3 == AnswerClose {
		return err
	}
	packet := byte(typePuback)
	if a.QoS == 2 {
		packet = typePubrec
	}
	var reason byte
	var p ackProps
	switch {
	case c.version != v5:
	case err != nil:
		if reason, p = pubReason(err); !c.problems {
			p = ackProps{}
		}
	case c.problems:
		p.seq = uint64(it.Receipt.Seq)
	}
	if c.version == v5 {
		if a.QoS == 1 || reason >= 0x80 {
			c.answered()
		} else if it.Receipt.Seq == 0 {
			if c.unstored == nil {
				c.unstored = make(map[uint16]struct{})
			}
			c.unstored[a.PacketID] = struct{}{}
		}
	}
	w.ack(packet, a.PacketID, reason, p)
	if flood {
		return err
	}
	return nil
}

// released answers a PUBREL. PUBCOMP knows success and "unknown" only, so a failing storage ends the connection: the
// client sends the PUBREL again on the next one.
func (w *chunk) released(id uint16, known bool, err error) error {
	if err != nil {
		return fmt.Errorf("wire: release: %w", err)
	}
	c := w.c
	if _, unstored := c.unstored[id]; unstored {
		delete(c.unstored, id)
		known = true
	}
	var reason byte
	if !known {
		reason = reasonUnknownID
	}
	if c.version == v5 {
		c.answered()
	}
	w.ack(typePubcomp, id, reason, ackProps{})
	return nil
}

func (w *chunk) ack(packet byte, id uint16, reason byte, p ackProps) {
	b := w.room(maxAck)
	w.took(len(appendAck(b, packet, w.c.version, id, reason, p, w.c.maxPacket)))
}

const maxAck = 512

// answered takes one publish out of the Receive Maximum. An answer to a PUBREL of an earlier connection does not make
// it negative.
func (c *conn) answered() {
	for {
		n := c.pending.Load()
		if n <= 0 || c.pending.CompareAndSwap(n, n-1) {
			return
		}
	}
}

// send writes bytes to the client.
func (c *conn) send(b []byte) error {
	if c.broken.Load() {
		return errClientGone
	}
	if _, err := c.stream.Write(b); err != nil {
		c.broken.Store(true) // a part of a packet may have gone out
		return err
	}
	return nil
}
