package bolt

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/hwangso/hwangso/store"
)

// What is sealed beside bodies has the account and a purpose as additional data. A purpose cannot be mistaken for a log:
// that of a body is 16 bytes long, this one begins with a word of its own.

func sealedFor(a store.AccountID, purpose string) []byte {
	return append(binary.LittleEndian.AppendUint64([]byte("hwangso row 1\x00"), uint64(a)), purpose...)
}

// Seal implements store.Sealer.
func (s *Store) Seal(a store.AccountID, purpose string, plain []byte) ([]byte, error) {
	c, err := s.logs.seal.aead(a)
	if err != nil {
		return nil, noKey(err)
	}
	b := make([]byte, nonceSize, nonceSize+len(plain)+tagSize)
	if _, err := rand.Read(b); err != nil {
		return nil, err
	}
	return c.Seal(b, b[:nonceSize], plain, sealedFor(a, purpose)), nil
}

// Unseal implements store.Sealer.
func (s *Store) Unseal(a store.AccountID, purpose string, sealed []byte) ([]byte, error) {
	c, err := s.logs.seal.aead(a)
	if err != nil {
		return nil, noKey(err)
	}
	if len(sealed) < nonceSize+tagSize {
		return nil, &store.Error{Code: store.CodeBad, Err: errSealed}
	}
	plain, err := c.Open(nil, sealed[:nonceSize], sealed[nonceSize:], sealedFor(a, purpose))
	if err != nil {
		return nil, &store.Error{Code: store.CodeBad, Err: errSealed}
	}
	return plain, nil
}

func noKey(err error) error {
	if errors.Is(err, errKeyGone) {
		return &store.Error{Code: store.CodeNotFound, Text: "the key is gone", Err: err}
	}
	return fmt.Errorf("bolt: key: %w", err)
}
