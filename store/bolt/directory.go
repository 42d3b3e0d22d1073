package bolt

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
)

// The buckets of the file "directory". Numbers in keys are 8 bytes, big endian.
var (
	dirAccounts    = []byte("accounts")     // account → packed row; its sequence numbers accounts
	dirNames       = []byte("names")        // name → account
	dirSalts       = []byte("salts")        // account → 32 random bytes; account 0 is the server
	dirDevices     = []byte("devices")      // account, device → packed row
	dirTokens      = []byte("tokens")       // account, hash → packed row
	dirFriends     = []byte("friends")      // account → packed sorted accounts
	dirBlocks      = []byte("blocks")       // account → packed sorted accounts
	dirAnswers     = []byte("answers")      // account, device, hash of the request → packed row
	dirAnswerOrder = []byte("answer-order") // account, device, time, number → hash of the request
	dirAnswerTimes = []byte("answer-times") // time, number → account, device, hash of the request
	dirRows        = []byte("rows")         // table, owner, key → packed row; its sequence numbers versions
	dirRowTimes    = []byte("row-times")    // expiry, table, owner, key → nothing
	dirErasing     = []byte("erasing")      // account → nothing: its sessions are yet to be removed
	dirFollows     = []byte("follows")      // account, channel → nothing
	dirFollowers   = []byte("followers")    // channel, account → nothing: the same in the other order
)

var directoryBuckets = [][]byte{
	dirAccounts, dirNames, dirSalts, dirDevices, dirTokens, dirFriends, dirBlocks,
	dirAnswers, dirAnswerOrder, dirAnswerTimes, dirRows, dirRowTimes, dirErasing, dirFollows, dirFollowers,
}

const (
	pageRows  = 1000     // rows read in one transaction, so that none stays open over 10 ms
	pageBytes = 1 << 20  // the same in bytes
	maxText   = 1 << 10  // bytes of a display name, status, language, label
	maxHandle = 64       // characters of an account's name
	cacheMem  = 24 << 20 // bytes of memory for caches of accounts, names and edges; half as much again for rows
)

// directoryOptions configure a directory.
type directoryOptions struct {
	// CacheBytes bounds the memory of cached accounts, names and edges; tables' rows get half as much again. 0: 24 MiB.
	CacheBytes int
	// Now is the clock for what has a time and for the age of answers. nil: time.Now.
	Now func() time.Time
}

// directory implements store.Directory over one bolt file.
type directory struct {
	file *boltFile
	now  func() time.Time

	accounts *rowCache[store.AccountID, store.Account]
	names    *rowCache[string, store.AccountID]
	edges    *rowCache[edgeKey, []store.AccountID]
	rows     *rowCache[string, store.Row] // by key in the file; what does not exist too
}

var (
	_ store.Directory = (*directory)(nil)
	_ store.Tables    = (*directory)(nil)
)

// openDirectory opens or creates the directory's file.
func openDirectory(path string, opt directoryOptions) (*directory, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.CacheBytes == 0 {
		opt.CacheBytes = cacheMem
	}
	file, err := openBoltFile(path, "directory", directoryBuckets...)
	if err != nil {
		return nil, err
	}
	d := &directory{
		file:     file,
		now:      opt.Now,
		accounts: newRowCache(opt.CacheBytes/4, accountCost),
		names:    newRowCache(opt.CacheBytes/4, nameCost),
		edges:    newRowCache(opt.CacheBytes/2, edgeCost),
		rows:     newRowCache(opt.CacheBytes/2, tableRowCost),
	}
	if err := d.createServerSalt(); err != nil {
		return nil, fmt.Errorf("bolt: open %s: %w", path, joinClose(err, d))
	}
	return d, nil
}

// Costs in bytes of memory, what the map and the slot take included.
func accountCost(_ store.AccountID, a store.Account) int {
	return 200 + len(a.Name) + len(a.Display) + len(a.Status) + len(a.Language)
}
func nameCost(name string, _ store.AccountID) int        { return 100 + len(name) }
func edgeCost(_ edgeKey, accounts []store.AccountID) int { return 120 + 8*len(accounts) }

