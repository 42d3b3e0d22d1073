package bolt

import (
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/journal"
)

// De-duplication. Only a cid says that two publishes are one message, within one device and log. What is kept per
// send is a hash of 64 bits and the position of its record; a hit is compared with the record itself.
const (
	sendsKept  = 4096 // sends of a device that are looked back at
	sendsSlack = 1024 // further ones before the oldest are dropped together
	sendsBlock = 64   // sends in one row of the index
	sendsAge   = 7 * 24 * time.Hour
	deviceIdle = 5 * time.Minute
	maxRepeats = 4 // equal hashes that are compared with their records
)

type deviceKey struct {
	account store.AccountID
	device  store.DeviceID
}

// deviceState is what de-duplication knows of one device. It is dropped when it equals its rows and the device did
// not send for five minutes.
type deviceState struct {
	key  deviceKey    // fixed
	pins atomic.Int32 // drafts on their way, the checkpoint
	used atomic.Int64 // Unix seconds of the last draft

	mu      sync.Mutex
	older   bool   // rows before base are not loaded yet
	base    uint64 // number of sends[0] among all sends of the device, a multiple of sendsBlock
	sends   []send
	slots   []uint16 // hash table over sends: index + 1; a power of two, at most half full; none for few sends
	packets map[uint16]packetRow
	applied journal.Position
	saved   journal.Position
	queued  bool   // in the list of the next checkpoint
	written uint64 // sends that lie in complete blocks of the index

	flyingCID    map[uint64]*item // joined or about to, by hash
	flyingPacket map[uint16]*item
}

// send is one message with a cid.
type send struct {
	hash uint64
	pos  journal.Position
}

// packetRow is a QoS 2 publish that was not released yet.
type packetRow struct {
	log  store.LogID
	seq  store.Seq
	time int64
}

// hashCID is FNV-1a over log and cid, mixed at the end. It is part of the index's format. A sender who finds
// collisions only makes its own de-duplication slower.
func hashCID[S string | []byte](log store.LogID, cid S) uint64 {
	h := uint64(14695981039346656037)
	for i := range 8 {
		h = (h ^ uint64(byte(log>>(8*i)))) * 1099511628211
	}
	for i := range len(cid) {
		h = (h ^ uint64(cid[i])) * 1099511628211
	}
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>32
}

// count is the number of sends of the device ever; mu is held as in all methods below.
func (ds *deviceState) count() uint64 { return ds.base + uint64(len(ds.sends)) }

// find returns the positions of the newest sends with this hash.
func (ds *deviceState) find(hash uint64, dst []journal.Position) []journal.Position {
	if ds.slots == nil {
		for i := len(ds.sends) - 1; i >= 0 && len(dst) < maxRepeats; i-- {
			if ds.sends[i].hash == hash {
				dst = append(dst, ds.sends[i].pos)
			}
		}
		return dst
	}
	mask := uint64(len(ds.slots) - 1)
	for at := hash & mask; ds.slots[at] != 0 && len(dst) < maxRepeats; at = (at + 1) & mask {
		if s := ds.sends[ds.slots[at]-1]; s.hash == hash {
			dst = append(dst, s.pos)
		}
	}
	return dst
}

func (ds *deviceState) add(s send) {
	if len(ds.sends) >= sendsKept+sendsSlack {
		drop := len(ds.sends) - sendsKept
		drop -= drop % sendsBlock
		ds.sends = slices.Delete(ds.sends, 0, drop)
		ds.base += uint64(drop)
		ds.older = false // what was not loaded is beyond the look-back now
		ds.slots = nil
	}
	ds.sends = append(ds.sends, s)
	if 2*len(ds.sends) <= len(ds.slots) {
		ds.slot(len(ds.sends) - 1)
	} else if len(ds.sends) > sendsBlock {
		ds.rebuild()
	}
}

func (ds *deviceState) rebuild() {
	ds.slots = make([]uint16, 1<<bits.Len(uint(2*len(ds.sends))))
	for i := range ds.sends {
		ds.slot(i)
	}
}

