package faultfs

import (
	"errors"
	"io"
	"syscall"

	"github.com/hwangso/hwangso/store/journal"
)

const sectorSize = 512

// inode is what is known of a file, whatever its names.
type inode struct {
	path string
	size int64             // bytes taken from the disk: the furthest written or allocated
	old  map[int64]*sector // by number: what is on the disk, where that may not be what can be read
}

// sector is the content that the disk has.
type sector struct {
	data  []byte // to the end of the sector, or of the file as it was
	dirty bool   // the next sync writes the new content; else a sync failed and the cache holds it for written
}

// openFile is a journal.File with faults.
type openFile struct {
	fs    *FS
	inode *inode
	inner journal.File
}

func (o *openFile) ReadAt(p []byte, off int64) (int, error) {
	defer o.fs.mu.Unlock()
	if _, err := o.fs.enter(Read, o.inode.path); err != nil {
		return 0, err
	}
	return o.inner.ReadAt(p, off)
}

func (o *openFile) WriteAt(p []byte, off int64) (int, error) {
	defer o.fs.mu.Unlock()
	fault, err := o.fs.enter(Write, o.inode.path)
	if fault == nil && err != nil {
		return 0, err
	}
	if fault != nil {
		p = p[:min(len(p), fault.Torn)]
	}
	if grow := off + int64(len(p)) - o.inode.size; grow > 0 {
		if free := o.fs.free; free >= 0 && grow > free {
			p = p[:max(0, int64(len(p))-(grow-free))]
			if err == nil {
				err = syscall.ENOSPC
			}
		}
		o.inode.take(o.fs, off+int64(len(p)))
	}
	if len(p) == 0 {
		return 0, err
	}
	if e := o.inode.remember(o.inner, off, off+int64(len(p))); e != nil {
		return 0, e
	}
	n, e := o.inner.WriteAt(p, off)
	if e != nil {
		err = e
	}
	return n, err
}

func (o *openFile) Datasync() error {
	defer o.fs.mu.Unlock()
	fault, err := o.fs.enter(Datasync, o.inode.path)
	switch {
	case fault == nil && err != nil:
		return err
	case fault != nil && fault.Drop:
		var lost []int64
		for i, s := range o.inode.old {
			if s.dirty {
				lost = append(lost, i)
			}
		}
		if e := o.inode.restore(o.inner, lost); e != nil {
			return e
		}
		for _, i := range lost {
			delete(o.inode.old, i)
		}
		return err
	case fault != nil:
		for _, s := range o.inode.old {
			s.dirty = false
		}
		return err
	}
	if err := o.inner.Datasync(); err != nil {
		return err
	}
	for i, s := range o.inode.old {
		if s.dirty {
			delete(o.inode.old, i)
		}
	}
	return nil
}

func (o *openFile) Truncate(size int64) error {
	defer o.fs.mu.Unlock()
	if _, err := o.fs.enter(Truncate, o.inode.path); err != nil {
		return err
	}
	have, err := o.inner.Size()
	if err != nil {
		return err
	}
	if size < have {
		if err := o.inode.remember(o.inner, size, have); err != nil {
			return err
		}
	}
	if err := o.inner.Truncate(size); err != nil {
		return err
	}
	if size < o.inode.size {
		if o.fs.free >= 0 {
			o.fs.free += o.inode.size - size
		}
		o.inode.size = size
	}
	return nil
}

func (o *openFile) Allocate(size int64) error {
	defer o.fs.mu.Unlock()
	if _, err := o.fs.enter(Allocate, o.inode.path); err != nil {
		return err
	}
	if free := o.fs.free; free >= 0 && size-o.inode.size > free {
		return syscall.ENOSPC
	}
	if err := o.inner.Allocate(size); err != nil {
		return err
	}
	o.inode.take(o.fs, size)
	return nil
}

func (o *openFile) Size() (int64, error) { return o.inner.Size() }
func (o *openFile) Close() error         { return o.inner.Close() }

// take charges the disk for the file's growth to size.
func (n *inode) take(fs *FS, size int64) {
	if size <= n.size {
		return
	}
	if fs.free >= 0 {
		fs.free -= size - n.size
	}
	n.size = size
}

// remember keeps what the disk has in the sectors of [from, to), which are about to change.
func (n *inode) remember(f journal.File, from, to int64) error {
	for i := from / sectorSize; i*sectorSize < to; i++ {
		if s := n.old[i]; s != nil {
			s.dirty = true
			continue
		}
		data := make([]byte, sectorSize)
		got, err := f.ReadAt(data, i*sectorSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		n.old[i] = &sector{data: data[:got], dirty: true}
	}
	return nil
}

// restore writes back what the disk has in the given sectors. Where the file ended before them it
// reads as zero.
func (n *inode) restore(f journal.File, sectors []int64) error {
	for _, i := range sectors {
		data := make([]byte, sectorSize)
		copy(data, n.old[i].data)
		if _, err := f.WriteAt(data, i*sectorSize); err != nil {
			return err
		}
	}
	return nil
}
