package bolt

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
)

// Follows describes who follows what, for tests and measurements: each of the channels is followed by the first Users
// accounts by number. Table is where users keep how they stand to a channel, and Row what each of them has there.
type Follows struct {
	Channels []store.LogID
	Users    int
	Table    store.Table
	Row      []byte
}

// LoadFollows writes follows into the data directory of a server that is not running. Follows that are there already
// are written again. progress, if not nil, is told how far each stage is, from time to time. If it fails half way, check
// finds what is missing; a second attempt completes it.
func LoadFollows(ctx context.Context, cfg Config, f Follows, progress func(stage string, done, total int)) (err error) {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if progress == nil {
		progress = func(string, int, int) {}
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.close()) }()
	if err := f.check(ctx, cfg.Dir); err != nil {
		return err
	}
	db, err := bbolt.Open(filepath.Join(cfg.Dir, fileDirectory), 0o600, &bbolt.Options{NoSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return fmt.Errorf("bolt: seed: %w", err)
	}
	l := &bulkLoad{ctx: ctx, db: db, progress: progress}
	f.load(l)
	if l.err == nil {
		l.err = db.Sync()
	}
	if err := joinClose(l.err, db); err != nil {
		return fmt.Errorf("bolt: seed: %w", err)
	}
	return nil
}

// check refuses what check would find fault with later: follows of nobody, rows that are too large.
func (f Follows) check(ctx context.Context, dir string) error {
	d, err := openDirectory(filepath.Join(dir, fileDirectory), directoryOptions{})
	if err != nil {
		return err
	}
	_, err = d.Account(store.AccountID(f.Users))
	if f.Users > 0 && err != nil {
		err = fmt.Errorf("bolt: seed: there are no %d accounts: %w", f.Users, err)
	}
	if f.Users == 0 || len(f.Channels) == 0 {
		err = errors.New("bolt: seed: follows need users and channels")
	}
	if len(f.Row) > store.MaxRowValue {
		err = errors.New("bolt: seed: the row is too large")
	}
	return errors.Join(err, ctx.Err(), d.Close())
}

func (f Follows) load(l *bulkLoad) {
	channels := slices.Clone(f.Channels)
	slices.Sort(channels)
	n, total := len(channels), len(channels)*f.Users
	var version uint64
	if l.err = l.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(dirRows)
		version = b.Sequence() + 1
		return b.SetSequence(version)
	}); l.err != nil {
		return
	}
	row := appendTableRow(nil, version, 0, f.Row)
	byUser := func(i int) (user, channel uint64) { return uint64(i/n + 1), uint64(channels[i%n]) }
	l.stage("follows", dirRows, total, func(i int) (k, v []byte) {
		user, channel := byUser(i)
		k, err := rowKey(f.Table, store.OwnerOf(store.AccountID(user)), store.KeyOf(channel))
		l.err = errors.Join(l.err, err)
		return k, row
	})
	l.stage("following", dirFollows, total, func(i int) (k, v []byte) {
		return key128(byUser(i)), []byte{}
	})
	l.stage("followers", dirFollowers, total, func(i int) (k, v []byte) {
		return key128(uint64(channels[i/f.Users]), uint64(i%f.Users+1)), []byte{}
	})
}
