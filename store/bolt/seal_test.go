package bolt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/journal"
)

// fixedKeys gives every account below gone a key of its own.
type fixedKeys struct{ gone store.AccountID }

func (k fixedKeys) dataKey(a store.AccountID) (key [32]byte, err error) {
	if a >= k.gone {
		return key, errKeyGone
	}
	key[0] = byte(a)
	return key, nil
}

func TestSeal(t *testing.T) {
	s := newSealer(fixedKeys{5})
	d := store.Draft{Log: 3, Sender: 1, Text: []byte("hello"), Extra: []byte{1, 2}}
	body, err := s.seal([]byte("head"), &d)
	if err != nil || string(body[:4]) != "head" || strings.Contains(string(body), "hello") {
		t.Fatal(string(body), err)
	}
	body = body[4:]
	text, extra, err := s.open(1, 3, body)
	if err != nil || string(text) != "hello" || string(extra) != "\x01\x02" {
		t.Fatal(text, extra, err)
	}
	for _, c := range []struct {
		sender store.AccountID
		log    store.LogID
	}{{2, 3}, {1, 4}} { // another mouth, another conversation
		if _, _, err := s.open(c.sender, c.log, body); !errors.Is(err, errSealed) {
			t.Fatal(err)
		}
	}
	for i := range body {
		body[i] ^= 1
		if _, _, err := s.open(1, 3, body); !errors.Is(err, errSealed) {
			t.Fatalf("byte %d may be changed: %v", i, err)
		}
		body[i] ^= 1
	}
	for n := range body {
		if n == 0 {
			continue // no body
		}
		if _, _, err := s.open(1, 3, body[:n]); err == nil {
			t.Fatalf("%d bytes are accepted", n)
		}
	}
	if _, _, err := s.open(5, 3, body); !errors.Is(err, errKeyGone) {
		t.Fatal(err)
	}
	for i := range 5000 { // the number of ciphers kept is bounded
		a := store.AccountID(i % 5 * 1000)
		s.keys = fixedKeys{1 << 40}
		if _, err := s.aead(a + store.AccountID(i)); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for i := range s.shards {
		n += len(s.shards[i].aeads)
	}
	if n > sealShards*sealedPer {
		t.Fatal(n)
	}
}

// When an account's salt is destroyed its messages read as recalled; sequences and others' messages stay.
func TestKeyGone(t *testing.T) {
	dir := t.TempDir()
	s := testStore(t, Config{Dir: dir, CacheBytes: -1}, 3)
	info := testPair(t, s, 1, 2)
	for i := range 4 {
		if _, err := s.Append(store.Draft{Log: info.ID, Sender: store.AccountID(i%2 + 1), Text: fmt.Append(nil, i)}).Result(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.directory.file.update(context.Background(), func(w *writeTx) error {
		return w.bucket(dirSalts).delete(key64(1))
	}, nil); err != nil {
		t.Fatal(err)
	}
	s.seal.forget(1)
	p, err := s.Read(store.Query{Log: info.ID, Viewer: 2})
	if err != nil || len(p.Records) != 4 {
		t.Fatal(p, err)
	}
	for i, r := range p.Records {
		if gone := i%2 == 0; r.Recalled != gone || (r.Text == nil) != gone {
			t.Fatalf("%+v", r)
		}
	}
	if _, err := s.Append(store.Draft{Log: info.ID, Sender: 1, Text: []byte("x")}).Result(); err == nil {
		t.Fatal("sealed without a key")
	}
}

// Nothing readable lies in the journal.
func TestBodiesAreSealed(t *testing.T) {
	s := testStore(t, Config{Dir: t.TempDir()}, 3)
	info := testPair(t, s, 1, 2)
	r, err := s.Append(store.Draft{Log: info.ID, Sender: 1, Text: []byte("a secret text"), Extra: []byte("a secret extra")}).Result()
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Read(store.Query{Log: info.ID, Viewer: 1, After: r.Seq - 1})
	if err != nil {
		t.Fatal(err)
	}
	data, err := s.journal.Read(s.journal.First(), nil)
	for pos := s.journal.First(); err == nil; {
		if strings.Contains(string(data), "secret") {
			t.Fatal("a body can be read in the journal")
		}
		pos += frameOverhead + journal.Position(len(data))
		data, err = s.journal.Read(pos, nil)
	}
	if string(p.Records[0].Text) != "a secret text" {
		t.Fatal(p.Records[0])
	}
}
