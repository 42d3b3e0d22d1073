package bolt

import (
	"encoding/binary"
	"errors"
	"slices"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/journal"
)

// loadDevice reads the newest row of a device; one that has none has not sent yet.
func (ix *index) loadDevice(k deviceKey) (*deviceState, error) {
	ds := &deviceState{key: k}
	err := ix.view(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(bucketDevices).Get(key2(uint64(k.account), uint64(k.device))); b != nil && !ds.decode(b) {
			return corrupt("index", errors.New("device row"))
		}
		return nil
	})
	return ds, err
}

// append appends the device's row: the sends of the incomplete block and the open QoS 2 identifiers. mu is held.
func (ds *deviceState) append(b []byte) []byte {
	b = append(b, rowFormat)
	b = binary.AppendUvarint(b, uint64(ds.applied))
	b = binary.AppendUvarint(b, ds.count())
	b = appendSends(b, ds.sends[len(ds.sends)-int(ds.count()%sendsBlock):])
	b = binary.AppendUvarint(b, uint64(len(ds.packets)))
	for p, r := range ds.packets {
		b = binary.AppendUvarint(b, uint64(p))
		b = binary.AppendUvarint(b, uint64(r.log))
		b = binary.AppendUvarint(b, uint64(r.seq))
		b = binary.AppendUvarint(b, uint64(r.time))
	}
	return b
}

func (ds *deviceState) decode(b []byte) bool {
	d := decoder{b: b}
	d.bad = d.u8() != rowFormat
	ds.applied = journal.Position(d.uvarint())
	ds.saved = ds.applied
	count := d.uvarint()
	ds.sends = d.sends(nil)
	ds.base = count - uint64(len(ds.sends))
	ds.written = ds.base
	ds.older = ds.base > 0
	n := d.count()
	for range n {
		if d.bad {
			return false
		}
		if ds.packets == nil {
			ds.packets = make(map[uint16]packetRow)
		}
		p := uint16(d.uvarint())
		ds.packets[p] = packetRow{store.LogID(d.uvarint()), store.Seq(d.uvarint()), int64(d.uvarint())}
	}
	return d.done() && len(ds.sends) == int(count%sendsBlock)
}

func appendSends(b []byte, sends []send) []byte {
	b = binary.AppendUvarint(b, uint64(len(sends)))
	last := journal.Position(0)
	for _, s := range sends {
		b = binary.LittleEndian.AppendUint64(b, s.hash)
		b = binary.AppendUvarint(b, uint64(s.pos-last))
		last = s.pos
	}
	return b
}

func (d *decoder) sends(dst []send) []send {
	last := journal.Position(0)
	for n := d.count(); n > 0 && !d.bad; n-- {
		hash := d.u64()
		last += journal.Position(d.uvarint())
		dst = append(dst, send{hash, last})
	}
	return dst
}

// loadSends returns the sends before base that are within the look-back. A block that is missing ends them: it was
// swept away as too old.
func (ix *index) loadSends(k deviceKey, base uint64) ([]send, error) {
	var blocks [][]send
	err := ix.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketSends)
		for n := base / sendsBlock; n > 0 && len(blocks) < sendsKept/sendsBlock; n-- {
			v := b.Get(key3(uint64(k.account), uint64(k.device), n-1))
			if v == nil {
				return nil
			}
			d := decoder{b: v}
			d.bad = d.u8() != rowFormat
			d.u64() // time
			block := d.sends(make([]send, 0, sendsBlock))
			if !d.done() || len(block) != sendsBlock {
				return corrupt("index", errors.New("send block"))
			}
			blocks = append(blocks, block)
		}
		return nil
	})
	slices.Reverse(blocks)
	return slices.Concat(blocks...), err
}

// deviceRows are the rows of a device as they were at one moment.
type deviceRows struct {
	key     deviceKey
	row     []byte
	from    uint64   // number of the first block
	blocks  [][]byte // complete ones that the index does not have
	applied journal.Position
	count   uint64
}

// rows encodes what the index lacks; mu is held. now (Unix milliseconds) dates the blocks.
func (ds *deviceState) rows(now int64) deviceRows {
	r := deviceRows{key: ds.key, row: ds.append(nil), applied: ds.applied, count: ds.count()}
	r.from = max(ds.written, ds.base) / sendsBlock
	for n := r.from; n < r.count/sendsBlock; n++ {
		at := n*sendsBlock - ds.base
		v := binary.LittleEndian.AppendUint64([]byte{rowFormat}, uint64(now))
		r.blocks = append(r.blocks, appendSends(v, ds.sends[at:at+sendsBlock]))
	}
	return r
}

// put writes the rows and removes blocks beyond the look-back. It holds no lock: a page of the index that must be read
// from the disk delays nobody.
func (r *deviceRows) put(tx *bbolt.Tx) (rows int, err error) {
	account, device := uint64(r.key.account), uint64(r.key.device)
	if err := tx.Bucket(bucketDevices).Put(key2(account, device), r.row); err != nil {
		return 0, err
	}
	b := tx.Bucket(bucketSends)
	for i, v := range r.blocks {
		if err := b.Put(key3(account, device, r.from+uint64(i)), v); err != nil {
			return rows, err
		}
	}
	rows = 1 + len(r.blocks)
	complete := r.count / sendsBlock
	if len(r.blocks) == 0 || complete <= sendsKept/sendsBlock {
		return rows, nil
	}
	n, err := deleteRange(b, key3(account, device, 0), key3(account, device, complete-sendsKept/sendsBlock))
	return rows + n, err
}
