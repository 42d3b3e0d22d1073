package files

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/hwangso/hwangso/store"
)

// read counts which messages hold which file, from the journal. Every step can be done twice, so a position that is a
// little old does no harm.
func (s *Files) read(ctx context.Context) {
	at, err := s.store.ReaderPosition(readerName)
	if err != nil {
		s.log.Error("position not read", "err", err)
	}
	s.at.Store(uint64(at))
	for ctx.Err() == nil {
		batch, err := s.store.Follow(ctx, at)
		if store.CodeOf(err) == store.CodeTrimmed {
			at, _ = s.store.Bounds()
			continue
		}
		if err == nil {
			err = s.apply(ctx, batch.Entries)
		}
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			s.log.Error("journal not read", "err", err)
			pause(ctx, time.Second)
			continue
		}
		at = batch.Next
		s.at.Store(uint64(at))
		s.store.PutReaderPosition(readerName, at)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (s *Files) apply(ctx context.Context, entries []store.Entry) error {
	for i := range entries {
		r := entries[i].Record
		if r == nil || r.Seq == 0 {
			continue
		}
		if r.Op.Kind == store.OpRecall {
			if err := s.recalled(ctx, r); err != nil {
				return err
			}
			continue
		}
		ids, err := s.filesOf(entries[i].Key, r)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := s.hold(ctx, r.Log, r.Seq, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// hold notes that a message holds a file.
func (s *Files) hold(ctx context.Context, log store.LogID, seq store.Seq, id string) error {
	if !validID(id) {
		return nil
	}
	if err := s.put(ctx, tableLog, store.OwnerOfLog(log), store.KeyOf(seq)+id, struct{}{}, 0, nil); err != nil {
		return err
	}
	return s.put(ctx, tableRef, store.Owner(id), store.KeyOf(log)+store.KeyOf(seq), struct{}{}, 0, nil)
}

// recalled lets go what a message held that was taken back. A recall that only its sender sees takes nothing from
// anybody else, so it frees only what nobody else was shown.
func (s *Files) recalled(ctx context.Context, op *store.Record) error {
	target := op.Op.Target
	rows, err := s.store.Rows(tableLog, store.OwnerOfLog(op.Log), store.KeyOf(target), "", 0)
	if err != nil || len(rows) == 0 {
		return err
	}
	if op.Audience != store.AudienceBoth {
		page, err := s.store.Read(store.Query{Log: op.Log, After: target - 1, Upto: target, Max: 1})
		if err != nil && store.CodeOf(err) != store.CodeTrimmed {
			return err
		}
		if len(page.Records) > 0 && page.Records[0].Audience == store.AudienceBoth {
			return nil
		}
	}
	for _, r := range rows {
		if err := s.release(ctx, op.Log, r.Key); err != nil {
			return err
		}
	}
	return nil
}

// release undoes hold; key is that of the row in tableLog. A file that nobody holds any more is due after a moment.
func (s *Files) release(ctx context.Context, log store.LogID, key string) error {
	if len(key) < 8 {
		return fmt.Errorf("files: a row's key has %d bytes", len(key))
	}
	seq, id := key[:8], key[8:]
	if err := s.due(ctx, id, s.now().Add(grace)); err != nil {
		return err
	}
	if err := s.remove(ctx, tableRef, store.Owner(id), store.KeyOf(log)+seq); err != nil {
		return err
	}
	return s.remove(ctx, tableLog, store.OwnerOfLog(log), key)
}

func (s *Files) remove(ctx context.Context, t store.Table, o store.Owner, key string) error {
	if err := s.store.Update(ctx, store.Update{Owner: o, Rows: []store.RowPut{{Table: t, Key: key}}}); err != nil {
		return fmt.Errorf("files: %s: %w", t, err)
	}
	return nil
}

// sweep looks each minute at what is due, and each hour at what retention has taken.
func (s *Files) sweep(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.Sweep(ctx)
		if err == nil && n%60 == 0 {
			err = s.sweepTrimmed(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("files not swept", "err", err)
		}
	}
}

// Sweep removes the files that are due and that no message holds. It runs each minute by itself. A file is doomed first, so
// that nothing new may hold it, and removed if a grace later still nothing does: what was allowed it before is said by
// then. It does nothing while the reader is behind the journal, because a message that holds a file may be among what was
// not read yet.
func (s *Files) Sweep(ctx context.Context) error {
	_, end := s.store.Bounds()
	if s.at.Load() < uint64(end) {
		return nil
	}
	now := s.now()
	for after := ""; ; {
		rows, err := s.store.Rows(tableDue, "", "", after, 100)
		if err != nil {
			return fmt.Errorf("files: sweep: %w", err)
		}
		for _, r := range rows {
			after = r.Key
			at, id := dueOf(r.Key)
			if at > now.UnixMilli() {
				return nil
			}
			held, err := s.held(id)
			if err != nil {
				return err
			}
			if !held {
				if !s.doom(id, now) {
					continue
				}
				if err := s.delete(ctx, id); err != nil {
					return err
				}
			}
			if err := s.remove(ctx, tableDue, "", r.Key); err != nil {
				return err
			}
			s.spare(id)
		}
		if len(rows) < 100 {
			return nil
		}
	}
}

// held reports whether anything holds a file.
func (s *Files) held(id string) (bool, error) {
	rows, err := s.store.Rows(tableRef, store.Owner(id), "", "", 1)
	if err != nil {
		return false, fmt.Errorf("files: sweep: %w", err)
	}
	return len(rows) > 0, nil
}

// doom reports whether nothing new could hold the file for the time of grace. From the first call on nothing can. Beyond
// maxDoomed, others wait until some of them are gone.
func (s *Files) doom(id string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, doomed := s.doomed[id]
	if !doomed && len(s.doomed) < maxDoomed {
		s.doomed[id] = now
	}
	return doomed && now.Sub(since) >= grace
}

func (s *Files) spare(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.doomed, id)
}

// isDoomed reports whether a file is about to be removed, so that nothing new may hold it.
func (s *Files) isDoomed(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, doomed := s.doomed[id]
	return doomed
}

// sweepTrimmed lets go what messages held that retention has removed.
func (s *Files) sweepTrimmed(ctx context.Context) error {
	var owner store.Owner
	key := ""
	for ctx.Err() == nil {
		rows, err := s.store.AllRows(tableLog, owner, key, 500)
		if err != nil {
			return fmt.Errorf("files: sweep: %w", err)
		}
		for _, r := range rows {
			owner, key = r.Owner, r.Key
			log := store.LogID(r.Owner.Number())
			info, err := s.store.Info(log)
			if err != nil && store.CodeOf(err) != store.CodeNotFound {
				return fmt.Errorf("files: sweep: %w", err)
			}
			if len(r.Key) < 8 || err == nil && store.Seq(binary.BigEndian.Uint64([]byte(r.Key))) >= info.First {
				continue
			}
			if err := s.release(ctx, log, r.Key); err != nil {
				return err
			}
		}
		if len(rows) < 500 {
			return nil
		}
	}
	return ctx.Err()
}

// delete removes a file: bytes first, so that a crash leaves a row that is looked at again, never bytes without one.
func (s *Files) delete(ctx context.Context, id string) error {
	r, err := s.store.Row(tableFile, store.Owner(id), "")
	if err != nil || r.Version == 0 {
		return err
	}
	var o owned
	if err := json.Unmarshal(r.Value, &o); err != nil {
		return fmt.Errorf("files: %w", err)
	}
	for _, name := range []string{id, thumbName(id)} {
		if err := s.blobs.Delete(ctx, name); err != nil {
			return err
		}
	}
	if err := s.remove(ctx, tableMine, store.OwnerOf(o.By), id); err != nil && store.CodeOf(err) != store.CodeNotFound {
		return err
	}
	if err := s.remove(ctx, tableFile, store.Owner(id), ""); err != nil {
		return err
	}
	s.metrics.removed.Inc()
	return nil
}

// Erase removes every file of a user, whoever holds it. Call it before the account is erased: afterwards nobody knows
// which files were its own. It can be repeated.
func (s *Files) Erase(ctx context.Context, owner store.AccountID) error {
	for {
		rows, err := s.store.Rows(tableMine, store.OwnerOf(owner), "", "", 100)
		if err != nil {
			return fmt.Errorf("files: erase: %w", err)
		}
		for _, r := range rows {
			id := strings.Clone(r.Key)
			if err := s.delete(ctx, id); err != nil {
				return err
			}
			if err := s.remove(ctx, tableMine, store.OwnerOf(owner), id); err != nil { // of one whose other row was never written
				return err
			}
		}
		if len(rows) < 100 {
			return nil
		}
	}
}
