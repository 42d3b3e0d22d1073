package journal

import (
	"bytes"
	"testing"
	"time"
)

var epoch = time.Unix(0, 0)

// FuzzDecodeFrame: whatever bytes come, a frame is accepted only if encoding it again gives them.
func FuzzDecodeFrame(f *testing.F) {
	f.Add(appendFrame(nil, 0, []byte("record"), wordFirst|wordLast), uint64(0))
	f.Add(appendFrame(nil, 1<<40, []byte{0}, 0), uint64(1<<40))
	f.Add(appendFrame(nil, 7, []byte("elsewhere"), wordLast), uint64(8))
	f.Add(appendFrame(nil, 7, bytes.Repeat([]byte("long"), 100), wordFirst)[:200], uint64(7))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0}, uint64(0))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5}, uint64(0))
	f.Add([]byte{5, 0, 0}, uint64(0))
	f.Fuzz(func(t *testing.T, data []byte, at uint64) {
		pos := Position(at)
		record, word, need, status := decodeFrame(data, pos)
		switch status {
		case frameOK:
			again := appendFrame(nil, pos, record, word&(wordFirst|wordLast))
			if need != len(again) || !bytes.Equal(again, data[:need]) {
				t.Fatalf("accepted %x at %d, which encodes as %x", data[:need], pos, again)
			}
			if _, _, _, elsewhere := decodeFrame(data, pos+1); elsewhere == frameOK {
				t.Fatalf("%x is valid at %d and at %d", data[:need], pos, pos+1)
			}
		case frameShort:
			if need <= len(data) || need > frameHead+maxLength {
				t.Fatalf("needs %d bytes, has %d", need, len(data))
			}
		case frameEnd, frameBad:
			if record != nil {
				t.Fatal("a record without a frame")
			}
		}
	})
}

// FuzzCheckHeader: only what encodeHeader makes passes.
func FuzzCheckHeader(f *testing.F) {
	f.Add(encodeHeader(0, epoch)[:headerUsed], uint64(0))
	f.Add(encodeHeader(5, epoch)[:headerUsed], uint64(6))
	f.Add([]byte(magic), uint64(0))
	f.Fuzz(func(t *testing.T, data []byte, base uint64) {
		if checkHeader(data, Position(base)) != "" {
			return
		}
		if want := encodeHeader(Position(base), epoch); !bytes.Equal(data[:24], want[:24]) {
			t.Fatalf("accepted %x", data)
		}
	})
}

func TestDecodeKeepsRecordOnlyWhenValid(t *testing.T) {
	data := appendFrame(nil, 3, []byte("record"), 0)
	for i := range data {
		for bit := range 8 {
			data[i] ^= 1 << bit
			if record, _, _, status := decodeFrame(data, 3); status == frameOK {
				t.Fatalf("byte %d bit %d flipped: %q", i, bit, record)
			}
			data[i] ^= 1 << bit
		}
	}
}
