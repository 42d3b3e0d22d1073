package bolt

import (
	"encoding/binary"
	"errors"
)

// Rows are packed: a version byte, then varints and length-prefixed strings in a fixed order. They are written with
// encoding/binary's Append functions and appendString, and read with a rowReader.

var (
	errRowShort   = errors.New("the row ends too early")
	errRowLong    = errors.New("bytes follow the row's end")
	errRowVarint  = errors.New("a number is too large")
	errRowVersion = errors.New("the row's version is not known")
	errRowOrder   = errors.New("the row's list is not in order")
)

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// rowReader reads a packed row. After the first fault it returns zeros; end reports the fault.
type rowReader struct {
	b   []byte
	err error
}

func (r *rowReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

// version reads the leading version byte and fails unless it is want.
func (r *rowReader) version(want byte) {
	if v := r.byte(); r.err == nil && v != want {
		r.fail(errRowVersion)
	}
}

func (r *rowReader) byte() byte {
	if len(r.b) == 0 {
		r.fail(errRowShort)
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *rowReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.badVarint(n)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *rowReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.badVarint(n)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *rowReader) badVarint(n int) {
	if n == 0 {
		r.fail(errRowShort)
		return
	}
	r.fail(errRowVarint)
}

// count reads the length of a list whose items take at least size bytes each, so that a corrupt length cannot make
// the caller reserve more than the row could hold.
func (r *rowReader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.fail(errRowShort)
		return 0
	}
	return int(n)
}

// bytes returns n bytes of the row itself, valid as long as the row is.
func (r *rowReader) bytes(n int) []byte {
	if n > len(r.b) {
		r.fail(errRowShort)
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *rowReader) string() string { return string(r.bytes(r.count(1))) }

// end reports the first fault, or that something follows.
func (r *rowReader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail(errRowLong)
	}
	return r.err
}
