package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
)

var _ store.Followers = (*Store)(nil)

// checkFollows looks whether an update's follows can be applied, before anything is.
func checkFollows(w *writeTx, u store.Update) error {
	if len(u.Follows) == 0 {
		return nil
	}
	from := u.Owner.Number()
	mine := w.bucket(dirFollows)
	added := 0
	for _, f := range u.Follows {
		if !f.On || mine.Get(key128(from, uint64(f.Channel))) != nil {
			continue
		}
		if err := requireAccount(w.tx, store.AccountID(from)); err != nil {
			return &store.Error{Code: store.CodeNotFound, Text: "no such account"}
		}
		if added++; f.Limit > 0 && len(keysWith(mine.Bucket, key64(from)))+added > f.Limit {
			return &store.Error{Code: store.CodeFull, Text: "too many channels are followed"}
		}
	}
	return nil
}

// putFollow makes an account follow a channel, or ends it, in both orders.
func putFollow(w *writeTx, from uint64, f store.FollowPut) error {
	mine, theirs := w.bucket(dirFollows), w.bucket(dirFollowers)
	k, back := key128(from, uint64(f.Channel)), key128(uint64(f.Channel), from)
	if on := mine.Get(k) != nil; on == f.On {
		return nil
	}
	if !f.On {
		if err := mine.delete(k); err != nil {
			return err
		}
		return theirs.delete(back)
	}
	if err := mine.put(k, []byte{}); err != nil {
		return err
	}
	return theirs.put(back, []byte{})
}

// unfollowAll ends all follows of an account.
func unfollowAll(w *writeTx, id []byte) error {
	for _, k := range keysWith(w.bucket(dirFollows).Bucket, id) {
		if err := putFollow(w, binary.BigEndian.Uint64(id), store.FollowPut{Channel: store.LogID(binary.BigEndian.Uint64(k[8:]))}); err != nil {
			return err
		}
	}
	return nil
}

// Followers implements store.Followers.
func (s *Store) Followers(channel store.LogID, after store.AccountID, max int) (out []store.AccountID, err error) {
	if max <= 0 {
		max = pageRows
	}
	from := key128(uint64(channel), uint64(after))
	out = make([]store.AccountID, 0, min(max, pageRows))
	for more := true; more && len(out) < max; {
		err := s.directory.file.view(func(tx *bbolt.Tx) error {
			prefix := key64(uint64(channel))
			c := tx.Bucket(dirFollowers).Cursor()
			k, _ := c.Seek(from)
			if bytes.Equal(k, from) {
				k, _ = c.Next()
			}
			for n := 0; n < pageRows && len(out) < max && bytes.HasPrefix(k, prefix); n++ {
				if len(k) != 16 {
					return corrupt(fmt.Sprintf("followers of %v", channel), errRowShort)
				}
				out = append(out, store.AccountID(binary.BigEndian.Uint64(k[8:])))
				from = append(from[:0], k...)
				k, _ = c.Next()
			}
			more = bytes.HasPrefix(k, prefix)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
