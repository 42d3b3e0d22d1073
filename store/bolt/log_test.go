package bolt

import (
	"testing"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/storetest"
)

// opener opens stores for a suite with a configuration whose Dir it fills in.
func opener(cfg Config) storetest.OpenStore {
	return func(t testing.TB, dir string) store.Store {
		t.Helper()
		cfg := cfg
		cfg.Dir = dir
		s, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func TestLog(t *testing.T) { storetest.Log(t, opener(Config{})) }

// With no tail in memory, a checkpoint after every few records and small segments every other way is taken.
func TestLogCold(t *testing.T) {
	storetest.Log(t, opener(Config{CacheBytes: -1, CheckpointRecords: 7, SegmentBytes: 32 << 10}))
}
