package bolt

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
)

// The buckets of the file "state".
var (
	stateSessions  = []byte("sessions")  // account, device → packed row
	stateDeadlines = []byte("deadlines") // time, account, device: sessions that end then unless they come back
	stateConnected = []byte("connected") // boot, account, device: sessions connected in that run of the server
	stateReaders   = []byte("readers")   // name → position
	stateMeta      = []byte("meta")      // "boot" → how often the file was opened
)

var (
	stateBuckets = [][]byte{stateSessions, stateDeadlines, stateConnected, stateReaders, stateMeta}
	metaBoot     = []byte("boot")
)

const (
	flushEvery = time.Second
	flushRows  = 2000    // rows written in one transaction
	flushFull  = 1 << 17 // cursors waiting that start a flush at once
	flushDrop  = 1 << 20 // cursors waiting beyond which new ones are dropped: that costs redeliveries
	expireRows = 1000    // sessions ended in one transaction
)

// sessionsOptions configure a sessions.
type sessionsOptions struct {
	// Epoch is the store's epoch. nil: always 1.
	Epoch func() store.Epoch
	// Head is the newest sequence of a log, CodeNotFound for no such log. It is asked only for rows of an older
	// epoch. nil: no cursor is capped.
	Head func(store.LogID) (store.Seq, error)
	// Now is the clock. nil: time.Now.
	Now func() time.Time
	// Every is how long cursors wait for being written at most. 0: a second.
	Every time.Duration
	// Log is told of damaged rows and of a disk that fails and recovers. nil: nobody is.
	Log *slog.Logger
	// Flushed is called after each transaction of cursors, by the goroutine that flushes. nil: nobody is told.
	Flushed func(rows int, err error)
}

// sessions implements store.Sessions over one bolt file. What connections report waits in memory, at most about a
// second, and is written by one goroutine in slices of rows in the order of their keys.
type sessions struct {
	file    *boltFile
	opt     sessionsOptions
	boot    uint64 // number of this run
	started int64  // Unix milliseconds

	wg   sync.WaitGroup
	work chan struct{} // something waits
	full chan struct{} // so much waits that it should go now
	quit chan struct{}

	mu      sync.Mutex
	pending map[sessionKey]*pending
	weight  int
	dropped int // puts dropped since the last successful flush
	readers map[string]reader
	failing error // of the last flush
	closed  bool
}

type reader struct {
	position store.Position
	dirty    bool
}

var _ store.Sessions = (*sessions)(nil)

