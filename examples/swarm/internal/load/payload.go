//go:build linux

package load

import (
	"bytes"
	"fmt"
	"math/rand/v2"
)

// A payload is printable, so that it passes as chat text, and says who sent it
// and when it should have been sent:
//
//	sw5f3a9c01:00000007:0000002a:18a3f2c4d5e6f708:......
//	  run      sender   number   intended time, ns
//
// in hexadecimal, filled up to its size. Receivers look for the mark in front
// ("sw", run, colon) anywhere in what they get, so the same parser reads a text
// and one inside JSON, CBOR or a batch of messages.
const (
	markLen    = 2 + 8 + 1
	minPayload = markLen + 8 + 1 + 8 + 1 + 16
)

// run names one run; messages of other runs are not counted.
type run struct {
	id   string
	mark []byte
}

func newRun() *run {
	id := fmt.Sprintf("%08x", rand.Uint32())
	return &run{id: id, mark: []byte("sw" + id + ":")}
}

// stamp is what a payload says.
type stamp struct {
	sender, number uint32
	intended       int64
}

// appendPayload appends the payload of s, size bytes in all.
func (r *run) appendPayload(b []byte, s stamp, size int) []byte {
	end := len(b) + size
	b = append(b, r.mark...)
	b = appendHex(b, uint64(s.sender), 8)
	b = append(b, ':')
	b = appendHex(b, uint64(s.number), 8)
	b = append(b, ':')
	b = appendHex(b, uint64(s.intended), 16)
	for len(b) < end {
		b = append(b, '.')
	}
	return b
}

// find reads the first stamp of this run in b and answers what follows it; ok
// is false if there is none.
func (r *run) find(b []byte) (s stamp, rest []byte, ok bool) {
	for {
		if !bytes.HasPrefix(b, r.mark) {
			i := bytes.Index(b, r.mark)
			if i < 0 {
				return stamp{}, nil, false
			}
			b = b[i:]
		}
		if len(b) >= minPayload && b[markLen+8] == ':' && b[markLen+17] == ':' {
			sender, ok1 := hex(b[markLen : markLen+8])
			number, ok2 := hex(b[markLen+9 : markLen+17])
			at, ok3 := hex(b[markLen+18 : minPayload])
			if ok1 && ok2 && ok3 {
				return stamp{uint32(sender), uint32(number), int64(at)}, b[minPayload:], true
			}
		}
		b = b[markLen:]
	}
}

// appendCID appends the id of a sender's message number n: 17 characters.
func (r *run) appendCID(b []byte, n uint32) []byte {
	b = append(b, r.id...)
	b = append(b, '-')
	return appendHex(b, uint64(n), 8)
}

// cidNumber is the number in a cid of this run.
func (r *run) cidNumber(cid []byte) (uint32, bool) {
	if len(cid) != 17 || string(cid[:8]) != r.id || cid[8] != '-' {
		return 0, false
	}
	n, ok := hex(cid[9:])
	return uint32(n), ok
}

func appendHex(b []byte, v uint64, digits int) []byte {
	for i := digits - 1; i >= 0; i-- {
		b = append(b, "0123456789abcdef"[v>>(4*i)&15])
	}
	return b
}

func hex(b []byte) (v uint64, ok bool) {
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, false
		}
		v = v<<4 | uint64(c)
	}
	return v, true
}
