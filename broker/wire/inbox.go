package wire

import (
	"io"
	"sync"
)

// readSize is the size of a pooled read buffer, and so of what one system call can bring.
const readSize = 16 << 10

var readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// inbox holds what has arrived and is not handled. An idle connection holds nothing: on plain TCP the buffer is taken
// from the pool inside the attempt to read and given back when there is nothing to read, on other streams the first
// bytes come into a small array. Of a packet that is cut off in the middle only the bytes that came are held, so that
// a length costs nothing to claim.
type inbox struct {
	buf  *[readSize]byte // held while there is data in it
	have int             // bytes in buf
	part []byte          // instead of buf: the beginning of a packet, either parked or too large for buf
	need int             // the size of the packet that has begun, 0 while unknown
}

// space returns where to read to.
func (in *inbox) space() []byte {
	if in.need > readSize {
		if in.buf != nil {
			in.part = append(make([]byte, 0, min(in.need, 2*readSize)), in.buf[:in.have]...)
			in.drop()
		}
		if len(in.part) == cap(in.part) {
			grown := make([]byte, len(in.part), min(in.need, max(2*len(in.part), 2*readSize)))
			copy(grown, in.part)
			in.part = grown
		}
		return in.part[len(in.part):min(cap(in.part), in.need)]
	}
	if in.buf == nil {
		in.buf = readBuffers.Get().(*[readSize]byte)
		in.have = copy(in.buf[:], in.part)
		in.part = nil
	}
	return in.buf[in.have:]
}

// filled says that n bytes were read into space.
func (in *inbox) filled(n int) {
	if in.buf != nil {
		in.have += n
	} else {
		in.part = in.part[:len(in.part)+n]
	}
}

// data is everything that has arrived. It is valid until the next call of any method.
func (in *inbox) data() []byte {
	if in.buf != nil {
		return in.buf[:in.have]
	}
	return in.part
}

// consumed removes n bytes from the front.
func (in *inbox) consumed(n int) {
	if in.buf != nil {
		in.have = copy(in.buf[:], in.buf[n:in.have])
	} else if n > 0 {
		in.part = nil // a large packet is read to its end exactly
	}
}

// park gives the buffer back, keeping only the bytes that are in it.
func (in *inbox) park() {
	if in.buf == nil {
		return
	}
	if in.have > 0 {
		in.part = append([]byte(nil), in.buf[:in.have]...)
	}
	in.drop()
}

// parkEmpty gives the buffer back if nothing is in it.
func (in *inbox) parkEmpty() {
	if in.buf != nil && in.have == 0 {
		in.drop()
	}
}

func (in *inbox) drop() {
	readBuffers.Put(in.buf)
	in.buf, in.have = nil, 0
}

// discard forgets everything.
func (in *inbox) discard() {
	if in.buf != nil {
		in.drop()
	}
	in.part = nil
}

// fill waits for more bytes.
func (c *conn) fill() error {
	if c.raw != nil {
		return c.fillRaw()
	}
	in := &c.in
	in.parkEmpty()
	if in.buf == nil && in.part == nil {
		n, err := c.stream.Read(c.first[:])
		if n > 0 {
			copy(in.space(), c.first[:n])
			in.filled(n)
			return nil
		}
		return noProgress(err)
	}
	n, err := c.stream.Read(in.space())
	if n > 0 {
		in.filled(n)
		return nil
	}
	return noProgress(err)
}

func noProgress(err error) error {
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}
