package bolt

import (
	"context"
	"encoding/binary"
	"fmt"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
)

// maxScopes bounds the scopes of a token.
const maxScopes = 64

// PutToken stores a token.
func (d *directory) PutToken(ctx context.Context, t store.Token) error {
	if err := checkToken(t); err != nil {
		return err
	}
	row := appendToken(nil, t)
	return d.file.update(ctx, func(w *writeTx) error {
		if t.Account != 0 {
			if err := requireAccount(w.tx, t.Account); err != nil {
				return err
			}
		}
		return w.bucket(dirTokens).put(tokenKey(t.Account, t.Hash), row)
	}, nil)
}

// RotateToken replaces a token; an old one that ends earlier anyway still does.
func (d *directory) RotateToken(ctx context.Context, old, replacement store.Token, oldExpires int64) error {
	if err := checkToken(replacement); err != nil {
		return err
	}
	if old.Account != replacement.Account || old.Hash == replacement.Hash {
		return store.Bad("a token is replaced by another of the same account")
	}
	if oldExpires <= 0 {
		return store.Bad("the old token needs an end")
	}
	return d.file.update(ctx, func(w *writeTx) error {
		tokens := w.bucket(dirTokens)
		t, err := getToken(w.tx, old.Account, old.Hash)
		if err != nil {
			return err
		}
		if t.Expires == 0 || t.Expires > oldExpires {
			t.Expires = oldExpires
		}
		if err := tokens.put(tokenKey(t.Account, t.Hash), appendToken(nil, t)); err != nil {
			return err
		}
		return tokens.put(tokenKey(replacement.Account, replacement.Hash), appendToken(nil, replacement))
	}, nil)
}

// TokenByHash returns a token of the account.
func (d *directory) TokenByHash(a store.AccountID, hash [32]byte) (t store.Token, err error) {
	err = d.file.view(func(tx *bbolt.Tx) error {
		t, err = getToken(tx, a, hash)
		return err
	})
	return t, err
}

// Tokens lists an account's tokens by hash.
func (d *directory) Tokens(a store.AccountID) (out []store.Token, err error) {
	err = d.scanPrefix(dirTokens, key64(uint64(a)), func(k, v []byte) error {
		t, err := decodeToken(k, v)
		out = append(out, t)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// RemoveToken removes a token.
func (d *directory) RemoveToken(ctx context.Context, a store.AccountID, hash [32]byte) error {
	return d.file.update(ctx, func(w *writeTx) error {
		tokens := w.bucket(dirTokens)
		key := tokenKey(a, hash)
		if tokens.Get(key) == nil {
			return store.ErrNotFound
		}
		return tokens.delete(key)
	}, nil)
}

func checkToken(t store.Token) error {
	if len(t.Label) > maxText || len(t.Scopes) > maxScopes {
		return &store.Error{Code: store.CodeTooLarge, Text: "the token's label or scopes are too long"}
	}
	for _, s := range t.Scopes {
		if len(s) > maxText {
			return &store.Error{Code: store.CodeTooLarge, Text: "a scope is too long"}
		}
	}
	return nil
}

func tokenKey(a store.AccountID, hash [32]byte) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 40), uint64(a)), hash[:]...)
}

func getToken(tx *bbolt.Tx, a store.AccountID, hash [32]byte) (store.Token, error) {
	key := tokenKey(a, hash)
	row := tx.Bucket(dirTokens).Get(key)
	if row == nil {
		return store.Token{}, store.ErrNotFound
	}
	return decodeToken(key, row)
}

const tokenVersion = 1

func appendToken(b []byte, t store.Token) []byte {
	b = append(b, tokenVersion)
	b = binary.AppendUvarint(b, uint64(t.Device))
	b = binary.AppendVarint(b, t.Created)
	b = binary.AppendVarint(b, t.Expires)
	b = appendString(b, t.Label)
	b = binary.AppendUvarint(b, uint64(len(t.Scopes)))
	for _, s := range t.Scopes {
		b = appendString(b, s)
	}
	return b
}

func decodeToken(key, row []byte) (store.Token, error) {
	if len(key) != 40 {
		return store.Token{}, corrupt("a token's key", errRowShort)
	}
	t := store.Token{Account: store.AccountID(binary.BigEndian.Uint64(key)), Hash: [32]byte(key[8:])}
	r := rowReader{b: row}
	r.version(tokenVersion)
	t.Device = store.DeviceID(r.uvarint())
	t.Created = r.varint()
	t.Expires = r.varint()
	t.Label = r.string()
	for range r.count(1) {
		t.Scopes = append(t.Scopes, r.string())
	}
	if err := r.end(); err != nil {
		return store.Token{}, corrupt(fmt.Sprintf("a token of %v", t.Account), err)
	}
	return t, nil
}
