//go:build linux

package load

import (
	"bytes"
	"fmt"
	"testing"
)

func TestPayloadIsFoundInEveryView(t *testing.T) {
	r := newRun()
	want := stamp{7, 1<<32 - 1, 1<<62 + 5}
	for _, size := range []int{minPayload, 68, 1000} {
		p := r.appendPayload(nil, want, size)
		if len(p) != size {
			t.Errorf("%d bytes, want %d", len(p), size)
		}
		for _, in := range []string{string(p), "u7: " + string(p), fmt.Sprintf(`{"s":1,"b":%q}`, p), "\xa2\x00\x01\x04\x78\x44" + string(p), string(r.mark) + string(p)} {
			if got, _, ok := r.find([]byte(in)); !ok || got != want {
				t.Errorf("in %q: %+v %v", in, got, ok)
			}
		}
	}
	a, b := stamp{1, 2, 3}, stamp{4, 5, 6}
	batch := r.appendPayload([]byte("\x82"), a, 68)
	batch = r.appendPayload(append(batch, "\xa1\x04"...), b, 68)
	got1, rest, ok1 := r.find(batch)
	got2, rest, ok2 := r.find(rest)
	if _, _, ok3 := r.find(rest); !ok1 || !ok2 || ok3 || got1 != a || got2 != b {
		t.Errorf("batch: %+v %v, %+v %v, a third %v", got1, ok1, got2, ok2, ok3)
	}
	other := &run{id: "00000000", mark: []byte("sw00000000:")}
	if _, _, ok := other.find(r.appendPayload(nil, want, 68)); ok && r.id != other.id {
		t.Error("another run's message is taken")
	}
}

func TestCID(t *testing.T) {
	r := newRun()
	cid := r.appendCID(nil, 77)
	if n, ok := r.cidNumber(cid); !ok || n != 77 || len(cid) > 36 {
		t.Errorf("%q is %d, %v", cid, n, ok)
	}
	for _, bad := range []string{"", "x", "-17", string(cid[:16]), string(cid) + "0", "zzzzzzzz-00000001", r.id + "-0000000g"} {
		if n, ok := r.cidNumber([]byte(bad)); ok {
			t.Errorf("%q is read as %d", bad, n)
		}
	}
	for in, want := range map[string]uint16{"-1": 1, "-65535": 65535} {
		if n, ok := packetID([]byte(in)); !ok || n != want {
			t.Errorf("%q is %d, %v", in, n, ok)
		}
	}
	for _, bad := range []string{"", "-", "1", "-65536", "--1", "-x"} {
		if n, ok := packetID([]byte(bad)); ok {
			t.Errorf("%q is read as %d", bad, n)
		}
	}
}

// FuzzFind looks for stamps in anything: it never panics, always gets shorter,
// and finds one that was put in behind it.
func FuzzFind(f *testing.F) {
	r := &run{id: "5f3a9c01", mark: []byte("sw5f3a9c01:")}
	f.Add([]byte("sw5f3a9c01:00000007:0000002a:18a3f2c4d5e6f708:..."))
	f.Add([]byte("sw5f3a9c01:sw5f3a9c01:00000007"))
	f.Add([]byte("{\"b\":\"sw5f3a9c01:0000000g:0000002a:18a3f2c4d5e6f708\"}"))
	f.Add([]byte("sw5f3a9c01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for rest, ok := b, true; ok; {
			before := len(rest)
			if _, rest, ok = r.find(rest); ok && len(rest) > before-minPayload {
				t.Fatalf("%d bytes left of %d", len(rest), before)
			}
		}
		_ = sequence(b)
		if what, refused := readReply(b); refused && what == "" {
			t.Fatal("a refusal without a word")
		}
		want := stamp{1, 2, 3}
		p := r.appendPayload(append(bytes.Clone(b), ' '), want, 68)
		var last stamp
		for rest, ok := p, true; ok; {
			var s stamp
			if s, rest, ok = r.find(rest); ok {
				last = s
			}
		}
		if last != want {
			t.Fatalf("found %+v behind %q", last, b)
		}
	})
}
