package bolt

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/journal"
)

const (
	warmLargest = 2 << 30 // bytes of an index that are read ahead at most
	warmShare   = 256     // a replay of less than this part of the index reads only what it needs
	warmReaders = 4
	warmChunk   = 1 << 20
	preloadMost = 400_000 // logs that are loaded before a replay at most, about 1 KiB each
	preloadStep = 256     // logs loaded in one transaction
)

// warm reads the index file into the page cache before a replay that will touch much of it. bolt maps the file for
// random access, so the kernel reads no page ahead: one page per log and fault is what a start with a cold cache would
// spend its time with.
func warm(path string, replay journal.Position) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if size := info.Size(); size > warmLargest || int64(replay) < size/warmShare {
		return nil
	}
	var wg sync.WaitGroup
	errs := make([]error, warmReaders)
	for r := range warmReaders {
		wg.Go(func() {
			buf := make([]byte, warmChunk)
			for off := int64(r) * warmChunk; off < info.Size(); off += warmReaders * warmChunk {
				if _, err := f.ReadAt(buf, off); err != nil && err != io.EOF {
					errs[r] = err
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// preload loads the logs that a replay from here on will touch, in the order of their rows and on every processor, and
// pins them. The replay itself would load them one by one in the order of the journal.
func (l *logs) preload(from journal.Position) (pinned []*logState, err error) {
	ids, err := l.touched(from)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex // guards ids, pinned and err
	take := func() []store.LogID {
		mu.Lock()
		defer mu.Unlock()
		n := min(preloadStep, len(ids))
		chunk := ids[:n]
		ids = ids[n:]
		return chunk
	}
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for chunk := take(); len(chunk) > 0; chunk = take() {
				loaded, lerr := l.ix.loadLogs(chunk)
				for _, st := range loaded {
					l.states.add(st)
				}
				mu.Lock()
				pinned = append(pinned, loaded...)
				err = errors.Join(err, lerr)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return pinned, err
}

// touched lists the logs that have records from here on, in order; not all of them if they are too many.
func (l *logs) touched(from journal.Position) ([]store.LogID, error) {
	set := make(map[store.LogID]struct{})
	err := l.journal.Scan(from, func(_, _ journal.Position, data []byte) error {
		if len(data) < headLength {
			return nil // the replay will say so
		}
		if id := store.LogID(binary.LittleEndian.Uint64(data[logOffset:])); id != 0 {
			set[id] = struct{}{}
		}
		if len(set) >= preloadMost {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	ids := make([]store.LogID, 0, len(set))
	for id := range set {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// loadLogs loads those of the logs that the index has.
func (ix *index) loadLogs(ids []store.LogID) (loaded []*logState, err error) {
	err = ix.view(func(tx *bbolt.Tx) error {
		for _, id := range ids {
			st, err := readLog(tx, id)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			loaded = append(loaded, st)
		}
		return nil
	})
	return loaded, err
}
