package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	bbolt "go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/journal"
)

// The buckets of the index file. Numbers in keys are big endian, so that rows lie in the order of the numbers.
var (
	bucketMeta    = []byte("meta")    // metaRow → checkpoint
	bucketHeads   = []byte("heads")   // log → head row
	bucketMembers = []byte("members") // log → membership
	bucketMarks   = []byte("marks")   // log → read marks
	bucketBlocks  = []byte("blocks")  // log, block → positions of 64 sequences
	bucketOps     = []byte("ops")     // log, target → newest operations
	bucketKeys    = []byte("keys")    // key → log
	bucketRefs    = []byte("refs")    // account, log → nothing
	bucketDevices = []byte("devices") // account, device → newest sends and open QoS 2 identifiers
	bucketSends   = []byte("sends")   // account, device, block → 64 sends

	indexBuckets = [][]byte{bucketMeta, bucketHeads, bucketMembers, bucketMarks, bucketBlocks, bucketOps, bucketKeys,
		bucketRefs, bucketDevices, bucketSends}

	metaRow = []byte("checkpoint")
)

const (
	indexFormat = 2 // 2: pairs have sides
	rowFormat   = 1 // first byte of every row that is not a bare number
)

// index is the bolt file of what can be derived from the journal. Everything in it is a projection up to the
// checkpoint's position or further: each log and device row says how far it is itself.
type index struct {
	db   *bbolt.DB    // replaced by compact, with maintain and swap
	swap sync.RWMutex // whoever reads db holds it or maintain
}

// checkpoint is the row written last: recovery replays from position.
type checkpoint struct {
	store    [16]byte // the store's identity, so that no foreign index is taken
	epoch    store.Epoch
	position journal.Position
	nextLog  store.LogID
}

// openIndex opens or creates the file. A file that bolt cannot open, or of another format, is an error; the caller
// may remove it and rebuild.
func openIndex(path string) (*index, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, fmt.Errorf("bolt: open %s: %w", path, err)
	}
	if err := createBuckets(db, indexBuckets); err != nil {
		return nil, errors.Join(fmt.Errorf("bolt: open %s: %w", path, err), db.Close())
	}
	return &index{db: db}, nil
}

func (ix *index) close() error { return ix.db.Close() }

// view runs a read transaction; fn must be short, no transaction stays open over 10 ms.
func (ix *index) view(fn func(tx *bbolt.Tx) error) error {
	ix.swap.RLock()
	err := ix.db.View(fn)
	ix.swap.RUnlock()
	if errors.Is(err, bbolterrors.ErrDatabaseNotOpen) {
		return store.ErrClosed
	}
	return err
}

// loadCheckpoint returns ok false for a new file.
func (ix *index) loadCheckpoint() (c checkpoint, ok bool, err error) {
	err = ix.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketMeta).Get(metaRow)
		if b == nil {
			return nil
		}
		d := decoder{b: b}
		format := d.u8()
		copy(c.store[:], d.take(16))
		c.epoch = store.Epoch(d.uvarint())
		c.position = journal.Position(d.uvarint())
		c.nextLog = store.LogID(d.uvarint())
		if format != indexFormat || !d.done() {
			return corrupt("index", errors.New("checkpoint row"))
		}
		ok = true
		return nil
	})
	return c, ok, err
}

func putCheckpoint(tx *bbolt.Tx, c checkpoint) error {
	b := append([]byte{indexFormat}, c.store[:]...)
	b = binary.AppendUvarint(b, uint64(c.epoch))
	b = binary.AppendUvarint(b, uint64(c.position))
	b = binary.AppendUvarint(b, uint64(c.nextLog))
	return tx.Bucket(bucketMeta).Put(metaRow, b)
}

func key1(a uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 0, 8), a) }

func key2(a, b uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(make([]byte, 0, 16), a), b)
}

func key3(a, b, c uint64) []byte {
	k := binary.BigEndian.AppendUint64(make([]byte, 0, 24), a)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(k, b), c)
}

