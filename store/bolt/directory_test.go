package bolt

import (
	"path/filepath"
	"testing"

	"github.com/hwangso/hwangso/store/storetest"
)

func testDirectory(t testing.TB, dir string, opt directoryOptions) *directory {
	t.Helper()
	return testDirectoryFile(t, filepath.Join(dir, "directory"), opt)
}

func testDirectoryFile(t testing.TB, path string, opt directoryOptions) *directory {
	t.Helper()
	d, err := openDirectory(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestDirectory(t *testing.T) {
	storetest.Directory(t, func(t testing.TB, dir string) storetest.DirectoryCloser {
		return testDirectory(t, dir, directoryOptions{})
	})
}

// A cache that holds next to nothing takes every other way through the code.
func TestDirectoryTinyCache(t *testing.T) {
	storetest.Directory(t, func(t testing.TB, dir string) storetest.DirectoryCloser {
		return testDirectory(t, dir, directoryOptions{CacheBytes: cacheShards * 2000})
	})
}

// The same through a whole store.
func TestStoreDirectory(t *testing.T) {
	storetest.Directory(t, func(t testing.TB, dir string) storetest.DirectoryCloser {
		return testStore(t, Config{Dir: dir}, 0)
	})
}
