package bolt

import (
	"syscall"
	"testing"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/journal"
	"github.com/hwangso/hwangso/store/journal/faultfs"
	"github.com/hwangso/hwangso/store/storetest"
)

// breakable opens a store whose journal lies on a disk with switches.
func breakable(cfg Config) func(t testing.TB, dir string) (store.Store, storetest.Disk) {
	return func(t testing.TB, dir string) (store.Store, storetest.Disk) {
		t.Helper()
		disk := faultfs.New(journal.OS)
		cfg := cfg
		cfg.Dir, cfg.MinFree, cfg.FS = dir, -1, disk
		s, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		always := func(f faultfs.Fault) func() {
			f.Times = -1
			return func() { disk.Inject(f) }
		}
		return s, storetest.Disk{
			FailWrites: always(faultfs.Fault{Op: faultfs.Write}),
			TearWrites: always(faultfs.Fault{Op: faultfs.Write, Torn: 20}),
			FailSyncs:  always(faultfs.Fault{Op: faultfs.Datasync}),
			Fill:       always(faultfs.Fault{Op: faultfs.Write, Err: syscall.ENOSPC}),
			Freeze:     func() <-chan struct{} { return disk.Freeze(faultfs.Datasync) },
			Heal:       disk.Heal,
		}
	}
}

func TestLogFaults(t *testing.T) { storetest.Faults(t, breakable(Config{})) }

func TestLogFaultsSmallSegments(t *testing.T) {
	storetest.Faults(t, breakable(Config{SegmentBytes: 16 << 10, CheckpointRecords: 9}))
}