// Close makes everything durable and closes the file.
func (d *directory) Close() error { return d.file.Close() }

// salt is the random salt of an account's data key, made with the account; account 0 is the server.
func (d *directory) salt(a store.AccountID) (salt [32]byte, err error) {
	err = d.file.view(func(tx *bbolt.Tx) error {
		row := tx.Bucket(dirSalts).Get(key64(uint64(a)))
		switch len(row) {
		case 0:
			return store.ErrNotFound
		case len(salt):
			copy(salt[:], row)
			return nil
		}
		return corrupt(fmt.Sprintf("salt of %v", a), errRowShort)
	})
	return salt, err
}

func (d *directory) createServerSalt() error {
	_, err := d.salt(0)
	if store.CodeOf(err) != store.CodeNotFound {
		return err
	}
	return d.file.update(context.Background(), func(w *writeTx) error { return putSalt(w, 0) }, nil)
}

func putSalt(w *writeTx, a store.AccountID) error {
	var salt [32]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return err
	}
	return w.bucket(dirSalts).put(key64(uint64(a)), salt[:])
}

// CreateAccount stores a new account.
func (d *directory) CreateAccount(ctx context.Context, a store.Account) (store.Account, error) {
	name, err := accountName(a.Name)
	if err != nil {
		return store.Account{}, err
	}
	if name[0] == '~' { // open rooms call their members so
		return store.Account{}, store.Bad("a name does not begin with ~")
	}
	a.Name = name
	if err := checkAccount(a); err != nil {
		return store.Account{}, err
	}
	if a.Created == 0 {
		a.Created = d.now().UnixMilli()
	}
	err = d.file.update(ctx, func(w *writeTx) error {
		names, accounts := w.bucket(dirNames), w.bucket(dirAccounts)
		if names.Get([]byte(a.Name)) != nil {
			return &store.Error{Code: store.CodeConflict, Text: "the name is taken"}
		}
		a.ID = store.AccountID(accounts.Sequence() + 1)
		if err := accounts.SetSequence(uint64(a.ID)); err != nil {
			return err
		}
		id := key64(uint64(a.ID))
		if err := accounts.put(id, appendAccount(nil, a)); err != nil {
			return err
		}
		if err := names.put([]byte(a.Name), id); err != nil {
			return err
		}
		return putSalt(w, a.ID)
	}, nil) // nothing to forget: an absent account is not cached
	if err != nil {
		return store.Account{}, err
	}
	return a, nil
}

// SetAccount replaces what may change of an account.
func (d *directory) SetAccount(ctx context.Context, a store.Account) error {
	if err := checkAccount(a); err != nil {
		return err
	}
	return d.file.update(ctx, func(w *writeTx) error {
		accounts := w.bucket(dirAccounts)
		old, err := getAccount(w.tx, a.ID)
		if err != nil {
			return err
		}
		changed := old
		changed.Display, changed.Status, changed.Language, changed.State = a.Display, a.Status, a.Language, a.State
		if changed == old {
			return nil
		}
		return accounts.put(key64(uint64(a.ID)), appendAccount(nil, changed))
	}, func(error) { d.accounts.forget(a.ID) })
}

// Account returns an account by number.
func (d *directory) Account(id store.AccountID) (store.Account, error) {
	a, age, ok := d.accounts.get(id)
	if ok {
		return a, nil
	}
	err := d.file.view(func(tx *bbolt.Tx) (err error) {
		a, err = getAccount(tx, id)
		return err
	})
	if err != nil {
		return store.Account{}, err
	}
	d.accounts.put(id, a, age)
	return a, nil
}

