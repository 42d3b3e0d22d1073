package bolt

import (
	"bytes"
	"encoding/binary"
	"strings"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
)

// rowCheck looks at every row of a bolt file that nobody writes: whether it can be read, and whether rows that belong
// together are both there.
type rowCheck struct {
	tx    *bbolt.Tx
	found func(format string, args ...any)
}

// rows visits a bucket's rows; one that is missing is told.
func (c rowCheck) rows(bucket []byte, fn func(k, v []byte)) {
	b := c.tx.Bucket(bucket)
	if b == nil {
		c.found("there are no %s", bucket)
		return
	}
	cur := b.Cursor()
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		fn(k, v)
	}
}

// has reports whether a row exists, whatever is in it.
func (c rowCheck) has(bucket, key []byte) bool {
	b := c.tx.Bucket(bucket)
	return b != nil && b.Get(key) != nil
}

// alive reports whether an account exists and is not erased.
func (c rowCheck) alive(key []byte) bool {
	b := c.tx.Bucket(dirAccounts)
	if b == nil {
		return false
	}
	row := b.Get(key)
	return row != nil && !erasedRow(row)
}

// belongs tells when a row whose key begins with an account stands without it. Account 0 is the server's.
func (c rowCheck) belongs(what, key []byte) {
	if len(key) >= 8 && binary.BigEndian.Uint64(key) != 0 && !c.alive(key[:8]) {
		c.found("%s of a%d, who does not exist", what, binary.BigEndian.Uint64(key))
	}
}

// directory checks the file "directory".
func (c rowCheck) directory() {
	last := uint64(0)
	c.rows(dirAccounts, func(k, v []byte) {
		a, err := decodeAccount(k, v)
		if err != nil {
			c.found("%v", err)
			return
		}
		last = uint64(a.ID)
		if a.State == store.AccountErased {
			return
		}
		if b := c.tx.Bucket(dirNames); b != nil && !bytes.Equal(b.Get([]byte(a.Name)), k) {
			c.found("account %v has no row of its name", a.ID)
		}
	})
	if b := c.tx.Bucket(dirAccounts); b != nil && b.Sequence() < last {
		c.found("the next account would get the number of an old one: %d, up to %d are given", b.Sequence(), last)
	}
	c.rows(dirNames, func(_, v []byte) {
		if len(v) != 8 || !c.alive(v) {
			c.found("a name without an account: %x", v)
		}
	})
	c.rows(dirSalts, func(k, v []byte) {
		if len(k) != 8 || len(v) != 32 {
			c.found("the salt of account %x is damaged", k)
			return
		}
		c.belongs(dirSalts, k)
	})
	if !c.has(dirSalts, key64(0)) {
		c.found("the server's salt is missing")
	}
	c.rows(dirDevices, func(k, v []byte) {
		if _, err := decodeDevice(k, v); err != nil {
			c.found("%v", err)
		}
		c.belongs(dirDevices, k)
	})
	c.rows(dirTokens, func(k, v []byte) {
		if _, err := decodeToken(k, v); err != nil {
			c.found("%v", err)
		}
		c.belongs(dirTokens, k)
	})
	for _, bucket := range [][]byte{dirFriends, dirBlocks} {
		c.rows(bucket, func(k, v []byte) {
			if _, err := decodeEdges(v); err != nil {
				c.found("%s of account %x: %v", bucket, k, err)
			}
			c.belongs(bucket, k)
		})
	}
	c.follows()
	c.tables()
	c.answers()
}

// follows checks that each follow stands in both orders, and is of an account there is.
func (c rowCheck) follows() {
	if c.tx.Bucket(dirFollows) == nil { // of an older format
		return
	}
	for _, pair := range [][2][]byte{{dirFollows, dirFollowers}, {dirFollowers, dirFollows}} {
		c.rows(pair[0], func(k, _ []byte) {
			if len(k) != 16 || !c.has(pair[1], append(bytes.Clone(k[8:]), k[:8]...)) {
				c.found("%s has %x, which is not in %s", pair[0], k, pair[1])
			}
		})
	}
	c.rows(dirFollows, func(k, _ []byte) { c.belongs(dirFollows, k) })
}

// tables checks the rows of all tables: that each can be read, and that what belongs to accounts belongs to one there is.
func (c rowCheck) tables() {
	if c.tx.Bucket(dirRows) == nil { // of an older format
		return
	}
	c.rows(dirRows, func(k, v []byte) {
		t, o, _, err := splitRowKey(k)
		if err != nil {
			c.found("a row's key: %v", err)
			return
		}
		if _, err := decodeTableRow(k, v); err != nil {
			c.found("a row of %s: %v", t, err)
		}
		if !strings.HasPrefix(string(t), "user.") {
			return
		}
		if a := o.Number(); a == 0 || !c.alive(key64(a)) {
			c.found("%s of a%d, who does not exist", t, a)
		}
	})
}

// answers checks that each answer has its three rows and no row stands alone.
func (c rowCheck) answers() {
	n := 0
	c.rows(dirAnswers, func(k, v []byte) {
		n++
		ans, number, err := decodeAnswer(v)
		if err != nil || len(k) != 16+answerHashLen {
			c.found("an answer to device %x: %v", k, err)
			return
		}
		at := key128(uint64(ans.Time), number)
		if !c.has(dirAnswerOrder, append(bytes.Clone(k[:16]), at...)) || !c.has(dirAnswerTimes, at) {
			c.found("an answer to device %x is not in order", k[:16])
		}
	})
	for _, bucket := range [][]byte{dirAnswerOrder, dirAnswerTimes} {
		listed := 0
		c.rows(bucket, func(_, _ []byte) { listed++ })
		if listed != n {
			c.found("%s has %d rows for %d answers", bucket, listed, n)
		}
	}
}

// state checks the file "state".
func (c rowCheck) state() {
	listed := 0
	c.rows(stateSessions, func(k, v []byte) {
		key, err := decodeSessionKey(k)
		if err != nil {
			c.found("%v", err)
			return
		}
		row, err := decodeSession(v)
		if err != nil {
			c.found("%v: %v", key, err)
			return
		}
		if row.boot != 0 {
			listed++
			c.listed(stateConnected, row.boot, key)
		}
		if row.deadline != 0 {
			listed++
			c.listed(stateDeadlines, uint64(row.deadline), key)
		}
	})
	for _, bucket := range [][]byte{stateConnected, stateDeadlines} {
		c.rows(bucket, func(_, _ []byte) { listed-- })
	}
	if listed < 0 {
		c.found("%d rows of the expiry index belong to no session", -listed)
	}
	c.rows(stateReaders, func(k, v []byte) {
		if len(v) != 8 {
			c.found("the position of reader %s is damaged", k)
		}
	})
}

// listed tells when a session is missing from the expiry index: it would never end.
func (c rowCheck) listed(bucket []byte, number uint64, key sessionKey) {
	k := append(key64(number), key.bytes()...)
	if b := c.tx.Bucket(bucket); b != nil {
		if found, _ := b.Cursor().Seek(k); bytes.Equal(found, k) {
			return
		}
	}
	c.found("%v is not listed under %s", key, bucket)
}
