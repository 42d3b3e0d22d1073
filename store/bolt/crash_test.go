package bolt

import (
	"testing"

	"github.com/hwangso/hwangso/store/storetest"
)

// Small segments and frequent checkpoints, so that kills meet both.
func TestCrash(t *testing.T) {
	storetest.Crash(t, opener(Config{SegmentBytes: 128 << 10, CheckpointRecords: 300, CacheBytes: 64 << 10}))
}
