package journal

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
)

// Position is the place of a frame: a byte offset that counts the frames of all segments from the
// journal's first, without their headers. The frame after the one at p lies at p plus its length;
// positions grow for ever and keep their meaning when retention removes segments.
type Position uint64

// Config says where a journal lies and how its files are cut.
type Config struct {
	// Dir holds the segment files; it is made (0700) if missing. Required.
	Dir string
	// SegmentBytes is the size of a segment file, header included; an Append that does not fit
	// begins the next segment, one larger than this gets a segment of its own size.
	// 0 means 64 MiB; at least 8 KiB.
	SegmentBytes int64
	// MaxRecord is the longest record that Append takes, in bytes. 0 means 1 MiB; at most 16 MiB - 1.
	// Longer records of earlier days stay readable.
	MaxRecord int
	// CopyRate bounds what Snapshot copies, in bytes per second. 0 means 32 MiB/s.
	CopyRate int64
	// FS is the file system; nil means OS.
	FS FS
	// Logger gets what an operator should know: a torn tail, segments of a wrong size. nil is silent.
	Logger *slog.Logger
}

const (
	defaultSegmentBytes = 64 << 20
	minSegmentBytes     = 2 * headerSize
	defaultMaxRecord    = 1 << 20
	defaultCopyRate     = 32 << 20
	maxOpenFiles        = 256     // descriptors of segments kept for readers
	keepBuffer          = 4 << 20 // an Append's buffer beyond this is not kept, bytes
)

// Validate reports the first field that cannot be used. It changes nothing.
func (c Config) Validate() error {
	switch {
	case c.Dir == "":
		return errors.New("journal: Config.Dir is empty")
	case c.SegmentBytes != 0 && c.SegmentBytes < minSegmentBytes:
		return fmt.Errorf("journal: Config.SegmentBytes is %d, need at least %d", c.SegmentBytes, minSegmentBytes)
	case c.MaxRecord < 0 || c.MaxRecord > maxLength:
		return fmt.Errorf("journal: Config.MaxRecord is %d, must be 0 to %d", c.MaxRecord, maxLength)
	case c.CopyRate < 0:
		return fmt.Errorf("journal: Config.CopyRate is %d, must not be negative", c.CopyRate)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.SegmentBytes == 0 {
		c.SegmentBytes = defaultSegmentBytes
	}
	if c.MaxRecord == 0 {
		c.MaxRecord = defaultMaxRecord
	}
	if c.CopyRate == 0 {
		c.CopyRate = defaultCopyRate
	}
	if c.FS == nil {
		c.FS = OS
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Keys of log lines.
const (
	keyPath  = "path"
	keyPos   = "pos"
	keyBytes = "bytes"
	keyErr   = "err"
)

// Journal is an open journal. Append is for one caller; everything else may be called from anywhere
// at any time.
type Journal struct {
	// fixed
	cfg    Config
	fs     FS
	log    *slog.Logger
	lock   io.Closer
	closed atomic.Bool

	// end is the confirmed end, first the oldest position kept; both are read without a lock. end is
	// stored by the writer after the sync, so what a reader finds below it is durable.
	end  atomic.Uint64
	list atomic.Pointer[[]*segment] // ascending by base, never empty, replaced whole under listMu

	listMu sync.Mutex // orders replacements of list; held for the replacement only
	opens  atomic.Int64
	clock  atomic.Uint64 // orders uses of descriptors

	dropping sync.Mutex // one DropBefore at a time; Append and readers never take it
	unsynced bool       // guarded by dropping: names were removed since the directory was synced

	// writer's, guarded by writing: the baton of Append and Close, which no reader ever takes
	writing sync.Mutex
	active  *segment
	out     File // active's file, pinned
	lost    bool // active is closed at end; a new segment must begin before anything is written
	buf     []byte
	temps   int

	keeper keeper
}

// Append writes records, in order, with one write and one sync, and returns their positions. A nil
// error means that all of them are durable. With an error none of them is visible: not to readers,
// and not after a restart (doc.go says where that knowledge ends). ErrTooLarge and ErrEmpty are
// found before anything is written; ErrFull and other I/O errors are the file system's, and the next
// Append tries again. A crash during Append leaves either all of its records or none.
//
// It is meant for one caller; a second one waits for the first.
func (j *Journal) Append(records [][]byte) ([]Position, error) {
	return j.AppendTo(make([]Position, 0, len(records)), records)
}

// AppendTo is Append with the positions appended to dst, which it returns; dst comes back as it was
// if there is an error. Records are copied; it makes no garbage once its buffer has grown.
func (j *Journal) AppendTo(dst []Position, records [][]byte) ([]Position, error) {
	for _, r := range records {
		if len(r) == 0 {
			return dst, ErrEmpty
		}
		if len(r) > j.cfg.MaxRecord {
			return dst, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(r), j.cfg.MaxRecord)
		}
	}
	j.writing.Lock()
	defer j.writing.Unlock()
	if j.closed.Load() {
		return dst, ErrClosed
	}
	if len(records) == 0 {
		return dst, nil
	}
	return j.write(dst, records)
}

// End is the position after the last durable record: the next one's, and where Read says ErrEnd.
func (j *Journal) End() Position { return Position(j.end.Load()) }

// First is the position of the oldest record kept. It equals End if there is none.
func (j *Journal) First() Position { return (*j.list.Load())[0].base }

// Close ends the journal's goroutine and closes the files; reads that are under way finish. It waits
// for an Append. Later calls return ErrClosed, a second Close nil.
func (j *Journal) Close() error {
	j.writing.Lock()
	defer j.writing.Unlock()
	if j.closed.Swap(true) {
		return nil
	}
	errs := []error{j.keeper.stop(), j.release(j.active)}
	for _, s := range *j.list.Load() {
		errs = append(errs, j.retire(s, ErrClosed))
	}
	if err := j.lock.Close(); err != nil {
		errs = append(errs, ioError("unlock", j.cfg.Dir, err))
	}
	return errors.Join(errs...)
}