func (ds *deviceState) slot(i int) {
	mask := uint64(len(ds.slots) - 1)
	at := ds.sends[i].hash & mask
	for ds.slots[at] != 0 {
		at = (at + 1) & mask
	}
	ds.slots[at] = uint16(i + 1)
}

// prepend puts older sends before those in memory.
func (ds *deviceState) prepend(old []send) {
	ds.sends = append(old, ds.sends...)
	ds.base -= uint64(len(old))
	ds.older = false
	ds.slots = nil
	if len(ds.sends) > sendsBlock {
		ds.rebuild()
	}
}

// applyMessage and applyRelease move the state past a durable record.
func (ds *deviceState) applyMessage(hash uint64, packet uint16, row packetRow, pos journal.Position) {
	if hash != 0 {
		ds.add(send{hash, pos})
	}
	if packet != 0 {
		if ds.packets == nil {
			ds.packets = make(map[uint16]packetRow)
		}
		ds.packets[packet] = row
	}
	ds.applied = pos + 1
}

// applyRelease also reports whether there was something to forget.
func (ds *deviceState) applyRelease(packet uint16, pos journal.Position) (forgot bool) {
	if packet == 0 {
		forgot = len(ds.packets) > 0
		ds.packets = nil
	} else {
		_, forgot = ds.packets[packet]
		delete(ds.packets, packet)
	}
	ds.applied = pos + 1
	return forgot
}

const deviceShards = 64

// deviceStates holds the devices that sent lately.
type deviceStates struct {
	ix     *index
	shards [deviceShards]deviceShard
}

type deviceShard struct {
	load sync.Mutex
	mu   sync.Mutex
	by   map[deviceKey]*deviceState
}

func newDeviceStates(ix *index) *deviceStates {
	s := &deviceStates{ix: ix}
	for i := range s.shards {
		s.shards[i].by = make(map[deviceKey]*deviceState)
	}
	return s
}

func (s *deviceStates) shard(k deviceKey) *deviceShard {
	return &s.shards[(uint64(k.account)+uint64(k.device))%deviceShards]
}

func (sh *deviceShard) peek(k deviceKey) *deviceState {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	ds := sh.by[k]
	if ds != nil {
		ds.pins.Add(1)
	}
	return ds
}

// pin returns the device, loading its newest row if need be, and keeps it in memory until unpin.
func (s *deviceStates) pin(k deviceKey) (*deviceState, error) {
	sh := s.shard(k)
	if ds := sh.peek(k); ds != nil {
		return ds, nil
	}
	sh.load.Lock()
	defer sh.load.Unlock()
	if ds := sh.peek(k); ds != nil {
		return ds, nil
	}
	ds, err := s.ix.loadDevice(k)
	if err != nil {
		return nil, err
	}
	ds.pins.Add(1)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.by[k] = ds
	return ds, nil
}

func (ds *deviceState) unpin() { ds.pins.Add(-1) }

// pinComplete is pin with the whole look-back in memory.
func (s *deviceStates) pinComplete(k deviceKey, now time.Time) (*deviceState, error) {
	ds, err := s.pin(k)
	if err != nil {
		return nil, err
	}
	ds.used.Store(now.Unix())
	ds.mu.Lock()
	older := ds.older
	ds.mu.Unlock()
	if !older {
		return ds, nil
	}
	sh := s.shard(k)
	sh.load.Lock()
	defer sh.load.Unlock()
	ds.mu.Lock()
	older, base := ds.older, ds.base
	ds.mu.Unlock()
	if !older {
		return ds, nil
	}
	old, err := s.ix.loadSends(k, base)
	if err != nil {
		ds.unpin()
		return nil, err
	}
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if ds.older {
		ds.prepend(old)
	}
	return ds, nil
}

// sweep drops devices that are idle since before the given time and returns how many are left.
func (s *deviceStates) sweep(before time.Time) int {
	left := 0
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for k, ds := range sh.by {
			if ds.pins.Load() != 0 || ds.used.Load() > before.Unix() {
				continue
			}
			ds.mu.Lock()
			if ds.applied == ds.saved && !ds.queued {
				delete(sh.by, k)
			}
			ds.mu.Unlock()
		}
		left += len(sh.by)
		sh.mu.Unlock()
	}
	return left
}