// logByKey finds a log that is in the index, ErrNotFound if there is none.
func (ix *index) logByKey(k store.Key) (id store.LogID, err error) {
	err = ix.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketKeys).Get(appendKey(nil, k))
		if len(b) != 8 {
			return store.ErrNotFound
		}
		id = store.LogID(binary.BigEndian.Uint64(b))
		return nil
	})
	return id, err
}

// loadLog reads the rows of one log, ErrNotFound if there are none.
func (ix *index) loadLog(id store.LogID) (st *logState, err error) {
	err = ix.view(func(tx *bbolt.Tx) error {
		st, err = readLog(tx, id)
		return err
	})
	return st, err
}

func readLog(tx *bbolt.Tx, id store.LogID) (*logState, error) {
	k := key1(uint64(id))
	b := tx.Bucket(bucketHeads).Get(k)
	if b == nil {
		return nil, store.ErrNotFound
	}
	st := &logState{id: id}
	if !st.decodeHead(b) {
		return nil, corrupt("index", fmt.Errorf("head row of %s", id))
	}
	d := decoder{b: tx.Bucket(bucketMembers).Get(k)}
	if d.b != nil {
		d.bad = d.u8() != rowFormat
		st.members = d.members()
		if !d.done() {
			return nil, corrupt("index", fmt.Errorf("members row of %s", id))
		}
	}
	if st.members == nil {
		st.members = &store.Membership{}
	}
	d = decoder{b: tx.Bucket(bucketMarks).Get(k)}
	if d.b != nil {
		d.bad = d.u8() != rowFormat
		st.marks = d.marks()
		if !d.done() {
			return nil, corrupt("index", fmt.Errorf("marks row of %s", id))
		}
	}
	return st, nil
}

// appendHead appends the head row; mu is held. It holds the positions of the incomplete block only.
func (st *logState) appendHead(b []byte) []byte {
	b = append(b, rowFormat)
	b = appendKey(b, st.key)
	b = binary.AppendUvarint(b, uint64(st.by))
	b = binary.AppendUvarint(b, uint64(st.created))
	b = appendString(b, st.title)
	b = binary.AppendUvarint(b, uint64(st.head))
	b = binary.AppendUvarint(b, uint64(st.first))
	b = binary.AppendUvarint(b, uint64(st.headTime))
	b = binary.AppendUvarint(b, uint64(st.opsMax))
	b = binary.AppendUvarint(b, uint64(st.applied))
	b = binary.AppendUvarint(b, uint64(st.full))
	b = appendSides(b, st.key, &st.sides)
	return appendPositions(b, st.tail[len(st.tail)-int(st.head)%blockSize:])
}

func (st *logState) decodeHead(b []byte) bool {
	d := decoder{b: b}
	d.bad = d.u8() != rowFormat
	st.key = d.key()
	st.by = store.AccountID(d.uvarint())
	st.created = int64(d.uvarint())
	st.title = string(d.bytes(maxTitle))
	st.head, st.first = store.Seq(d.uvarint()), store.Seq(d.uvarint())
	st.headTime = int64(d.uvarint())
	st.opsMax = store.Seq(d.uvarint())
	st.applied = journal.Position(d.uvarint())
	st.saved = st.applied
	st.full = journal.Position(d.uvarint())
	st.sides = d.sides(st.key)
	st.tailAfter = st.head - st.head%blockSize
	st.tail = d.positions(nil)
	return d.done() && len(st.tail) == int(st.head-st.tailAfter)
}

func appendPositions(b []byte, ps []journal.Position) []byte {
	b = binary.AppendUvarint(b, uint64(len(ps)))
	last := journal.Position(0)
	for _, p := range ps {
		b = binary.AppendVarint(b, int64(p-last))
		last = p
	}
	return b
}

func (d *decoder) positions(ps []journal.Position) []journal.Position {
	n := d.count()
	last := journal.Position(0)
	for range n {
		v, k := binary.Varint(d.b)
		if d.bad || k <= 0 {
			d.bad = true
			return ps
		}
		d.b = d.b[k:]
		last += journal.Position(v)
		ps = append(ps, last)
	}
	return ps
}

