package bolt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	bbolt "go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/hwangso/hwangso/store"
)

const (
	fileWaiting = 4096 // changes that may wait for a commit; further callers wait for a place
	fileBatch   = 1024 // changes that share one commit at most
)

// change is one atomic change of a boltFile. apply looks at its conditions first and refuses with a *store.Error
// before its first write; it may run more than once and must then do the same again. committed runs after the commit
// in commit order, before the change returns to its caller, whatever the outcome was.
type change struct {
	apply     func(w *writeTx) error // nil: only committed runs, between two commits
	committed func(err error)        // may be nil

	err  error
	done chan struct{}
}

// boltFile is a bolt file whose concurrent changes share commits: what arrives while a commit is being synced forms
// the next one. An idle file commits a single change at once. A refusal concerns only the change that was refused.
type boltFile struct {
	db    *bbolt.DB     // replaced by compact, between two commits and with swap
	swap  sync.RWMutex  // whoever reads db holds it, but for the writer, and a copy, of which there is one at a time
	what  string        // for errors: "directory", "state"
	slots chan struct{} // a place in the queue
	wg    sync.WaitGroup

	mu      sync.Mutex
	ready   sync.Cond // the queue has something, or closed
	queue   []*change
	closed  bool
	touched map[touchedKey]struct{} // rows changed since a copy began; nil without one
}

type touchedKey struct{ bucket, key string }

func (k touchedKey) compare(o touchedKey) int {
	return cmp.Or(cmp.Compare(k.bucket, o.bucket), cmp.Compare(k.key, o.key))
}

// openBoltFile opens or creates the file with these buckets.
func openBoltFile(path, what string, buckets ...[]byte) (*boltFile, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		if errors.Is(err, bbolterrors.ErrTimeout) {
			return nil, fmt.Errorf("bolt: open %s: another process has it open", path)
		}
		return nil, fmt.Errorf("bolt: open %s: %w", path, err)
	}
	err = createBuckets(db, buckets)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bolt: open %s: %w", path, err), db.Close())
	}
	f := &boltFile{db: db, what: what, slots: make(chan struct{}, fileWaiting)}
	f.ready.L = &f.mu
	f.wg.Go(f.run)
	return f, nil
}

// createBuckets writes only if one is missing, so that opening a file does not change it.
func createBuckets(db *bbolt.DB, buckets [][]byte) error {
	missing := false
	if err := db.View(func(tx *bbolt.Tx) error {
		for _, b := range buckets {
			missing = missing || tx.Bucket(b) == nil
		}
		return nil
	}); err != nil || !missing {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error {
		for _, b := range buckets {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		return nil
	})
}

// update runs one change and returns when it is durable.
func (f *boltFile) update(ctx context.Context, apply func(w *writeTx) error, committed func(error)) error {
	c := &change{apply: apply, committed: committed, done: make(chan struct{})}
	if err := f.submit(ctx, c); err != nil {
		return err
	}
	return f.wait(ctx, c)
}

// submit puts a change into the queue. It waits while the queue is full.
func (f *boltFile) submit(ctx context.Context, c *change) error {
	if err := f.reserve(ctx); err != nil {
		return err
	}
	return f.enqueue(c)
}

// reserve waits for a place in the queue; enqueue must follow.
func (f *boltFile) reserve(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return f.notApplied(err)
	}
	select {
	case f.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return f.notApplied(ctx.Err())
	}
}

// enqueue gives a reserved place to a change. It does not wait.
func (f *boltFile) enqueue(c *change) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		f.release()
		return store.ErrClosed
	}
	f.queue = append(f.queue, c)
	f.ready.Signal()
	return nil
}

// release gives back a reserved place.
func (f *boltFile) release() { <-f.slots }

// wait returns the result of a change. If ctx ends first, nobody knows yet.
func (f *boltFile) wait(ctx context.Context, c *change) error {
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
	}
	select {
	case <-c.done:
		return c.err
	default:
		return &store.Error{Code: store.CodeUnknown, Text: "gave up waiting for the disk", Err: ctx.Err()}
	}
}

// between runs fn between two commits.
func (f *boltFile) between(ctx context.Context, fn func()) error {
	c := &change{committed: func(error) { fn() }, done: make(chan struct{})}
	if err := f.submit(ctx, c); err != nil {
		return err
	}
	<-c.done // fn uses the caller's variables: never leave before it ran
	return nil
}

// Close commits what waits, ends the writer and closes the file.
func (f *boltFile) Close() error {
	f.mu.Lock()
	f.closed = true
	f.ready.Signal()
	f.mu.Unlock()
	f.wg.Wait()
	if err := f.db.Close(); err != nil {
		return fmt.Errorf("bolt: close %s: %w", f.what, err)
	}
	return nil
}

