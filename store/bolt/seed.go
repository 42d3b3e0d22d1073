package bolt

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
)

// Seed describes a population for tests and measurements. The same Seed always makes the same one, but for the salts
// of the accounts' keys, which are secret and random.
type Seed struct {
	// Users are u0, u1 and so on, with the account numbers 1, 2 and so on.
	Users int
	// Friends is how many friends each user has: those with the nearest numbers, the last user standing next to the
	// first. All are mutual. With an odd number each user has one more at a fixed distance, and a few of the last
	// users lack it, because not every number of users can be paired that way.
	Friends int
	// Rooms are g0, g1 and so on: room j begins with user j × RoomSize and goes on with the following ones, the first
	// of them being its owner. When the users are used up it goes on from the start, a little shifted.
	Rooms    int
	RoomSize int
	// Password is every user's token, for any device.
	Password string
	// Messages are spread evenly over the rooms and the pairs of neighbours, who must be friends.
	Messages int
}

// Validate reports what cannot be made.
func (s Seed) Validate() error {
	switch {
	case s.Users < 1 || s.Users > 1<<31-1:
		return errors.New("seed: at least one user is needed")
	case s.Friends < 0 || s.Friends > max(0, s.Users-1):
		return fmt.Errorf("seed: a user cannot have %d friends among %d users", s.Friends, s.Users)
	case s.Rooms < 0 || s.Messages < 0:
		return errors.New("seed: numbers must not be negative")
	case s.Rooms > 0 && (s.RoomSize < 1 || s.RoomSize > s.Users):
		return fmt.Errorf("seed: a room cannot have %d members of %d users", s.RoomSize, s.Users)
	case s.Password == "":
		return errors.New("seed: a password is needed")
	case s.Messages > 0 && s.Rooms == 0 && s.pairs() == 0:
		return errors.New("seed: messages need rooms or friends")
	}
	return nil
}

// ErrNotEmpty says that a data directory has accounts and is not seeded.
var ErrNotEmpty = errors.New("bolt: the data directory has accounts already")

const (
	seedRows    = 20_000        // rows in one transaction of the load
	seedCreated = 1700000000000 // when the accounts were made, Unix milliseconds: fixed, like all of the population
	seedLabel   = "seed"
)

// Load writes the population into the data directory of a server that is not running, beginning one if there is none.
// A directory with accounts is refused with ErrNotEmpty. progress, if not nil, is told how far each stage is, from
// time to time. If Load fails half way, the accounts are there completely or not at all, rooms and messages in part.
func Load(ctx context.Context, cfg Config, s Seed, progress func(stage string, done, total int)) error {
	if err := errors.Join(cfg.Validate(), s.Validate()); err != nil {
		return err
	}
	if progress == nil {
		progress = func(string, int, int) {}
	}
	cfg = cfg.withDefaults()
	if err := makeDir(cfg.Dir); err != nil {
		return err
	}
	if err := loadPeople(ctx, cfg, s, progress); err != nil {
		return err
	}
	if s.Rooms == 0 && s.Messages == 0 {
		return nil
	}
	st, err := Open(cfg)
	if err != nil {
		return err
	}
	return joinClose(loadTalk(ctx, st, s, progress), st)
}

// loadPeople writes accounts, tokens and friends: a new directory file, in the order of its keys, that takes the place
// of the old one when it is complete.
func loadPeople(ctx context.Context, cfg Config, s Seed, progress func(string, int, int)) (err error) {
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.close()) }()
	if _, _, err := openFormat(cfg); err != nil { // begins a new data directory, refuses one that is not ours
		return err
	}
	path := filepath.Join(cfg.Dir, fileDirectory)
	old, err := openDirectory(path, directoryOptions{Now: cfg.Now})
	if err != nil {
		return err
	}
	fresh := path + ".seed"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return errors.Join(fmt.Errorf("bolt: seed: %w", err), old.Close())
	}
	any, err := old.Accounts(0, 1)
	if err == nil && len(any) > 0 {
		err = fmt.Errorf("%w: %s", ErrNotEmpty, cfg.Dir)
	}
	if err == nil {
		err = copyBolt(ctx, old.file, fresh, nil) // the server's salt and the operators' tokens
	}
	if err := joinClose(err, old); err != nil {
		return err
	}
	err = fillDirectory(ctx, fresh, s, progress)
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("bolt: seed: %w", err), os.Remove(fresh))
	}
	return syncDir(cfg.Dir)
}