// AccountByName returns an account by name, in whatever case.
func (d *directory) AccountByName(name string) (store.Account, error) {
	name = strings.ToLower(name)
	id, age, ok := d.names.get(name)
	if !ok {
		err := d.file.view(func(tx *bbolt.Tx) error {
			row := tx.Bucket(dirNames).Get([]byte(name))
			if row == nil {
				return store.ErrNotFound
			}
			if len(row) != 8 {
				return corrupt("a name's number", errRowShort)
			}
			id = store.AccountID(binary.BigEndian.Uint64(row))
			return nil
		})
		if err != nil {
			return store.Account{}, err
		}
		d.names.put(strings.Clone(name), id, age)
	}
	return d.Account(id)
}

// Accounts lists accounts by number.
func (d *directory) Accounts(after store.AccountID, max int) ([]store.Account, error) {
	if max <= 0 {
		max = pageRows
	}
	var out []store.Account
	for len(out) < max {
		n, bytes := 0, 0
		err := d.file.view(func(tx *bbolt.Tx) error {
			c := tx.Bucket(dirAccounts).Cursor()
			k, v := c.Seek(key64(uint64(after) + 1))
			for ; k != nil && len(out) < max && n < pageRows && bytes < pageBytes; k, v = c.Next() {
				a, err := decodeAccount(k, v)
				if err != nil {
					return err
				}
				after = a.ID
				n++
				if a.State == store.AccountErased {
					continue
				}
				out = append(out, a)
				bytes += len(v)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if n < pageRows && bytes < pageBytes {
			break
		}
	}
	return out, nil
}

// accountName normalises a name and checks it.
func accountName(name string) (string, error) {
	if len(name) == 0 || len(name) > maxHandle {
		return "", store.Bad("a name has 1 to 64 characters")
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '.', c == '_', c == '~', c == '-':
		default:
			return "", store.Bad("a name is made of letters, digits and . _ ~ -")
		}
	}
	return strings.ToLower(name), nil
}

func checkAccount(a store.Account) error {
	if len(a.Display) > maxText || len(a.Status) > maxText || len(a.Language) > maxText {
		return &store.Error{Code: store.CodeTooLarge, Text: "the profile is too long"}
	}
	if a.State > store.AccountLocked {
		return store.Bad("no such account state")
	}
	return nil
}

const accountVersion = 1

func appendAccount(b []byte, a store.Account) []byte {
	b = append(b, accountVersion, byte(a.State))
	b = binary.AppendVarint(b, a.Created)
	b = appendString(b, a.Name)
	b = appendString(b, a.Display)
	b = appendString(b, a.Status)
	return appendString(b, a.Language)
}

func decodeAccount(key, row []byte) (store.Account, error) {
	if len(key) != 8 {
		return store.Account{}, corrupt("an account's number", errRowShort)
	}
	a := store.Account{ID: store.AccountID(binary.BigEndian.Uint64(key))}
	r := rowReader{b: row}
	r.version(accountVersion)
	a.State = store.AccountState(r.byte())
	a.Created = r.varint()
	a.Name = r.string()
	a.Display = r.string()
	a.Status = r.string()
	a.Language = r.string()
	if err := r.end(); err != nil {
		return store.Account{}, corrupt(fmt.Sprintf("account %v", a.ID), err)
	}
	return a, nil
}

func getAccount(tx *bbolt.Tx, id store.AccountID) (store.Account, error) {
	key := key64(uint64(id))
	row := tx.Bucket(dirAccounts).Get(key)
	if row == nil {
		return store.Account{}, store.ErrNotFound
	}
	a, err := decodeAccount(key, row)
	if err == nil && a.State == store.AccountErased {
		return store.Account{}, store.ErrNotFound
	}
	return a, err
}

// requireAccount refuses a change for an account that does not exist.
func requireAccount(tx *bbolt.Tx, id store.AccountID) error {
	if row := tx.Bucket(dirAccounts).Get(key64(uint64(id))); row == nil || erasedRow(row) {
		return &store.Error{Code: store.CodeNotFound, Text: "no such account"}
	}
	return nil
}

// key64 is the key of one number; key128 of two.
func key64(n uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 0, 8), n) }

func key128(a, b uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(make([]byte, 0, 16), a), b)
}