// openSessions opens or creates the file. It writes the number of this run, so that sessions that were connected when
// an earlier run died are told from those connected now.
func openSessions(path string, opt sessionsOptions) (*sessions, error) {
	if opt.Epoch == nil {
		opt.Epoch = func() store.Epoch { return 1 }
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Every == 0 {
		opt.Every = flushEvery
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	file, err := openBoltFile(path, "state", stateBuckets...)
	if err != nil {
		return nil, err
	}
	s := &sessions{
		file:    file,
		opt:     opt,
		started: opt.Now().UnixMilli(),
		work:    make(chan struct{}, 1),
		full:    make(chan struct{}, 1),
		quit:    make(chan struct{}),
		pending: map[sessionKey]*pending{},
		readers: map[string]reader{},
	}
	err = file.update(context.Background(), func(w *writeTx) error {
		meta := w.bucket(stateMeta)
		s.boot = 1
		if row := meta.Get(metaBoot); len(row) == 8 {
			s.boot = binary.BigEndian.Uint64(row) + 1
		}
		return meta.put(metaBoot, key64(s.boot))
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("bolt: open %s: %w", path, joinClose(err, file))
	}
	s.wg.Go(s.flusher)
	return s, nil
}

// Close writes what waits and closes the file. Safe twice.
func (s *sessions) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	close(s.quit)
	s.wg.Wait()
	err := s.file.between(context.Background(), func() {}) // saves under way hold back what was put after them
	if err == nil {
		err = s.flush(context.Background())
	}
	if err != nil {
		err = fmt.Errorf("bolt: close state: %w", err)
	}
	return joinClose(err, s.file)
}

// LoadSession returns the device's row as it is now.
func (s *sessions) LoadSession(a store.AccountID, d store.DeviceID) (*store.Session, error) {
	key := sessionKey{a, d}
	row, err := s.load(key)
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, store.ErrNotFound
	}
	return row.session(key), nil
}

// CursorOf returns one cursor of a device.
func (s *sessions) CursorOf(a store.AccountID, d store.DeviceID, log store.LogID) (c store.Cursor, err error) {
	key := sessionKey{a, d}
	s.mu.Lock()
	_, waits := s.pending[key]
	s.mu.Unlock()
	if waits {
		row, err := s.load(key)
		if err != nil || row == nil {
			return store.Cursor{}, err
		}
		for _, c := range row.cursors {
			if c.log == log {
				return c.Cursor, nil
			}
		}
		return store.Cursor{}, nil
	}
	epoch := store.Epoch(0)
	err = s.file.view(func(tx *bbolt.Tx) error {
		row := tx.Bucket(stateSessions).Get(key.bytes())
		if row == nil {
			return nil
		}
		c, epoch, err = cursorInRow(row, log)
		if err != nil {
			return corrupt(key.String(), err)
		}
		return nil
	})
	if err != nil || epoch == 0 || epoch == s.opt.Epoch() {
		return c, err
	}
	one := sessionRow{epoch: epoch, cursors: []logCursor{{log, c}}}
	if err := s.capRow(&one); err != nil || len(one.cursors) == 0 {
		return store.Cursor{}, err
	}
	return one.cursors[0].Cursor, nil
}

// load returns the present state of a row, nil if there is none.
func (s *sessions) load(key sessionKey) (*sessionRow, error) {
	for {
		s.mu.Lock()
		p := s.pending[key]
		var waiting pending
		if p != nil {
			waiting = p.snapshot()
		}
		s.mu.Unlock()
		row, err := s.stored(key)
		if err != nil {
			return nil, err
		}
		if p == nil {
			return row, nil
		}
		// What waited may have been written and then overtaken by another change while the row was read.
		s.mu.Lock()
		same := s.pending[key] == p && p.settled == waiting.settled
		s.mu.Unlock()
		if !same {
			continue
		}
		if row, err = waiting.applyTo(row); err != nil {
			return nil, corrupt(key.String(), err)
		}
		if row == nil {
			return nil, nil
		}
		return row, s.capRow(row)
	}
}

// stored returns a row as it is in the file, its cursors capped if they are of an older epoch.
func (s *sessions) stored(key sessionKey) (*sessionRow, error) {
	var row *sessionRow
	err := s.file.view(func(tx *bbolt.Tx) (err error) {
		row, err = getSession(tx, key)
		return err
	})
	if err != nil || row == nil {
		return nil, err
	}
	return row, s.capRow(row)
}

func getSession(tx *bbolt.Tx, key sessionKey) (*sessionRow, error) {
	packed := tx.Bucket(stateSessions).Get(key.bytes())
	if packed == nil {
		return nil, nil
	}
	row, err := decodeSession(packed)
	if err != nil {
		return nil, corrupt(key.String(), err)
	}
	return &row, nil
}

// capRow takes a row into the current epoch. A log that is gone takes its cursor with it: its number may be given
// again, to another log.
func (s *sessions) capRow(row *sessionRow) error {
	epoch := s.opt.Epoch()
	if row.epoch == epoch || s.opt.Head == nil {
		return nil
	}
	heads := map[store.LogID]store.Seq{}
	kept := row.cursors[:0]
	for _, c := range row.cursors {
		head, err := s.opt.Head(c.log)
		if store.CodeOf(err) == store.CodeNotFound {
			continue
		}
		if err != nil {
			return err
		}
		heads[c.log] = head
		c.Cursor = c.Cap(head)
		kept = append(kept, c)
	}
	row.cursors = kept
	row.inflight = slices.DeleteFunc(row.inflight, func(f store.Inflight) bool { return f.Seq > heads[f.Log] })
	row.epoch = epoch
	return nil
}

// ReaderPosition is the durable position of a follower, or the newer one put since.
func (s *sessions) ReaderPosition(name string) (p store.Position, err error) {
	s.mu.Lock()
	r, ok := s.readers[name]
	s.mu.Unlock()
	if ok {
		return r.position, nil
	}
	err = s.file.view(func(tx *bbolt.Tx) error {
		row := tx.Bucket(stateReaders).Get([]byte(name))
		if row == nil {
			return nil
		}
		if len(row) != 8 {
			return corrupt("position of reader "+name, errRowShort)
		}
		p = store.Position(binary.BigEndian.Uint64(row))
		return nil
	})
	return p, err
}

// PutReaderPosition moves a follower's position.
func (s *sessions) PutReaderPosition(name string, p store.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || name == "" {
		return
	}
	s.readers[name] = reader{p, true}
	signal(s.work)
}

// signal tells a goroutine that there is something to do, once.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