// run is the file's only writer. It ends when the file is closed and the queue is empty.
func (f *boltFile) run() {
	for {
		f.mu.Lock()
		for len(f.queue) == 0 && !f.closed {
			f.ready.Wait()
		}
		n := min(len(f.queue), fileBatch)
		batch := f.queue[:n:n]
		if f.queue = f.queue[n:]; len(f.queue) == 0 {
			f.queue = nil
		}
		f.mu.Unlock()
		if n == 0 {
			return
		}
		f.commit(batch)
		for _, c := range batch {
			if c.committed != nil {
				c.committed(c.err)
			}
			close(c.done)
			f.release()
		}
	}
}

// commit applies a batch in one transaction and sets each change's err. A change that fails in the middle of its
// writes takes the transaction with it; the others then run again without it.
func (f *boltFile) commit(batch []*change) {
	todo := make([]*change, 0, len(batch))
	for _, c := range batch {
		if c.apply != nil {
			todo = append(todo, c)
		}
	}
	for len(todo) > 0 {
		tx, err := f.db.Begin(true)
		if err != nil {
			fail(todo, f.notApplied(err))
			return
		}
		w := &writeTx{tx: tx}
		broken := -1
		for i, c := range todo {
			if c.err = c.apply(w); c.err == nil {
				continue
			}
			if _, refused := errors.AsType[*store.Error](c.err); !refused {
				broken = i
				break
			}
		}
		if broken < 0 && len(w.rows) > 0 {
			f.finish(w, todo)
			return
		}
		if err := tx.Rollback(); err != nil {
			fail(todo, f.notApplied(err))
			return
		}
		if broken < 0 {
			return // nothing was written: refusals, and changes that were so already
		}
		c := todo[broken]
		c.err = &store.Error{Code: store.CodeInternal, Text: "the change could not be stored",
			Err: fmt.Errorf("bolt: %s: %w", f.what, c.err)}
		todo = append(todo[:broken:broken], todo[broken+1:]...)
	}
}

// finish makes the transaction durable.
func (f *boltFile) finish(w *writeTx, todo []*change) {
	id := w.tx.ID()
	if err := w.tx.Commit(); err != nil {
		failed := f.notApplied(err)
		if f.sees(id) {
			failed = &store.Error{Code: store.CodeUnknown, Text: "the disk failed while storing", Err: err}
		}
		for _, c := range todo {
			if c.err == nil {
				c.err = failed
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.touched != nil {
		for _, k := range w.rows {
			f.touched[k] = struct{}{}
		}
	}
}

// sees reports whether readers see the transaction with this number.
func (f *boltFile) sees(id int) bool {
	tx, err := f.db.Begin(false)
	if err != nil {
		return false
	}
	defer tx.Rollback() //nolint:errcheck // a read transaction's end cannot fail
	return tx.ID() >= id
}

func fail(changes []*change, err error) {
	for _, c := range changes {
		c.err = err
	}
}

// notApplied is the error for a change that nobody will see.
func (f *boltFile) notApplied(cause error) error {
	cause = fmt.Errorf("bolt: %s: %w", f.what, cause)
	if errors.Is(cause, syscall.ENOSPC) {
		return &store.Error{Code: store.CodeFull, Text: "the disk is full", Err: cause}
	}
	return &store.Error{Code: store.CodeUnavailable, Text: store.ErrUnavailable.Text, Retry: time.Second, Err: cause}
}

// corrupt is the error for a row that cannot be read.
func corrupt(what string, cause error) error {
	return &store.Error{Code: store.CodeInternal, Text: "stored data is damaged", Err: fmt.Errorf("bolt: %s: %w", what, cause)}
}

// view runs a read transaction. It must be short: see pageRows.
func (f *boltFile) view(fn func(tx *bbolt.Tx) error) error {
	f.swap.RLock()
	err := f.db.View(fn)
	f.swap.RUnlock()
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*store.Error](err); ok {
		return err
	}
	if errors.Is(err, bbolterrors.ErrDatabaseNotOpen) {
		return store.ErrClosed
	}
	return f.notApplied(err)
}

// writeTx is a write transaction that remembers the rows it changes.
type writeTx struct {
	tx   *bbolt.Tx
	rows []touchedKey
}

func (w *writeTx) bucket(name []byte) writeBucket { return writeBucket{w.tx.Bucket(name), name, w} }

// writeBucket is a bucket within a writeTx.
type writeBucket struct {
	*bbolt.Bucket
	name []byte
	w    *writeTx
}

func (b writeBucket) put(key, value []byte) error {
	b.w.rows = append(b.w.rows, touchedKey{string(b.name), string(key)})
	return b.Bucket.Put(key, value)
}

func (b writeBucket) delete(key []byte) error {
	b.w.rows = append(b.w.rows, touchedKey{string(b.name), string(key)})
	return b.Bucket.Delete(key)
}
