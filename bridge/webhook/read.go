package webhook

import (
	"context"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/store"
)

// readerName names the durable position in the journal.
const readerName = "webhook"

// chunk is how many events are made durable at once.
const chunk = 200

// from is where to read from: the position. A store that had no reader is read from its end, but where there are
// endpoints already: then the crash of a reader that was seconds old has lost its position, and everything is read again;
// endpoints are told what happened after they were set.
func (s *Service) from() (store.Position, error) {
	at, err := s.store.ReaderPosition(readerName)
	if err != nil {
		return 0, fmt.Errorf("webhook: position: %w", err)
	}
	first, end := s.store.Bounds()
	s.mu.Lock()
	none := len(s.byID) == 0
	s.mu.Unlock()
	if at == 0 && none {
		at = end
	}
	return min(max(at, first), end), nil
}

// read puts what followers write into outboxes, until ctx ends. Every step can be done twice, so a position that is a
// little old does no harm.
func (s *Service) read(ctx context.Context) {
	at, err := s.from()
	for err != nil {
		s.log.Error("journal not read", keyErr, err)
		if !pause(ctx, time.Second) {
			return
		}
		at, err = s.from()
	}
	for ctx.Err() == nil {
		batch, err := s.store.Follow(ctx, at)
		if store.CodeOf(err) == store.CodeTrimmed {
			first, _ := s.store.Bounds()
			s.log.Warn("retention has removed what webhooks have not read", "position", at, "first", first)
			at = first
			continue
		}
		if err == nil {
			err = s.apply(ctx, batch.Entries)
		}
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			s.log.Error("journal not read", keyErr, err)
			pause(ctx, time.Second)
			continue
		}
		at = batch.Next
		s.store.PutReaderPosition(readerName, at)
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// apply makes durable what entries have for endpoints.
func (s *Service) apply(ctx context.Context, entries []store.Entry) error {
	found := make(map[*endpoint][]*event)
	flush := func(e *endpoint) error {
		list := found[e]
		delete(found, e)
		return s.enqueue(ctx, e, list)
	}
	for i := range entries {
		r := entries[i].Record
		if r == nil || !told(entries[i].Key, r) {
			continue
		}
		key := entries[i].Key
		hooks := s.wanting(Owner{Channel: key.Name}, ThreadMessage, r.Time)
		if len(hooks) == 0 {
			continue
		}
		info, err := s.store.Find(store.ChannelKey(key.Name))
		if err != nil {
			return fmt.Errorf("webhook: channel: %w", err)
		}
		thread := s.cfg.Pseudonym(info.ID, key.A)
		for _, e := range hooks {
			found[e] = append(found[e], &event{ID: eventID(e.id, ThreadMessage, thread, fmt.Sprint(r.Seq)), Type: ThreadMessage, Subject: thread, At: r.Time, Log: r.Log, Seq: r.Seq})
			if len(found[e]) == chunk {
				if err := flush(e); err != nil {
					return err
				}
			}
		}
	}
	for e := range found {
		if err := flush(e); err != nil {
			return err
		}
	}
	return nil
}

// told reports whether a record is something that a follower has said to a channel.
func told(key store.Key, r *store.Record) bool {
	if key.Kind != store.LogThread || r.Sender != key.A || r.Seq == 0 || r.Audience != store.AudienceBoth || r.Change.Kind != store.ChangeNone || !r.Kind.ByUser() {
		return false
	}
	switch r.Op.Kind {
	case store.OpNone, store.OpEdit, store.OpRecall:
		return true
	}
	return false
}
