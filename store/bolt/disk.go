package bolt

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/hwangso/hwangso/store"
)

const (
	diskEvery  = time.Second // how often free space is looked at, and a failing disk tried
	sweepEvery = time.Minute // how often idle devices are dropped from memory
)

// diskState is what is known about the disk's health.
type diskState struct {
	full   atomic.Bool           // under Config.MinFree
	free   atomic.Uint64         // bytes
	broken atomic.Pointer[error] // of the last commit, nil after a successful one
}

var errNearlyFull = &store.Error{Code: store.CodeUnavailable, Text: "disk nearly full", Retry: 10 * time.Second}

func (d *diskState) failed(err error) { d.broken.Store(&err) }

func (d *diskState) succeeded() {
	if d.broken.Load() != nil {
		d.broken.Store(nil)
	}
}

// refusal is why nothing can be appended now, nil if it can. A disk that failed is tried by every append.
func (l *logs) refusal() error {
	if l.disk.full.Load() {
		return errNearlyFull
	}
	return nil
}

// healthy is nil while appends can succeed.
func (l *logs) healthy() error {
	if err := l.disk.broken.Load(); err != nil {
		return *err
	}
	return l.refusal()
}

// look asks the file system for its free space.
func (l *logs) look() {
	free, total, err := l.cfg.FreeSpace(l.cfg.Dir)
	if err != nil {
		l.log.Warn("free space is unknown", keyErr, err)
		return
	}
	l.disk.free.Store(free)
	full := float64(free) < float64(total)*l.cfg.MinFree
	if full != l.disk.full.Swap(full) {
		if full {
			l.log.Error("disk nearly full, appends are refused", "free", free, "total", total)
		} else {
			l.log.Info("disk has space again", "free", free)
		}
	}
}

// probe tries a failing disk with a release that concerns nobody, so that health returns without a sender's help.
func (l *logs) probe() {
	if l.disk.broken.Load() == nil || l.disk.full.Load() {
		return
	}
	ds, err := l.devices.pin(deviceKey{})
	if err != nil {
		return // the next probe tries again
	}
	it := newItem()
	it.dev, it.typ, it.packet = ds, typeRelease, 1
	it.buf = appendHead(it.buf[:0], typeRelease, &store.Draft{PacketID: 1})
	if err := l.join(it); err != nil {
		it.recycle()
	}
}

// keepLoop is the keeper's goroutine: checkpoints, free space, idle devices, retention. It ends when stop is closed.
func (l *logs) keepLoop() {
	every := time.NewTicker(diskEvery)
	defer every.Stop()
	checkpoint := time.NewTicker(l.cfg.CheckpointEvery)
	defer checkpoint.Stop()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	retain := time.NewTicker(retainEvery)
	defer retain.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-every.C:
			l.look()
			l.probe()
		case <-checkpoint.C:
			l.keepCheckpoint()
		case <-l.dirty.due:
			l.keepCheckpoint()
			checkpoint.Reset(l.cfg.CheckpointEvery)
		case <-sweep.C:
			l.devices.sweep(l.now().Add(-deviceIdle))
		case <-retain.C:
			if err := l.retain(); err != nil && !errors.Is(err, store.ErrClosed) {
				l.log.Error("retention failed, it is tried again", keyErr, err)
			}
		}
	}
}

// keepCheckpoint writes a checkpoint; a failure leaves everything in memory and in the journal for the next one.
func (l *logs) keepCheckpoint() {
	if err := l.writeCheckpoint(); err != nil {
		l.log.Error("checkpoint failed, it is tried again", keyErr, err)
	}
}
