package journal

import (
	"fmt"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	segmentExt = ".seg"
	tempExt    = ".tmp"
	lockName   = "LOCK"
)

// segment is one file. Where its records end is said by the next segment's base, or by Journal.end
// for the newest one.
type segment struct {
	base     Position
	path     string
	modified atomic.Int64 // Unix ns
	oversize atomic.Bool  // sealed, and the file is longer than its records: the keeper cuts it
	size     int64        // of the file when it was listed at Open, bytes

	mu   sync.Mutex
	f    File // nil while no descriptor is open
	refs int  // users of f; it is closed only at 0
	used uint64
	gone error // why f is not opened any more: ErrTrimmed, ErrClosed
}

func segmentName(base Position) string { return fmt.Sprintf("%020d%s", uint64(base), segmentExt) }

func (j *Journal) path(base Position) string { return filepath.Join(j.cfg.Dir, segmentName(base)) }

// parseSegmentName is the inverse of segmentName.
func parseSegmentName(name string) (Position, bool) {
	digits, ok := strings.CutSuffix(name, segmentExt)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return Position(n), err == nil
}

// find returns the segment that holds pos and the position up to which it is confirmed. end must have
// been loaded before; pos lies below it.
func (j *Journal) find(pos, end Position) (*segment, Position, error) {
	segs := *j.list.Load()
	i := sort.Search(len(segs), func(i int) bool { return segs[i].base > pos }) - 1
	if i < 0 {
		return nil, 0, ErrTrimmed
	}
	if i+1 < len(segs) {
		return segs[i], segs[i+1].base, nil
	}
	return segs[i], end, nil
}

// acquire opens the segment's file if need be and keeps it open until release.
func (j *Journal) acquire(s *segment) (File, error) {
	f, opened, err := s.acquire(j.fs, j.clock.Add(1))
	if opened {
		j.opened()
	}
	return f, err
}

// opened counts a descriptor, and closes others when they become too many.
func (j *Journal) opened() {
	if j.opens.Add(1) > maxOpenFiles {
		j.closeUnused(maxOpenFiles * 3 / 4)
	}
}

func (s *segment) acquire(fs FS, now uint64) (f File, opened bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone != nil {
		return nil, false, s.gone
	}
	if s.f == nil {
		f, err := fs.Open(s.path, false)
		if err != nil {
			return nil, false, ioError("open", s.path, err)
		}
		s.f, opened = f, true
	}
	s.refs++
	s.used = now
	return s.f, opened, nil
}

func (j *Journal) release(s *segment) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refs--
	return j.closeRetired(s)
}

// retire lets nobody open the segment again; its file closes with its last user.
func (j *Journal) retire(s *segment, why error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone == nil {
		s.gone = why
	}
	return j.closeRetired(s)
}

// closeRetired is called with s.mu held.
func (j *Journal) closeRetired(s *segment) error {
	if s.gone == nil || s.refs > 0 || s.f == nil {
		return nil
	}
	err := s.f.Close()
	s.f = nil
	j.opens.Add(-1)
	return ioError("close", s.path, err)
}

// closeUnused closes the descriptors that were used longest ago, those in use apart, until keep are
// open.
func (j *Journal) closeUnused(keep int64) {
	type idle struct {
		s    *segment
		used uint64
	}
	var idles []idle
	for _, s := range *j.list.Load() {
		s.mu.Lock()
		if s.f != nil && s.refs == 0 {
			idles = append(idles, idle{s, s.used})
		}
		s.mu.Unlock()
	}
	sort.Slice(idles, func(a, b int) bool { return idles[a].used < idles[b].used })
	for _, i := range idles {
		if j.opens.Load() <= keep {
			return
		}
		i.s.mu.Lock()
		if i.s.f != nil && i.s.refs == 0 {
			_ = i.s.f.Close() // nothing is written through it any more: nothing can be lost
			i.s.f = nil
			j.opens.Add(-1)
		}
		i.s.mu.Unlock()
	}
}

// replaceList publishes what change makes of the list. change must not modify its argument.
func (j *Journal) replaceList(change func([]*segment) []*segment) {
	j.listMu.Lock()
	defer j.listMu.Unlock()
	next := change(*j.list.Load())
	j.list.Store(&next)
}
