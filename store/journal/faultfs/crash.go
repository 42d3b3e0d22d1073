package faultfs

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// backupExt is in the names of files that were removed and would come back in a crash.
const backupExt = ".faultfs-"

// undo takes one change of a name back.
type undo struct {
	made      string // this name appeared
	movedFrom string // and this one went
	lost      string // this name went
	backup    string // and its file is kept here
}

func (f *FS) pend(u undo) {
	dir := filepath.Dir(u.made + u.lost)
	f.dirs[dir] = append(f.dirs[dir], u)
}

// setAside removes a name, if it is there, in a way that undo can bring it back.
func (f *FS) setAside(path string) (there bool, err error) {
	backup := fmt.Sprintf("%s%s%d", path, backupExt, f.backups)
	f.backups++
	err = f.inner.Rename(path, backup)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if n := f.inodes[path]; n != nil {
		f.inodes[backup] = n
		delete(f.inodes, path)
		if f.free >= 0 {
			f.free += n.size
		}
	}
	f.pend(undo{lost: path, backup: backup})
	return true, nil
}

// Crash is a power cut: each sector that was not synced keeps its new content or gets its old one
// back, as rng decides, and names lose what was not synced from some point on. Every operation fails
// from now on; open the directory with another FS. Nothing may be under way but frozen operations.
func (f *FS) Crash(rng *rand.Rand) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crashed = true
	f.thaw()
	done := map[*inode]bool{}
	for _, path := range slices.Sorted(maps.Keys(f.inodes)) {
		n := f.inodes[path]
		if done[n] {
			continue
		}
		done[n] = true
		if err := f.crashFile(path, n, rng); err != nil {
			return err
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(f.dirs)) {
		pending := f.dirs[dir]
		kept := rng.IntN(len(pending) + 1)
		for _, u := range slices.Backward(pending[kept:]) {
			if err := f.takeBack(u); err != nil {
				return err
			}
		}
		for _, u := range pending[:kept] {
			if u.backup != "" {
				if err := f.inner.Remove(u.backup); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (f *FS) crashFile(path string, n *inode, rng *rand.Rand) error {
	var lost []int64
	for _, i := range slices.Sorted(maps.Keys(n.old)) { // sorted: a seed gives the same crash again
		if rng.IntN(2) == 0 {
			lost = append(lost, i)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	file, err := f.inner.Open(path, true)
	if err != nil {
		return err
	}
	return errors.Join(n.restore(file, lost), file.Close())
}

func (f *FS) takeBack(u undo) error {
	switch {
	case u.backup != "":
		return f.inner.Rename(u.backup, u.lost)
	case u.movedFrom != "":
		return f.inner.Rename(u.made, u.movedFrom)
	}
	return f.inner.Remove(u.made)
}
