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

// tableDue holds, for accounts that something will happen to, what and when.
const tableDue store.Table = "user.due"

// dueRow is what will happen to an account. A zero time is not due.
type dueRow struct {
	Release int64              `json:"r,omitempty"` // the end of a lock, Unix milliseconds
	Was     store.AccountState `json:"w,omitempty"` // the state before the lock
	Erase   int64              `json:"e,omitempty"` // the removal, Unix milliseconds
	Begun   bool               `json:"b,omitempty"` // it has begun and cannot be undone
}

func (d dueRow) nothing() bool { return d == dueRow{} }

// lock shuts an account out whose number goes to somebody else: it cannot log in until Settings.Lock has passed. Its
// friends, rooms and messages stay as they are. Its devices are told before their connections end.
func (s *Service) lock(ctx context.Context, a store.AccountID) error {
	done, err := s.persons.take(ctx, uint64(a))
	if err != nil {
		return err
	}
	u, err := s.store.Account(a)
	if err == nil {
		err = s.changeDue(ctx, a, func(d *dueRow) {
			if d.Release == 0 {
				d.Was = u.State
			}
			d.Release = s.now().Add(s.set.Lock).UnixMilli()
		})
	}
	done()
	if err != nil {
		return fmt.Errorf("signup: lock: %w", err)
	}
	s.host.Notify(ctx, a, view.Notice{What: view.NoticeLocked}, "")
	if _, err := s.host.Change(ctx, a, func(u *store.Account) error {
		if u.State != store.AccountSuspended {
			u.State = store.AccountLocked
		}
		return nil
	}); err != nil {
		return fmt.Errorf("signup: lock: %w", err)
	}
	if err := s.host.Disconnect(ctx, a, 0, hooks.ErrLocked); err != nil {
		return fmt.Errorf("signup: lock: %w", err)
	}
	return nil
}

// release ends a lock that is over.
func (s *Service) release(ctx context.Context, a store.AccountID, d dueRow) error {
	if _, err := s.host.Change(ctx, a, func(u *store.Account) error {
		if u.State == store.AccountLocked {
			u.State = d.Was
		}
		return nil
	}); err != nil && store.CodeOf(err) != store.CodeNotFound {
		return fmt.Errorf("signup: release: %w", err)
	}
	return s.changeDue(ctx, a, func(d *dueRow) { d.Release, d.Was = 0, 0 })
}

func (s *Service) due(a store.AccountID) (d dueRow, row store.Row, err error) {
	if row, err = s.store.Row(tableDue, store.OwnerOf(a), ""); err != nil {
		return d, row, fmt.Errorf("signup: due: %w", err)
	}
	if row.Version != 0 {
		if err := json.Unmarshal(row.Value, &d); err != nil {
			return d, row, fmt.Errorf("signup: due: %w", err)
		}
	}
	return d, row, nil
}

// changeDue changes what is due for an account.
func (s *Service) changeDue(ctx context.Context, a store.AccountID, change func(*dueRow)) error {
	for {
		d, row, err := s.due(a)
		if err != nil {
			return err
		}
		was := d
		change(&d)
		if d == was {
			return nil
		}
		put := store.RowPut{Table: tableDue, If: store.IfVersion(row.Version)}
		if !d.nothing() {
			if put.Value, err = json.Marshal(d); err != nil {
				return fmt.Errorf("signup: due: %w", err)
			}
		}
		err = s.store.Update(ctx, store.Update{Owner: store.OwnerOf(a), Rows: []store.RowPut{put}})
		if store.CodeOf(err) == store.CodeConflict && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return fmt.Errorf("signup: due: %w", err)
		}
		return nil
	}
}

// every is how often Run looks for what is due.
const every = 5 * time.Minute

// Run does what is due, at once and then every five minutes, until ctx ends. What fails is logged, counted and tried
// again the next time.
func (s *Service) Run(ctx context.Context) {
	for {
		s.Work(ctx)
		timer := time.NewTimer(every)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// Work does everything that is due now.
func (s *Service) Work(ctx context.Context) {
	s.workAll(ctx)
	if err := s.compact(ctx); err != nil && ctx.Err() == nil {
		s.metrics.failed.Inc()
		s.log.Error("what was erased is still in the files", keyErr, err)
	}
}

func (s *Service) workAll(ctx context.Context) {
	var after store.Owner
	for ctx.Err() == nil {
		rows, err := s.store.AllRows(tableDue, after, "", 100)
		if err != nil {
			s.metrics.failed.Inc()
			s.log.Error("accounts that are due could not be read", keyErr, err)
			return
		}
		for _, row := range rows {
			after = row.Owner
			a := store.AccountID(row.Owner.Number())
			var d dueRow
			err := json.Unmarshal(row.Value, &d)
			if err == nil {
				err = s.workOn(ctx, a, d)
			}
			if err != nil && ctx.Err() == nil {
				s.metrics.failed.Inc()
				s.log.Error("what is due for an account failed", keyUser, a.String(), keyErr, err)
			}
		}
		if len(rows) < 100 {
			return
		}
	}
}

func (s *Service) workOn(ctx context.Context, a store.AccountID, d dueRow) error {
	now := s.now().UnixMilli()
	if d.Erase != 0 && d.Erase <= now {
		err := s.erase(ctx, a)
		if store.CodeOf(err) == store.CodeLocked {
			s.log.Info("a removal waits for the end of a legal hold", keyUser, a.String())
			return nil
		}
		return err
	}
	if d.Release != 0 && d.Release <= now {
		return s.release(ctx, a, d)
	}
	return nil
}
