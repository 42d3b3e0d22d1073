package bolt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hwangso/hwangso/store"
)

// Bodies are sealed with AES-256-GCM under the data key of their sender, with a random nonce of 96 bits. The
// additional data is sender and log, so that a body cannot be moved to another conversation or put into another
// mouth. What is sealed is the length of the text as uvarint, text, extra.
const (
	nonceSize   = 12
	tagSize     = 16
	sealShards  = 16
	sealedPer   = 256 // AEADs kept per shard, about 1 KiB each
	maxSealSize = nonceSize + tagSize + binary.MaxVarintLen64
)

// errKeyGone says that an account's data key was destroyed, and with it everything it sealed.
var errKeyGone = errors.New("bolt: the data key is gone")

var errSealed = errors.New("bolt: a sealed body does not open")

// keySource tells an account's data key; errKeyGone if it was destroyed.
type keySource interface {
	dataKey(a store.AccountID) ([32]byte, error)
}

// sealer seals and opens bodies. It keeps a bounded number of ciphers; which one goes when a shard is full is left
// to the order of Go's maps.
type sealer struct {
	keys   keySource
	any    atomic.Bool // something was forgotten
	shards [sealShards]sealShard
}

type sealShard struct {
	mu     sync.RWMutex
	aeads  map[store.AccountID]cipher.AEAD
	erased map[store.AccountID]struct{} // since the start; whoever asked for the key before must not keep it
}

func newSealer(keys keySource) *sealer {
	s := &sealer{keys: keys}
	for i := range s.shards {
		s.shards[i].aeads = make(map[store.AccountID]cipher.AEAD)
	}
	return s
}

// aead returns the account's cipher. It may read the directory.
func (s *sealer) aead(a store.AccountID) (cipher.AEAD, error) {
	sh := &s.shards[a%sealShards]
	sh.mu.RLock()
	c := sh.aeads[a]
	sh.mu.RUnlock()
	if c != nil {
		return c, nil
	}
	key, err := s.keys.dataKey(a)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("bolt: cipher: %w", err)
	}
	if c, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("bolt: cipher: %w", err)
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if _, gone := sh.erased[a]; gone {
		return nil, errKeyGone
	}
	if len(sh.aeads) >= sealedPer {
		for other := range sh.aeads {
			delete(sh.aeads, other)
			break
		}
	}
	sh.aeads[a] = c
	return c, nil
}

// forget drops the cipher of an account whose key was destroyed.
func (s *sealer) forget(a store.AccountID) {
	sh := &s.shards[a%sealShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	delete(sh.aeads, a)
	if sh.erased == nil {
		sh.erased = make(map[store.AccountID]struct{})
	}
	sh.erased[a] = struct{}{}
	s.any.Store(true)
}

// gone reports whether the account's key was forgotten since the start.
func (s *sealer) gone(a store.AccountID) bool {
	if !s.any.Load() {
		return false
	}
	sh := &s.shards[a%sealShards]
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	_, gone := sh.erased[a]
	return gone
}

func additional(b *[16]byte, sender store.AccountID, log store.LogID) []byte {
	binary.LittleEndian.PutUint64(b[:], uint64(sender))
	binary.LittleEndian.PutUint64(b[8:], uint64(log))
	return b[:]
}

// seal appends the sealed body to b. A record without text and extra has no body.
func (s *sealer) seal(b []byte, d *store.Draft) ([]byte, error) {
	if len(d.Text)+len(d.Extra) == 0 {
		return b, nil
	}
	c, err := s.aead(d.Sender)
	if err != nil {
		return b, err
	}
	start := len(b)
	var nonce [nonceSize]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return b, err
	}
	b = append(b, nonce[:]...)
	plain := len(b)
	b = binary.AppendUvarint(b, uint64(len(d.Text)))
	b = append(b, d.Text...)
	b = append(b, d.Extra...)
	var ad [16]byte
	// The plain text lies where its sealed form begins: GCM works in place.
	b = c.Seal(b[:plain], b[start:plain], b[plain:], additional(&ad, d.Sender, d.Log))
	return b, nil
}

// open returns what was sealed. The slices are new memory.
func (s *sealer) open(sender store.AccountID, log store.LogID, body []byte) (text, extra []byte, err error) {
	if len(body) == 0 {
		return nil, nil, nil
	}
	if len(body) < nonceSize+tagSize+1 {
		return nil, nil, errSealed
	}
	c, err := s.aead(sender)
	if err != nil {
		return nil, nil, err
	}
	var ad [16]byte
	plain, err := c.Open(nil, body[:nonceSize], body[nonceSize:], additional(&ad, sender, log))
	if err != nil {
		return nil, nil, errSealed
	}
	n, k := binary.Uvarint(plain)
	if k <= 0 || n > uint64(len(plain)-k) {
		return nil, nil, errSealed
	}
	plain = plain[k:]
	if n > 0 {
		text = plain[:n:n]
	}
	if extra = plain[n:]; len(extra) == 0 {
		extra = nil
	}
	return text, extra, nil
}