func fillDirectory(ctx context.Context, path string, s Seed, progress func(string, int, int)) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err
	}
	l := &bulkLoad{ctx: ctx, db: db, progress: progress}
	salts := make([]byte, 32<<10)
	hash := sha256.Sum256([]byte(s.Password))
	token := appendToken(nil, store.Token{Label: seedLabel, Created: seedCreated})
	l.stage("accounts", dirAccounts, s.Users, func(i int) (k, v []byte) {
		a := store.Account{Name: seedUser(i), Created: seedCreated}
		return key64(uint64(i + 1)), appendAccount(nil, a)
	})
	next := lexical(s.Users)
	l.stage("names", dirNames, s.Users, func(int) (k, v []byte) {
		i := next()
		return []byte(seedUser(i)), key64(uint64(i + 1))
	})
	l.stage("salts", dirSalts, s.Users, func(i int) (k, v []byte) {
		at := i * 32 % len(salts)
		if at == 0 {
			if _, err := rand.Read(salts); err != nil {
				l.err = err
			}
		}
		return key64(uint64(i + 1)), bytes.Clone(salts[at : at+32])
	})
	l.stage("tokens", dirTokens, s.Users, func(i int) (k, v []byte) {
		return tokenKey(store.AccountID(i+1), hash), token
	})
	if s.Friends > 0 {
		l.stage("friends", dirFriends, s.Users, func(i int) (k, v []byte) {
			return key64(uint64(i + 1)), appendEdges(nil, s.friendsOf(i))
		})
	}
	if l.err == nil {
		l.err = db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(dirAccounts).SetSequence(uint64(s.Users)) })
	}
	if l.err == nil {
		l.err = db.Sync()
	}
	return joinClose(l.err, db)
}

// bulkLoad writes rows in the order of their keys in large transactions. The first error ends it.
type bulkLoad struct {
	ctx      context.Context //nolint:containedctx // the load's own lifetime
	db       *bbolt.DB
	progress func(stage string, done, total int)
	err      error
}

func (l *bulkLoad) stage(name string, bucket []byte, total int, row func(i int) (k, v []byte)) {
	for done := 0; done < total && l.err == nil; {
		l.progress(name, done, total)
		if l.err = l.ctx.Err(); l.err != nil {
			return
		}
		n := min(seedRows, total-done)
		err := l.db.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucket)
			b.FillPercent = 0.95
			for i := done; i < done+n; i++ {
				k, v := row(i)
				if err := b.Put(k, v); err != nil {
					return err
				}
			}
			return nil
		})
		l.err = errors.Join(l.err, err)
		done += n
	}
	if l.err == nil {
		l.progress(name, total, total)
	}
}

func seedUser(i int) string { return "u" + strconv.Itoa(i) }
func seedRoom(j int) string { return "g" + strconv.Itoa(j) }

// lexical returns a function that gives the numbers below n in the order of their decimal digits as text.
func lexical(n int) func() int {
	next := 0
	return func() int {
		i := next
		switch {
		case i == 0:
			next = 1
		case i*10 < n:
			next = i * 10
		default:
			next = i
			if next+1 >= n { // its last digit cannot grow
				next /= 10
			}
			next++
			for next%10 == 0 {
				next /= 10
			}
		}
		return i
	}
}

// friendsOf lists a user's friends by account number.
func (s Seed) friendsOf(i int) []store.AccountID {
	n, k := s.Users, s.Friends
	row := make([]store.AccountID, 0, k)
	if k >= n-1 {
		for j := range n {
			if j != i {
				row = append(row, store.AccountID(j+1))
			}
		}
		return row
	}
	half := k / 2
	for d := 1; d <= half; d++ {
		row = append(row, store.AccountID((i+d)%n+1), store.AccountID((i-d+n)%n+1))
	}
	if j := s.partner(i); k%2 == 1 && j < n {
		row = append(row, store.AccountID(j+1))
	}
	slices.Sort(row)
	return row
}

// partner is the one friend that makes an odd number: users are taken in blocks, whose first half is paired with the
// second.
func (s Seed) partner(i int) int {
	d := s.Friends/2 + 1
	if i%(2*d) < d {
		return i + d
	}
	return i - d
}

// members lists a room's users.
func (s Seed) members(j int) []int {
	lap := j * s.RoomSize / s.Users
	laps := (s.Rooms*s.RoomSize + s.Users - 1) / s.Users
	start := j*s.RoomSize + lap*max(1, s.RoomSize/laps)
	users := make([]int, s.RoomSize)
	for m := range users {
		users[m] = (start + m) % s.Users
	}
	return users
}

// pairs is how many pairs of neighbours are friends; pair returns one of them.
func (s Seed) pairs() int {
	switch {
	case s.Friends == 0 || s.Users < 2:
		return 0
	case s.Friends == 1 || s.Users == 2:
		return s.Users / 2
	}
	return s.Users
}

func (s Seed) pair(p int) (a, b int) {
	if s.Friends == 1 || s.Users == 2 {
		return 2 * p, 2*p + 1
	}
	return p, (p + 1) % s.Users
}
