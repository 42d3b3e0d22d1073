package signup

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// RequestErase lets an account be removed after Settings.Undo, and returns when that will be; a repeat changes nothing.
// The account's devices get a notice, and it goes on as before, so that the owner can change its mind.
//
// Errors: ErrProof, ErrNoProof, ErrCode, ErrPIN and its pauses.
func (s *Service) RequestErase(ctx context.Context, a store.AccountID, proof Proof) (time.Time, error) {
	spend, err := s.shown(ctx, a, proof, forErase, true)
	if err != nil {
		return time.Time{}, err
	}
	at, err := s.EraseLater(ctx, a)
	if err != nil {
		return time.Time{}, err
	}
	return at, spend(ctx)
}

// EraseLater is RequestErase without proof, for operators.
func (s *Service) EraseLater(ctx context.Context, a store.AccountID) (time.Time, error) {
	due := s.now().Add(s.set.Undo).UnixMilli()
	first := false
	if err := s.changeDue(ctx, a, func(d *dueRow) {
		if first = d.Erase == 0; first {
			d.Erase = due
		}
		due = d.Erase
	}); err != nil {
		return time.Time{}, err
	}
	if first {
		s.host.Notify(ctx, a, view.Notice{What: view.NoticeErase}, "")
	}
	return time.UnixMilli(due).UTC(), nil
}

// CancelErase keeps an account that was to be removed: ErrNoErase if it was not, or if its removal has begun.
func (s *Service) CancelErase(ctx context.Context, a store.AccountID) error {
	kept := false
	if err := s.changeDue(ctx, a, func(d *dueRow) {
		if kept = d.Erase != 0 && !d.Begun; kept {
			d.Erase = 0
		}
	}); err != nil {
		return err
	}
	if !kept {
		return ErrNoErase
	}
	s.host.Notify(ctx, a, view.Notice{What: view.NoticeKept}, "")
	return nil
}

// Erasing is when an account will be removed, the zero time if it will not.
func (s *Service) Erasing(a store.AccountID) (time.Time, error) {
	d, _, err := s.due(a)
	if err != nil || d.Erase == 0 {
		return time.Time{}, err
	}
	return time.UnixMilli(d.Erase).UTC(), nil
}

// EraseNow removes an account at once, without asking anybody. What it fails at is tried again by Run. CodeLocked while
// a legal hold is on the account: then nothing was done.
func (s *Service) EraseNow(ctx context.Context, a store.AccountID) error {
	if err := s.held(a); err != nil {
		return err
	}
	if _, err := s.store.Account(a); err != nil {
		return fmt.Errorf("signup: account: %w", err)
	}
	if err := s.changeDue(ctx, a, func(d *dueRow) { d.Erase = s.now().UnixMilli() }); err != nil {
		return err
	}
	return s.erase(ctx, a)
}

// erase removes an account. Every step can be repeated, and the row that says it is due goes with the last one, so that
// a removal that was cut short is finished by the next Work.
func (s *Service) erase(ctx context.Context, a store.AccountID) error {
	if err := s.held(a); err != nil {
		return err // the owner can still change its mind
	}
	begun := false
	if err := s.changeDue(ctx, a, func(d *dueRow) {
		if begun = d.Erase != 0; begun {
			d.Begun = true
		}
	}); err != nil {
		return err
	}
	if !begun {
		return nil // canceled meanwhile
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"shut", func() error {
			_, err := s.host.Change(ctx, a, func(u *store.Account) error {
				u.State = store.AccountSuspended
				return nil
			})
			return err
		}},
		{"disconnect", func() error { return s.host.Disconnect(ctx, a, 0, hooks.ErrErased) }},
		{"number", func() error { return s.book.Release(ctx, a) }},
		{"rooms", func() error { return s.host.Leave(ctx, a) }},
		{"files", func() error { return s.host.Files(ctx, a) }},
		{"pushes", func() error { return s.host.Pushes(ctx, a) }},
		{"compaction", func() error { return s.wantCompact(ctx) }},
		{"account", func() error { return s.store.EraseAccount(ctx, a) }},
	} {
		if err := step.do(); err != nil && (step.name != "shut" || store.CodeOf(err) != store.CodeNotFound) {
			return fmt.Errorf("signup: erase: %s: %w", step.name, err)
		}
	}
	s.metrics.erased.Inc()
	return nil
}

// held is CodeLocked while a legal hold is on the account.
func (s *Service) held(a store.AccountID) error {
	holds, err := s.store.Holds()
	if err != nil {
		return fmt.Errorf("signup: holds: %w", err)
	}
	for _, h := range holds {
		if h.Account == a {
			return &store.Error{Code: store.CodeLocked, Text: "the account must be kept for now"}
		}
	}
	return nil
}

// compactRow is what is known of compaction: it takes what was erased out of the files, once a day at most.
type compactRow struct {
	Wanted int64 `json:"w,omitempty"` // Unix milliseconds; 0: there is nothing to take out
	Last   int64 `json:"l,omitempty"`
}

const rowCompact = "e"

func (s *Service) wantCompact(ctx context.Context) error {
	return s.changeCompact(ctx, func(c *compactRow) {
		if c.Wanted == 0 {
			c.Wanted = s.now().UnixMilli()
		}
	})
}

func (s *Service) compactState() (c compactRow, row store.Row, err error) {
	if row, err = s.store.Row(table, "", rowCompact); err != nil {
		return c, row, fmt.Errorf("signup: compaction: %w", err)
	}
	if row.Version != 0 {
		if err := json.Unmarshal(row.Value, &c); err != nil {
			return c, row, fmt.Errorf("signup: compaction: %w", err)
		}
	}
	return c, row, nil
}

func (s *Service) changeCompact(ctx context.Context, change func(*compactRow)) error {
	for {
		c, row, err := s.compactState()
		if err != nil {
			return err
		}
		was := c
		if change(&c); c == was {
			return nil
		}
		v, err := json.Marshal(c)
		if err != nil {
			return fmt.Errorf("signup: compaction: %w", err)
		}
		err = s.store.Update(ctx, store.Update{Rows: []store.RowPut{{Table: table, Key: rowCompact, Value: v, If: store.IfVersion(row.Version)}}})
		if store.CodeOf(err) == store.CodeConflict && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return fmt.Errorf("signup: compaction: %w", err)
		}
		return nil
	}
}

// compact takes what was erased out of the files, if there is any and the last time was a day ago.
func (s *Service) compact(ctx context.Context) error {
	c, _, err := s.compactState()
	began := s.now().UnixMilli()
	if err != nil || c.Wanted == 0 || c.Last != 0 && began-c.Last < day.Milliseconds() {
		return err
	}
	for { // tickets that nobody used hold names
		n, err := s.store.SweepRows(ctx, began, 1000)
		if err != nil {
			return fmt.Errorf("signup: sweep: %w", err)
		}
		if n < 1000 {
			break
		}
	}
	if err := s.store.Compact(ctx); err != nil {
		if store.CodeOf(err) == store.CodeConflict {
			return nil // a backup runs: the next time
		}
		return fmt.Errorf("signup: compact: %w", err)
	}
	return s.changeCompact(ctx, func(c *compactRow) {
		if c.Last = began; c.Wanted < began { // what was erased meanwhile waits for the next day
			c.Wanted = 0
		}
	})
}
