package signup

import (
	"context"
	"fmt"

	"github.com/hwangso/hwangso/broker/view"
	"github.com/hwangso/hwangso/hooks"
	"github.com/hwangso/hwangso/store"
)

// ChangeNumber gives an account the number of a ticket of StartNumber. Everything else stays. If the number has an
// account, that must be meant: with take it is locked as when somebody new signs up, without it is ErrTaken. Errors
// besides: ErrCode, hooks.ErrSuspended.
func (s *Service) ChangeNumber(ctx context.Context, a store.AccountID, id, code string, take bool) error {
	hash := s.ticketHash(id)
	done, err := s.tickets.takeHash(ctx, hash)
	if err != nil {
		return err
	}
	defer done()
	t, err := s.prove(ctx, hash, id, code, forNumber, a)
	if err != nil {
		return err
	}
	numberDone, err := s.numbers.takeHash(ctx, t.number())
	if err != nil {
		return err
	}
	defer numberDone()
	holder, err := s.book.Account(t.number())
	if err != nil {
		return err
	}
	if holder != 0 && holder != a {
		u, err := s.store.Account(holder)
		if err != nil && store.CodeOf(err) != store.CodeNotFound {
			return err
		}
		switch {
		case u.State == store.AccountSuspended:
			return hooks.ErrSuspended
		case !take:
			return ErrTaken
		}
		if err := s.lock(ctx, holder); err != nil {
			return err
		}
	}
	e := t.entry(s.now())
	if holder != a {
		if err := s.book.Give(ctx, e, holder, a); err != nil {
			return err
		}
		s.host.Notify(ctx, a, view.Notice{What: view.NoticeMoved}, "")
	}
	if err := s.host.Numbered(ctx, a, e); err != nil {
		return fmt.Errorf("signup: tell of a number: %w", err)
	}
	return s.spend(ctx, t)
}
