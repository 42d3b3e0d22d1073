package bolt

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/journal"
)

// Config says where a store lies and how it behaves.
type Config struct {
	// Dir is the data directory, made (0700) if missing. Required.
	Dir string
	// KeyFile holds the master key, made (0600) with a new store. It should lie apart from the data: who has both can
	// read everything, who loses it can read nothing. "" means Dir/keys/master.key.
	KeyFile string
	// Retention is how long records are kept at least; whole segments are removed. 0 means 365 days, negative for
	// ever.
	Retention time.Duration
	// SegmentBytes is the size of a journal segment. 0 means 64 MiB.
	SegmentBytes int64
	// CheckpointEvery is the time between checkpoints of the index, which bounds how much is replayed at the start.
	// 0 means 30 seconds.
	CheckpointEvery time.Duration
	// CheckpointRecords is how many records ask for a checkpoint earlier. 0 means 200,000.
	CheckpointRecords int
	// CacheBytes bounds the tail of recent records kept in memory. 0 means 16 MiB, negative none.
	CacheBytes int
	// MinFree is the part of the file system that must be free: below it appends are refused and reads go on. 0 means
	// 0.05, negative nothing.
	MinFree float64
	// MaxMessage bounds text and extra of one message together, in bytes. 0 means 64 KiB; at most 8 MiB.
	MaxMessage int
	// Logger is told what an operator should know; nil is silent.
	Logger *slog.Logger
	// Registerer gets the store's metrics; nil means none. Two stores need two registerers.
	Registerer prometheus.Registerer
	// FS is the file system of the journal, for tests that inject faults; nil means journal.OS.
	FS journal.FS
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// FreeSpace tells free and total bytes of the file system that holds dir; nil asks the system.
	FreeSpace func(dir string) (free, total uint64, err error)
}

const (
	defaultRetention   = 365 * 24 * time.Hour
	defaultCheckpoint  = 30 * time.Second
	defaultRecords     = 200_000
	defaultCacheBytes  = 16 << 20
	defaultMinFree     = 0.05
	defaultMaxMessage  = 64 << 10
	largestMaxMessage  = 8 << 20
	recordBeyondBodies = 4 << 20 // what a record may hold besides text and extra: the members of a large room
)

// knownSpace is FreeSpace where nobody has another. The tests here, which run on disks that are nearly full, too, have one.
var knownSpace = freeSpace