// positions returns those of after+1 to upto, which lie in complete blocks. Unknown ones are 0.
func (ix *index) positions(id store.LogID, after, upto store.Seq) (ps []journal.Position, err error) {
	ps = make([]journal.Position, 0, upto-after)
	err = ix.view(func(tx *bbolt.Tx) error {
		blocks := tx.Bucket(bucketBlocks)
		var block []journal.Position
		for seq := after + 1; seq <= upto; {
			n := blockOf(seq)
			d := decoder{b: blocks.Get(key2(uint64(id), n))}
			if block = d.positions(block[:0]); !d.done() || len(block) != blockSize {
				return corrupt("index", fmt.Errorf("position block %d of %s", n, id))
			}
			from, to := seq-blockStart(n)-1, min(upto-blockStart(n), blockSize)
			ps = append(ps, block[from:to]...)
			seq = blockStart(n) + to + 1
		}
		return nil
	})
	return ps, err
}

func appendOps(b []byte, ops []logOp) []byte {
	b = append(b, rowFormat)
	b = binary.AppendUvarint(b, uint64(len(ops)))
	for _, o := range ops {
		kind := byte(o.kind)
		if o.ask {
			kind |= opAsk
		}
		b = append(b, kind)
		b = binary.AppendUvarint(b, uint64(o.seq))
		b = binary.AppendUvarint(b, uint64(o.pos))
		b = binary.AppendUvarint(b, uint64(o.only))
	}
	return b
}

func decodeOps(b []byte) ([]logOp, bool) {
	d := decoder{b: b}
	d.bad = d.u8() != rowFormat
	n := d.count()
	ops := make([]logOp, 0, min(n, len(d.b)/4+1))
	for range n {
		if d.bad {
			break
		}
		kind := d.u8()
		ops = append(ops, logOp{store.OpKind(kind &^ opAsk), store.Seq(d.uvarint()), journal.Position(d.uvarint()),
			store.AccountID(d.uvarint()), kind&opAsk != 0})
	}
	return ops, d.done()
}

// opAsk is set in the kind of an operation on a request.
const opAsk = 1 << 7

// ops adds the operations on after+1 to upto to those in dst, which are newer.
func (ix *index) ops(id store.LogID, after, upto store.Seq, dst map[store.Seq][]logOp) error {
	return ix.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketOps).Cursor()
		end := string(key2(uint64(id), uint64(upto)))
		for k, v := c.Seek(key2(uint64(id), uint64(after)+1)); k != nil && string(k) <= end; k, v = c.Next() {
			ops, ok := decodeOps(v)
			if !ok || len(k) != 16 {
				return corrupt("index", fmt.Errorf("operation row of %s", id))
			}
			target := store.Seq(binary.BigEndian.Uint64(k[8:]))
			for _, o := range dst[target] {
				ops = mergeOp(ops, o)
			}
			dst[target] = ops
		}
		return nil
	})
}

// refs returns the logs of an account after one, at most max.
func (ix *index) refs(a store.AccountID, after store.LogID, max int) (ids []store.LogID, err error) {
	err = ix.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketRefs).Cursor()
		for k, _ := c.Seek(key2(uint64(a), uint64(after)+1)); len(k) == 16 && len(ids) < max; k, _ = c.Next() {
			if binary.BigEndian.Uint64(k) != uint64(a) {
				break
			}
			ids = append(ids, store.LogID(binary.BigEndian.Uint64(k[8:])))
		}
		return nil
	})
	return ids, err
}

// empty reports whether no row was ever written.
func (ix *index) empty() bool {
	empty := true
	err := ix.view(func(tx *bbolt.Tx) error {
		for _, b := range indexBuckets {
			if k, _ := tx.Bucket(b).Cursor().First(); k != nil {
				empty = false
			}
		}
		return nil
	})
	return err == nil && empty
}