// Validate reports the first field that cannot be used. It changes nothing.
func (c Config) Validate() error {
	switch {
	case c.Dir == "":
		return errors.New("bolt: Config.Dir is empty")
	case c.MaxMessage < 0 || c.MaxMessage > largestMaxMessage:
		return fmt.Errorf("bolt: Config.MaxMessage is %d, must be 0 to %d", c.MaxMessage, largestMaxMessage)
	case c.MinFree >= 1:
		return fmt.Errorf("bolt: Config.MinFree is %v, must be below 1", c.MinFree)
	case c.CheckpointEvery < 0 || c.CheckpointRecords < 0:
		return errors.New("bolt: Config.CheckpointEvery and CheckpointRecords must not be negative")
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.KeyFile == "" {
		c.KeyFile = filepath.Join(c.Dir, "keys", "master.key")
	}
	if c.Retention == 0 {
		c.Retention = defaultRetention
	}
	if c.CheckpointEvery == 0 {
		c.CheckpointEvery = defaultCheckpoint
	}
	if c.CheckpointRecords == 0 {
		c.CheckpointRecords = defaultRecords
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = defaultCacheBytes
	}
	if c.MinFree == 0 {
		c.MinFree = defaultMinFree
	}
	if c.MaxMessage == 0 {
		c.MaxMessage = defaultMaxMessage
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.FreeSpace == nil {
		c.FreeSpace = knownSpace
	}
	return c
}

// The files of a data directory.
const (
	fileFormat    = "FORMAT"
	fileLock      = "LOCK"
	fileDirectory = "directory.bolt"
	fileState     = "state.bolt"
	fileIndex     = "index.bolt"
	dirJournal    = "journal"
)

// Store is an open data directory.
type Store struct {
	*logs
	*directory
	*sessions

	cfg     Config
	lock    *lockFile
	closing sync.Once
	err     error
}

var _ store.Store = (*Store)(nil)

// Open opens the store in cfg.Dir, or begins one. Everything that was acknowledged before a crash is there when it
// returns. An error that wraps ErrLocked names the process that has the directory open; one that wraps ErrFormat says
// that a newer program wrote it, or with another key. The caller must Close it.
func Open(cfg Config) (_ *Store, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if err := makeDir(cfg.Dir); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg}
	if s.lock, err = lockDir(cfg.Dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := removeUnfinished(cfg.Dir); err != nil {
		return nil, err
	}
	f, master, err := openFormat(cfg)
	if err != nil {
		return nil, err
	}
	if s.directory, err = openDirectory(filepath.Join(cfg.Dir, fileDirectory), directoryOptions{Now: cfg.Now}); err != nil {
		return nil, err
	}
	if s.logs, err = openLogs(cfg, f, &dataKeys{master, s.directory}, s.directory.held); err != nil {
		return nil, err
	}
	s.sessions, err = openSessions(filepath.Join(cfg.Dir, fileState), sessionsOptions{
		Epoch: s.Epoch, Head: s.head, Now: cfg.Now, Log: cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	erasing, err := s.directory.erasing()
	if err != nil {
		return nil, err
	}
	for _, id := range erasing {
		if err := s.finishErase(context.Background(), id); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// makeDir makes a directory that only its owner can enter.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("bolt: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("bolt: %w", err)
	}
	return nil
}

func (s *Store) head(id store.LogID) (store.Seq, error) {
	info, err := s.Info(id)
	return info.Head, err
}

// Append implements store.Log. What a request's receiver accepts lies behind its devices' cursors: they go back first,
// and durably, so that a crash between the two costs nothing but a look.
func (s *Store) Append(d store.Draft) *store.Pending {
	if d.Change.Kind == store.ChangeAccept {
		if err := s.rewindFor(&d); err != nil {
			return store.Resolved(store.Receipt{}, err)
		}
	}
	return s.logs.Append(d)
}

func (s *Store) rewindFor(d *store.Draft) error {
	info, err := s.Info(d.Log)
	if err != nil {
		return err
	}
	if me := info.Members.Find(d.Change.Account); me == nil || len(me.Spans) == 0 {
		return nil // a device has no cursor in a log that was never there for it
	}
	from := d.Change.From
	if from == 0 {
		from = info.Side(info.Key.Peer(d.Change.Account)).First
	}
	if from == 0 || from > info.Head {
		return nil
	}
	return s.Rewind(context.Background(), d.Change.Account, d.Log, from-1)
}

// Healthy implements store.Store.
func (s *Store) Healthy() error { return s.logs.healthy() }

// Close implements store.Store: sessions, journal, directory, in the reverse order of Open.
func (s *Store) Close() error {
	s.closing.Do(func() {
		var errs []error
		if s.sessions != nil {
			errs = append(errs, s.sessions.Close())
		}
		if s.logs != nil {
			errs = append(errs, s.logs.close())
			s.met.unregister(s.cfg.Registerer)
		}
		if s.directory != nil {
			errs = append(errs, s.directory.Close())
		}
		if s.lock != nil {
			errs = append(errs, s.lock.close())
		}
		s.err = errors.Join(errs...)
	})
	return s.err
}

// dataKeys derives an account's data key from the master key and the account's salt. Destroying the salt destroys the
// key.
type dataKeys struct {
	master [32]byte
	dir    *directory
}

func (k *dataKeys) dataKey(a store.AccountID) (key [32]byte, err error) {
	salt, err := k.dir.salt(a)
	if errors.Is(err, store.ErrNotFound) {
		return key, errKeyGone
	}
	if err != nil {
		return key, err
	}
	mac := hmac.New(sha256.New, k.master[:])
	mac.Write([]byte("hwangso body 1"))
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(a)))
	mac.Write(salt[:])
	mac.Sum(key[:0])
	return key, nil
}

func openJournal(cfg Config) (*journal.Journal, error) {
	j, err := journal.Open(journal.Config{
		Dir: filepath.Join(cfg.Dir, dirJournal), SegmentBytes: cfg.SegmentBytes, MaxRecord: cfg.MaxMessage + recordBeyondBodies,
		FS: cfg.FS, Logger: cfg.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("bolt: %w", err)
	}
	return j, nil
}
